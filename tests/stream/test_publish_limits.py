from __future__ import annotations

import json
from typing import Any

from tests.served import BEARER, Served
from tests.stream.test_events import event

MIB = 1024 * 1024


async def post(server: Served, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    head = {"Content-Length": str(len(body)), "Content-Type": kind, "Host": "x", **BEARER}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    answer = await server.raw(f"POST /api/events HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return answer.status, json.loads(await answer.rest())


async def faults(server: Served, body: object) -> list[tuple[list[Any], str]]:
    """The places and codes of a refused publish."""
    status, answer = await post(server, json.dumps(body).encode())
    assert (status, answer["error"]) == (400, "Invalid input"), answer
    assert server.service.log.outbox.published == 0
    return [(issue["path"], issue["code"]) for issue in answer["issues"]]


async def test_each_fault_is_told_with_its_place(server: Served) -> None:
    bad = [event(1), event(1, channel="a b"), event(1, type=""), event(1, key="\n"),
           event(1, channel="ops.x"), event("\0"), event({"\0": 1})]  # fmt: skip
    assert await faults(server, {"events": bad}) == [
        (["events", 1, "channel"], "invalid_channel"), (["events", 2, "type"], "invalid_type"),
        (["events", 3, "key"], "invalid_key"), (["events", 4, "channel"], "reserved"),
        (["events", 5, "data"], "nul"), (["events", 6, "data"], "nul"),
    ]  # fmt: skip


async def test_a_single_events_faults_have_plain_paths(server: Served) -> None:
    assert await faults(server, event(1, channel="a b")) == [(["channel"], "invalid_channel")]
    assert [path for path, _ in await faults(server, {"channel": 1, "extra": 2})] == [
        ["channel"], ["type"], ["data"], ["extra"],
    ]  # fmt: skip


async def test_what_is_no_event_is_400(server: Served) -> None:
    bodies: list[object] = [
        [], {}, {"events": []}, {"events": [1]}, {"events": None}, 1, "x", None,
        {"events": [event(1)] * 1_001}, event(1, message_id="x"), event(1, key=1),
    ]  # fmt: skip
    for body in bodies:
        assert await faults(server, body)


async def test_what_is_not_json_is_400(server: Served) -> None:
    head = b'{"channel":"public.a","type":"t","data":'
    for data in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"", b"{", b'"\\ud800"', b"\xff",
                 b'{"\\udfff":1}', b"9" * 5_000, b"[" * 100_000):  # fmt: skip
        status, answer = await post(server, head + data + b"}")
        assert status == 400, data[:20]
        assert answer["issues"]
    assert server.service.log.outbox.published == 0


async def test_deep_data_is_stored_or_refused_and_harms_nobody(server: Served) -> None:
    head = b'{"channel":"public.a","type":"t","data":'
    for depth in (100, 400, 900, 5_000, 20_000):
        for core in (b"1", b'"\\u0000"', b'"\\\\u0000"'):
            body = head + b"[" * depth + core + b"]" * depth + b"}"
            status, _ = await post(server, body)
            assert status in (200, 400), depth
    status, _ = await post(server, json.dumps(event(1)).encode())
    assert status == 200


async def test_an_escaped_backslash_before_u0000_is_no_nul(server: Served) -> None:
    status, _ = await post(server, json.dumps(event("\\u0000")).encode())
    assert status == 200


async def test_the_limit_of_one_event_is_a_mebibyte_of_data(server: Served) -> None:
    status, _ = await post(server, json.dumps(event("x" * (MIB - 2))).encode())
    assert status == 200
    status, answer = await post(server, json.dumps(event("x" * (MIB - 1))).encode())
    assert (status, answer["issues"][0]["code"]) == (400, "too_large")


async def test_the_limit_of_one_request_is_413(server: Served) -> None:
    status, answer = await post(server, b" " * (8 * MIB + 1))
    assert (status, answer["error"]) == (413, "Payload too large")


async def test_another_media_type_is_415(server: Served) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        status, answer = await post(server, json.dumps(event(1)).encode(), kind)
        assert (status, answer["error"]) == (415, "Unsupported media type")
    status, _ = await post(server, json.dumps(event(1)).encode(), "application/json; charset=utf-8")
    assert status == 200
