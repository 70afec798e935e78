"""The rows of uploads that come in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from server.errors import CONFLICT, GONE, NOT_FOUND, RATE, ApiError
from server.uploads.names import safe_name
from server.uploads.records import COLUMNS, Found, Record, record
from server.uploads.tus.protocol import Metadata, read_metadata

if TYPE_CHECKING:
    from server.db.pool import Pool
    from server.uploads.owners import Owner

MAX_OPEN = 100
"""Uploads that an owner may have begun and not ended; each has a file and room of the quota."""
UNKNOWN = "application/octet-stream"

_ONE = f"""
    SELECT {COLUMNS}, host, metadata, coalesce(expires_at <= clock_timestamp(), false) AS expired
    FROM public.uploads WHERE id = $1"""  # noqa: S608 - constants
_OPEN = """
    SELECT count(*) FROM public.uploads
    WHERE owner = $1 AND state = 'receiving' AND expires_at > clock_timestamp()"""


class Upload(NamedTuple):
    """A row, and what only tus asks of it. `host`: whose spool has its bytes."""

    record: Record
    host: str | None
    metadata: Metadata
    expired: bool

    @property
    def whole(self) -> bool:
        """Whether it has come, was checked and is in the store."""
        return self.record.state == "ready"


async def find(pool: Pool, id_: str) -> Upload | None:
    """The upload of this id, whatever its state."""
    row = await pool.fetchrow(_ONE, id_)
    if row is None:
        return None
    found, host = record(row), row["host"]
    try:
        return Upload(found, host, read_metadata(row["metadata"]), row["expired"])
    except ApiError:
        # Begun by another version, under terms that there are no more.
        return Upload(found, host, read_metadata(None), expired=found.state != "ready")


async def require(pool: Pool, id_: str, owner: Owner, host: str) -> Upload:
    """The upload of this id, if it can go on, or was ended, here.

    Raises:
        ApiError: 404, also for somebody else's, 409 when another machine has it, 410.
    """
    found = await find(pool, id_)
    if found is None or found.record.owner != owner.label:
        raise ApiError(NOT_FOUND)
    if found.expired:
        raise ApiError(GONE, "the time for this upload is over: begin anew")
    if not found.whole and found.host != host:
        detail = "another machine has the bytes of this upload: requests must be routed by its id"
        raise ApiError(CONFLICT, detail)
    return found


async def require_few(pool: Pool, owner: Owner) -> None:
    """Whether an owner may begin one more. Two at once may both be let through.

    Raises:
        ApiError: 429.
    """
    if await pool.fetchval(_OPEN, owner.label) >= MAX_OPEN:
        detail = f"{MAX_OPEN} uploads of yours are not ended: end or delete some"
        raise ApiError(RATE, detail, headers={"Retry-After": "60"})


def expected(metadata: Metadata, length: int) -> Found:
    """What a file will be, as far as its client tells; what it is, its bytes will."""
    policy = metadata.policy
    declared = policy.find((metadata.type or "").partition(";")[0].strip().lower())
    extension = (metadata.name or "").rpartition(".")[2].lower()
    fitting = (each for each in policy.types if extension in each.extensions)
    named = declared or next(fitting, policy.types[0])
    kind = declared.name if declared is not None else UNKNOWN
    return Found(safe_name(metadata.name, named), kind, length, "")
