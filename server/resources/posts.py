"""Posts: everybody reads, users write, authors change what is theirs.

The table is watched: every change is an event on the channel `posts`, whoever made it. What is
read tells in `Stream-Position` from where a stream continues it without a hole.
"""

from __future__ import annotations

from typing import Annotated, Self

import asyncpg
from aiohttp import hdrs, web
from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from server.auth.identify import unauthorized
from server.auth.principal import Principal
from server.errors import FORBIDDEN, INVALID, NOT_FOUND, PRECONDITION, ApiError
from server.keys import POOL
from server.openapi.access import SIGNED_IN
from server.openapi.fields import Input, Key, Line, Moment, Output, Text
from server.openapi.route import Route, answer, route
from server.openapi.shapes import POSITION, Id, Paged, RowPath, Success, cut, optional, split
from server.resources.entity import require_match, tagged, unless_known

PATH = "/api/posts"

# Position and rows in one statement have one snapshot. Two statements, not one with an optional
# condition: a generic plan would walk all posts to find those of one author.
_LIST = """
    SELECT (SELECT tailrace.position()) AS position,
      page.id::text, title, content, author_id, created_at, updated_at
    FROM (VALUES (1)) AS always LEFT JOIN (
      SELECT * FROM public.posts WHERE id < $1 ORDER BY id DESC LIMIT $2
    ) AS page ON true ORDER BY page.id DESC"""
_LIST_BY_AUTHOR = """
    SELECT (SELECT tailrace.position()) AS position,
      page.id::text, title, content, author_id, created_at, updated_at
    FROM (VALUES (1)) AS always LEFT JOIN (
      SELECT * FROM public.posts WHERE author_id = $3 AND id < $1 ORDER BY id DESC LIMIT $2
    ) AS page ON true ORDER BY page.id DESC"""
_GET = """
    SELECT tailrace.position() AS position,
      id::text, title, content, author_id, created_at, updated_at
    FROM public.posts WHERE id = $1"""
# Locks the user: an account that is being deleted writes nothing more.
_CREATE = """
    INSERT INTO public.posts (author_id, title, content)
    SELECT id, $2, $3 FROM public.users WHERE id = $1 FOR KEY SHARE
    RETURNING id::text, title, content, author_id, created_at, updated_at"""
_LOCK = """
    SELECT id::text, title, content, author_id, created_at, updated_at
    FROM public.posts WHERE id = $1 AND (author_id = $2 OR $3) FOR UPDATE"""
_UPDATE = """
    UPDATE public.posts SET title = coalesce($4, title), content = coalesce($5, content),
      updated_at = clock_timestamp()
    WHERE id = $1 AND (author_id = $2 OR $3)
    RETURNING id::text, title, content, author_id, created_at, updated_at"""
_DELETE = """
    DELETE FROM public.posts WHERE id = $1 AND (author_id = $2 OR $3) RETURNING id"""

Title = Annotated[Line, Field(min_length=1, max_length=200)]
Content = Annotated[Text, Field(min_length=1, max_length=50_000)]


class Post(Output):
    """A post."""

    id: Id
    title: str
    content: str
    author_id: str
    created_at: Moment
    updated_at: Moment


class Posts(Output):
    """A page of posts, the newest first; `next` is the following page's `after`."""

    posts: list[Post]
    next: str | None


class Wanted(Paged):
    """A page of the list, of all posts or of one author's."""

    author: Key = Field("", json_schema_extra=optional)


class NewPost(Input):
    """A post to be."""

    title: Title
    content: Content


class Change(Input):
    """What becomes different: at least one of these."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    title: Title = Field("", json_schema_extra=optional)
    content: Content = Field("", json_schema_extra=optional)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            code = "too_few"
            raise PydanticCustomError(code, "give title, content or both")
        return self


@route(
    "GET",
    PATH,
    summary="A page of posts",
    tag="Posts",
    answers={200: Posts},
    headers=(POSITION, "Link"),
)
async def list_posts(request: web.Request, query: Wanted) -> web.Response:
    """The newest first. Posts that come while one pages do not move the following pages."""
    pool = request.app[POOL]
    given: dict[str, str | int] = {"limit": query.limit}
    if query.author:
        given["author"] = query.author
        found = await pool.fetch(_LIST_BY_AUTHOR, query.after, query.limit + 1, query.author)
    else:
        found = await pool.fetch(_LIST, query.after, query.limit + 1)
    page = cut(found, query.limit)
    posts = Posts(posts=[Post(**row) for row in page.rows], next=page.next)
    return answer(posts, headers=page.headers(PATH, **given))


@route(
    "POST",
    PATH,
    summary="Write a post",
    tag="Posts",
    answers={201: Post},
    access=SIGNED_IN,
    headers=("Location", "ETag"),
    rate="writes",
)
async def create_post(request: web.Request, who: Principal, body: NewPost) -> web.Response:
    """The signed-in user is its author."""
    row = await request.app[POOL].fetchrow(_CREATE, who.user_id, body.title, body.content)
    if row is None:
        raise unauthorized("this account is gone")
    post = Post(**row)
    return tagged(post, status=201, headers={"Location": f"{PATH}/{post.id}"})


@route(
    "GET",
    PATH + "/{id}",
    summary="One post",
    tag="Posts",
    answers={200: Post, 304: None},
    errors=(NOT_FOUND,),
    headers=(POSITION, "ETag"),
)
async def get_post(request: web.Request, path: RowPath) -> web.Response:
    """With `If-None-Match` 304 while it is as the client has it."""
    row = await request.app[POOL].fetchrow(_GET, path.id)
    if row is None:
        raise ApiError(NOT_FOUND)
    position, values = split(row)
    return unless_known(request, Post(**values), position)


@route(
    "PATCH",
    PATH + "/{id}",
    summary="Change a post",
    tag="Posts",
    answers={200: Post},
    access=SIGNED_IN,
    errors=(INVALID, FORBIDDEN, NOT_FOUND, PRECONDITION),
    headers=("ETag",),
    rate="writes",
)
async def change_post(
    request: web.Request, who: Principal, path: RowPath, body: Change
) -> web.Response:
    """By its author or an admin; with `If-Match` only if it is still as the client has it."""
    given = body.model_dump(exclude_unset=True)
    changes = (given.get("title"), given.get("content"))
    return tagged(Post(**await _write(request, who, path.id, _UPDATE, *changes)))


@route(
    "DELETE",
    PATH + "/{id}",
    summary="Delete a post",
    tag="Posts",
    answers={200: Success},
    access=SIGNED_IN,
    errors=(FORBIDDEN, NOT_FOUND, PRECONDITION),
    rate="writes",
)
async def delete_post(request: web.Request, who: Principal, path: RowPath) -> Success:
    """By its author or an admin; with `If-Match` only if it is still as the client has it."""
    await _write(request, who, path.id, _DELETE)
    return Success()


async def _write(
    request: web.Request, who: Principal, number: int, statement: str, *values: str | None
) -> asyncpg.Record:
    """Run a statement on a post that this user may change; `If-Match` is judged under its lock.

    Raises:
        ApiError: 403 for a post that is missing or another's, 412.
    """
    whose = (number, who.user_id, who.is_admin)
    pool = request.app[POOL]
    if hdrs.IF_MATCH not in request.headers:
        row = await pool.fetchrow(statement, *whose, *values)
    else:
        async with pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, *whose)
            if row is not None:
                require_match(request, Post(**row))
                row = await connection.fetchrow(statement, *whose, *values)
    if row is None:
        raise ApiError(FORBIDDEN, "it is not yours, or not there")
    return row


ROUTES: tuple[Route, ...] = (list_posts, create_post, get_post, change_post, delete_post)
