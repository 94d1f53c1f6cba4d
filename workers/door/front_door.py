"""Turn the plain entries of `tickstock-stream`, which any client may XADD, into frames. One worker does it, by lease.

The door keeps nothing on disk: the entries stay in the stream until every partition has applied them, and a restarted
door reads them again from there. Frames are numbered by entry ids (contracts/partition.py), and each row carries its
own id, so that a worker can drop each row that was read again. `door_reader.py` reads the stream; `door_way.py` holds
the frames on their way. In each turn of the worker the door sends only a limited part, so that the worker renews its
leases and reads other feeds even if many entries wait.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np
import structlog
from redis.exceptions import ResponseError

from ...contracts.bounds import LONG_REFUSED_ROWS
from ...contracts.errors import LeaseTaken
from ...contracts.frames.frame import MAX_TICKS
from ...contracts.frames.maker import Identity, make_frame
from ...contracts.lease import Lease
from ...contracts.names import DOOR_KEYS, FRONT_DOOR_PRODUCER, LIVE_FEED, flow_key, frame_keys
from ...contracts.partition import position_of, split
from ...contracts.spellings.tick_json import Entry
from ...contracts.ticks import Column, Refused, Ticks
from ...db import lease as leases
from ...db.lease import RENEW_EVERY_S
from ...db.look.foreign_keys import ForeignKeyWatch
from ...db.metrics import TICKS_LOST
from ...db.postgres import Database
from ...db.queries import query
from ...db.redis import Client, is_exhausted, is_foreign, is_out_of_memory, redis_ms
from ...db.streams.flow import FlowNumbers, read_flows, want_field
from ...db.streams.frame_stream import FrameOutcome, send
from ...db.world import World
from ..partition.tick_check import Limits
from .door_reader import DoorChanged, DoorReader, Loss, Piece
from .door_repeats import DoorRepeats
from .door_way import DoorWay, Made

log = structlog.get_logger()

_IDENTITY = Identity(FRONT_DOOR_PRODUCER, LIVE_FEED, "live")
_POLL_EVERY_S = 1.0
_LONG_ROW_BYTES = 1024
_FULL_WAIT_S = 1.0  # the wait after Redis refused a frame
_ANSWER_EVERY_S = 5.0  # the shortest time between two answers to a worker's `want`


class FrontDoor:
    """The front door of the fleet. Every worker has one; only the one of the lease's owner is active."""

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
        self._ways = [DoorWay() for _ in range(partitions)]
        self.reset()

    def reset(self) -> None:
        """Forget the position of the door: the next step reads it again."""
        self._framed_to: int | None = None
        self._restart_ways(0)
        self._poll_at = 0.0
        self._answer_at = math.inf  # first read again all framed entries: otherwise each restart would cause another

    def _restart_ways(self, number: int) -> None:
        for way in self._ways:
            way.restart(number)

    # -- the lease -------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Make frames of new entries, if this worker has the lease; return whether more may be waiting.

        While Redis is out of memory the door waits, but the worker continues: only commits make room.
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
        """Find keys of another type: entries for their partitions stay in the stream and are read again later."""
        self._foreign_door.check([0])
        self._foreign.check(range(self._partitions))

    def _look_at_foreign(self) -> None:
        """If a key is correct again, restart at the lowest applied number."""
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
        self._send_unsent()
        if not self._repeats.is_ready:
            self._repeats.read_on()
            self._answer_at = self._world.monotonic_s() + _ANSWER_EVERY_S
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

    # -- start -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin at the lowest number that a partition has applied: every partition has committed all rows up to it.

        The highest number may belong to rows that were sent and still wait in a partition: no other row may get that
        number.
        """
        self._register()
        applied = self._applied()
        start = min(applied.values()) if len(applied) == self._partitions else 0
        sent = (flow.sent_number for flow in self._flows().values())
        # It may read rows again that are counted already; their partitions drop them by their numbers.
        start = min(start, self._reader.open(start, max((*applied.values(), *sent), default=0), redis_ms(self._client)))
        self._framed_to = start
        self._repeats.restart(self._reader.gone_to(), frozenset(self._foreign.left_out))
        self._restart_ways(start)
        self._poll_at = self._world.monotonic_s() + _POLL_EVERY_S

    def _applied(self) -> dict[int, int]:
        """Return the number up to which each partition has applied entries."""
        return dict(self._database.connection.execute(query("front_door_numbers")).fetchall())

    def _register(self) -> None:
        """Fence former owners. If Redis knows a higher epoch, PostgreSQL has older data: raise ours above it."""
        if self._lease is None:
            return
        while known := self._reader.register(self._lease.epoch):
            values = {"unit": self._lease.unit, "owner": self._consumer, "epoch": self._lease.epoch, "known": known}
            row = self._database.connection.execute(query("raise_lease_epoch"), values).fetchone()
            if row is None:
                break  # another worker has the lease: the next look at it shows that
            self._lease = self._lease._replace(epoch=row[0])

    def _flows(self) -> dict[int, FlowNumbers]:
        """Return the door's numbers in each partition that is not left out. Raises if a key holds another type."""
        open_to = [p for p in range(self._partitions) if p not in self._foreign.left_out]
        flows: dict[int, FlowNumbers] = {}
        for p, numbers in read_flows(self._client, FRONT_DOOR_PRODUCER, open_to).items():
            if isinstance(numbers, ResponseError):
                raise numbers
            flows[p] = numbers
        return flows

    def _poll(self) -> None:
        """Read the partitions' positions each second; trim entries that all have applied, send missed frames again."""
        self._poll_at = self._world.monotonic_s() + _POLL_EVERY_S
        flows = self._flows()
        for p, flow in flows.items():
            self._ways[p].note_done(flow.done)
            if self._ways[p].in_redis.differs(flow.sent):
                self._send_again(p, 0, "Redis forgot what was sent")
        missing = {p: flow.want for p, flow in flows.items() if flow.want is not None}
        if missing and self._world.monotonic_s() >= self._answer_at:
            self._answer(missing)
            if self._framed_to is None:
                return
        lowest = min((flow.done for flow in flows.values()), default=0)
        if len(flows) == self._partitions:
            self._reader.applied(lowest)
        else:  # keep the entries that a left-out partition has not applied
            self._reader.passed(lowest)
        self._send([self._make(p, Ticks.empty(), self._framed_to or 0) for p in self._behind()])

    def _answer(self, missing: Mapping[int, int]) -> None:
        """Send again the frames that workers ask for; restart if such a frame is no longer in memory."""
        self._answer_at = self._world.monotonic_s() + _ANSWER_EVERY_S
        for p, above in missing.items():
            self._client.hdel(flow_key(p), want_field(FRONT_DOOR_PRODUCER))
            if self._ways[p].has_all_above(above):
                self._send_again(p, above, "a worker misses frames")
            elif above >= self._applied().get(p, 0):  # else it was asked before they came
                log.warning("front door restarted", partition=p, why="missing frames")
                self.reset()
                return

    def _send_again(self, p: int, above: int, why: str) -> None:
        log.warning("front door sends again", partition=p, why=why)
        self._ways[p].in_redis.forget()
        self._ways[p].send_again(above)

    def _note_losses(self) -> None:
        while self._reader.losses:
            self._note_loss(self._reader.losses[0])
            del self._reader.losses[0]

    def _note_loss(self, loss: Loss) -> None:
        """Count lost entries once in the ledger, however often they are found."""
        if self._lease is None:
            return
        values = {"epoch": self._lease.epoch, "owner": self._consumer, "base": loss.base, "entries": loss.entries}
        ends = {"after": str(loss.after), "through": str(loss.through), "producer": FRONT_DOOR_PRODUCER}
        row = self._database.connection.execute(query("note_front_door_loss"), values | ends).fetchone()
        if row is not None:
            TICKS_LOST.inc(row[0])

    def _behind(self) -> list[int]:
        """Return the partitions without a frame up to the last entry that the door has read."""
        return [p for p, way in enumerate(self._ways) if way.previous < (self._framed_to or 0)]

    # -- entries to frames -----------------------------------------------------------------------------------------

    def _frame(self, piece: Piece) -> None:
        ticks = self._repeats.mark(self._parse(piece.entries), piece.entries)
        if piece.refused:
            ticks = replace(ticks, refused=[*ticks.refused, *piece.refused])
        self._framed_to = piece.last
        self._reader.note_framed(piece, len(ticks) + len(ticks.refused))
        self._send(self._cut(ticks, piece.last))

    def _cut(self, ticks: Ticks, last: int) -> Iterator[Made]:
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

    def _make(self, p: int, ticks: Ticks, last: int) -> Made:
        """Make the next frame of a partition, up to a number."""
        way = self._ways[p]
        body = make_frame(_IDENTITY, ticks, "live", way.previous, last, self._born_ms(last))
        way.previous = last
        return Made(p, last, body)

    def _born_ms(self, last: int) -> int:
        """Return when rows up to a number came, in Unix ms; an id may be ahead of the time of the read."""
        return min(position_of(last).ms, self._reader.now_ms)

    def _send(self, made: Iterable[Made]) -> None:
        for frame in made:
            if frame.partition not in self._foreign.left_out:
                self._ways[frame.partition].unsent.append(frame)
        self._send_unsent()

    def _send_unsent(self) -> None:
        """Send the unsent frames. A frame that a partition refuses waits and is sent later; other partitions continue.

        So a partition that always refuses does not stop the door from reading, or from repairing its own stream.
        """
        now_s = self._world.monotonic_s()
        frames = [frame for way in self._ways if now_s >= way.send_at_s for frame in way.unsent]
        if not frames:
            return
        sends = [self._ways[frame.partition].stamp(frame) for frame in frames]
        outcomes = send(self._client, FRONT_DOOR_PRODUCER, sends)
        if any(outcome.is_foreign for outcome in outcomes):
            self._leave_out()
            self._wait_for_room()
            return
        for frame, sent, outcome in zip(frames, sends, outcomes, strict=True):
            self._note(frame, sent.sent, outcome)

    def _note(self, frame: Made, written: str, outcome: FrameOutcome) -> None:
        way = self._ways[frame.partition]
        is_older = outcome.is_noted and way.in_redis.differs(outcome.before)
        if outcome.is_noted:
            way.in_redis.note(written)
        if outcome.refused is None:
            way.note_taken(frame)
        elif self._world.monotonic_s() >= way.send_at_s:
            log.warning("front door is waiting for a partition", partition=frame.partition, why=outcome.refused)
            way.send_at_s = self._world.monotonic_s() + _FULL_WAIT_S
        if is_older:
            self._send_again(frame.partition, 0, "Redis forgot what was sent")


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
