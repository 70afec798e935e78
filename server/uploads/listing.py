"""`GET /api/uploads`, `…/{id}/info`, `DELETE …/{id}`: what somebody has uploaded, and its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from server.auth.principal import Principal
from server.errors import FORBIDDEN, NOT_FOUND, RATE, ApiError
from server.keys import POOL
from server.openapi.fields import Output
from server.openapi.route import answer, route
from server.openapi.shapes import POSITION, Flag, Paged, cut, optional
from server.uploads import records
from server.uploads.models import PolicyName, Upload, UploadPath, shown
from server.uploads.owners import UPLOADERS, owner_of, owns
from server.uploads.records import COLUMNS, Record, State
from server.uploads.service import UPLOADS
from server.uploads.tus import TUS, Tus

PATH = "/api/uploads"
TAG = "Uploads"
NEWEST = "99999999999999999." + "z" * 32
"""Behind which every file stands: the place of a list's first page."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# $1 and $2: the place; $3: policy, $4: state, `NULL` for any; $5: limit; $6: the owner.
_PAGE = """
    SELECT (SELECT tailrace.position()) AS position, found.*
    FROM (VALUES (1)) AS always LEFT JOIN (
      SELECT {columns},
        (extract(epoch FROM created_at) * 1000000)::bigint || '.' || id AS place
      FROM public.uploads
      WHERE (created_at, id) < ($1, $2) AND ($3::text IS NULL OR policy = $3)
        AND ($4::text IS NULL OR state = $4) AND (expires_at IS NULL OR expires_at > now()){owned}
      ORDER BY created_at DESC, id DESC LIMIT $5) AS found ON true
    ORDER BY created_at DESC, id DESC"""
_OF_ALL = _PAGE.format(columns=COLUMNS, owned="")
_OF_ONE = _PAGE.format(columns=COLUMNS, owned=" AND owner = $6")


class Listed(Upload):
    """A file as its owner, or an admin, sees it."""

    owner: str = Field(description="Who uploaded it.", examples=["user:8f14e45f"])


class Uploads(Output):
    """A page of files, the newest first; `next` is the following page's `after`."""

    uploads: list[Listed]
    next: str | None


class Listing(Paged):
    """A page of the list: of your own files, or as an admin of somebody else's, or of all."""

    # Files have no numbers: it is the time and the id of the last one.
    after: Annotated[str, Field(pattern=r"^[0-9]{1,17}\.[a-z0-9]{32}$")] = Field(  # type: ignore[assignment]
        NEWEST, json_schema_extra=optional
    )
    policy: PolicyName | None = None
    state: State | None = None
    owner: Annotated[str, Field(pattern=r"^(user|key):[A-Za-z0-9_-]{1,100}$")] | None = Field(
        None, description="Of this user or key; for admins.", examples=["user:8f14e45f"]
    )
    all: Flag = Field(False, description="Of everybody; for admins.")


@route(
    "GET",
    PATH,
    summary="A page of your files",
    tag=TAG,
    answers={200: Uploads},
    access=UPLOADERS,
    headers=(POSITION, "Link"),
    errors=(RATE,),
)
async def list_uploads(request: web.Request, who: Principal, query: Listing) -> web.Response:
    """The newest first, those that come in pieces and are not whole yet among them."""
    mine = owner_of(who).label
    owner = None if query.all else query.owner or mine
    if owner != mine and not who.is_admin:
        raise ApiError(FORBIDDEN, "the files of others are for admins")
    moment, _, id_ = query.after.partition(".")
    values: list[Any] = [_time(int(moment)), id_, query.policy, query.state, query.limit + 1]
    pool = request.app[POOL]
    found = (
        await pool.fetch(_OF_ALL, *values)
        if owner is None
        else await pool.fetch(_OF_ONE, *values, owner)
    )
    page = cut(found, query.limit, by="place")
    rows = [listed(Record(*(row[name] for name in Record._fields))) for row in page.rows]
    given = query.model_dump(exclude={"after"}, exclude_defaults=True) | {"limit": query.limit}
    if query.all:
        given["all"] = "true"
    return answer(Uploads(uploads=rows, next=page.next), headers=page.headers(PATH, **given))


@route(
    "GET",
    PATH + "/{id}/info",
    summary="What a file of yours is",
    tag=TAG,
    answers={200: Listed},
    access=UPLOADERS,
    errors=(NOT_FOUND,),
)
async def upload_info(request: web.Request, who: Principal, path: UploadPath) -> Listed:
    """Without its bytes; also of one that is not whole yet. Others' are as good as missing: 404."""
    return listed(await owned(request, who, path))


@route(
    "DELETE",
    PATH + "/{id:(?!tus$)[^/]+}",
    summary="Delete a file of yours",
    tag=TAG,
    answers={204: None},
    access=UPLOADERS,
    errors=(NOT_FOUND,),
    rate="writes",
)
async def delete_upload(request: web.Request, who: Principal, path: UploadPath) -> web.Response:
    """Also one that is not whole yet. Others' are as good as missing: 404. Caches may have a public
    file for up to an hour more."""
    found = await owned(request, who, path)
    uploads = request.app[UPLOADS]
    if found.state == "receiving" and await _given_up(request.app[TUS], found.id):
        return answer(None, status=204)
    # The row first: what is left then is an orphan, which the cleanup removes, and no row shows a
    # file that is not there.
    if not await records.remove(uploads.pool, found.id):
        raise ApiError(NOT_FOUND)
    uploads.told()
    await uploads.forget(found.id)
    return answer(None, status=204)


async def _given_up(tus: Tus, id_: str) -> bool:
    """Whether an upload that was not whole could be ended, its sender made to leave.

    One that is just being checked or stored can't: it finds that it has no row, and clears up. Nor
    can one where the spool fails, which the cleanup finds.
    """
    try:
        return await tus.discard(id_)
    except ApiError:
        return False


async def owned(request: web.Request, who: Principal, path: UploadPath) -> Record:
    """The file, if it is theirs.

    Raises:
        ApiError: 404.
    """
    found = await records.find(request.app[POOL], path.id)
    if found is None or not owns(who, found.owner):
        raise ApiError(NOT_FOUND)
    return found


def listed(found: Record) -> Listed:
    """A file as its owner sees it."""
    return Listed(**shown(found).model_dump(), owner=found.owner)


def _time(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
