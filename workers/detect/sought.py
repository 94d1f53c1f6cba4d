"""Marked bars of several partitions, in batches: one call of a detector costs more than its rows. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Codes, Column
from ..marks import Marks
from ..sessions import Track
from .detector import Detector

_ROWS_OF_A_BATCH = 1024  # 3 MB of windows


class Sought(NamedTuple):
    """The marked bars of one partition on one track; ends: where each ends in its history."""

    number: int
    detector: Detector
    marks: Marks
    ends: Column

    @property
    def symbols(self) -> Codes:
        """The symbol of each bar."""
        return self.marks["symbol"].astype(np.int64)


def batches_on(track: Track, sought: Sequence[tuple[Detector, Marks]]) -> Iterator[list[Sought]]:
    """Yield the marked bars of a track, in batches whose windows fit into the processor's cache."""
    parts = [
        Sought(number, detector, *detector.located(track, marks)) for number, (detector, marks) in enumerate(sought)
    ]
    batch: list[Sought] = []
    room = _ROWS_OF_A_BATCH
    for part in parts:
        first = 0
        while first < len(part.marks):
            some = slice(first, first + room)
            batch.append(part._replace(marks=part.marks[some], ends=part.ends[some]))
            first, room = first + room, room - len(batch[-1].marks)
            if not room:
                yield batch
                batch, room = [], _ROWS_OF_A_BATCH
    if batch:
        yield batch
