"""Reads the entries of the front door in their order, each with its number, in pieces; and counts lost ones.

A number is the id of an entry, if it is not ahead of Redis TIME (contracts/door.py). If an id cannot be a number, the
stream is rebuilt (db/streams/door_stream.py), so that no later entry is lost. Entries that were trimmed or deleted
before they
were read are found by counting: the server counts added entries, and this class counts read ones.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import structlog
from redis.exceptions import ResponseError

from ...contracts.bounds import DOOR_BYTES_AHEAD, DOOR_PIECE_WEIGHT, DOOR_READ_BYTES, DOOR_READ_ENTRIES, DOOR_ROWS_AHEAD
from ...contracts.door import MARK, Fields, is_numbered, number_entries, refused_giant, refused_mark
from ...contracts.partition import MAX_POSITION, Position, number_of, position_of
from ...contracts.ticks import Refused
from ...db.redis import is_gone
from ...db.redis_connection import ReplyTooLarge
from ...db.streams.door_stream import DoorState, DoorStream, Read
from ..steady_clock import SteadyClock

log = structlog.get_logger()

_FIRST_ENTRIES = 256  # in the first reply, because their size is still unknown
_FEWER = 16  # after a reply that was too large, the next one asks for a sixteenth of the entries


class Piece(NamedTuple):
    """Entries to be parsed together. last: the number of the last one; refused: those that are not parsed."""

    entries: Sequence[tuple[int, Fields]]
    refused: list[Refused]
    last: int


class Loss(NamedTuple):
    """Entries that were deleted before they were read. base: the id where the count begins; entries: their number."""

    base: str
    entries: int
    after: Position
    through: Position


class DoorChanged(Exception):  # no error
    """Another stream has the key: restart the front door."""


class _Framed(NamedTuple):
    """A piece whose frames are made, but not applied in every partition yet. seen: entries read up to its end."""

    last: int
    rows: int
    bytes: int
    seen: int


class _Copying(NamedTuple):
    """A rebuild under way: of the entries (kept_after, through], those up to `after` are copied; kept: how many."""

    kept_after: Position
    after: Position
    through: Position
    kept: int


class DoorReader:
    """Reads for the door's one owner. max_ahead_ms: how far an id may be ahead of Redis TIME."""

    def __init__(self, stream: DoorStream, *, clock: SteadyClock, max_ahead_ms: int) -> None:
        self._stream = stream
        self._clock = clock
        self._max_ahead_ms = max_ahead_ms
        self.losses: list[Loss] = []  # that were found and are not in the ledger yet
        self._replaced = False  # the stream that was read is gone, and another has its key
        self._begin(0, 0, None)

    def _begin(self, number: int, highest: int, counted: int | None) -> None:
        self._cursor = number  # everything up to here was read
        self._highest = highest  # the highest number ever given
        self._waiting: list[tuple[int, Fields]] = []  # entries that were read, and are not parsed yet
        self._weights: list[int] = []
        self._marks = 0  # of the waiting entries are marks
        self._framed: deque[_Framed] = deque()
        self._copying: _Copying | None = None  # while the stream is rebuilt
        self._count = _FIRST_ENTRIES
        self._is_full = False  # the last reply had as many entries as were asked for: there may be more
        self._bytes = 0  # read since the last piece was framed
        self._seen = 0  # entries read
        self._lost = 0  # entries lost since the group was moved
        self._offset = None if counted is None else -counted  # entries added = seen - offset + lost; None: unknown
        self._added: int | None = None  # entries that the server had added at the last read
        self._group_at = position_of(number)
        self._base = f"{self._group_at} {counted}"
        self._counted_to = self._group_at  # everything up to here was read, or is counted as lost
        self._at_ms = self.now_ms = 0  # of the last read: Redis TIME, and the time that we trust

    @property
    def has_more(self) -> bool:
        """Tell whether there may be entries to read without waiting."""
        return bool(self._waiting) or self._copying is not None or self._is_full

    @property
    def is_far_ahead(self) -> bool:
        """Tell whether the slowest partition has so much to apply that reading must pause."""
        rows, size = (sum(framed[i] for framed in self._framed) for i in (1, 2))
        return rows > DOOR_ROWS_AHEAD or size > DOOR_BYTES_AHEAD

    def register(self, epoch: int) -> int:
        """Fence former owners; return a higher epoch that Redis knows, or 0."""
        return self._stream.register(epoch)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    # -- start -----------------------------------------------------------------------------------------------------

    def open(self, lowest: int, highest: int, now_ms: int) -> int:
        """Begin after the entries that every partition has applied, or before; return the number after which it reads.

        highest: the highest number that an entry ever had.
        """
        look, last = self._stream.state(), position_of(highest)
        most_ms = self._most_ms(now_ms, highest)
        counted: int | None = 0
        if look is None or (look.group is None and highest and (self._replaced or look.last < last)):
            self._replace(look, last, most_ms)
            lowest = highest
        elif look.group is None:
            counted = None if highest else 0
            self._stream.make(counted=counted)
        elif look.last < last:
            self._stream.set_last(last)
            log.error("entries of the front door may be lost", after=str(look.last), through=str(last))
        if look is not None and look.group is not None:
            lowest, counted = _where_counted(look, lowest)
        self._replaced = False
        self._begin(lowest, max(lowest, highest), counted)
        return lowest

    def gone_to(self) -> int:
        """Return the number up to which no entry exists any more: it is never read again."""
        first = self._stream.peek(position_of(self._cursor))
        number = None if first is None else number_of(first.position)
        return max(self._cursor, self._highest if number is None else min(number - 1, self._highest))

    def _replace(self, look: DoorState | None, last: Position, most_ms: int) -> None:
        swapped = self._stream.replace(last, most_ms)
        if look is not None:
            log.warning("front door holds another stream: its entries get new ids", entries=swapped.moved)

    def _most_ms(self, now_ms: int, highest: int) -> int:
        """Return the ms of the latest id that can be a number.

        After an id that is ahead, Redis gives ids of the same ms.
        """
        return min(max(now_ms + self._max_ahead_ms, position_of(highest).ms), MAX_POSITION.ms)

    # -- reading ---------------------------------------------------------------------------------------------------

    def next_piece(self) -> Piece | None:
        """Return the next entries, few enough to be parsed in a moment; None if no entry waits."""
        if not self._waiting and self._copying is not None:
            self._go_on_rebuilding(self._copying)
            return None
        if not self._waiting:
            giant = self._read()
            if giant is not None:
                return Piece((), [giant], giant.row_id)
        if not self._waiting:
            return None
        end = max(1, bisect_right(list(accumulate(self._weights)), DOOR_PIECE_WEIGHT))
        taken, self._waiting = self._waiting[:end], self._waiting[end:]
        self._weights = self._weights[end:]
        if not self._marks:
            return Piece(taken, [], taken[-1][0])
        marked = [(number, fields) for number, fields in taken if fields[0] == MARK]
        self._marks -= len(marked)
        plain = [(number, fields) for number, fields in taken if fields[0] != MARK]
        return Piece(plain, [refused_mark(number, fields) for number, fields in marked], taken[-1][0])

    def note_framed(self, piece: Piece, rows: int) -> None:
        """Record that the frames of a piece are made."""
        seen = self._seen - len(self._waiting)
        self._framed.append(_Framed(piece.last, rows, self._bytes, seen))
        self._bytes = 0

    def _read(self) -> Refused | None:
        """Read the next entries. An entry that is too large is returned as a refused one."""
        try:
            read = self._stream.read(position_of(self._cursor), self._count)
        except ReplyTooLarge:
            self._is_full = True
            if self._count > 1:
                self._count = max(1, self._count // _FEWER)
                return None
            return self._pass_giant()
        self._at_ms, self.now_ms = read.at_ms, self._clock.read(read.at_ms).ms
        self._take(read, self._expect_same(read))
        return None

    def _take(self, read: Read, look: DoorState) -> None:
        most_ms = self._most_ms(read.at_ms, self._highest)
        found = number_entries(read.entries, most_ms)
        self._is_full = len(read.entries) >= self._count
        if found.entries:
            self._cursor = found.entries[-1][0]
            self._highest = max(self._highest, self._cursor)
            self._waiting, self._weights, self._marks = found.entries, found.weights, found.marks
            self._seen += len(found.entries)
            self._bytes += found.bytes
        self._adapt(len(read.entries), found.bytes)
        is_sound = is_numbered(look.last, most_ms)
        if not found.is_whole or not (self._is_full or is_sound):
            self._begin_rebuild()
        elif look.aside and is_sound:
            self._stream.go_on_moving(position_of(self._cursor), most_ms)
            self._is_full = True
        elif not self._is_full:
            self._count_lost(look)

    def _adapt(self, entries: int, size: int) -> None:
        """Choose how many entries to ask for, so that a reply is neither too large nor too small."""
        if size > DOOR_READ_BYTES:
            self._count = max(1, self._count * DOOR_READ_BYTES // size)
        elif entries >= self._count and size * 4 <= DOOR_READ_BYTES:
            self._count = min(DOOR_READ_ENTRIES, self._count * 4)

    def _pass_giant(self) -> Refused | None:
        giant = self._stream.peek(position_of(self._cursor))
        most_ms = self._most_ms(self._at_ms, self._highest)
        number = number_of(giant.position) if giant is not None and giant.position.ms <= most_ms else None
        if giant is None or number is None:
            self._count = _FEWER
            if giant is not None:
                self._begin_rebuild()
            return None
        self._cursor = number
        self._highest = max(self._highest, number)
        self._seen += 1
        self._bytes += giant.size
        log.error("an entry of the front door is too large to be read", id=str(giant.position), bytes=giant.size)
        return refused_giant(number, giant.size, giant.beginning)

    # -- rebuild ---------------------------------------------------------------------------------------------------

    def _begin_rebuild(self) -> None:
        """Begin to rebuild the stream after the read entries, because an id there cannot be a number."""
        if self._at_ms > MAX_POSITION.ms:
            log.error("the clock of Redis is too far ahead for valid ids: the front door waits", redis_ms=self._at_ms)
            self._is_full = False
            return
        self._stream.begin_copy()
        self._copying = _Copying(self._group_at, self._group_at, position_of(self._cursor), 0)

    def _go_on_rebuilding(self, copying: _Copying) -> None:
        """Copy some entries with their ids; when all are copied, replace the stream by the copy."""
        copied = self._stream.copy(copying.after, copying.through)
        kept = copying.kept + copied.entries
        self._copying = copying._replace(after=copied.after, kept=kept)
        if not copied.is_done:
            return
        most_ms = self._most_ms(self._at_ms, self._highest)
        swapped = self._stream.swap(copying.kept_after, copying.through, most_ms)
        log.warning("front door rebuilt, an id was out of bounds", after=str(copying.through), moved=swapped.moved)
        if self._expected is not None and swapped.added is not None:
            self._note(swapped.added - self._expected - swapped.moved, copying.through)
        self._copying, self._group_at = None, copying.kept_after
        self._offset, self._lost = self._seen - kept, 0
        self._base, self._counted_to = f"{self._group_at} 0", copying.through
        self._added, self._is_full = None, True

    # -- lost entries ----------------------------------------------------------------------------------------------

    @property
    def _expected(self) -> int | None:
        """Return how many entries the server has added, if no other client deletes any."""
        return None if self._offset is None else self._seen - self._offset + self._lost

    def _expect_same(self, read: Read) -> DoorState:
        """Return the state of the stream.

        Raises DoorChanged if it ends below what was read, or another stream has taken its place.
        """
        look, cursor = read.state, position_of(self._cursor)
        if look is not None and look.group is not None:
            if look.last < cursor:
                raise DoorChanged  # Redis was restored from older data
            return look
        fewest = (self._expected or 0) + len(read.entries)
        if look is not None and look.last >= cursor and (look.added is None or look.added >= fewest):
            self._stream.make(counted=None)  # only the group is gone
            return look
        if self._added is not None and self._expected is not None:
            self._note(self._added - self._expected, cursor)
        self._replaced = True
        raise DoorChanged

    def _count_lost(self, look: DoorState) -> None:
        """Compare the number of read entries with the added ones, at a moment when no entry is unread."""
        self._added = look.added
        if look.added is None:
            return
        if self._expected is None or look.added < self._expected:
            self._offset = self._seen + self._lost - look.added
        self._note(look.added - (self._expected or 0), look.last)
        self._counted_to = look.last

    def _note(self, lost: int, through: Position) -> None:
        if lost <= 0:
            return
        self._lost += lost
        log.error("entries of the front door are lost", entries=lost, after=str(self._counted_to), through=str(through))
        self.losses.append(Loss(self._base, self._lost, self._counted_to, through))

    def passed(self, lowest: int) -> None:
        """Drop pieces from memory that all partitions have applied, except those left out: the stream keeps them."""
        while self._framed and self._framed[0].last <= lowest:
            self._framed.popleft()

    def applied(self, lowest: int) -> None:
        """Move the group after the entries that every partition has applied, so that they can be trimmed."""
        done = None
        while self._framed and self._framed[0].last <= lowest:
            done = self._framed.popleft()
        if done is None:
            return
        self._group_at = position_of(done.last)
        counted = None if self._offset is None else done.seen - self._offset + self._lost
        try:
            self._stream.move_group(self._group_at, counted)
        except ResponseError as e:
            if not is_gone(e):
                raise
            return  # the next read shows whether only the group is gone, or another stream has the key
        if self._offset is not None:
            self._offset, self._lost = self._offset - self._lost, 0
        self._base = f"{self._group_at} {counted}"


def _where_counted(look: DoorState, lowest: int) -> tuple[int, int | None]:
    """Return the number at which to begin, not after our group, and how many entries were added up to there."""
    at = number_of(look.group) if look.group is not None else None
    return (at, look.counted) if at is not None and at <= lowest and look.counted is not None else (lowest, None)
