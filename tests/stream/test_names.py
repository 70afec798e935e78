from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.log.history import regexes
from server.log.model import Selection
from server.stream import names
from server.stream.names import Index, Matcher, covers, is_channel, is_pattern

segment = st.sampled_from(["a", "b", "a-b", "_", "A1"])
channels = st.lists(segment, min_size=1, max_size=4).map(".".join)
patterns = st.builds(
    lambda head, tail: ".".join([*head, *tail]),
    st.lists(segment | st.just("*"), min_size=0, max_size=4),
    st.sampled_from([[">"], ["*"], ["a"], ["b"]]),
)


def matches(pattern: str, channel: str) -> bool:
    """The rule, as plainly as it can be said."""
    want, have = pattern.split("."), channel.split(".")
    if want[-1] == ">":
        return len(have) >= len(want) and matches_all(want[:-1], have[: len(want) - 1])
    return len(want) == len(have) and matches_all(want, have)


def matches_all(want: list[str], have: list[str]) -> bool:
    return all(name in ("*", other) for name, other in zip(want, have, strict=True))


@given(patterns, channels)
def test_a_pattern_covers_exactly_the_channels_it_matches(pattern: str, channel: str) -> None:
    assert covers(pattern, channel) == matches(pattern, channel)
    assert (channel in Matcher([pattern])) == matches(pattern, channel)


@given(patterns, patterns, channels)
def test_what_a_covered_pattern_matches_the_covering_one_matches_too(
    grant: str, wanted: str, channel: str
) -> None:
    if covers(grant, wanted) and matches(wanted, channel):
        assert matches(grant, channel)


EVERYTHING = [".".join(parts) for parts in
              [(a,) for a in "ab"] + [(a, b) for a in "ab" for b in "ab"]
              + [(a, b, c) for a in "ab" for b in "ab" for c in "ab"]
              + [(a, b, c, d) for a in "ab" for b in "ab" for c in "ab" for d in "ab"]]  # fmt: skip
simple = st.builds(
    lambda head, tail: ".".join([*head, tail]),
    st.lists(st.sampled_from("ab*"), max_size=2),
    st.sampled_from("ab*>"),
)


@given(simple, simple)
def test_a_pattern_that_is_not_covered_matches_something_more(grant: str, wanted: str) -> None:
    if not covers(grant, wanted):
        fresh = [name.replace("b", "z") for name in EVERYTHING]
        assert any(
            matches(wanted, name) and not matches(grant, name) for name in EVERYTHING + fresh
        )


@given(st.lists(patterns | channels, max_size=6), channels)
def test_postgres_selects_what_the_matcher_contains(names: list[str], channel: str) -> None:
    matcher = Matcher(names)
    found = channel in matcher.exact or any(
        re.search(regex, channel) for regex in regexes(Selection((), matcher.patterns))
    )
    assert found == (channel in matcher)


@given(
    st.lists(st.tuples(st.booleans(), patterns | channels, st.integers(0, 3)), max_size=30),
    st.lists(channels, min_size=1, max_size=8),
)
def test_the_index_finds_what_a_brute_force_search_finds(
    steps: list[tuple[bool, str, int]], asked: list[str]
) -> None:
    index: Index[int] = Index()
    model: set[tuple[str, int]] = set()
    for add, pattern, member in steps:
        if add:
            index.add(pattern, member)
            model.add((pattern, member))
        else:
            index.discard(pattern, member)
            model.discard((pattern, member))
    for channel in asked:
        found = list(index.matching(channel))
        assert len(found) == len(set(found))
        assert set(found) == {member for pattern, member in model if matches(pattern, channel)}


@given(st.lists(st.tuples(patterns | channels, st.integers(0, 2)), max_size=20))
def test_an_emptied_index_holds_nothing(entries: list[tuple[str, int]]) -> None:
    index: Index[int] = Index()
    for pattern, member in entries:
        index.add(pattern, member)
    for pattern, member in reversed(entries):
        index.discard(pattern, member)
    assert not index._exact
    assert not index._root.children


def test_names_are_checked_to_the_character() -> None:
    for good in ("a", "A-_9", "a.b.c", "a" * 200):
        assert is_channel(good)
        assert is_pattern(good)
    for bad in ("", ".", "a.", ".a", "a..b", "a b", "ä", "a\n", "a" * 201, "a/b", "\0", "١"):
        assert not is_channel(bad)
        assert not is_pattern(bad)
    for pattern in ("*", ">", "a.*", "*.a", "a.>", "*.*.>"):
        assert is_pattern(pattern)
        assert not is_channel(pattern)
    for bad in (">.a", "a.>.b", "**", "a*", "*a", "a>", ">>", "*.", "a.>\n"):
        assert not is_pattern(bad)


@pytest.mark.parametrize("patterns", [0, 100, 10_000])
def test_other_patterns_cost_a_publish_nothing(
    patterns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index[str]()
    for number in range(patterns):
        index.add(f"shop{number}.*.paid", "elsewhere")
        index.add(f"*.item{number}.>", "elsewhere")
        index.add(f"public.orders.*.n{number}.>", "elsewhere")
    index.add("public.orders.>", "here")
    looked = []
    real = names._Node.matching

    def counted(node: Any, segments: list[str], depth: int) -> Any:
        looked.append(depth)
        return real(node, segments, depth)

    monkeypatch.setattr(names._Node, "matching", counted)
    assert list(index.matching("public.orders.17.shipped")) == ["here"]
    assert len(looked) <= 8
