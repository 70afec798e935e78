"""Who may have a file: its owner, who has a signed address, and everybody."""

from __future__ import annotations

import json
import time

import pytest

from server.auth import keys
from server.auth.sessions import token_hash
from server.db.embedded import EmbeddedPostgres
from server.keys import POOL
from server.uploads.signing import URL_KEY, sign
from tests.uploads.kept import bearer, keep, running
from tests.uploads.making import PNG
from tests.uploads.serving import Site, site

__all__ = ["site"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_keys_reads_of_private_files_count_in_its_rate(site: Site) -> None:
    """As all that it asks for; who reads a public file is not asked who they are."""
    token = keys.new()
    key = await site.server.app[POOL].fetchval(
        "INSERT INTO api_keys (user_id, name, start, key_hash, scopes, rate_count, rate_seconds)"
        " VALUES ($1, 'reader', 'trk_', $2, '{uploads}', 2, 60) RETURNING id",
        site.user,
        token_hash(token),
    )
    kept = await keep(site.server, PNG, f"key:{key}", visibility="private")
    public = await site.keep()
    found = [(await site.get(kept.id, **bearer(token))).status_code for _ in range(3)]
    assert found == [200, 200, 429]
    assert (await site.get(public.id, **bearer(token))).status_code == 200


async def test_a_private_file_is_its_owners_and_the_admins(site: Site) -> None:
    kept = await site.private()
    _, other = await site.server.sign_in()
    _, admin = await site.server.sign_in("admin")
    found = {
        "nobody": (await site.get(kept.id)).status_code,
        "other": (await site.get(kept.id, **bearer(other))).status_code,
        "admin": (await site.get(kept.id, **bearer(admin))).status_code,
        "owner": (await site.get(kept.id, **site.mine)).status_code,
        "bad key": (await site.get(kept.id, **bearer("trk_no"))).status_code,
        "bad key, no file": (await site.get("0" * 32, **bearer("trk_no"))).status_code,
    }
    assert found == {
        "nobody": 404,
        "other": 404,
        "admin": 200,
        "owner": 200,
        "bad key": 401,
        "bad key, no file": 401,
    }
    mine = await site.get(kept.id, **site.mine)
    assert mine.headers["Cache-Control"] == "private, no-cache"
    assert mine.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    missing, hidden = await site.get("0" * 32), await site.get(kept.id)
    assert {**missing.json(), "request_id": ""} == {**hidden.json(), "request_id": ""}


async def test_a_private_file_of_a_key_is_that_keys(site: Site) -> None:
    kept = await keep(site.server, PNG, "key:bootstrap", visibility="private")
    assert (await site.get(kept.id, **bearer("k" * 32))).content == PNG
    assert (await site.get(kept.id, **site.mine)).status_code == 404


async def test_a_signed_address_opens_one_file_for_anybody(site: Site) -> None:
    kept, other = await site.private(), await site.private()
    path = f"/api/uploads/{kept.id}/url"
    signed = await site.client.post(path, json={"expiresIn": 60}, headers=site.mine)
    assert signed.status_code == 200
    url = signed.json()["url"]
    assert (await site.client.get(url)).content == b"%PDF-1.4"
    assert (await site.client.get(url + "&download=1")).status_code == 200
    assert (await site.client.head(url)).status_code == 200
    moved = url.replace(kept.id, other.id)
    longer = url.replace("expires=", "expires=1")
    cut, short = url[:-1], url.partition("&")[0]
    for bad in (moved, longer, cut, short, url.replace("signature=", "signature=%ff")):
        # Also for the owner: a bad signature is never made good by a cookie or key.
        for headers in ({}, site.mine):
            refused = await site.client.get(bad, headers=headers)
            assert (refused.status_code, refused.json()["error"]) == (403, "Forbidden"), bad


async def test_a_signed_address_expires(site: Site) -> None:
    kept = await site.private()
    past = int(time.time()) - 1
    signature = sign(kept.id, past, site.server.app[URL_KEY])
    old = await site.get(f"{kept.id}?expires={past}&signature={signature}", **site.mine)
    assert (old.status_code, old.json()["detail"]) == (403, "this address has expired")


async def test_only_the_owner_signs_and_not_for_ever(site: Site) -> None:
    kept = await site.private()
    _, other = await site.server.sign_in()
    path = f"/api/uploads/{kept.id}/url"
    for headers, body, status in (
        ({}, {}, 401),
        (bearer(other), {}, 404),
        (site.mine, {"expiresIn": 604_801}, 400),
        (site.mine, {"expiresIn": 0}, 400),
        (site.mine, {"expiresIn": "9"}, 400),
        (site.mine, {}, 200),
    ):
        assert (await site.client.post(path, json=body, headers=headers)).status_code == status


async def test_what_is_not_whole_or_has_expired_is_not_there(site: Site) -> None:
    receiving = await site.keep(state="receiving", expires=3600)
    expired = await site.keep(expires=-1)
    for kept in (receiving, expired):
        assert (await site.get(kept.id, **site.mine)).status_code == 404
        path = f"/api/uploads/{kept.id}/url"
        assert (await site.client.post(path, json={}, headers=site.mine)).status_code == 404


async def test_the_log_has_no_signature(
    postgres: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(postgres, access_log="on") as server:
        user, token = await server.sign_in()
        kept = await keep(server, PNG, user, visibility="private")
        head = f"POST /api/uploads/{kept.id}/url HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        made = await server.raw(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        url = json.loads(await made.rest())["url"]
        answer = await server.raw(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert await answer.rest() == PNG
    printed = capsys.readouterr().err
    assert f"/api/uploads/{kept.id}" in printed
    assert url.rpartition("=")[2] not in printed


async def test_public_files_need_no_session(site: Site) -> None:
    kept = await site.keep()
    stale = {"Cookie": "tailrace.session_token=trs_" + "x" * 32}
    found = await site.client.get(f"/api/uploads/{kept.id}", headers=stale)
    assert (found.status_code, "Set-Cookie" in found.headers) == (200, False)
    assert await site.server.app[POOL].fetchval("SELECT count(*) FROM uploads") > 0
