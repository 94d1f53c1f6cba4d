"""Recognises trades that come again at the front door, even if another worker framed the first one.

A door that starts reads the frames of the last door, with the ids of their trades, from the partition streams. So
nothing else is stored, and the same entries, read again, are marked as before.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...contracts.errors import BadFrame
from ...contracts.frames import frame as frames
from ...contracts.frames.frame import Frame
from ...contracts.names import FRONT_DOOR_PRODUCER, REQUEUED
from ...contracts.partition import Position, ms_of, position_of
from ...contracts.spellings.same_trade import SameTrades
from ...contracts.spellings.tick_json import Entry
from ...contracts.ticks import OPTIONAL_COLUMNS, SETS_ALL, Column, Ticks
from ...db.redis import Client
from ..partition.tick_check import MS_NS, Limits, RowArrivals, may_count
from ..partition_reader import pages_of

_LOOK_BACK_MS = 90_000  # the minute in which a trade is recognised, and the time that its frame may take
_MOST = 1_000_000  # trades in each half of the memory, which then takes 64 MB


class DoorRepeats:
    """Marks the trades that come again; `restart` forgets all and reads the frames of the last door."""

    def __init__(self, client: Client, partitions: int, limits: Limits) -> None:
        self._client = client
        self._partitions = partitions
        self._limits = limits
        self._same, self._requeued = SameTrades(most=_MOST), SameTrades(most=_MOST)
        self._pages: Iterator[None] = iter(())
        self.is_ready = False

    def restart(self, number: int, left_out: Collection[int] = ()) -> None:
        """Restart after the entry with this number; `read_on` reads the frames of earlier entries, in steps.

        left_out: partitions whose keys hold another type: no frame is sent to them; the door restarts afterwards.
        """
        self._same = SameTrades(most=_MOST)
        self._requeued = SameTrades(most=_MOST)  # an entry that is framed again is not a repeat of itself
        self._pages = self._read_partitions(number, left_out)
        self.is_ready = False

    def read_on(self) -> None:
        """Read one page of the earlier frames; after the last page `is_ready` is true."""
        self.is_ready = next(self._pages, self) is self

    def mark(self, ticks: Ticks, entries: Sequence[Entry]) -> Ticks:
        """Return the rows of some entries with their repeats marked; a row that will be refused may come again.

        A dead letter that is sent again was never counted: it repeats nothing but another dead letter.
        """
        if "trade_key" not in ticks.optional:
            return ticks
        marked = self._mark(self._same, ticks)
        if not (letters := [row_id for row_id, fields in entries if REQUEUED in fields[::2]]):
            return marked
        requeued = np.isin(ticks.optional["row_id"], letters)
        flags = np.where(requeued, _flags(self._mark(self._requeued, ticks, requeued)), _flags(marked))
        return replace(ticks, optional={**ticks.optional, "flags": flags})

    def _mark(self, same: SameTrades, ticks: Ticks, chosen: Column | bool = True) -> Ticks:
        arrived_ns = ms_of(ticks.optional["row_id"]) * MS_NS
        arrivals = RowArrivals(arrived_ns, arrived_ns)
        return same.mark(ticks, may_count=lambda: chosen & may_count(ticks, arrivals, self._limits))

    def _read_partitions(self, number: int, left_out: Collection[int]) -> Iterator[None]:
        since = Position(max(0, position_of(number).ms - _LOOK_BACK_MS), 0)
        for partition in (p for p in range(self._partitions if number else 0) if p not in left_out):
            for page in pages_of(self._client, partition, str(since), "+"):
                for _, body in page:
                    self._remember(body, number)
                yield

    def _remember(self, body: bytes, number: int) -> None:
        ticks = _rows_up_to(_door_frame(body), number)
        if len(ticks):
            self._mark(self._same, ticks)


def _flags(ticks: Ticks) -> Column:
    return ticks.optional.get("flags", np.full(len(ticks), SETS_ALL, OPTIONAL_COLUMNS["flags"]))


def _door_frame(body: bytes) -> Frame | None:
    """Return the frame of an entry if the front door made it and its rows have trade ids; else None."""
    try:
        frame = frames.decode(body)
    except BadFrame:
        return None  # it is in the dead letters
    named = frame.producer == FRONT_DOOR_PRODUCER and {"trade_key", "row_id"} <= set(frame.columns)
    return frame if named else None


def _rows_up_to(frame: Frame | None, number: int) -> Ticks:
    """Return the rows up to a number: those above it are framed again."""
    if frame is None or frame.previous >= number:
        return Ticks.empty()
    try:
        ticks = frames.ticks_of(frame)
    except BadFrame:
        return Ticks.empty()
    return ticks.take(ticks.optional["row_id"] <= number)
