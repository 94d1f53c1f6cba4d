"""② Ticks -> frames of a partition. The numbers and the birth of a frame are given once. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple
from zlib import crc32

from ..contracts.frames.frame import MAX_TICKS, FrameKind
from ..contracts.frames.maker import Identity, make_frame
from ..contracts.partition import split
from ..contracts.ticks import Refused, Ticks, concat

_REFUSED_OF_A_FRAME = 64  # the original text of each may have 64 KiB


class Numbered(NamedTuple):
    """A frame with its numbers (previous, last], ready to be sent, also more than once."""

    partition: int
    previous: int
    last: int
    body: bytes


@dataclass(slots=True)
class _Partition:
    number: int = 0
    waiting: list[Ticks] = field(default_factory=list)
    ticks: int = 0


class Framer:
    """Deals ticks to partitions and cuts frames of 512; the rest waits for more ticks, or for `flush`.

    The same batches give the same frames: a replay's number N is always the same tick.
    skip: numbers that are committed already, by partition; their frames are counted, not made.
    """

    def __init__(
        self, identity: Identity, partitions: int, *, now_ms: Callable[[], int], skip: Mapping[int, int] | None = None
    ) -> None:
        self.identity = identity
        self._now_ms = now_ms
        self._skip = skip or {}
        self._partitions = [_Partition() for _ in range(partitions)]

    @property
    def waiting(self) -> int:
        """The number of ticks that wait for a full frame."""
        return sum(partition.ticks for partition in self._partitions)

    def add(self, ticks: Ticks) -> list[Numbered]:
        """Take a batch; return the frames that are full, and one for the refused rows of each partition."""
        frames = list(self._frames_of_refused(ticks.refused))
        for p, part in split(ticks, len(self._partitions)).items() if len(ticks) else ():
            partition = self._partitions[p]
            partition.waiting.append(part)
            partition.ticks += len(part)
            if partition.ticks >= MAX_TICKS:
                frames += self._cut(p, keep=partition.ticks % MAX_TICKS)
        return frames

    def flush(self) -> list[Numbered]:
        """Return frames of all ticks that wait."""
        return [frame for p in range(len(self._partitions)) for frame in self._cut(p, keep=0)]

    def end(self) -> list[Numbered]:
        """Return the waiting ticks as frames, then the end frame of every partition."""
        frames = self.flush()
        return frames + [f for p in range(len(self._partitions)) for f in self._number(p, Ticks.empty(), "end")]

    def _frames_of_refused(self, refused: Sequence[Refused]) -> Iterator[Numbered]:
        count = len(self._partitions)
        home = sorted(refused, key=lambda row: crc32(row.original) % count)
        for p, rows in groupby(home, key=lambda row: crc32(row.original) % count):
            kept = list(rows)
            for i in range(0, len(kept), _REFUSED_OF_A_FRAME):
                yield from self._number(p, Ticks.empty(kept[i : i + _REFUSED_OF_A_FRAME]), self.identity.kind)

    def _cut(self, p: int, *, keep: int) -> Iterator[Numbered]:
        partition = self._partitions[p]
        if not partition.ticks:
            return
        ticks = concat(partition.waiting)
        end = len(ticks) - keep
        for first in range(0, end, MAX_TICKS):
            yield from self._number(p, ticks.take(slice(first, min(first + MAX_TICKS, end))), self.identity.kind)
        partition.waiting = [ticks.take(slice(end, None))] if keep else []
        partition.ticks = keep

    def _number(self, p: int, ticks: Ticks, kind: FrameKind) -> Iterator[Numbered]:
        partition = self._partitions[p]
        previous = partition.number
        partition.number += len(ticks) + len(ticks.refused) + (kind == "end")
        if partition.number <= self._skip.get(p, 0):
            return
        body = make_frame(self.identity, ticks, kind, previous, partition.number, self._now_ms())
        yield Numbered(p, previous, partition.number, body)
