"""Unpacks frames into ticks; frames whose symbols do not belong to the partition are refused and counted. Pure."""

from collections.abc import Iterable, Iterator

from ...contracts.bounds import MAX_BODY_BYTES
from ...contracts.errors import BadFrame
from ...contracts.frames import frame as frames
from ...contracts.partition import is_at_home
from ...contracts.ticks import MAX_SYMBOL_LENGTH, Refused, Ticks
from .frame_order import Arrival
from .numbering import Numbering
from .uncommitted import DeadLetter, Uncommitted

_PIECE_ROWS = 65_536  # unpacked together at most, except one larger frame: leases are renewed between two pieces


def pieces_of(arrivals: list[Arrival]) -> Iterator[list[Arrival]]:
    """Cut a list of frames into pieces of at most _PIECE_ROWS rows, in their order."""
    first = rows = 0
    for i, arrival in enumerate(arrivals):
        if rows + arrival.frame.count > _PIECE_ROWS and i > first:
            yield arrivals[first:i]
            first, rows = i, 0
        rows += arrival.frame.count
    yield arrivals[first:]


class Unpacker:
    """Unpacks the frames of one partition. partitions: of the stream; None: any symbol may come.

    numbering: a symbol with a number was checked before.
    """

    def __init__(self, partition: int, partitions: int | None, numbering: Numbering) -> None:
        self._partition = partition
        self._partitions = partitions
        self._numbering = numbering

    def unpack(self, producer: str, arrivals: list[Arrival], uncommitted: Uncommitted) -> list[Ticks]:
        """Unpack one producer's frames; count their rows, and refuse those that came as refused.

        Returns one batch for each frame, or a single batch if the frames have the same columns.
        """
        counts = uncommitted.count_of(producer)
        batches = self._together(arrivals) or [self._one(arrival, uncommitted) for arrival in arrivals]
        for arrival, ticks in zip(arrivals, batches, strict=False):
            rows = len(ticks) + len(ticks.refused)
            counts.ticks_in += 0 if arrival.was_lost else rows
            counts.lost -= rows if arrival.was_lost else 0
            uncommitted.refuse(producer, ticks.refused)
        return batches

    def _together(self, arrivals: list[Arrival]) -> list[Ticks]:
        """Return full frames of a replay as one batch; nothing if some frame must be unpacked by itself."""
        batch = [arrival.frame for arrival in arrivals]
        if not batch[0].is_replay or not frames.are_alike(batch):
            return []
        try:
            ticks = frames.ticks_of_alike(batch)
            self._expect_symbols(ticks.symbols)
        except BadFrame:
            return []
        return [ticks]

    def _one(self, arrival: Arrival, uncommitted: Uncommitted) -> Ticks:
        """Return a frame's new rows; if its block is corrupt, all of its rows are refused."""
        frame = arrival.frame
        try:
            self._expect_symbols(frame.symbols)
            return _rows_above(frames.ticks_of(frame), arrival.above)
        except BadFrame as e:
            counts = uncommitted.counts[frame.producer]
            counts.refused += frame.rows
            # Numbers that were counted as lost are in the ledger already.
            counts.lost -= frame.rows if arrival.was_lost else 0
            counts.ticks_in += 0 if arrival.was_lost else frame.rows
            original = frames.encode(frame)[:MAX_BODY_BYTES]
            uncommitted.dead_letters.append(DeadLetter(frame.producer, Refused("bad_frame", str(e), original)))
            return Ticks.empty()

    def _expect_symbols(self, symbols: Iterable[str]) -> None:
        """Raise BadFrame for a new symbol that is too long or unprintable, or that belongs to another partition."""
        known = self._numbering.codes
        for symbol in symbols:
            if symbol in known:
                continue
            if not (symbol.isprintable() and 0 < len(symbol) <= MAX_SYMBOL_LENGTH):
                raise BadFrame(f"{symbol!r} is not a symbol")
            if not is_at_home(symbol, self._partition, self._partitions):
                raise BadFrame(f"{symbol!r} is a symbol of another partition")


def _rows_above(ticks: Ticks, number: int) -> Ticks:
    """Keep the rows of a front-door frame that are new."""
    if not number:
        return ticks
    rows = ticks.optional["row_id"] > number if len(ticks) else slice(0)
    return ticks.take(rows, [r for r in ticks.refused if r.row_id > number])
