"""Rounds: turns, spoiled ones, and servers that cannot be measured."""

import pytest

from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.peers import NotInstalledError
from scripts.benchmark.rounds import Collected, Measured, collect


class Machine:
    """Measures by number; the runs of `noisy` are spoiled, those of `broken` fail."""

    def __init__(self, noisy: set[int] | None = None, broken: str = "") -> None:
        self.noisy, self.broken = noisy or set(), broken
        self.asked: list[str] = []

    def measure(self, name: str) -> Measured:
        self.asked.append(name)
        if name == self.broken:
            raise NotInstalledError("there is no such program")
        run = len(self.asked)
        return Measured({"cost": float(run)}, 80.0 if run in self.noisy else 1.0)


def rounds(machine: Machine, *, pairs: int, repeats: int = 3) -> Collected:
    return collect(
        ["floor", "peer"],
        ["floor"],
        machine.measure,
        pairs=pairs,
        repeats=repeats,
        other_pct=15.0,
    )


def test_the_order_turns_with_each_round() -> None:
    machine = Machine()
    rounds(machine, pairs=2)
    assert machine.asked == ["floor", "peer", "peer", "floor"]


def test_a_spoiled_round_is_thrown_away_and_repeated() -> None:
    machine = Machine(noisy={2})
    found = rounds(machine, pairs=1)
    assert (found.spoiled, found.kept) == (1, 0)
    assert found.of("floor", "cost") == [4.0]
    assert found.notes() == ["1 spoiled rounds were repeated"]


def test_a_round_that_is_spoiled_is_not_finished() -> None:
    machine = Machine(noisy={1})
    rounds(machine, pairs=1)
    assert machine.asked == ["floor", "peer", "floor"]


def test_repeats_are_bounded_and_what_is_kept_is_said() -> None:
    machine = Machine(noisy=set(range(100)))
    found = rounds(machine, pairs=2, repeats=3)
    assert (found.spoiled, found.kept, len(found.rounds)) == (3, 2, 2)
    assert any("2 of 2 rounds were spoiled" in note for note in found.notes())


def test_a_peer_that_cannot_be_had_is_left_out_with_its_reason() -> None:
    machine = Machine(broken="peer")
    found = rounds(machine, pairs=3)
    assert machine.asked == ["floor", "peer", "floor", "floor"]
    assert not found.has("peer")
    assert found.has("floor")
    assert found.notes() == ["peer: not installed: there is no such program"]


def test_a_peer_that_fails_later_has_no_figures_at_all() -> None:
    seen: list[str] = []

    def measure(name: str) -> Measured:
        seen.append(name)
        if name == "peer" and seen.count("peer") == 2:
            msg = "w1: lost 3"
            raise MeasureError(msg)
        return Measured({"cost": 1.0})

    found = collect(["floor", "peer"], ["floor"], measure, pairs=3, repeats=0, other_pct=15.0)
    assert not found.has("peer")
    assert found.failed == {"peer": "failed: w1: lost 3"}


def test_what_is_required_fails_the_row() -> None:
    with pytest.raises(NotInstalledError):
        rounds(Machine(broken="floor"), pairs=1)
