"""The store in S3, or in a service that speaks like it, through obstore.

obstore's blocking calls, in threads of ours. Its `…_async` ones touch Python from Rust's own
threads, which now and then aborts a process that ends right after; and cancelling one leaves the
parts of a multipart upload behind, invisible and paid for. An upload is ended from inside instead:
the generator that feeds it raises, and obstore aborts it.
"""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket

from server.errors import StartError
from server.uploads.store import CHUNK, NotStored, Stored, StoreError, checked, is_key
from server.uploads.stores.puts import Puts, Stop
from server.uploads.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from io import FileIO
    from pathlib import Path
    from urllib.parse import SplitResult

PART = 5 * 1024 * 1024
"""Bytes of a part, the least that S3 takes; a file of no more goes in one request."""
PARTS = 10_000
BLOCK = 1024 * 1024
# Each holds up to one part in memory, the large ones a block more.
SMALL_PUTS = 3
LARGE_PUTS = 2
OTHERS = 8

CONNECT = timedelta(seconds=5)
REQUEST = timedelta(seconds=60)
"""For one request that is no download: a part must move at 87 KB/s at least."""
STALL = timedelta(seconds=30)
"""For a download's next bytes. It as a whole may take as long as its reader."""
DOWNLOAD = timedelta(days=1)
RETRIES = 3
RETRY = timedelta(seconds=30)
"""After which a request that failed is not tried again."""

OPTIONS = {"endpoint", "region", "path_style"}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
_CODE = re.compile(r"<Code>(\w+)</Code>", re.ASCII)
_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)", re.ASCII)


def from_url(parts: SplitResult) -> S3Store:
    """`s3://bucket/prefix?endpoint=…&region=…&path_style=true`, with `user:password@` or without.

    What the address does not say, obstore takes from the usual variables (`AWS_…`).

    Raises:
        StartError: something in it is wrong or unknown.
    """
    login, _, bucket = parts.netloc.rpartition("@")
    if not _BUCKET.fullmatch(bucket):
        msg = "STORAGE_URL must be s3://bucket, with the name of a bucket"
        raise StartError(msg)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - OPTIONS):
        msg = f"STORAGE_URL has an unknown option {', '.join(unknown)}"
        raise StartError(msg)
    config: dict[str, Any] = {}
    if login:
        user, _, password = login.partition(":")
        if not (user and password):
            msg = "STORAGE_URL must have both the key id and the secret, as s3://id:secret@bucket"
            raise StartError(msg)
        config = {"access_key_id": unquote(user), "secret_access_key": unquote(password)}
    if region := options.get("region"):
        config["region"] = region
    config |= _addressing(bucket, options.get("endpoint"), options.get("path_style"))
    return S3Store(bucket, unquote(parts.path).strip("/"), config)


def _addressing(bucket: str, endpoint: str | None, path_style: str | None) -> dict[str, Any]:
    """Where the bucket is named: in the path, as most services have it, or in the host (AWS)."""
    if path_style not in {None, "true", "false"}:
        msg = "STORAGE_URL: path_style is true or false"
        raise StartError(msg)
    if endpoint is None:
        return {} if path_style is None else {"virtual_hosted_style_request": path_style == "false"}
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        msg = "STORAGE_URL: endpoint must be an address such as https://s3.example.com"
        raise StartError(msg)
    if path_style == "false":
        endpoint = parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()
    return {
        "endpoint": endpoint.rstrip("/"),
        "virtual_hosted_style_request": path_style == "false",
    }


class S3Store:
    """Objects of one bucket, below a prefix or not."""

    def __init__(self, bucket: str, prefix: str, config: dict[str, Any]) -> None:
        self._name = f"s3://{bucket}/{prefix}"
        # One by one: not every service has the call that deletes many.
        settings: Any = {"disable_bulk_delete": True} | config
        plain = str(config.get("endpoint", "")).startswith("http://")
        connect = partial(
            Bucket,
            bucket,
            prefix=prefix or None,
            config=settings,
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY},
        )
        client: Any = {"allow_http": plain, "connect_timeout": CONNECT}
        self._bucket = connect(client_options=client | {"timeout": REQUEST})
        self._downloads = connect(
            client_options=client | {"timeout": DOWNLOAD, "read_timeout": STALL}
        )
        self._threads = Threads("s3", OTHERS)
        self._small = Threads("s3-small", SMALL_PUTS)
        self._large = Threads("s3-large", LARGE_PUTS)
        self._puts = Puts(self._threads, self._delete)

    async def put(self, key: str, source: Path, *, size: int, content_type: str) -> None:
        threads = self._small if size <= PART else self._large
        put = partial(self._put, checked(key), source, size, content_type)
        await self._puts.run(key, threads, put)

    async def open(self, key: str, start: int, length: int) -> AsyncIterator[bytes]:
        stream = await self._threads.start(self._get, checked(key), start, length)
        while length > 0:
            chunk = await self._threads.start(_next, stream)
            if chunk is None:
                msg = "an upload is shorter than it was"
                raise StoreError(msg)
            length -= len(chunk)
            yield chunk

    async def delete(self, key: str) -> None:
        await self._threads.start(self._delete, checked(key))

    async def keys(self) -> AsyncIterator[Stored]:
        pages = obstore.list(self._bucket)
        while page := await self._threads.start(_page, pages):
            for found in page:
                if is_key(found["path"]):
                    yield Stored(found["path"], found["size"], found["last_modified"])

    def path(self, key: str) -> None:
        """There is no local file."""

    async def check(self) -> None:
        try:
            await self._threads.start(self._prove)
        except StoreError as error:
            msg = (
                f"cannot keep uploads in {self._name} ({error}): see that STORAGE_URL names a"
                " bucket that is there, and that its keys (AWS_ACCESS_KEY_ID,"
                " AWS_SECRET_ACCESS_KEY) may list, read, write and delete in it"
            )
            raise StartError(msg) from None

    async def close(self) -> None:
        await self._puts.close()
        for threads in (self._small, self._large, self._threads):
            threads.close()

    def _put(self, key: str, source: Path, size: int, content_type: str, stop: Stop) -> None:
        stop.look()
        try:
            file = source.open("rb", buffering=0)
        except OSError as error:
            msg = f"cannot read what is to be stored: {error}"
            raise StoreError(msg) from error
        with file, _translated("store an upload"):
            single = size <= PART
            blocks = _blocks(file, size, PART if single else BLOCK, stop)
            obstore.put(
                self._bucket,
                key,
                b"".join(blocks) if single else blocks,
                attributes={"Content-Type": content_type},
                use_multipart=not single,
                chunk_size=max(PART, -(-size // PARTS)),
                max_concurrency=1,
            )
        source.unlink(missing_ok=True)

    def _get(self, key: str, start: int, length: int) -> Any:
        with _translated("read an upload"):
            if length == 0:
                # S3 has no empty ranges.
                return obstore.head(self._bucket, key)
            found = obstore.get(self._downloads, key, options={"range": (start, start + length)})
            return found.stream(min_chunk_size=CHUNK)

    def _delete(self, key: str) -> None:
        with suppress(NotStored), _translated("delete an upload"):
            obstore.delete(self._bucket, key)

    def _prove(self) -> None:
        probe = f".check-{secrets.token_hex(16)}"
        with _translated("use it"):
            _page(obstore.list(self._bucket, chunk_size=1))
            obstore.put(self._bucket, probe, b"Tailrace\n", use_multipart=False)
            obstore.get(self._bucket, probe).bytes()
            obstore.delete(self._bucket, probe)


def _blocks(file: FileIO, size: int, length: int, stop: Stop) -> Iterator[bytes]:
    """The file, in blocks; raises in the middle to end what is under way."""
    left = size
    while block := file.read(length):
        stop.look()
        left -= len(block)
        yield block
    if left:
        msg = f"an upload of {size} bytes has another size on the disk"
        raise StoreError(msg)
    stop.look()


def _next(stream: Iterator[bytes]) -> bytes | None:
    with _translated("read an upload"):
        return next(stream, None)


def _page(pages: Any) -> list[Any]:
    with _translated("list uploads"):
        return next(pages, [])


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        code = _CODE.search(str(error))
        status = _STATUS.search(str(error))
        if isinstance(error, FileNotFoundError) and (code is None or code[1] == "NoSuchKey"):
            msg = f"cannot {what}: there is none"
            raise NotStored(msg) from None
        # Not the whole text: S3's answer to a wrong signature repeats what was signed.
        reason = [found[1] for found in (status, code) if found] or [str(error).split("\n", 1)[0]]
        msg = f"cannot {what}: {', '.join(reason)}"
        raise StoreError(msg) from None
