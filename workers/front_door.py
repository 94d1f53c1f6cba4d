"""Plain entries of `tickstock-stream`, anybody's XADD -> frames of the partitions. One worker does it, by lease.

Nothing is kept: the entries stay until every partition has applied them, and are read again from there whenever
something is odd. Frames are numbered by entry ids (contracts/partition.py), and each row carries its own, so what is
read again is dropped row by row. The door is read with XREAD, by id: a consumer group would only add pending entries
that somebody else could hide; the group is moved along so that XINFO GROUPS shows where the door stands.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from zlib import crc32

import numpy as np
import structlog
from redis.exceptions import ResponseError

from ..contracts import frame as frames
from ..contracts.errors import LeaseTaken
from ..contracts.frame import MAX_TICKS, VERSION, Frame
from ..contracts.names import DEAD_LETTERS, FRONT_DOOR, FRONT_DOOR_PRODUCER, LIVE_FEED, flow_key, frame_keys
from ..contracts.partition import Position, number_of, position_of, split
from ..contracts.tick_json import SecondStamp, parse_entries
from ..contracts.ticks import Refused, Ticks
from ..db import lease as leases
from ..db.foreign_keys import ForeignKeyWatch
from ..db.frame_stream import Send, send
from ..db.lag import number_in
from ..db.lease import RENEW_EVERY_S, Lease
from ..db.postgres import Database
from ..db.queries import query
from ..db.redis import Client, is_foreign, is_out_of_memory, make_group

log = structlog.get_logger()

_READ_ENTRIES = 10_000
_MAX_ROWS_AHEAD = 2_000_000  # framed, but not applied yet by the slowest partition
_POLL_EVERY_S = 1.0
_FULL_WAIT_S = 1.0  # after Redis refused a frame
_RESTART_EVERY_S = 5.0  # a worker's `want` is answered at most so often


class FrontDoor:
    """The front door of the fleet; every worker has one, the one with the lease works."""

    def __init__(
        self,
        client: Client,
        database: Database,
        consumer: str,
        *,
        group: str,
        partitions: int,
        second_stamp: SecondStamp,
    ) -> None:
        self._client = client
        self._database = database
        self._consumer = consumer
        self._group = group
        self._partitions = partitions
        self._second_stamp: SecondStamp = second_stamp
        self._foreign = ForeignKeyWatch(client, frame_keys)  # partitions that no frame can be sent to
        self._foreign_door = ForeignKeyWatch(client, lambda _: {FRONT_DOOR: "stream"})
        self._lease: Lease | None = None
        self._lease_at = 0.0
        self._full_until = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget where the door stands: the next step looks it up."""
        self._read_to: int | None = None
        self._previous = [0] * self._partitions
        self._last_sent: list[str | None] = [None] * self._partitions
        self._sends = 0
        self._ahead: deque[tuple[int, int]] = deque()  # (last number, rows) of each read
        self._poll_at = 0.0
        self._restart_at = 0.0

    # -- the lease -------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Frame what came in, if the door is ours; return whether there may be more at once.

        While Redis is out of memory the door waits, and the worker goes on: only its commits make room.
        """
        self._look_at_lease()
        if self._lease is None or time.monotonic() < self._full_until:
            return False
        try:
            self._look_at_foreign()
            return False if self._foreign_door.left_out else self._frame_next()
        except ResponseError as e:
            if not is_out_of_memory(e) and not is_foreign(e):
                raise
            if is_foreign(e):
                self._leave_out()
            self._wait_for_room()
            return False

    def _leave_out(self) -> None:
        """Find the keys that hold something else: what is for their partitions stays at the door, and is read again."""
        self._foreign_door.look([0])
        self._foreign.look(range(self._partitions))

    def _look_at_foreign(self) -> None:
        """Begin anew where a key is right again, at the lowest number that is applied."""
        if self._foreign_door.put_right() | self._foreign.put_right():
            self.reset()

    def _wait_for_room(self) -> None:
        self.reset()
        self._full_until = time.monotonic() + _FULL_WAIT_S

    def _frame_next(self) -> bool:
        if self._read_to is None:
            self._start()
        if time.monotonic() >= self._poll_at:
            self._poll()
        if self._read_to is None or sum(rows for _, rows in self._ahead) > _MAX_ROWS_AHEAD:
            return False
        entries = self._read(self._read_to)
        if entries:
            self._frame(entries)
        return len(entries) == _READ_ENTRIES

    def _look_at_lease(self) -> None:
        if time.monotonic() < self._lease_at:
            return
        self._lease_at = time.monotonic() + RENEW_EVERY_S
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

    # -- where it stands -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin at the lowest number that a partition has applied: below it, everything is committed everywhere."""
        rows = self._database.connection.execute(query("front_door_numbers")).fetchall()
        applied: dict[int, int] = dict(rows)
        start = min(applied.values()) if len(applied) == self._partitions else 0
        self._make_door(max(applied.values(), default=0))
        self._read_to = start
        self._previous = [start] * self._partitions
        self._last_sent = [None] * self._partitions
        self._poll_at = time.monotonic() + _POLL_EVERY_S

    def _make_door(self, highest: int) -> None:
        """Make the key and its group; where Redis came back older, let no entry get an id that was applied before."""
        make_group(self._client, FRONT_DOOR, self._group)
        last = Position.parse(self._client.xinfo_stream(FRONT_DOOR)["last-generated-id"])
        if last < position_of(highest):
            self._client.execute_command("XSETID", FRONT_DOOR, str(position_of(highest)))
            log.error("entries of the front door may be lost", after=str(last), through=str(position_of(highest)))

    def _poll(self) -> None:
        """Look each second how far the partitions are: trim what all have applied, start over where Redis forgot."""
        self._poll_at = time.monotonic() + _POLL_EVERY_S
        pipeline = self._client.pipeline(transaction=False)
        open_to = [p for p in range(self._partitions) if p not in self._foreign.left_out]
        for p in open_to:
            pipeline.hmget(flow_key(p), [f"{name}:{FRONT_DOOR_PRODUCER}" for name in ("sent", "done", "want")])
        flows = pipeline.execute()
        for p, (sent, _, want) in zip(open_to, flows, strict=True):
            forgotten = self._last_sent[p] is not None and (sent or b"").decode(errors="replace") != self._last_sent[p]
            wanted = want is not None and time.monotonic() >= self._restart_at
            if forgotten or wanted:
                log.warning("front door reads again", partition=p, why="Redis forgot" if forgotten else "a hole")
                self._client.hdel(flow_key(p), f"want:{FRONT_DOOR_PRODUCER}")
                self.reset()
                self._restart_at = time.monotonic() + _RESTART_EVERY_S
                return
        lowest = min((number_in(done) for _, done, _ in flows), default=0)
        while self._ahead and self._ahead[0][0] <= lowest:
            self._ahead.popleft()
        if len(open_to) == self._partitions:  # what a partition that is left out has not applied must stay
            position = str(position_of(lowest))
            self._client.execute_command("XGROUP", "SETID", FRONT_DOOR, self._group, position)
            self._client.execute_command("XTRIM", FRONT_DOOR, "MINID", "~", position)
        self._send([self._make(p, Ticks.empty(), self._read_to or 0) for p in self._behind()])

    def _behind(self) -> list[int]:
        """Return the partitions that do not know yet how far the door was read."""
        return [p for p, previous in enumerate(self._previous) if previous < (self._read_to or 0)]

    # -- entries to frames -----------------------------------------------------------------------------------------

    def _read(self, after: int) -> list[tuple[int, Sequence[bytes]]]:
        reply = self._client.execute_command(
            "XREAD", "COUNT", _READ_ENTRIES, "STREAMS", FRONT_DOOR, str(position_of(after))
        )
        entries = []
        for entry_id, fields in reply[0][1] if reply else ():
            number = number_of(Position.parse(entry_id))
            if number is None:
                self._refuse_id(entry_id, fields)
            else:
                entries.append((number, fields))
        return entries

    def _refuse_id(self, entry_id: bytes, fields: Sequence[bytes]) -> None:
        """Dead-letter an id that somebody chose out of all bounds: it has no number, so no partition can count it."""
        letter = {"reason": "unknown_shape", "detail": f"entry id {entry_id.decode()} is out of bounds"}
        self._client.xadd(DEAD_LETTERS, letter | {"original": b" ".join(fields)})
        self._client.xdel(FRONT_DOOR, entry_id)

    def _frame(self, entries: Sequence[tuple[int, Sequence[bytes]]]) -> None:
        ticks = parse_entries(entries, second_stamp=self._second_stamp)
        last = entries[-1][0]
        self._ahead.append((last, len(ticks) + len(ticks.refused)))
        self._read_to = last
        self._send(list(self._cut(ticks, last)))

    def _cut(self, ticks: Ticks, last: int) -> Iterator[tuple[int, Send]]:
        """Cut a read into frames of about 512 rows; the rows of one entry stay in one frame, under one number."""
        parts = split(ticks, self._partitions) if len(ticks) else {}
        refused: dict[int, list[Refused]] = {}
        for row in ticks.refused:
            home = crc32(str(position_of(row.row_id)).encode()) % self._partitions
            refused.setdefault(home, []).append(row)
        for p in sorted(parts.keys() | refused.keys()):
            part = parts.get(p, Ticks.empty())
            rows = part.optional.get("row_id", np.empty(0, "<i8"))
            first = 0
            while len(part) - first > MAX_TICKS:
                number = int(rows[first + MAX_TICKS - 1])
                end = int(np.searchsorted(rows, number, side="right"))
                yield self._make(p, part.take(slice(first, end), _up_to(refused.get(p, []), number)), number)
                refused[p] = [row for row in refused.get(p, []) if row.row_id > number]
                first = end
            yield self._make(p, part.take(slice(first, None), refused.get(p, [])), last)

    def _make(self, p: int, ticks: Ticks, last: int) -> tuple[int, Send]:
        ticks = frames.only_used_symbols(ticks) if len(ticks) else ticks
        frame = Frame(
            VERSION, FRONT_DOOR_PRODUCER, LIVE_FEED, "live", self._previous[p], last, position_of(last).ms, 0, True,
            len(ticks), list(ticks.symbols), list(ticks.optional) if len(ticks) else [], "zstd",
            frames.pack_columns(ticks) if len(ticks) else b"", list(ticks.refused),
        )  # fmt: skip
        self._previous[p] = last
        self._sends += 1
        return p, Send(p, frames.encode(frame), f"{last},{self._sends}")

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
                log.warning("front door reads again", partition=p, why=outcome.refused or "Redis forgot what was sent")
                self._wait_for_room()
                return
            self._last_sent[p] = sent.sent


def _up_to(refused: Sequence[Refused], number: int) -> list[Refused]:
    return [row for row in refused if row.row_id <= number]
