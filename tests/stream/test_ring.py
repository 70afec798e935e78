from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.stream.names import Matcher
from server.stream.pubsub import ENTRY, SCAN, Ring

ALL = Matcher([">"])


@given(st.integers(0, 30 * ENTRY), st.lists(st.integers(1, 20), max_size=30), st.integers(0, 40))
def test_it_holds_the_newest_frames_that_fit(capacity: int, sizes: list[int], after: int) -> None:
    ring = Ring(capacity)
    costs = [size + ENTRY for size in sizes]
    for pos, size in enumerate(sizes, 1):
        ring.append(pos, "a", b"x" * size)
    kept = [pos for pos in range(1, len(sizes) + 1) if sum(costs[pos - 1 :]) <= capacity]
    assert ring.size == sum(costs[pos - 1] for pos in kept) <= capacity
    assert ring.first == (kept[0] if kept else None)
    assert ring.reaches(after) == (bool(kept) and kept[0] <= after + 1)
    found = ring.after(after, ALL, 10**9)
    if not ring.reaches(after):
        assert found is None
    elif found is not None:
        assert found[0] == [b"x" * sizes[pos - 1] for pos in kept if pos > after]
        assert found[1] == max(after, len(sizes))


def test_it_gives_matching_frames_up_to_a_limit_and_says_how_far() -> None:
    ring = Ring(10**6)
    for pos in range(1, 11):
        ring.append(pos, "ab"[pos % 2], b"%02d" % pos)
    assert ring.after(0, Matcher(["a"]), 10**6) == ([b"02", b"04", b"06", b"08", b"10"], 10)
    assert ring.after(3, Matcher(["b"]), 3) == ([b"05", b"07"], 7)


def test_one_look_is_bounded() -> None:
    ring = Ring(10**9)
    for pos in range(1, SCAN + 100):
        ring.append(pos, "a", b"x")
    assert ring.after(0, Matcher(["b"]), 10**9) == ([], SCAN)


def test_cleared_it_reaches_nothing_and_begins_anew() -> None:
    ring = Ring(1_000)
    ring.append(1, "a", b"x")
    ring.clear()
    assert (ring.first, ring.size, ring.after(0, ALL, 10)) == (None, 0, None)
    ring.append(7, "a", b"y")
    assert ring.after(6, ALL, 10) == ([b"y"], 7)
