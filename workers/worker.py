"""The loop ④..⑧ over the owned partitions: read, apply, check, stage, commit, tell, ack; its start and its end."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import psycopg
import structlog
from redis.exceptions import RedisError

from ..contracts.bounds import READ_TICKS
from ..contracts.errors import LeaseTaken, ServerAway
from ..contracts.frames.frame import MAX_TICKS
from ..contracts.stop import Stop
from ..contracts.ticks import MAX_TS_NS
from ..db import redis
from ..db.lease import LEASE_TTL_S
from ..db.metrics import HOLES, PARTITIONS_OWNED, UNDETECTED_BARS
from ..db.postgres import Database
from ..db.queries import query
from ..db.redis import Client
from ..db.redis_connection import ReplyTooLarge
from ..db.vitals import VITALS
from ..db.world import REAL, World
from .commit.commit import Commit
from .commit.commit_pacing import CLOCKS_DIFFER_NS
from .lookout import IDS_AHEAD
from .partition.partition_state import PartitionState
from .partition.tick_check import MS_NS
from .partition_reader import Entries
from .restore.recovery import AWAY, Recovery
from .steady_clock import Reading
from .worker_options import WorkerOptions
from .worker_parts import WorkerParts

if TYPE_CHECKING:  # imports optional packages
    from .commit.tracing import Tracing

log = structlog.get_logger()

_MANY_MARKS = 20_000  # if more bars wait for detection, they are detected before the next read
_STANDBY_WAIT_S = 0.2  # of a worker without a partition; a NOTIFY does not wake it
_HOLES_EVERY_S = 1.0
_CLOCK_VARIES_NS = 3_000_000  # from frame to frame: the time between the making and the sending of a frame differs
_BACKEND_ENDED = "57P01"  # SQLSTATE admin_shutdown


class Worker:
    """One worker. Only the thread that calls `run` touches its state.

    The steps of a turn are methods, in their order. Whatever goes wrong between two of them, the answer is the same:
    restore from the last commit, and read the stream again from there.
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
        parts = WorkerParts(
            options, database=database, client=client, redis_url=redis_url, partitions=partitions, world=world
        )
        self._figures = parts.figures
        self._reader, self._clock = parts.reader, parts.clock
        self._owned, self._states = parts.owned, parts.owned.states
        self._assignment, self._front_door, self._row_retention = (
            parts.assignment,
            parts.front_door,
            parts.row_retention,
        )
        self._committer, self._marked, self._pacing = parts.committer, parts.marked, parts.pacing
        self._acks, self._teller, self._finished = parts.acks, parts.teller, parts.finished
        self._lookout, self._vanished, self._upkeep = parts.lookout, parts.vanished, parts.upkeep
        self._restorer, self._restore_end = parts.restorer, parts.restore_end
        self._recovery = Recovery(database, stop=stop, world=world, reconnect=self._reconnect)
        self._front_door_busy = False
        self._looks_ahead = False  # True: the last turn found results before the close
        self._read_at = Reading(0)  # of the last read of the partitions
        self._read_count = 1
        self._caught_up = False  # True: the last read reached the ends of all streams
        self._had_left: set[int] = set()  # partitions that were not read, because entries of the read before were left
        self._read_began_ns = self._read_ended_ns = 0  # monotonic times of the last read
        self._holes_at = 0.0  # when missing frames are checked next, even if more is to be read

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the stop is set; then commit, ack, release. Raises LeaseTaken or LeaseLost with the name."""
        self.join()
        self.work()
        self._end()

    def work(self) -> None:
        """Take turns until the stop is set; wait while a server is away."""
        while not self._stop.is_set():
            try:
                self.turn()
                self._recovery.note_served()
            except AWAY as error:
                self._heal(error)

    def join(self) -> None:
        """Take the consumer name; wait as long as a killed worker may still hold it. Raises LeaseTaken."""
        deadline = self._world.monotonic_s() + LEASE_TTL_S + 1.0  # a killed worker's name is free after that
        is_logged = False
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
                if not is_logged:
                    log.info("waiting for the name", consumer=self.options.consumer)
                    is_logged = True
                self._world.wait(self._stop, 0.1)
            except psycopg.Error as e:
                self._heal(e)
                deadline = self._world.monotonic_s() + LEASE_TTL_S + 1.0  # the lost answer may have given us the name

    def _end(self) -> None:
        """Commit, ack, release. The next owner restores what could not be committed."""
        try:
            self._step_through_commit()
            self._front_door.release()
            self._assignment.leave(self._owned.held)
        except (psycopg.Error, RedisError, OSError) as e:
            log.warning("left without a last commit", why=str(e).strip())
        log.info("worker stopped", consumer=self.options.consumer)

    def turn(self) -> None:
        """Take one turn: one read, and what follows from it."""
        VITALS.turn()
        self._look_at_leases()
        self._owned.take_back()
        self._show()
        self._front_door_busy = self._front_door.step()
        if not self._states:
            self._wait_for_partitions()
            return
        entries = self.read()
        self.apply(entries)
        self._finish_restores(entries)
        ended = self._read_to_their_ends(entries)
        self._caught_up = caught_up = ended == self._states.keys()
        if not caught_up and self._world.monotonic_s() >= self._holes_at:  # one busy partition keeps no other waiting
            self._give_up_holes(ended)
        if self._pacing.is_due(self._states.values(), caught_up=caught_up):
            self._step_through_commit()
        elif not self._pacing.has_news:
            self._detect_marked()
        if caught_up and not any(state.has_news() for state in self._states.values()):
            self._look_for_unread()
            self._prepare_closes()
        if self._teller.is_behind:
            self._teller.catch_up()

    def _prepare_closes(self) -> None:
        """⑥ ⑦ When the worker is idle: detect on the bars that close next, and load the data that later bars need."""
        states = [state for partition, state in self._states.items() if partition not in self._reader.restoring]
        self._looks_ahead = self._committer.find_ahead(states)
        if not self._looks_ahead:
            self._committer.load_ahead(list(self._states.values()))

    def _read_to_their_ends(self, entries: dict[int, Entries]) -> set[int]:
        """Return the partitions that had no further entries when they were read."""
        unread = self._owned.left | self._had_left | self._reader.one_by_one
        return {p for p in self._states if p not in unread and len(entries.get(p, ())) < self._read_count}

    def _show(self) -> None:
        PARTITIONS_OWNED.set(len(self._owned.held))
        UNDETECTED_BARS.set(self._marks_waiting())

    def _marks_waiting(self) -> int:
        return sum(len(state.marks) for state in self._states.values())

    # -- read and apply --------------------------------------------------------------------------------------------

    def read(self) -> dict[int, Entries]:
        """④ Read new frames of all owned partitions, except those with entries left over from the last read."""
        entries = self._owned.take_left()
        self._had_left = set(entries)
        partitions = [partition for partition in self._states if partition not in entries]
        if not partitions:
            return entries
        self._read_count = self.options.read_count or max(1, READ_TICKS // MAX_TICKS // len(self._states))
        # After a restore, take turns without a pause: there may be one more partition to take over.
        waits = self._pacing.has_news or any(map(self._committer.has_detectable, self._states.values()))
        waits = (waits and self.options.detects) or self._looks_ahead  # more bars may close soon
        if self._caught_up and not (entries or self._front_door_busy or self._reader.restoring or waits):
            self._let_entries_gather()
        self._read_began_ns = self._world.monotonic_ns()
        try:
            entries |= self._reader.read(partitions, count=self._read_count)
        except ReplyTooLarge as e:
            log.warning("reading entry by entry: an entry is larger than a frame", why=str(e))
            for partition in partitions:
                self.restore(partition)
            self._owned.leave_left(entries)
            return self.read()  # a turn without a read would look like one that found nothing
        self._read_at = self._clock.read(self._reader.read_at_ms)
        self._read_ended_ns = self._world.monotonic_ns()
        return entries

    def _let_entries_gather(self) -> None:
        """Wait for more entries after the last read, but not past the close of a bar: only a later read closes it.

        A turn takes as long for one entry as for twenty, and a bar that closes during a turn waits for its end.
        """
        now_ns, gather_ns = self._world.monotonic_ns(), min(self.options.gather_ms, self.options.commit_ms) * MS_NS
        wait_ns = min(self._read_ended_ns + gather_ns - now_ns, self._until_close_ns(now_ns) + _CLOCK_VARIES_NS)
        if wait_ns > 0:
            self._world.wait(self._stop, wait_ns / 1e9)

    def _until_close_ns(self, now_ns: int) -> int:
        """Return in how many ns the next bar closes, or the last of several that close together."""
        states = [state for partition, state in self._states.items() if partition not in self._reader.restoring]
        waits = [state.until_close_ns(now_ns) for state in states]
        first = min(waits, default=MAX_TS_NS)
        return max((wait for wait in waits if wait <= first + CLOCKS_DIFFER_NS), default=first)

    def apply(self, entries: dict[int, Entries]) -> None:
        """⑤ Put the entries of the last read into the open bars, and move the clocks on where it read everything.

        One turn takes at most READ_TICKS rows: entries beyond that are left for the next turn, after a commit.
        """
        rows = max(1, READ_TICKS // max(1, len(entries)))
        for partition, state in self._states.items():
            if partition in entries:
                finished = partial(self._finished.number, partition)
                taken = state.apply(
                    entries[partition],
                    read=self._read_at,
                    now_ns=max(self._clock.read_at_ns, self._read_began_ns),
                    finished=finished,
                    most_rows=rows,
                    between=self._stay_alive,
                )
                if taken < len(entries[partition]):
                    self._owned.leave_left({partition: entries[partition][taken:]})
        for partition in self._read_to_their_ends(entries) - self._reader.restoring.keys():
            self._states[partition].tick_clocks(self._read_began_ns)
        if any(state.uncommitted.dirty for state in self._states.values()):
            self._pacing.note_uncommitted()

    def _stay_alive(self) -> None:
        """Renew the leases if it is time, in the middle of long work. The commit is refused if one was lost."""
        VITALS.turn()
        self._assignment.renew_if_due(self._owned.held)

    # -- commit ----------------------------------------------------------------------------------------------------

    def check(self) -> list[PartitionState]:
        """Return the states that can be committed. One with new missing frames is restored first: read it twice.

        Cancels and corrections are carried out here: their bars are made again from the stream.
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
        """⑧ Fill the staging tables with the closed bars, and return the commit of them."""
        return self._committer.stage(states)

    def commit(self, commit: Commit) -> Commit:
        """⑧ Run the transaction; return the durable commit. A fenced partition is restored or dropped."""
        elsewhere = [state for partition, state in self._states.items() if partition not in commit.partitions]
        durable = self._committer.transact(commit, undetected_elsewhere=sum(len(state.marks) for state in elsewhere))
        for partition in commit.partitions:
            if partition not in durable.partitions:
                self.restore(partition)
        return durable

    def tell(self, durable: Commit) -> None:
        """⑧ Copy the results to Redis; the outbox has them already."""
        self._teller.tell(durable.plans)

    def ack(self, durable: Commit) -> None:
        """⑧ Advance the states, ack the committed entries, write `done` for the producers, and trim the streams."""
        self._acks.ack(durable.plans, self._states)

    def _step_through_commit(self) -> None:
        states = self.check()
        self._pacing.begin()
        if not states:
            return
        committed: list[PartitionState] = []
        for some in self._committer.patterns_first(states):
            commit: Commit | None = self.stage(some)
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
        self.tell(durable)
        self.ack(durable)
        return durable

    def _detect_marked(self) -> None:
        """⑥ ⑦ Run the detectors on marked bars: one commit in a turn, so that a bar that closes now comes first.

        If more than 20,000 bars wait (a replay), keep committing: detection must not fall ever further behind reading.
        """
        for steps in count():
            states = self._marked.choose(self._states.values(), load=steps == 0)
            if not states or self._stop.is_set() or not self.options.detects:
                return
            self._commit_and_tell(self._committer.stage_marked(states))
            if self._marks_waiting() < _MANY_MARKS:
                return

    def _read_overflow_again(self, states: Sequence[PartitionState]) -> None:
        """Read frames again that were dropped for lack of room, once the missing frames before them have come."""
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
        self._row_retention.step_if_due(self._database.connection)
        self._world.wait(self._stop, _STANDBY_WAIT_S if self._assignment.stands_by else self.options.gather_ms / 1000)

    # -- restore ---------------------------------------------------------------------------------------------------

    def restore(self, partition: int, *, from_start: bool = False) -> None:
        """Go back to the committed state and read again. from_start: read the stream from its start."""
        self._owned.restore(partition, from_start=from_start)

    def _finish_restores(self, entries: dict[int, Entries]) -> None:
        for state in self._restore_end.finish(self._states, entries):
            pause_s = self._assignment.note_pause(state.held, served_s=self._recovery.served_s)
            log.info("partition restored", partition=state.partition, position=str(state.position), pause_s=pause_s)

    def _give_up_holes(self, partitions: AbstractSet[int]) -> None:
        """Ask for missing frames, or count them as lost. partitions: read to their ends; others may still have them."""
        self._holes_at = self._world.monotonic_s() + _HOLES_EVERY_S
        if self._upkeep.give_up_holes(self._states, self._read_at.ms, self._stay_alive, among=partitions):
            self._pacing.note_uncommitted()

    def _look_for_unread(self) -> None:
        """After a read to the end: restore the partitions that lack frames, and check for missing frames."""
        latest_ms = self._reader.read_at_ms + int(self.options.max_future_s * 1000)
        odd = self._lookout.check(self._states, latest_ms)
        if odd is None:
            return
        for partition, why in odd.items():
            log.info("restoring partition", partition=partition, why=why)
            if why == IDS_AHEAD:
                self._restorer.renew_ids(partition, latest_ms)
            self.restore(partition, from_start=why == IDS_AHEAD)
        for partition in self._vanished.to_read_again(self._states):
            log.info("restoring partition", partition=partition, why="sent, and not in the stream")
            self.restore(partition, from_start=True)
        self._give_up_holes(self._states.keys())
        if self._vanished.give_up(self._states):
            self._pacing.note_uncommitted()
        self._upkeep.drop_old_producers(self._states)
        self._row_retention.step_if_due(self._database.connection)
        self._acks.watch_memory(self._states)
        self._acks.send(self._states)

    # -- a server is away ------------------------------------------------------------------------------------------

    def _heal(self, error: Exception) -> None:
        """Wait until both servers serve again, and restore everything. Raises any error that means something else."""
        if isinstance(error, psycopg.Error) and error.sqlstate == _BACKEND_ENDED:
            self._pacing.note_ended()  # another worker ended this backend, because it kept a row locked for too long
        if not self._recovery.wait_until_served(error):
            self._owned.clear()

    def _reconnect(self) -> None:
        """Connect to both servers again, and restore all partitions. Raises one of AWAY if a server is still away."""
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
