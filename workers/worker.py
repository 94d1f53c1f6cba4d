"""The loop ④..⑧ over the owned partitions: read, apply, check, stage, commit, ack, tell; and the one way out."""

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
from ..contracts.errors import LeaseTaken, ServerAway
from ..contracts.frames.frame import MAX_TICKS
from ..contracts.names import GROUP
from ..contracts.server import SERVERS
from ..contracts.spellings.tick_json import SecondStamp, parse_entries
from ..contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ..contracts.stop import Stop
from ..db import postgres, redis
from ..db.backoff import Backoff
from ..db.door_stream import DoorStream
from ..db.lease import LEASE_TTL_S
from ..db.metrics import HOLES, PARTITIONS_OWNED, UNDETECTED_BARS
from ..db.outage import Outage, server_of
from ..db.postgres import Database
from ..db.queries import query
from ..db.redis import Client
from ..db.redis_connection import ReplyTooLarge
from ..db.vitals import VITALS
from ..db.world import REAL, World
from .acks import Acks
from .assignment import Assignment
from .bounds import KEEP, Bounds, Keep
from .commit.commit import Commit
from .commit.committer import Committer
from .commit.teller import Teller
from .commit.worker_figures import WorkerFigures
from .commit_pacing import CommitPacing
from .detect.history_memory import HISTORY_MB
from .door_reader import DoorReader
from .front_door import FrontDoor
from .lookout import IDS_AHEAD, Lookout
from .owned_partitions import OwnedPartitions
from .partition.finished_replays import FinishedReplays
from .partition.partition_state import PartitionState
from .partition.tick_check import MS_NS, Limits
from .partition_reader import Entries, PartitionReader
from .restorer import Restorer
from .set_aside import SetAside
from .steady_clock import Reading, SteadyClock
from .upkeep import Upkeep
from .vanished import Vanished

if TYPE_CHECKING:  # it needs what may not be installed
    from .commit.tracing import Tracing

log = structlog.get_logger()

_MARKED_PARTITIONS = 8  # in one commit of what marked bars wait for
_MOST_MARKS = 20_000  # that wait while more is read
_STANDBY_WAIT_S = 0.2  # of who has no partition, and hears of one by a NOTIFY
_HOLES_EVERY_S = 1.0
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

    def __init__(  # noqa: PLR0913  # two servers, and what the process hands in
        self,
        options: WorkerOptions,
        *,
        database: Database,
        client: Client,
        redis_url: str,
        partitions: int,
        stop: Stop,
        tracing: "Tracing | None" = None,
        world: World = REAL,
    ) -> None:
        self._world = world
        self.options = options
        self._database = database
        self._client = client
        self._redis_url = redis_url
        self._partitions = partitions
        self._stop = stop
        self._tracing = tracing
        self._figures = WorkerFigures(options.consumer, world=world)
        self._committer = Committer(
            database,
            client,
            options.consumer,
            world=world,
            figures=self._figures,
            detects=options.detects,
            history_mb=options.history_mb,
        )
        self._limits = self._make_limits()
        reading = redis.connect(redis_url, reply_bytes=READ_BYTES)
        self._reader = PartitionReader(reading, options.consumer, world=world, group=options.group)
        self._teller = Teller(client, database, retention_s=options.retention_s, world=world)
        self._finished = FinishedReplays(database)
        self._restorer = Restorer(
            database,
            self._reader,
            committer=self._committer,
            teller=self._teller,
            finished=self._finished,
            limits=self._limits,
        )
        self._acks = Acks(client, self._reader, retention_s=options.retention_s)
        self._pacing = CommitPacing(commit_s=options.commit_ms / 1000, world=world)
        self._assignment = Assignment(database, options.consumer, partitions, world=world)
        self._clock = SteadyClock(monotonic_ms=lambda: world.monotonic_ns() // MS_NS, witness_ms=self._database_ms)
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
            world=world,
        )
        self._front_door_busy = False
        self._lookout = Lookout(self._reader, self._finished.number, world=world)
        self._owned = OwnedPartitions(
            self._assignment,
            self._restorer,
            set_aside=SetAside(client, world=world),
            figures=self._figures,
            limits=self._limits,
            parts=(self._reader, self._acks, self._teller, self._committer),
        )
        self._states = self._owned.states
        self._upkeep = Upkeep(client, database, self._reader, hole_wait_s=options.hole_wait_s, world=world)
        self._vanished = Vanished(database, self._reader, wait_s=options.hole_wait_s, world=world)
        self._read_at = Reading(0)  # of the last read of the partitions
        self._stepped = False  # Redis's clock, and it is not followed
        self._bounds = Bounds(options.keep, world=world)
        self._read_count = 1
        self._holes_at = 0.0  # when they are seen after, though more is to be read
        self._failures = 0  # since a whole turn went well
        self._served_since: float | None = None  # after a failure
        self._backoff = Backoff(world)
        self._outages = {server: Outage(server, self._backoff) for server in SERVERS}

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
        self.join()
        self.work()
        self._end()

    def work(self) -> None:
        """Take turns until told to stop; wait for a server that is away."""
        while not self._stop.is_set():
            try:
                self.turn()
                self._note_served()
            except (psycopg.Error, RedisError, OSError, ServerAway) as error:
                self._heal(error)

    def join(self) -> None:
        """Take the name; wait for it as long as a killed worker may hold it. Raises LeaseTaken."""
        deadline = self._world.monotonic_s() + LEASE_TTL_S + 1.0  # a killed worker's name is free after that
        said = False
        while not self._stop.is_set():
            VITALS.turn()
            try:
                self._assignment.join()
                self._database.connection.execute(query("update_worker"), self._figures.first_row())
                VITALS.join()
                log.info("worker started", consumer=self.options.consumer, partitions=self._partitions)
                return
            except LeaseTaken as e:
                if self._world.monotonic_s() > deadline:
                    raise LeaseTaken(
                        f"a worker named {self.options.consumer} runs already: start this one with another --consumer"
                    ) from e
                if not said:
                    log.info("waiting for the name", consumer=self.options.consumer)
                    said = True
                self._world.wait(self._stop, 0.1)
            except psycopg.Error as e:
                self._heal(e)
                deadline = self._world.monotonic_s() + LEASE_TTL_S + 1.0  # we may have it without knowing

    def _end(self) -> None:
        """Commit, ack, release: what cannot be done in time is left to the next owner, who restores it."""
        try:
            self._step_through_commit()
            self._front_door.release()
            self._assignment.leave(self._owned.held)
        except (psycopg.Error, RedisError, OSError) as e:
            log.warning("left without a last commit", why=str(e).strip())
        log.info("worker stopped", consumer=self.options.consumer)

    def turn(self) -> None:
        """Take one turn: a read and what follows from it."""
        VITALS.turn()
        self._look_at_leases()
        self._owned.take_back()
        self._show()
        self._front_door_busy = self._front_door.step()
        if not self._states:
            self._wait_for_partitions()
            return
        before_ns = self._world.monotonic_ns()
        had_left = self._owned.left  # of a read that did not come to the end
        entries = self.read()
        self.apply(entries, before_ns)
        self._finish_restores(entries)
        caught_up = self._is_caught_up(entries) and not had_left
        if caught_up:
            self._look_for_unread()
        elif self._world.monotonic_s() >= self._holes_at:  # else a busy one would keep the others' holes open
            self._give_up_holes(self._read_to_their_ends(entries) - had_left)
        if self._pacing.is_due(self._states.values(), caught_up=caught_up):
            self._step_through_commit()
        elif not self._pacing.has_news:
            self._find_marked()
        if caught_up and not any(state.has_news() for state in self._states.values()):
            self._committer.load_ahead(list(self._states.values()))
        if self._teller.is_behind:
            self._teller.catch_up()

    def _is_caught_up(self, entries: dict[int, Entries]) -> bool:
        return not self._owned.left and all(len(frames) < self._read_count for frames in entries.values())

    def _read_to_their_ends(self, entries: dict[int, Entries]) -> set[int]:
        """Return the partitions in which nothing is unread, whatever waits in the others."""
        return {p for p in self._states if p not in self._owned.left and len(entries.get(p, ())) < self._read_count}

    def _show(self) -> None:
        PARTITIONS_OWNED.set(len(self._owned.held))
        UNDETECTED_BARS.set(sum(len(state.marks) for state in self._states.values()))

    def read(self) -> dict[int, Entries]:
        """④ Read new frames of all owned partitions; those with frames left over from the last read wait."""
        entries = self._owned.take_left()
        partitions = [partition for partition in self._states if partition not in entries]
        if not partitions:
            return entries
        self._read_count = self.options.read_count or max(1, READ_TICKS // MAX_TICKS // len(self._states))
        # A take-over goes on at once: there may be one more partition to take.
        waits = self._pacing.has_news or any(map(self._committer.has_detectable, self._states.values()))
        at_once = entries or self._front_door_busy or self._reader.restoring or (waits and self.options.detects)
        block_ms = 0 if at_once else self.options.block_ms
        try:
            entries |= self._reader.read(partitions, count=self._read_count, block_ms=block_ms)
        except ReplyTooLarge as e:
            log.warning("reading entry by entry: somebody sent more than a frame", why=str(e))
            for partition in partitions:
                self.restore(partition)
            self._owned.leave_left(entries)
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
        now_ns = self._world.monotonic_ns()
        rows = max(1, READ_TICKS // max(1, len(entries)))
        for partition, state in self._states.items():
            if partition in entries:
                finished = partial(self._finished.number, partition)
                taken = state.apply(
                    entries[partition],
                    read=self._read_at,
                    now_ns=now_ns,
                    finished=finished,
                    most_rows=rows,
                    between=self._stay_alive,
                )
                if taken < len(entries[partition]):
                    self._owned.leave_left({partition: entries[partition][taken:]})
            elif partition not in self._reader.restoring:
                state.tick_clocks(before_ns)
        if any(state.uncommitted.dirty for state in self._states.values()):
            self._pacing.note_uncommitted()

    def _stay_alive(self) -> None:
        """Renew the leases, where it is time, amid long work; one that is lost meanwhile fences the commit."""
        VITALS.turn()
        self._assignment.renew_if_due(self._owned.held)

    def check(self) -> list[PartitionState]:
        """Return the states that can be committed; one that met a new hole is restored first: it may have misread.

        What cancels and corrections take back is taken back here, from the stream.
        """
        ready = []
        for partition, state in list(self._states.items()):
            if partition not in self._reader.restoring and (new := self._lookout.new_holes(state)):
                log.info("missing frames", partition=partition, producers=new)
                HOLES.inc(len(new))
                self._lookout.read_again(state)
                self.restore(partition)
            elif state.uncommitted.dirty or state.closed() or state.has_news():
                ready.append(state)
        for state in ready:
            if state.uncommitted.undos:
                state.take_back(partial(self._reader.past, state, self._stay_alive))
            state.give_up_undos()
        return ready

    def stage(self, states: Sequence[PartitionState]) -> Commit:
        """⑧ Put the closed bars where the transaction finds them."""
        return self._committer.stage(states)

    def commit(self, commit: Commit) -> Commit:
        """⑧ Run the one transaction; return what is durable. Fenced partitions are restored, or dropped if not ours."""
        elsewhere = [state for partition, state in self._states.items() if partition not in commit.partitions]
        durable = self._committer.transact(commit, undetected_elsewhere=sum(len(state.marks) for state in elsewhere))
        for partition in commit.partitions:
            if partition not in durable.partitions:
                self.restore(partition)
        return durable

    def ack(self, durable: Commit) -> None:
        """⑧ Move the states on, ack what is committed, tell the producers how far they are done, and trim."""
        self._acks.ack(durable.plans, self._states)

    def tell(self, durable: Commit) -> None:
        """⑧ Tell the results; they are durable in the outbox already."""
        self._teller.tell(durable.plans)

    def _step_through_commit(self) -> None:
        states = self.check()
        self._pacing.begin()
        if not states:
            return
        commit: Commit | None = self.stage(states)
        committed: list[PartitionState] = []
        while commit:
            durable = self._commit_and_tell(commit)
            committed += [plan.state for plan in durable.plans]
            commit = self._committer.stage_rest(durable)
        self._read_overflow_again(committed)
        self._pacing.note_committed()

    def _commit_and_tell(self, commit: Commit) -> Commit:
        VITALS.turn()
        begun = None if self._tracing is None else self._tracing.begin(commit.plans)
        durable = self.commit(commit)
        if self._tracing is not None and begun is not None:
            self._tracing.committed(durable.plans, begun)
        self.ack(durable)
        self.tell(durable)
        return durable

    def _find_marked(self) -> None:
        """⑥ ⑦ Do what closed bars wait for: a commit a turn, so that a bar that closes meanwhile comes first.

        Only where much waits, of a replay, it goes on: what is read must not losers_within_commit what is found.
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
        needs_whole = state.uncommitted.ended_replays or state.uncommitted.undos or self._lookout.new_holes(state)
        if state.partition in self._reader.restoring or needs_whole:
            return False
        return len(state.marks) > 0 if load else self._committer.has_detectable(state)

    def _read_overflow_again(self, states: Sequence[PartitionState]) -> None:
        """Read again what there was no room for behind a hole that is filled now; it follows what is committed."""
        for state in states:
            if state.intake.overflow and not state.holes:
                self.restore(state.partition)

    # -- leases ----------------------------------------------------------------------------------------------------

    def _look_at_leases(self) -> None:
        self._owned.renew_leases()
        moved = self._assignment.moved()
        if self._assignment.definitions_changed():
            self._committer.read_definitions_again()
        if not moved:
            return
        if self._owned.has_surplus():
            self._step_through_commit()
            self._owned.release_surplus()
        else:
            self._owned.take_one()

    def _wait_for_partitions(self) -> None:
        self._bounds.step_if_due(self._database.connection)
        self._world.wait(self._stop, _STANDBY_WAIT_S if self._assignment.stands_by else self.options.block_ms / 1000)

    # -- restore ---------------------------------------------------------------------------------------------------

    def restore(self, partition: int, *, from_start: bool = False) -> None:
        """Go back to the committed state and read again; from_start: of the stream."""
        self._owned.restore(partition, from_start=from_start)

    def _finish_restores(self, entries: dict[int, Entries]) -> None:
        for partition, restoring in list(self._reader.restoring.items()):
            state = self._states[partition]
            if not self._reader.restored(state, came_back_empty=partition not in entries):
                continue
            # Who committed a replay's end may have died before the producer was told.
            self._acks.note_done(partition, state.done | self._finished.numbers(partition, restoring.sent))
            self._acks.send(self._states)
            unread = self._lookout.unread(state, restoring.sent, in_vain=restoring.from_start)
            if unread and not restoring.from_start:
                self._reader.rewind(state, from_start=True)
                continue
            if unread:
                self._lookout.rest(partition, self._world.monotonic_s() - restoring.began)
            self._upkeep.ask_again(state, unread)  # what even the start of the stream does not bring
            self._reader.drop_idle_consumers(partition)
            pause_s = self._assignment.note_pause(state.held, served_s=self._served_s())
            log.info("partition restored", partition=partition, position=str(state.position), pause_s=pause_s)

    def _give_up_holes(self, partitions: AbstractSet[int]) -> None:
        """See after the holes of partitions that were read to their ends; of others, frames may come that fill them."""
        self._holes_at = self._world.monotonic_s() + _HOLES_EVERY_S
        if self._upkeep.give_up_holes(self._states, self._read_at.ms, self._stay_alive, among=partitions):
            self._pacing.note_uncommitted()

    def _look_for_unread(self) -> None:
        """After a read up to the end: restore what the lookout names, and see after the holes."""
        latest_ms = self._reader.read_at_ms + int(self.options.max_future_s * 1000)
        odd = self._lookout.check(self._states, latest_ms)
        if odd is None:
            return
        for partition, why in odd.items():
            log.info("restoring partition", partition=partition, why=why)
            if why == IDS_AHEAD:
                self._renew(partition, latest_ms)
            self.restore(partition, from_start=why == IDS_AHEAD)
        for partition in self._vanished.to_read_again(self._states):
            log.info("restoring partition", partition=partition, why="sent, and not in the stream")
            self.restore(partition, from_start=True)
        self._give_up_holes(self._states.keys())
        if self._vanished.give_up(self._states):
            self._pacing.note_uncommitted()
        self._upkeep.drop_old_producers(self._states)
        self._bounds.step_if_due(self._database.connection)
        self._acks.watch_memory(self._states)
        self._acks.send(self._states)

    def _renew(self, partition: int, latest_ms: int) -> None:
        """Let a partition's entries get new ids, but those that are dead letters already: read again, they are new."""
        rows = self._database.connection.execute(query("dead_letter_entries"), {"partition": partition})
        self._reader.renew(partition, latest_ms, refused=[entry for (entry,) in rows])

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
                self._world.wait(self._stop, self._backoff.pause_s())
            self._failures += 1
            if self._stop.is_set():
                self._owned.clear()
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
            self._pacing.note_ended()
        if not postgres.is_lost(self._database.connection, error):
            self._database.close()

    def _note_still_away(self, error: Exception) -> None:
        if not self._is_away(error):
            raise error
        if isinstance(error, psycopg.Error):
            self._database.close()  # half prepared, or a standby
        _note_lost(error)
        self._say_away(error)

    def _is_away(self, error: Exception) -> bool:
        if isinstance(error, psycopg.Error):
            return postgres.is_lost(self._database.connection, error) or postgres.can_pass(error)
        return not isinstance(error, ResponseError) or redis.can_pass(error)

    def _say_away(self, error: Exception) -> None:
        """Log which server is away, and why nothing is committed."""
        do = postgres.advice(error) if isinstance(error, psycopg.Error) else redis.advice(error)
        self._outages[server_of(error)].say(error, do=do)

    def _note_served(self) -> None:
        """Note after a whole turn that both servers serve again: one without room answers questions, and no more."""
        if self._failures:
            self._failures = 0
            self._served_since = self._world.monotonic_s()
            VITALS.serves("redis")
            for outage in self._outages.values():
                outage.end()

    def _served_s(self) -> float | None:
        """Return for how long both servers have served since one was away; None where none ever was."""
        if self._failures:
            return 0.0
        return None if self._served_since is None else self._world.monotonic_s() - self._served_since

    def _reconnect(self) -> None:
        with VITALS.asking("postgresql"):
            self._reconnect_database()
        try:
            redis.check(self._client, self._redis_url)
        except ServerAway:
            VITALS.lost("redis")
            raise
        self._owned.renew_leases()
        self._pacing.forget_uncommitted()
        self._front_door.reset()
        self._owned.restore_all()

    def _reconnect_database(self) -> None:
        try:
            self._database.connection.execute("SELECT 1")
        except psycopg.Error:
            self._database.reopen()
            self._committer.open()
            self._assignment.listen()


def _note_lost(error: Exception) -> None:
    """Note which server did not serve; a group that is gone is none that is away, and who opens a server notes it."""
    if isinstance(error, psycopg.Error):
        VITALS.lost("postgresql")
    elif not isinstance(error, ServerAway) and not redis.is_gone(error) and not redis.is_foreign(error):
        VITALS.lost("redis")
