"""The loop ④..⑧ over the owned partitions: read, apply, check, stage, commit, ack, tell; and the one way out."""

import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import psycopg
import structlog
from redis.exceptions import RedisError, ResponseError

from ..contracts.bounds import HELD_BYTES, MAX_FRAME_BYTES, READ_BYTES, READ_TICKS
from ..contracts.errors import DatabaseGone, LeaseTaken, ServerAway, TlsRefused, first_line
from ..contracts.frame import MAX_TICKS
from ..contracts.metrics import HOLES, PARTITIONS_OWNED, TAKEOVERS, UNDETECTED_BARS
from ..contracts.names import GROUP
from ..contracts.partition import START, Position
from ..contracts.stop import Stop
from ..contracts.tick_json import SecondStamp, parse_entries
from ..contracts.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ..db import postgres, redis
from ..db.door_stream import DoorStream
from ..db.lease import LEASE_TTL_S
from ..db.postgres import Database
from ..db.queries import query
from ..db.redis import Client
from ..db.redis_connection import ReplyTooLarge
from ..db.vitals import VITALS
from .assignment import Assignment
from .bounds import KEEP, Bounds, Keep
from .commit_plan import PartitionPlan
from .committer import Committer
from .door_reader import DoorReader
from .front_door import FrontDoor
from .history_memory import HISTORY_MB
from .lookout import IDS_AHEAD, Lookout
from .partition_reader import Entries, PartitionReader
from .partition_state import Held, PartitionState
from .set_aside import SetAside
from .steady_clock import Reading, SteadyClock
from .teller import Teller
from .tick_check import MS_NS, Limits
from .upkeep import Upkeep
from .vanished import Vanished

if TYPE_CHECKING:  # it needs what may not be installed
    from .tracing import Tracing

log = structlog.get_logger()

_COMMIT_TICKS = 1_000_000  # at most, in one commit
_MARKED_PARTITIONS = 8  # in one commit of what marked bars wait for
_MOST_MARKS = 20_000  # that wait while more is read
_STANDBY_WAIT_S = 0.2  # of who has no partition, and hears of one by a NOTIFY
_GATHER_S = 0.015  # from the first closed bar to the commit
_HOLES_EVERY_S = 1.0
_PRESSED_SHARE = 0.7  # of maxmemory; producers wait at 0.9
_FOREIGN_IN_A_ROW = 3  # keys put wrong one after another; more are no keys of our partitions


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a user can turn. Times in the unit of their name."""

    consumer: str
    group: str = GROUP
    read_count: int | None = None  # entries of a partition in one read; None: as many as 262,144 ticks hold
    commit_ms: int = 1000
    allowed_lateness_ms: int = 500
    max_future_s: float = 900.0
    hole_wait_s: float = 10.0
    retention_s: float = 900.0
    block_ms: int = 50
    second_stamp: SecondStamp = "end"
    trade_rules: TRADE_RULES = DEFAULT_RULES  # of the front door's ticks
    detects: bool = True  # patterns and indicators, not bars alone
    history_mb: int = HISTORY_MB
    keep: Keep = KEEP


class Worker:
    """One worker. Only the thread that calls `run` touches its state.

    The steps of a turn are methods of their own, in their order; whatever goes wrong between two of them, the answer is
    the same: restore from the last commit, and the stream brings the rest again.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        database: Database,
        client: Client,
        redis_url: str,
        partitions: int,
        stop: Stop,
        tracing: "Tracing | None" = None,
    ) -> None:
        self.options = options
        self._database = database
        self._client = client
        self._redis_url = redis_url
        self._partitions = partitions
        self._stop = stop
        self._tracing = tracing
        self._committer = Committer(
            database, client, options.consumer, detects=options.detects, history_mb=options.history_mb
        )
        self._limits = self._make_limits()
        reading = redis.connect(redis_url, reply_bytes=READ_BYTES)
        self._reader = PartitionReader(reading, options.consumer, group=options.group)
        self._teller = Teller(client, database, retention_s=options.retention_s)
        self._assignment = Assignment(database, options.consumer, partitions)
        self._clock = SteadyClock(monotonic_ms=lambda: time.monotonic_ns() // MS_NS, witness_ms=self._database_ms)
        self._front_door = FrontDoor(
            client,
            database,
            options.consumer,
            partitions=partitions,
            reader=DoorReader(
                DoorStream(redis.connect(redis_url, reply_bytes=READ_BYTES), group=options.group),
                clock=self._clock,
                max_ahead_ms=int(options.max_future_s * 1000),
            ),
            parse=partial(parse_entries, second_stamp=options.second_stamp, rules=options.trade_rules),
            limits=self._limits,
        )
        self._front_door_busy = False
        self._states: dict[int, PartitionState] = {}
        self._lookout = Lookout(self._reader, self._finished_number)
        self._set_aside = SetAside(client)
        self._upkeep = Upkeep(client, database, self._reader, hole_wait_s=options.hole_wait_s)
        self._vanished = Vanished(database, self._reader, wait_s=options.hole_wait_s)
        self._read_at = Reading(0)  # of the last read of the partitions
        self._stepped = False  # Redis's clock, and it is not followed
        self._bounds = Bounds(options.keep)
        self._read_count = 1
        self._left: dict[int, Entries] = {}  # of the last read: more rows than one turn may take
        self._pressed = False  # Redis is nearly full
        self._undone: dict[int, dict[str, int]] = {}  # `done` numbers that Redis had no room for
        self._finished: dict[tuple[int, str], int] = {}
        self._holes_at = 0.0  # when they are seen after, though more is to be read
        self._uncommitted_since: float | None = None
        self._news_since: float | None = None
        self._commit_ticks = _COMMIT_TICKS
        self._failures = 0  # since a whole turn went well
        self._served_since: float | None = None  # after a failure
        self._said: set[str] = set()  # why a server does not serve, each said once

    def _make_limits(self) -> Limits:
        shape, options = self._committer.shape, self.options
        return Limits(
            options.allowed_lateness_ms * MS_NS,
            int(options.max_future_s * 1000) * MS_NS,
            0.5 * 10.0**-shape.price_decimals,
            shape.max_price,
            shape.max_size,
            max(MAX_FRAME_BYTES, HELD_BYTES // self._partitions),
            self._partitions,
        )

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until told to stop; then commit, ack, release. Raises LeaseTaken or LeaseLost with the name."""
        self._join()
        while not self._stop.is_set():
            try:
                self.turn()
                self._note_served()
            except (psycopg.Error, RedisError, OSError, ServerAway) as error:
                self._heal(error)
        self._end()

    def turn(self) -> None:
        """Take one turn: a read and what follows from it."""
        VITALS.turn()
        self._look_at_leases()
        self._take_back()
        self._show()
        self._front_door_busy = self._front_door.step()
        if not self._states:
            self._wait_for_partitions()
            return
        before_ns = time.monotonic_ns()
        had_left = set(self._left)  # of a read that did not come to the end
        entries = self.read()
        self.apply(entries, before_ns)
        self._finish_restores(entries)
        caught_up = self._is_caught_up(entries) and not had_left
        if caught_up:
            self._look_for_unread()
        elif time.monotonic() >= self._holes_at:  # else a busy one would keep the others' holes open
            self._give_up_holes(self._read_to_their_ends(entries) - had_left)
        if self._is_commit_due(caught_up=caught_up):
            self._step_through_commit()
        elif self._news_since is None:
            self._find_marked()
        if caught_up and not any(state.has_news() for state in self._states.values()):
            self._committer.load_ahead(list(self._states.values()))
        if self._teller.is_behind:
            self._teller.catch_up()

    def _is_caught_up(self, entries: dict[int, Entries]) -> bool:
        return not self._left and all(len(frames) < self._read_count for frames in entries.values())

    def _read_to_their_ends(self, entries: dict[int, Entries]) -> set[int]:
        """Return the partitions in which nothing is unread, whatever waits in the others."""
        return {p for p in self._states if p not in self._left and len(entries.get(p, ())) < self._read_count}

    def _show(self) -> None:
        PARTITIONS_OWNED.set(len(self._held()))
        UNDETECTED_BARS.set(sum(len(state.marks) for state in self._states.values()))

    def read(self) -> dict[int, Entries]:
        """④ Read new frames of all owned partitions; those with frames left over from the last read wait."""
        partitions = [partition for partition in self._states if partition not in self._left]
        entries, self._left = self._left, {}
        if not partitions:
            return entries
        self._read_count = self.options.read_count or max(1, READ_TICKS // MAX_TICKS // len(self._states))
        # A take-over goes on at once: there may be one more partition to take.
        waits = self._news_since is not None or any(state.has_detectable() for state in self._states.values())
        at_once = entries or self._front_door_busy or self._reader.restoring or (waits and self.options.detects)
        block_ms = 0 if at_once else self.options.block_ms
        try:
            entries |= self._reader.read(partitions, count=self._read_count, block_ms=block_ms)
        except ReplyTooLarge as e:
            log.warning("reading entry by entry: somebody sent more than a frame", why=str(e))
            for partition in partitions:
                self.restore(partition)
            self._left = entries
            return self.read()  # a turn that has read nothing is taken for one that found nothing
        self._read_at = self._clock.read(self._reader.read_at_ms)
        self._say_stepped(self._reader.read_at_ms - self._read_at.ms)
        return entries

    def _database_ms(self) -> int:
        (now_s,) = self._database.connection.execute(query("database_clock")).fetchone() or (0.0,)
        return int(now_s * 1000)

    def _say_stepped(self, ahead_ms: int) -> None:
        """Say once that Redis's clock went wrong, and once that it is right again."""
        if ahead_ms and not self._stepped:
            log.error("the clock of Redis has stepped, PostgreSQL's has not: it is not followed", ahead_ms=ahead_ms)
        elif self._stepped and not ahead_ms:
            log.info("the clock of Redis is right again")
        self._stepped = bool(ahead_ms)

    def apply(self, entries: dict[int, Entries], before_ns: int) -> None:
        """⑤ Bring what was read into the open bars; before_ns: monotonic time before the read.

        So many rows at most, whatever the frames claim: the rest is left for the next turn, a commit between the two.
        """
        now_ns = time.monotonic_ns()
        rows = max(1, READ_TICKS // max(1, len(entries)))
        for partition, state in self._states.items():
            if partition in entries:
                finished = partial(self._finished_number, partition)
                taken = state.apply(
                    entries[partition],
                    read=self._read_at,
                    now_ns=now_ns,
                    finished=finished,
                    most_rows=rows,
                    between=self._stay_alive,
                )
                if taken < len(entries[partition]):
                    self._left[partition] = entries[partition][taken:]
            elif partition not in self._reader.restoring:
                state.tick_clocks(before_ns)
        if self._uncommitted_since is None and any(state.dirty for state in self._states.values()):
            self._uncommitted_since = time.monotonic()

    def _stay_alive(self) -> None:
        """Renew the leases, where it is time, amid long work; one that is lost meanwhile fences the commit."""
        VITALS.turn()
        self._assignment.renew_if_due(self._held())

    def check(self) -> list[PartitionState]:
        """Return the states that can be committed; one that met a new hole is restored first: it may have misread.

        What cancels and corrections take back is taken back here, from the stream.
        """
        ready = []
        for partition, state in list(self._states.items()):
            if partition not in self._reader.restoring and (new := self._lookout.new_holes(state)):
                log.info("hole", partition=partition, producers=new)
                HOLES.inc(len(new))
                self._lookout.read_again(state)
                self.restore(partition)
            elif state.dirty or state.closed() or state.has_news():
                ready.append(state)
        for state in ready:
            if state.undos:
                state.take_back(partial(self._reader.past, state, self._stay_alive))
            state.give_up_undos()
        return ready

    def stage(self, states: Sequence[PartitionState]) -> list[PartitionPlan]:
        """⑧ Put the closed bars where the transaction finds them."""
        return self._committer.stage(states)

    def commit(self, plans: list[PartitionPlan]) -> list[PartitionPlan]:
        """⑧ Run the one transaction; return what is durable. Fenced partitions are restored, or dropped if not ours."""
        marks = {state.partition: len(state.marks) for state in self._states.values()}
        marks |= {plan.state.partition: len(plan.marks) for plan in plans}
        self._committer.undetected = sum(marks.values())
        durable = self._committer.transact(plans)
        for plan in plans:
            if plan not in durable:
                self.restore(plan.state.partition)
        return durable

    def ack(self, plans: list[PartitionPlan]) -> None:
        """⑧ Move the states on, ack what is committed, tell the producers how far they are done, and trim."""
        acked, done, trim_to = {}, {}, {}
        keep_ms = 0 if self._pressed else int(self.options.retention_s * 1000)
        for plan in plans:
            p, heard = plan.state.partition, set(plan.state.heard)
            acked[p] = plan.state.committed(plan.position, plan.closed, plan.marks, plan.waiting)
            done[p] = {producer: number for producer, number in plan.state.done.items() if producer in heard}
            trim_to[p] = Position(max(0, plan.position.ms - keep_ms), plan.position.seq if not keep_ms else 0)
        self._ack(acked, done, trim_to)

    def _ack(
        self, acked: dict[int, list[bytes]], done: dict[int, dict[str, int]], trim_to: dict[int, Position]
    ) -> None:
        """Ack and trim; a Redis that is out of memory gets the `done` numbers when it has room again.

        Then the retention is given up: what is committed makes room for what is not.
        """
        for partition, numbers in done.items():
            self._undone.setdefault(partition, {}).update(numbers)
        refused = self._reader.ack(acked, self._undone, trim_to)
        if refused:
            log.warning("retention given up for room in Redis", why=refused)
            self._reader.ack({}, {}, self._committed_positions())
        else:
            self._undone = {}

    def tell(self, plans: list[PartitionPlan]) -> None:
        """⑧ Tell the results; they are durable in the outbox already."""
        self._teller.tell(plans)

    def _step_through_commit(self) -> None:
        states = self.check()
        self._uncommitted_since = self._news_since = None
        if not states:
            return
        plans, committed = self.stage(states), []
        while plans:
            durable = self._commit_and_tell(plans)
            committed += durable
            plans = self._committer.stage_rest(durable)
        self._read_overflow_again(committed)
        self._commit_ticks = min(_COMMIT_TICKS, self._commit_ticks * 2)

    def _commit_and_tell(self, plans: list[PartitionPlan]) -> list[PartitionPlan]:
        VITALS.turn()
        begun = None if self._tracing is None else self._tracing.begin(plans)
        durable = self.commit(plans)
        if self._tracing is not None and begun is not None:
            self._tracing.committed(durable, begun)
        self.ack(durable)
        self.tell(durable)
        return durable

    def _find_marked(self) -> None:
        """⑥ ⑦ Do what closed bars wait for: a commit a turn, so that a bar that closes meanwhile comes first.

        Only where much waits, of a replay, it goes on: what is read must not outrun what is found.
        """
        for steps in count():
            waiting = [state for state in self._states.values() if self._may_detect(state, load=steps == 0)]
            waiting.sort(key=lambda state: state.marks["stage"].min())  # for patterns first
            if not waiting or self._stop.is_set() or not self.options.detects:
                return
            self._commit_and_tell(self._committer.stage_marked(waiting[:_MARKED_PARTITIONS]))
            if sum(len(state.marks) for state in self._states.values()) < _MOST_MARKS:
                return

    def _may_detect(self, state: PartitionState, *, load: bool) -> bool:
        # A commit without bars must not pass what needs a whole one: a replay's end, a trade to take back, a new hole.
        needs_whole = state.ended_replays or state.undos or self._lookout.new_holes(state)
        if state.partition in self._reader.restoring or needs_whole:
            return False
        return len(state.marks) > 0 if load else state.has_detectable()

    def _read_overflow_again(self, plans: Sequence[PartitionPlan]) -> None:
        """Read again what there was no room for behind a hole that is filled now; it follows what is committed."""
        for plan in plans:
            if plan.state.overflow and not plan.state.holes:
                self.restore(plan.state.partition)

    def _is_commit_due(self, *, caught_up: bool) -> bool:
        have_news = [state.has_news() for state in self._states.values()]
        if not any(have_news):
            self._news_since = None
        else:
            # The clocks of the partitions differ by a read or two: their bars go together.
            self._news_since = self._news_since or time.monotonic()
            if caught_up and (all(have_news) or time.monotonic() >= self._news_since + _GATHER_S):
                return True
        if sum(state.uncommitted_ticks for state in self._states.values()) >= self._commit_ticks:
            return True
        waited_s = time.monotonic() - self._uncommitted_since if self._uncommitted_since is not None else 0.0
        return waited_s >= self.options.commit_ms / 1000

    # -- leases ----------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        deadline = time.monotonic() + LEASE_TTL_S + 1.0  # a killed worker's name is free after that
        said = False
        while not self._stop.is_set():
            VITALS.turn()
            try:
                self._assignment.join()
                self._database.connection.execute(query("update_worker"), self._committer.worker_row())
                VITALS.join()
                log.info("worker started", consumer=self.options.consumer, partitions=self._partitions)
                return
            except LeaseTaken as e:
                if time.monotonic() > deadline:
                    raise LeaseTaken(
                        f"a worker named {self.options.consumer} runs already: start this one with another --consumer"
                    ) from e
                if not said:
                    log.info("waiting for the name", consumer=self.options.consumer)
                    said = True
                self._stop.wait(0.1)
            except psycopg.Error as e:
                self._heal(e)
                deadline = time.monotonic() + LEASE_TTL_S + 1.0  # we may have it without knowing

    def _held(self) -> list[Held]:
        return [state.held for state in self._states.values()] + self._set_aside.held

    def _look_at_leases(self) -> None:
        for lost in self._assignment.renew_if_due(self._held()):
            self._drop(lost.partition, "lease lost")
        moved = self._assignment.moved()
        if self._assignment.definitions_changed():
            self._committer.read_definitions_again()
        if not moved:
            return
        if self._assignment.surplus(self._held()):
            self._step_through_commit()
            self._release_surplus()
        elif taken := self._assignment.take_one(self._held()):
            TAKEOVERS.inc()
            self._committer.tally.begin(taken.partition)
            self._begin(taken)

    def _begin(self, held: Held) -> None:
        self._states[held.partition] = PartitionState(held, position=START, limits=self._limits)
        self.restore(held.partition)

    def _take_back(self) -> None:
        """Go on with partitions that were set aside, where their keys are right again."""
        for held in self._set_aside.put_right():
            self._begin(held)

    def _wait_for_partitions(self) -> None:
        self._bounds.step_if_due(self._database.connection)
        self._stop.wait(_STANDBY_WAIT_S if self._assignment.stands_by else self.options.block_ms / 1000)

    def _release_surplus(self) -> None:
        surplus = [held for held in self._assignment.surplus(self._held()) if not self._is_dirty(held.partition)]
        for held in surplus:
            self._forget(held.partition)
        self._assignment.release(surplus)
        if surplus:
            log.info("partitions released", partitions=[held.partition for held in surplus])

    def _is_dirty(self, partition: int) -> bool:
        return partition in self._states and self._states[partition].dirty

    def _drop(self, partition: int, why: str) -> None:
        if self._forget(partition):
            log.info("partition dropped", partition=partition, why=why)

    def _forget(self, partition: int) -> bool:
        """Keep nothing of a partition; return whether it was here."""
        self._leave(partition)
        return self._states.pop(partition, None) is not None or self._set_aside.drop(partition)

    def _leave(self, partition: int) -> None:
        """Do nothing more for a partition in Redis."""
        self._reader.restoring.pop(partition, None)
        self._left.pop(partition, None)
        self._undone.pop(partition, None)
        self._teller.leave(partition)

    # -- restore ---------------------------------------------------------------------------------------------------

    def restore(self, partition: int, *, from_start: bool = False) -> None:
        """Go back to the committed state and read again: start, take-over, hole, anything odd: always this.

        from_start: of the stream, because its ids are not those that the committed position knows.
        """
        # A database that came back older may have forgotten that a replay ended.
        self._finished = {key: number for key, number in self._finished.items() if key[0] != partition}
        self._left.pop(partition, None)
        held = self._states[partition].held
        with self._database.connection.transaction():
            row = self._database.connection.execute(query("load_checkpoint"), {"partition": partition}).fetchone()
        if row is None or row[0] != held.lease.epoch:
            self._drop(partition, "taken by another worker")
            return
        _, held.token, position, held.outbox_number, saved = row
        self._committer.settle(partition, held.token)
        state = PartitionState(held, position=Position.kept(position), limits=self._limits)
        state.load(saved)
        self._states[partition] = state
        self._teller.open(held)
        ends = self._reader.rewind(state, from_start=from_start)
        if ends < state.position and not from_start:
            log.warning(
                "redis has lost entries", partition=partition, stream_ends=str(ends), committed_to=str(state.position)
            )
        self._committer.counts.restores += 1

    def _finish_restores(self, entries: dict[int, Entries]) -> None:
        for partition, restoring in list(self._reader.restoring.items()):
            state = self._states[partition]
            if not self._reader.restored(state, came_back_empty=partition not in entries):
                continue
            self._ack({}, {partition: state.done | self._finished_numbers(partition, restoring.sent)}, {})
            unread = self._lookout.unread(state, restoring.sent, in_vain=restoring.from_start)
            if unread and not restoring.from_start:
                self._reader.rewind(state, from_start=True)
                continue
            if unread:
                self._lookout.rest(partition, time.monotonic() - restoring.began)
            self._upkeep.ask_again(state, unread)  # what even the start of the stream does not bring
            self._reader.drop_idle_consumers(partition)
            pause_s = self._assignment.note_pause(state.held, served_s=self._served_s())
            log.info("partition restored", partition=partition, position=str(state.position), pause_s=pause_s)

    def _finished_numbers(self, partition: int, sent: dict[str, int]) -> dict[str, int]:
        """Return the last numbers of replays that ended here before: who committed their end may have died untold."""
        finished = {producer: self._finished_number(partition, producer) for producer in sent}
        return {producer: number for producer, number in finished.items() if number is not None}

    def _give_up_holes(self, partitions: AbstractSet[int]) -> None:
        """See after the holes of partitions that were read to their ends; of others, frames may come that fill them."""
        self._holes_at = time.monotonic() + _HOLES_EVERY_S
        if self._upkeep.give_up_holes(self._states, self._read_at.ms, self._stay_alive, among=partitions):
            self._uncommitted_since = self._uncommitted_since or time.monotonic()

    def _look_for_unread(self) -> None:
        """After a read up to the end: restore what the lookout names, and see after the holes."""
        latest_ms = self._reader.read_at_ms + int(self.options.max_future_s * 1000)
        odd = self._lookout.look(self._states, latest_ms)
        if odd is None:
            return
        for partition, why in odd.items():
            log.info("reading again", partition=partition, why=why)
            if why == IDS_AHEAD:
                self._renew(partition, latest_ms)
            self.restore(partition, from_start=why == IDS_AHEAD)
        for partition in self._vanished.to_read_again(self._states):
            log.info("reading again", partition=partition, why="sent, and not in the stream")
            self.restore(partition, from_start=True)
        self._give_up_holes(self._states.keys())
        if self._vanished.give_up(self._states):
            self._uncommitted_since = self._uncommitted_since or time.monotonic()
        self._upkeep.drop_old_producers(self._states)
        self._bounds.step_if_due(self._database.connection)
        self._watch_memory()
        self._ack({}, {}, {})

    def _renew(self, partition: int, latest_ms: int) -> None:
        """Let a partition's entries get new ids, but those that are dead letters already: read again, they are new."""
        rows = self._database.connection.execute(query("dead_letter_entries"), {"partition": partition})
        self._reader.renew(partition, latest_ms, refused=[entry for (entry,) in rows])

    def _watch_memory(self) -> None:
        """Give the retention up while Redis is nearly full: producers wait then, and only a trim lets them go on."""
        pressed = redis.memory_share(self._client) > _PRESSED_SHARE
        if pressed and not self._pressed:
            log.warning("Redis is nearly full: committed entries are trimmed at once, not after the retention")
        self._pressed = pressed
        if pressed:
            self._reader.ack({}, {}, self._committed_positions())

    def _committed_positions(self) -> dict[int, Position]:
        """Return where the streams may be trimmed; what is read again from the start must stay."""
        return {p: state.position for p, state in self._states.items() if p not in self._reader.restoring}

    def _finished_number(self, partition: int, replay: str) -> int | None:
        key = (partition, replay)
        if key not in self._finished:
            values = {"replay": replay, "partition": partition}
            row = self._database.connection.execute(query("finished_number"), values).fetchone()
            if row is None:
                return None
            self._finished[key] = row[0]
        return self._finished[key]

    # -- servers away, and the way out -----------------------------------------------------------------------------

    def _heal(self, error: Exception) -> None:
        """Wait until both servers serve again, then restore everything; anything but a server away is raised."""
        if not self._is_away(error):
            raise error
        if isinstance(error, psycopg.Error):
            self._give_up_connection(error)
        if not redis.is_foreign(error) or self._failures > _FOREIGN_IN_A_ROW:  # the look at the types says more
            self._say_away(error)
        _note_lost(error)
        while True:
            VITALS.turn()
            if self._failures:
                self._stop.wait(min(2.0, 0.05 * 2 ** min(self._failures, 10)))
            self._failures += 1
            if self._stop.is_set():
                self._left.clear()
                self._states.clear()  # they may not fit what is committed: the next owner restores
                return
            try:
                self._reconnect()
                return  # whether both serve, the next turn shows
            except (psycopg.Error, RedisError, OSError, ServerAway) as again:
                self._note_still_away(again)

    def _give_up_connection(self, error: psycopg.Error) -> None:
        """Begin with a new connection, also where a statement was refused: it may have left something behind."""
        if error.sqlstate == "57P01":
            # Somebody ended this backend: it kept a row locked for too long.
            self._commit_ticks = max(MAX_TICKS, self._commit_ticks // 2)
        if not postgres.is_lost(self._database.connection, error):
            self._database.close()

    def _note_still_away(self, error: Exception) -> None:
        if not self._is_away(error):
            raise error
        if isinstance(error, psycopg.Error):
            self._database.close()  # half prepared, or a standby
        _note_lost(error)
        if isinstance(error, TlsRefused | DatabaseGone | ResponseError) or getattr(error, "sqlstate", None):
            self._say_away(error)
        log.debug("still away", why=str(error).strip())

    def _is_away(self, error: Exception) -> bool:
        if isinstance(error, psycopg.Error):
            return postgres.is_lost(self._database.connection, error) or postgres.can_pass(error)
        return not isinstance(error, ResponseError) or redis.can_pass(error)

    def _say_away(self, error: Exception) -> None:
        """Say why nothing is committed, each reason once until both servers serve again."""
        why = first_line(error)
        if why not in self._said:
            do = postgres.advice(error) if isinstance(error, psycopg.Error) else redis.advice(error)
            log.warning("server away", why=why, **({"do": do} if do else {}))
            self._said.add(why)

    def _note_served(self) -> None:
        """Note after a whole turn that both servers serve again: one without room answers questions, and no more."""
        if self._failures:
            self._failures = 0
            self._served_since = time.monotonic()
            VITALS.serves("redis")
        if self._said:
            self._said = set()
            log.info("server back")

    def _served_s(self) -> float | None:
        """Return for how long both servers have served since one was away; None where none ever was."""
        if self._failures:
            return 0.0
        return None if self._served_since is None else time.monotonic() - self._served_since

    def _reconnect(self) -> None:
        with VITALS.asking("postgresql"):
            self._reconnect_database()
        try:
            redis.check(self._client, self._redis_url)
        except ServerAway:
            VITALS.lost("redis")
            raise
        for lost in self._assignment.renew_if_due(self._held()):
            self._drop(lost.partition, "lease lost")
        self._uncommitted_since = None
        self._front_door.reset()
        for partition in self._set_aside.look(self._states):
            self._leave(partition)
        for partition in list(self._states):
            self.restore(partition)

    def _reconnect_database(self) -> None:
        try:
            self._database.connection.execute("SELECT 1")
        except psycopg.Error:
            self._database.reopen()
            self._committer.open()
            self._assignment.listen()

    def _end(self) -> None:
        """Commit, ack, release: what cannot be done in time is left to the next owner, who restores it."""
        try:
            self._step_through_commit()
            self._front_door.release()
            self._assignment.leave(self._held())
        except (psycopg.Error, RedisError, OSError) as e:
            log.warning("left without a last commit", why=str(e).strip())
        log.info("worker stopped", consumer=self.options.consumer)


def _note_lost(error: Exception) -> None:
    """Note which server did not serve; a group that is gone is none that is away, and who opens a server notes it."""
    if isinstance(error, psycopg.Error):
        VITALS.lost("postgresql")
    elif not isinstance(error, ServerAway) and not redis.is_gone(error) and not redis.is_foreign(error):
        VITALS.lost("redis")
