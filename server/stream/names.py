"""Channel names and patterns: what is valid, what a pattern matches, and an index over both.

A name is segments of [A-Za-z0-9_-] joined by dots, at most 200 characters. In a pattern `*` is
one whole segment, and `>` at the end one or more (as in NATS).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from server.log.model import MAX_CHANNEL, is_channel

_PATTERN = re.compile(r"(([A-Za-z0-9_-]+|\*)\.)*([A-Za-z0-9_-]+|\*|>)", re.ASCII)

T = TypeVar("T")

__all__ = ["Index", "Matcher", "covers", "is_channel", "is_pattern"]


def is_pattern(text: str) -> bool:
    """Whether `text` is a channel or a pattern of channels."""
    return len(text) <= MAX_CHANNEL and _PATTERN.fullmatch(text) is not None


def covers(grant: str, wanted: str) -> bool:
    """Whether everything that `wanted` (a channel or pattern) can match is matched by `grant`."""
    have, want = grant.split("."), wanted.split(".")
    for index, segment in enumerate(have):
        if index >= len(want):
            return False
        if segment == ">":
            return True
        if want[index] == ">" or (segment not in ("*", want[index])):
            return False
    return len(have) == len(want)


class Index(Generic[T]):
    """Members under channels and patterns; finding a channel's members costs its segments."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[T, None]] = {}
        self._root = _Node[T]()

    def add(self, pattern: str, member: T) -> None:
        """Put `member` under a channel or pattern; once is enough."""
        if "*" not in pattern and ">" not in pattern:
            self._exact.setdefault(pattern, {})[member] = None
            return
        node = self._root
        for segment in pattern.split("."):
            node = node.children.setdefault(segment, _Node())
        node.members[member] = None

    def discard(self, pattern: str, member: T) -> None:
        """Take `member` away; nothing happens if it is not there."""
        if "*" not in pattern and ">" not in pattern:
            members = self._exact.get(pattern)
            if members is not None:
                members.pop(member, None)
                if not members:
                    del self._exact[pattern]
            return
        path = [self._root]
        for segment in pattern.split("."):
            node = path[-1].children.get(segment)
            if node is None:
                return
            path.append(node)
        path[-1].members.pop(member, None)
        for parent, segment, node in zip(
            reversed(path[:-1]), reversed(pattern.split(".")), reversed(path), strict=False
        ):
            if node.members or node.children:
                break
            del parent.children[segment]

    def matching(self, channel: str) -> Iterable[T]:
        """Every member under `channel`, each once."""
        exact = self._exact.get(channel)
        if not self._root.children:
            return exact or ()
        found: dict[T, None] = dict(exact) if exact else {}
        for node in self._root.matching(channel.split("."), 0):
            found.update(node.members)
        return found


class _Node(Generic[T]):
    """One segment of the patterns' tree."""

    __slots__ = ("children", "members")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.members: dict[T, None] = {}

    def matching(self, segments: list[str], depth: int) -> Iterator[_Node[T]]:
        if depth == len(segments):
            yield self
            return
        rest = self.children.get(">")
        if rest is not None:
            yield rest
        for segment in (segments[depth], "*"):
            child = self.children.get(segment)
            if child is not None:
                yield from child.matching(segments, depth + 1)


class Matcher:
    """The channels of one subscriber: exact names and patterns, asked about one channel."""

    __slots__ = ("_regex", "exact", "patterns")

    def __init__(self, names: Iterable[str]) -> None:
        names = list(names)
        self.patterns = tuple(name for name in names if "*" in name or ">" in name)
        self.exact = frozenset(names) - set(self.patterns)
        self._regex: re.Pattern[str] | None = None

    def __contains__(self, channel: str) -> bool:
        if channel in self.exact:
            return True
        if not self.patterns:
            return False
        if self._regex is None:
            # One expression for all: 128 patterns are asked of thousands of frames in a look.
            self._regex = re.compile("|".join(map(_expression, self.patterns)), re.ASCII)
        return self._regex.fullmatch(channel) is not None

    @property
    def only(self) -> str | None:
        """The one channel that this is, if it is no more than that."""
        if self.patterns or len(self.exact) != 1:
            return None
        return next(iter(self.exact))

    def __iter__(self) -> Iterator[str]:
        yield from sorted(self.exact)
        yield from self.patterns


def _expression(pattern: str) -> str:
    segments = {"*": r"[^.]+", ">": r".+"}
    return r"\.".join(segments.get(part) or re.escape(part) for part in pattern.split("."))
