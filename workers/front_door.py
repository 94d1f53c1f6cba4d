"""Plain entries of `tickstock-stream`, anybody's XADD -> frames of the partitions. One worker does it, by lease.

Nothing is kept: the entries stay until every partition has applied them, and are read again from there whenever
something is odd. Frames are numbered by entry ids (contracts/partition.py), and each row carries its own, so what is
read again is dropped row by row. How the stream is read stands in workers/door_reader.py. A turn of the worker brings
one piece to the partitions, so that leases are renewed and other feeds go on however much waits.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np
import structlog
from redis.exceptions import ResponseError

from ..contracts.bounds import LONG_REFUSED_ROWS
from ..contracts.errors import LeaseTaken
from ..contracts.frames import frame as frames
from ..contracts.frames.aside import pack_aside
from ..contracts.frames.frame import MAX_TICKS, VERSION, Frame
from ..contracts.lease import Lease
from ..contracts.names import DOOR_KEYS, FRONT_DOOR_PRODUCER, LIVE_FEED, flow_key, frame_keys
from ..contracts.partition import position_of, split
from ..contracts.spellings.tick_json import Entry
from ..contracts.ticks import Column, Refused, Ticks
from ..db import lease as leases
from ..db.frame_stream import Send, send
from ..db.lease import RENEW_EVERY_S
from ..db.look.foreign_keys import ForeignKeyWatch
from ..db.look.lag import number_in
from ..db.metrics import TICKS_LOST
from ..db.postgres import Database
from ..db.queries import query
from ..db.redis import Client, is_exhausted, is_foreign, is_out_of_memory, redis_ms
from ..db.world import World
from .door_reader import DoorChanged, DoorReader, Loss, Piece
from .door_repeats import DoorRepeats
from .partition.tick_check import Limits

log = structlog.get_logger()

_POLL_EVERY_S = 1.0
_LONG_ROW_BYTES = 1024
_FULL_WAIT_S = 1.0  # after Redis refused a frame
_RESTART_EVERY_S = 5.0  # a worker's `want` is answered at most so often


class FrontDoor:
    """The front door of the fleet; every worker has one, the one with the lease works."""

    def __init__(  # noqa: PLR0913  # two servers, and how entries become frames
        self,
        client: Client,
        database: Database,
        consumer: str,
        *,
        partitions: int,
        reader: DoorReader,
        parse: Callable[[Sequence[Entry]], Ticks],
        limits: Limits,
        world: World,
    ) -> None:
        self._world = world
        self._client = client
        self._database = database
        self._consumer = consumer
        self._reader = reader
        self._partitions = partitions
        self._parse = parse
        self._repeats = DoorRepeats(client, partitions, limits)
        self._foreign = ForeignKeyWatch(client, frame_keys, world=world)  # partitions that no frame can be sent to
        self._foreign_door = ForeignKeyWatch(client, lambda _: DOOR_KEYS, world=world)
        self._lease: Lease | None = None
        self._lease_at = 0.0
        self._full_until = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget where the door stands: the next step looks it up."""
        self._framed_to: int | None = None
        self._previous = [0] * self._partitions
        self._last_sent: list[str | None] = [None] * self._partitions
        self._sends = 0
        self._poll_at = 0.0
        self._restart_at = 0.0

    # -- the lease -------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Frame what came in, if the door is ours; return whether there may be more at once.

        While Redis is out of memory the door waits, and the worker goes on: only its commits make room.
        """
        self._look_at_lease()
        if self._lease is None or self._world.monotonic_s() < self._full_until:
            return False
        try:
            self._look_at_foreign()
            busy = False if self._foreign_door.left_out else self._frame_next()
            self._note_losses()
        except DoorChanged:
            log.warning("front door restarted", why="its stream was cut off or replaced")
            self._note_losses()
            self.reset()
            return True
        except ResponseError as e:
            may_pass = is_out_of_memory(e) or is_exhausted(e) or is_foreign(e) or str(e).startswith("FENCED")
            if not may_pass:
                raise
            if is_foreign(e):
                self._leave_out()
            self._wait_for_room()
            return False
        return busy

    def _leave_out(self) -> None:
        """Find the keys that hold something else: what is for their partitions stays at the door, and is read again."""
        self._foreign_door.check([0])
        self._foreign.check(range(self._partitions))

    def _look_at_foreign(self) -> None:
        """Begin anew where a key is right again, at the lowest number that is applied."""
        if self._foreign_door.put_right() | self._foreign.put_right():
            self.reset()

    def _wait_for_room(self) -> None:
        self.reset()
        self._full_until = self._world.monotonic_s() + _FULL_WAIT_S

    def _frame_next(self) -> bool:
        if self._framed_to is None:
            self._start()
        if self._world.monotonic_s() >= self._poll_at:
            self._poll()
        if not self._repeats.is_ready:
            self._repeats.read_on()
            return True
        if self._framed_to is None or self._reader.is_far_ahead:
            return False
        piece = self._reader.next_piece()
        if piece is not None:
            self._frame(piece)
        return self._reader.has_more

    def _look_at_lease(self) -> None:
        if self._world.monotonic_s() < self._lease_at:
            return
        self._lease_at = self._world.monotonic_s() + RENEW_EVERY_S
        connection = self._database.connection
        if self._lease is not None:
            if leases.renew(connection, self._consumer, [self._lease]):
                return
            log.info("front door lost")
        try:
            self._lease = leases.take(connection, "front-door", self._consumer)
            log.info("front door taken", epoch=self._lease.epoch)
        except LeaseTaken:
            self._lease = None
        self.reset()

    def release(self) -> None:
        """Leave the door to another worker."""
        if self._lease is not None:
            leases.release(self._database.connection, self._consumer, [self._lease])
            self._lease = None
        self._reader.close()

    # -- where it stands -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin at the lowest number that a partition has applied: below it, everything is committed everywhere.

        The highest is one that was sent, perhaps: its rows may wait in a partition, and no other may get their numbers.
        """
        self._register()
        rows = self._database.connection.execute(query("front_door_numbers")).fetchall()
        applied: dict[int, int] = dict(rows)
        start = min(applied.values()) if len(applied) == self._partitions else 0
        open_to = [p for p in range(self._partitions) if p not in self._foreign.left_out]
        sent = (number_in(sent) for sent, *_ in self._flows(open_to))
        # It may read rows again that were counted, but not let go of: a frame's rows are above its previous number.
        start = min(start, self._reader.open(start, max((*applied.values(), *sent), default=0), redis_ms(self._client)))
        self._framed_to = start
        self._repeats.restart(self._reader.gone_to(), frozenset(self._foreign.left_out))
        self._previous = [start] * self._partitions
        self._last_sent = [None] * self._partitions
        self._poll_at = self._world.monotonic_s() + _POLL_EVERY_S

    def _register(self) -> None:
        """Fence former owners. Where Redis knows a higher epoch, PostgreSQL came back older: ours goes above it."""
        if self._lease is None:
            return
        while known := self._reader.register(self._lease.epoch):
            values = {"unit": self._lease.unit, "owner": self._consumer, "epoch": self._lease.epoch, "known": known}
            row = self._database.connection.execute(query("raise_lease_epoch"), values).fetchone()
            if row is None:
                break  # it is another's: the next look at the lease says so
            self._lease = self._lease._replace(epoch=row[0])

    def _flows(self, partitions: Sequence[int]) -> list[tuple[bytes | None, ...]]:
        """Return what stands in some partitions of the door's frames: sent, done, want."""
        pipeline = self._client.pipeline(transaction=False)
        for p in partitions:
            pipeline.hmget(flow_key(p), [f"{name}:{FRONT_DOOR_PRODUCER}" for name in ("sent", "done", "want")])
        return list(map(tuple, pipeline.execute()))

    def _poll(self) -> None:
        """Look each second how far the partitions are: trim what all have applied, start over where Redis forgot."""
        self._poll_at = self._world.monotonic_s() + _POLL_EVERY_S
        open_to = [p for p in range(self._partitions) if p not in self._foreign.left_out]
        flows = self._flows(open_to)
        for p, (sent, _, want) in zip(open_to, flows, strict=True):
            forgotten = self._last_sent[p] is not None and (sent or b"").decode(errors="replace") != self._last_sent[p]
            wanted = want is not None and self._world.monotonic_s() >= self._restart_at
            if forgotten or wanted:
                log.warning("front door restarted", partition=p, why="Redis forgot" if forgotten else "missing frames")
                self._client.hdel(flow_key(p), f"want:{FRONT_DOOR_PRODUCER}")
                self.reset()
                self._restart_at = self._world.monotonic_s() + _RESTART_EVERY_S
                return
        lowest = min((number_in(done) for _, done, _ in flows), default=0)
        if len(open_to) == self._partitions:
            self._reader.applied(lowest)
        else:  # what a partition that is left out has not applied must stay
            self._reader.passed(lowest)
        self._send([self._make(p, Ticks.empty(), self._framed_to or 0) for p in self._behind()])

    def _note_losses(self) -> None:
        while self._reader.losses:
            self._note_loss(self._reader.losses[0])
            del self._reader.losses[0]

    def _note_loss(self, loss: Loss) -> None:
        """Count entries that nobody has read: once in the ledger, however often they are counted from one place."""
        if self._lease is None:
            return
        values = {"epoch": self._lease.epoch, "owner": self._consumer, "base": loss.base, "entries": loss.entries}
        ends = {"after": str(loss.after), "through": str(loss.through), "producer": FRONT_DOOR_PRODUCER}
        row = self._database.connection.execute(query("note_front_door_loss"), values | ends).fetchone()
        if row is not None:
            TICKS_LOST.inc(row[0])

    def _behind(self) -> list[int]:
        """Return the partitions that do not know yet how far the door was read."""
        return [p for p, previous in enumerate(self._previous) if previous < (self._framed_to or 0)]

    # -- entries to frames -----------------------------------------------------------------------------------------

    def _frame(self, piece: Piece) -> None:
        ticks = self._repeats.mark(self._parse(piece.entries), piece.entries)
        if piece.refused:
            ticks = replace(ticks, refused=[*ticks.refused, *piece.refused])
        self._framed_to = piece.last
        self._reader.note_framed(piece, len(ticks) + len(ticks.refused))
        self._send(list(self._cut(ticks, piece.last)))

    def _cut(self, ticks: Ticks, last: int) -> Iterator[tuple[int, Send]]:
        """Cut a piece into frames of about 512 rows; the rows of one entry stay in one frame, under one number."""
        parts = split(ticks, self._partitions) if len(ticks) else {}
        refused: dict[int, list[Refused]] = {}
        for row in sorted(ticks.refused, key=lambda row: row.row_id):
            home = crc32(str(position_of(row.row_id)).encode()) % self._partitions
            refused.setdefault(home, []).append(row)
        for p in sorted(parts.keys() | refused.keys()):
            part, odd = parts.get(p, Ticks.empty()), refused.get(p, [])
            rows = part.optional.get("row_id", np.empty(0, "<i8"))
            done = odd_done = 0
            for number in (*_ends(rows, odd), last):
                end = int(np.searchsorted(rows, number, side="right"))
                odd_end = bisect_right(odd, number, key=lambda row: row.row_id)
                yield self._make(p, part.take(slice(done, end), odd[odd_done:odd_end]), number)
                done, odd_done = end, odd_end

    def _make(self, p: int, ticks: Ticks, last: int) -> tuple[int, Send]:
        ticks = frames.only_used_symbols(ticks) if len(ticks) else ticks
        frame = Frame(
            VERSION, FRONT_DOOR_PRODUCER, LIVE_FEED, "live", self._previous[p], last, self._born_ms(last), 0, True,
            len(ticks), list(ticks.symbols), frames.block_columns(ticks) if len(ticks) else [], "zstd",
            frames.pack_columns(ticks) if len(ticks) else b"", list(ticks.refused), pack_aside(ticks),
        )  # fmt: skip
        self._previous[p] = last
        self._sends += 1
        return p, Send(p, frames.encode(frame), f"{last},{self._sends}")

    def _born_ms(self, last: int) -> int:
        """Return when rows up to a number came: an id may be ahead of the time at which it was read."""
        return min(position_of(last).ms, self._reader.now_ms)

    def _send(self, all_made: Sequence[tuple[int, Send]]) -> None:
        made = [(p, sent) for p, sent in all_made if p not in self._foreign.left_out]
        if not made:
            return
        for (p, sent), outcome in zip(made, send(self._client, FRONT_DOOR_PRODUCER, [s for _, s in made]), strict=True):
            if outcome.is_foreign:
                self._leave_out()
                self._wait_for_room()
                return
            if outcome.refused or (self._last_sent[p] is not None and outcome.before != self._last_sent[p]):
                log.warning("front door restarted", partition=p, why=outcome.refused or "Redis forgot what was sent")
                self._wait_for_room()
                return
            self._last_sent[p] = sent.sent


def _ends(rows: Column, refused: Sequence[Refused]) -> Iterator[int]:
    """Return the numbers at which frames end, but for the last one. Long refused rows fill a frame sooner."""
    ids = np.array([row.row_id for row in refused], "<i8")
    weights = [MAX_TICKS // LONG_REFUSED_ROWS if len(row.original) > _LONG_ROW_BYTES else 1 for row in refused]
    ids = np.sort(np.concatenate((rows, ids.repeat(weights))))
    first = 0
    while len(ids) - first > MAX_TICKS:
        number = int(ids[first + MAX_TICKS - 1])
        first = int(np.searchsorted(ids, number, side="right"))
        if first < len(ids):
            yield number
