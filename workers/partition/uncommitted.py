"""What has happened in a partition since its last commit: one object, which the next commit replaces whole. Pure."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from ...contracts.gap import Hole
from ...contracts.partition import Position
from ...contracts.ticks import Refused
from .early_undos import EarlyUndo


@dataclass(slots=True)
class Counts:
    """What became of one producer's ticks since the last commit; `ticks_in` is the sum of the others."""

    ticks_in: int = 0
    applied: int = 0
    quote_or_zero: int = 0
    refused: int = 0
    future: int = 0
    too_late: int = 0
    superseded: int = 0
    lost: int = 0
    repeated: int = 0


class DeadLetter(NamedTuple):
    """A refused tick on its way to the dead letters. entry: the stream entry's id, where that was no frame."""

    producer: str
    refused: Refused
    entry: str | None = None


class EndedReplay(NamedTuple):
    """A replay whose last frame was applied here, or that was abandoned."""

    replay: str
    last_number: int
    abandoned: bool


@dataclass(slots=True)
class Uncommitted:
    """Everything that a commit makes durable or carries out once: what were left of it would count a second time."""

    counts: dict[str, Counts] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    ended_replays: list[EndedReplay] = field(default_factory=list)
    given_up: list[Hole] = field(default_factory=list)  # of the market's feeds
    undos: list[EarlyUndo] = field(default_factory=list)  # which the next commit carries out
    # By feed, (symbol, minute) of open bars that replace theirs: so many of their trades stand in no bar yet.
    rebuilt: dict[str, dict[tuple[int, int], int]] = field(default_factory=dict)
    undone: dict[tuple[str, str, int], list[EarlyUndo]] = field(default_factory=dict)  # what made these bars again
    heard: set[str] = field(default_factory=set)  # who sent something, repeats too
    unacked: list[bytes] = field(default_factory=list)  # ids of the entries that were read
    repeats: int = 0
    ticks: int = 0
    arrived_ns: int = 0  # when the newest live frame did, by Redis's clock
    dirty: bool = False  # the checkpoint would change, whether or not a tick came

    def count_of(self, producer: str) -> Counts:
        """Return a producer's counts, to be raised."""
        return self.counts.setdefault(producer, Counts())

    def refuse(self, producer: str, refused: Iterable[Refused]) -> None:
        """Count a producer's refused ticks, each by its reason, and keep them for the dead letters."""
        counts = self.count_of(producer)
        for tick in refused:
            outcome = tick.reason if tick.reason in ("future", "too_late") else "refused"
            setattr(counts, outcome, getattr(counts, outcome) + 1)
            self.dead_letters.append(DeadLetter(producer, tick))

    def split_acked(self, position: Position) -> tuple[list[bytes], Self]:
        """Return the ids that can be acked once everything up to a position is committed, and what is left then."""
        end = bisect_right(self.unacked, position, key=Position.parse)  # many stay where the position waits for a hole
        return self.unacked[:end], type(self)(unacked=self.unacked[end:])
