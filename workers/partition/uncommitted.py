"""The changes of a partition since its last commit: one object, which the next commit replaces whole. Pure."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from ...contracts.gap import Hole
from ...contracts.names import MARKET_PRODUCERS
from ...contracts.partition import Position
from ...contracts.ticks import Refused
from .early_undos import EarlyUndo


@dataclass(slots=True)
class Counts:
    """The outcomes of one producer's ticks since the last commit; `ticks_in` is the sum of the others."""

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
    """A refused tick on its way to the dead letters. entry: the stream entry's id if the entry was not a frame."""

    producer: str
    refused: Refused
    entry: str | None = None


class EndedReplay(NamedTuple):
    """A replay that ended here: its last frame was applied, or it was abandoned."""

    replay: str
    last_number: int
    abandoned: bool


@dataclass(slots=True)
class Uncommitted:
    """Everything that a commit writes or carries out once. It is replaced whole, so that nothing counts twice."""

    counts: dict[str, Counts] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    ended_replays: list[EndedReplay] = field(default_factory=list)
    given_up: list[Hole] = field(default_factory=list)  # lost numbers of feeds of the market
    undos: list[EarlyUndo] = field(default_factory=list)  # cancels and corrections for the next commit to carry out
    # By feed, open bars that were made again: (symbol, minute), and how many of its trades no commit has counted yet.
    rebuilt: dict[str, dict[tuple[int, int], int]] = field(default_factory=dict)
    # By (feed, symbol, minute): why that bar was made again.
    undone: dict[tuple[str, str, int], list[EarlyUndo]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)  # producers that sent something, even a repeat
    unacked: list[bytes] = field(default_factory=list)  # ids of the entries that were read
    repeats: int = 0
    ticks: int = 0
    arrived_ns: int = 0  # arrival of the newest live frame, Unix ns by Redis's clock
    dirty: bool = False  # the checkpoint would change, even without a tick

    def count_of(self, producer: str) -> Counts:
        """Return a producer's counts; the caller may raise them."""
        return self.counts.setdefault(producer, Counts())

    def refuse(self, producer: str, refused: Iterable[Refused]) -> None:
        """Count a producer's refused ticks by their reasons, and keep them for the dead letters."""
        counts = self.count_of(producer)
        for tick in refused:
            outcome = tick.reason if tick.reason in ("future", "too_late") else "refused"
            setattr(counts, outcome, getattr(counts, outcome) + 1)
            self.dead_letters.append(DeadLetter(producer, tick))

    def lose(self, hole: Hole) -> None:
        """Count the ticks of missing frames as lost. A feed of the market has a gap then, which can be repaired."""
        counts = self.count_of(hole.producer)
        counts.ticks_in += hole.ticks
        counts.lost += hole.ticks
        if hole.producer.startswith(MARKET_PRODUCERS):
            self.given_up.append(hole)
        self.dirty = True

    def split_acked(self, position: Position) -> tuple[list[bytes], Self]:
        """Return the ids that can be acked after a commit up to this position, and a new object with the others."""
        # While the position waits for missing frames, most ids stay.
        end = bisect_right(self.unacked, position, key=Position.parse)
        return self.unacked[:end], type(self)(unacked=self.unacked[end:])
