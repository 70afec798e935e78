"""What a file is by its bytes, told while they come in. Pure: bytes in, a type or a refusal out.

The first bytes decide, by `filetype`'s matchers, and what the client declares must agree. A text
has no mark at its start, so it is checked to its end. Of a zip only the whole file tells which
kind it is: `Sniffer.close` then answers None, and `Sniffer.settle` reads its names.

A type says how the file may be handed out again, not that it is harmless. HTML declared as text or
CSV is a text, and an image may carry a script in a comment. So whatever is served goes out under
the type found here, with `nosniff`, and as an attachment unless it is an image.
"""

from __future__ import annotations

import codecs
from typing import BinaryIO

import filetype  # type: ignore[import-untyped]

from server.uploads.chunks import Chunk
from server.uploads.policies import CSV, TEXT, ZIP, FileType, Kind, Policy
from server.uploads.refused import Reason, Refused
from server.uploads.zips import read_kind

HEAD = 8192
"""Bytes at the start that are looked at: as many as `filetype` reads."""

# The "binary data bytes" of the WHATWG MIME Sniffing Standard: all controls but TAB, LF, FF, CR
# and ESC.
_BINARY = bytes({*range(0x20)} - {0x09, 0x0A, 0x0C, 0x0D, 0x1B})
_UNKNOWN = "application/octet-stream"


class Sniffer:
    """Reads one file's bytes as they come, in chunks of any size.

    Raises:
        Refused: the policy does not take the declared type; later, whatever the methods tell.
    """

    def __init__(self, policy: Policy, declared: str | None) -> None:
        """`declared`: the client's Content-Type; without one, or octet-stream, the bytes decide."""
        self._policy = policy
        self._declared = _declared(policy, declared)
        self._head: bytearray | None = bytearray()
        self._found: FileType | None = None
        self._text: _Text | None = None
        if self._declared is not None and self._declared.kind is Kind.TEXT:
            self._start_text(self._declared)

    def feed(self, chunk: Chunk) -> None:
        """Take the next bytes.

        Raises:
            Refused: they can't be what is declared, or nothing that the policy takes.
        """
        if self._text is not None:
            self._text.feed(chunk)
        elif self._head is not None:
            self._head += chunk
            if len(self._head) >= HEAD:
                self._decide()

    @property
    def decided(self) -> bool:
        """Whether the bytes that are still to come can change nothing."""
        return self._head is None and self._text is None

    def close(self) -> FileType | None:
        """What the file is, after its last byte; None: a zip, so `settle` has to tell.

        Raises:
            Refused: it is empty, or nothing that the policy takes.
        """
        if self._head is not None:
            self._decide()
        if self._text is not None:
            self._text.close()
        found = self._found
        return None if found is None or found.kind is Kind.ZIPPED else found

    def settle(self, file: BinaryIO) -> FileType:
        """What a zip is, by the names in it. Reads the file: call it in a thread.

        Raises:
            Refused: it is damaged, not what is declared, or nothing that the policy takes.
        """
        found = self._policy.find(read_kind(file))
        # Every docx is also a zip.
        taken = [each for each in (found, self._policy.find(ZIP.name)) if each is not None]
        for each in taken:
            if self._declared in (None, each):
                return each
        raise _wrong_type()

    def _decide(self) -> None:
        head, self._head = bytes(self._head or b""), None
        if not head:
            raise Refused(Reason.EMPTY, "the file is empty")
        found = _recognise(head, self._policy)
        if self._declared is not None:
            if found is not self._declared and not _both_zip(found, self._declared):
                raise _wrong_type()
        elif found is None:
            texts = [each for each in (TEXT, CSV) if each in self._policy.types]
            if not texts:
                raise _wrong_type()
            self._start_text(texts[0])
            self.feed(head)
            return
        self._found = found

    def _start_text(self, found: FileType) -> None:
        self._head, self._found, self._text = None, found, _Text()


class _Text:
    """UTF-8, with or without a byte order mark, without binary control characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._any = False

    def feed(self, chunk: Chunk, *, final: bool = False) -> None:
        self._any = self._any or bool(chunk)
        if len(chunk.translate(None, _BINARY)) != len(chunk):
            raise Refused(Reason.TYPE, "the file is not text: it holds binary characters")
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise Refused(Reason.TYPE, "the file is not text in UTF-8") from error

    def close(self) -> None:
        self.feed(b"", final=True)
        if not self._any:
            raise Refused(Reason.EMPTY, "the file is empty")


def _declared(policy: Policy, header: str | None) -> FileType | None:
    name = (header or "").partition(";")[0].strip().lower()
    if not name or name == _UNKNOWN:
        return None
    found = policy.find(name)
    if found is None:
        raise _wrong_type()
    return found


def _recognise(head: bytes, policy: Policy) -> FileType | None:
    """The type in the policy that starts like this; for any zip some type of that kind."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        # filetype's own guess at Office documents goes by the first names only.
        return next((each for each in policy.types if each.kind is Kind.ZIPPED), None)
    guess = filetype.guess_mime(head)
    found = policy.find(guess) if guess else None
    return found if found is not None and head.startswith(found.start) else None


def _both_zip(found: FileType | None, declared: FileType) -> bool:
    return found is not None and found.kind is declared.kind is Kind.ZIPPED


def _wrong_type() -> Refused:
    return Refused(Reason.TYPE, "the file is not of a type that is taken here, or not as declared")
