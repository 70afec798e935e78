"""Signing up, in and out, on better-auth's paths."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from server.accounts.ending import end_streams
from server.accounts.models import USER, SignedIn, SignedUp, SignIn, SignUp, Success, User
from server.auth import sessions
from server.auth.attempts import ATTEMPTS
from server.auth.cookies import give, take_back
from server.auth.passwords import PASSWORDS, Passwords
from server.auth.principal import Principal
from server.errors import FORBIDDEN, RATE, UNAUTHORIZED, UNAVAILABLE, UNPROCESSABLE, ApiError
from server.guard.address import client_address
from server.guard.rates import address_of
from server.keys import POOL, SETTINGS
from server.openapi.access import OWN_PAGES
from server.openapi.route import route

if TYPE_CHECKING:
    from server.db.pool import Pool

TAG = "Accounts"

_EXISTS = "SELECT EXISTS (SELECT FROM public.users WHERE lower(email) = $1)"
_CREATE = f"""
    INSERT INTO public.users (name, email, password_hash, image) VALUES ($1, $2, $3, $4)
    ON CONFLICT (lower(email)) DO NOTHING RETURNING {USER}"""  # noqa: S608
_FIND = f"SELECT {USER}, password_hash FROM public.users WHERE lower(email) = $1"  # noqa: S608
_STORED = "SELECT password_hash FROM public.users WHERE id = $1"
# Not over a password that was changed in the meantime.
_REHASH = """
    UPDATE public.users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id"""


@route(
    "POST",
    "/api/auth/sign-up/email",
    summary="Make an account and sign in",
    tag=TAG,
    answers={200: SignedUp},
    access=OWN_PAGES,
    errors=(FORBIDDEN, UNPROCESSABLE, UNAVAILABLE),
    headers=("Set-Cookie",),
    rate="forms",
)
async def sign_up(request: web.Request, body: SignUp) -> SignedUp:
    """Make an account with an email address and a password, and sign in at once."""
    pool, email = request.app[POOL], body.email.lower()
    if await pool.fetchval(_EXISTS, email):
        raise _taken()
    hashed = await request.app[PASSWORDS].hash(body.password)
    # Two at once: the second finds the first's row, and not a database's error.
    # In one transaction: nobody deletes the account before it has its session.
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(_CREATE, body.name, email, hashed, body.image)
        if row is None:
            raise _taken()
        token = await start_session(request, connection, row["id"], remember=body.remember_me)
    give(request, token, remember=body.remember_me)
    return SignedUp(token=token, user=User.of(row))


@route(
    "POST",
    "/api/auth/sign-in/email",
    summary="Sign in",
    tag=TAG,
    answers={200: SignedIn},
    access=OWN_PAGES,
    errors=(UNAUTHORIZED, FORBIDDEN, RATE, UNAVAILABLE),
    headers=("Set-Cookie",),
    rate="auth",
)
async def sign_in(request: web.Request, body: SignIn) -> SignedIn:
    """Sign in by email and password. An account has five wrong guesses in fifteen minutes."""
    pool = request.app[POOL]
    row = await pool.fetchrow(_FIND, body.email.lower())
    stored = row["password_hash"] if row is not None else None
    if not await attempt(request, body.email, stored, body.password) or row is None:
        raise _refused()
    token = await _enter(request, row["id"], str(stored), body)
    give(request, token, remember=body.remember_me)
    return SignedIn(token=token, user=User.of(row))


@route(
    "POST",
    "/api/auth/sign-out",
    summary="Sign out",
    tag=TAG,
    answers={200: Success},
    access=OWN_PAGES,
    errors=(UNAUTHORIZED, FORBIDDEN),
    headers=("Set-Cookie",),
    rate="auth",
)
async def sign_out(request: web.Request, who: Principal) -> Success:
    """End this session, if there is one, and delete its cookie."""
    if who.user_id is not None and who.session_id is not None:
        ended = await sessions.revoke(request.app[POOL], who.user_id, who.session_id)
        end_streams(request.app, sessions=ended)
    # Else a page that makes its visitor send none could delete it all the same.
    if {sessions.COOKIE, sessions.SECURE_COOKIE} & set(request.cookies):
        take_back(request)
    return Success()


async def attempt(request: web.Request, account: str, stored: str | None, password: str) -> bool:
    """Whether the password is right; if it is not, that counts against `account` and the address.

    Raises:
        ApiError: 429 after too many, 503 when too many wait.
    """
    attempts, address = request.app[ATTEMPTS], address_of(request)
    attempts.begin(account, address)
    try:
        right = await request.app[PASSWORDS].verify(stored, password)
    except ApiError:
        attempts.undone(account, address)
        raise
    if right:
        attempts.succeeded(account, address)
    return right


async def start_session(
    request: web.Request,
    source: sessions.Source,
    user_id: str,
    *,
    remember: bool,
    verified: str | None = None,
) -> str:
    """A new session of the user, from where the request comes; its token.

    Raises:
        NoUserError: the user is gone, or `verified` is not their password's hash any more.
    """
    token = await sessions.create(
        source,
        user_id,
        ip=client_address(request, request.app[SETTINGS].trusted_proxies),
        user_agent=request.headers.get("User-Agent"),
        lifetime=sessions.LIFETIME if remember else sessions.SHORT_LIFETIME,
        verified=verified,
    )
    await sessions.trim(source, user_id)
    return token


async def _enter(request: web.Request, user_id: str, verified: str, body: SignIn) -> str:
    """A session of whose password was right, if it still is; its token.

    Raises:
        ApiError: 401.
    """
    pool, passwords = request.app[POOL], request.app[PASSWORDS]
    verified = await _rehash(passwords, pool, user_id, verified, body.password)
    remember = body.remember_me
    with suppress(sessions.NoUserError):
        return await start_session(request, pool, user_id, remember=remember, verified=verified)
    # The hash is another one now. Perhaps of the same password: another sign-in brought it up to
    # date.
    stored = await pool.fetchval(_STORED, user_id)
    if stored is not None and await passwords.verify(stored, body.password):
        with suppress(sessions.NoUserError):
            return await start_session(request, pool, user_id, remember=remember, verified=stored)
    raise _refused()


async def _rehash(
    passwords: Passwords, pool: Pool, user_id: str, stored: str, password: str
) -> str:
    """Bring a hash up to today's parameters, while the password is there; or the next time.

    Returns the hash that is stored now, as far as this knows.
    """
    if passwords.needs_rehash(stored):
        with suppress(ApiError):
            new = await passwords.hash(password)
            if await pool.fetchval(_REHASH, user_id, stored, new) is not None:
                return new
    return stored


def _taken() -> ApiError:
    # `code` and `message` are better-auth's, whose client shows them.
    return ApiError(
        UNPROCESSABLE,
        "an account with this address exists",
        more={
            "code": "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
            "message": "User already exists. Use another email.",
        },
    )


def _refused() -> ApiError:
    sentence = "Invalid email or password"
    return ApiError(
        UNAUTHORIZED,
        more={"error": sentence, "code": "INVALID_EMAIL_OR_PASSWORD", "message": sentence},
    )


ROUTES = (sign_up, sign_in, sign_out)
