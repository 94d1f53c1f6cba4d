"""⑧ Makes a step durable: stage the bars outside the transaction, then write all in ONE transaction."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import psycopg
import structlog

from ...contracts.bar import has_prices
from ...contracts.errors import Fenced
from ...contracts.ticks import Mask
from ...db.backoff import Backoff
from ...db.metrics import COMMIT_DURATION, COMMIT_TICKS, TICK_TO_COMMIT
from ...db.postgres import Database
from ...db.redis import Client, redis_ms
from ...db.staged_rows import StagedRows, TableShape
from ...db.tables.bars import existing, fresh_partitions_stored, is_fresh_stored, no_existing, stage
from ...db.tables.own_bars.forgotten_bars import bars_kept, put_back_staged
from ...db.tables.replays import minutes_not_held
from ...db.world import World
from ..partition.partition_state import PartitionState
from .commit import Commit
from .find.ahead import closing_soon
from .find.result_finder import ResultFinder
from .first_patterns import hold_back, plan_rest
from .newest_bars import NewestBars
from .partial_bars import mark_partial
from .plan import PartitionPlan, plan_partition, stage_rows, take_superseded
from .staged_bars import NO_ROWS, losers_within_commit, resolve
from .staging import plan_findings, plan_messages, restage
from .transaction import CommitTransaction
from .unstorable import Unstorable
from .worker_figures import WorkerFigures

log = structlog.get_logger()

_AHEAD_BARS = 2048  # in one call of find_ahead; the worker reads ticks between two calls
_ATTEMPTS = 5  # of a transaction that the server rolled back: a deadlock, a serialization failure


class Committer:
    """Commits partitions through one connection, in two steps: `stage`, then `transact`.

    Between two calls it keeps only the plans whose COMMIT was never answered. figures: of this worker.
    """

    def __init__(
        self,
        database: Database,
        client: Client,
        consumer: str,
        *,
        world: World,
        figures: WorkerFigures,
        detects: bool,
        history_mb: int,
    ) -> None:
        self._world = world
        self._database = database
        self._client = client
        self._consumer = consumer
        self._figures = figures
        self._finder = ResultFinder(database.connection, world=world, history_mb=history_mb) if detects else None
        self._newest = NewestBars()
        self._unanswered: dict[int, PartitionPlan] = {}  # partition -> plan whose COMMIT was sent but not answered
        self.open()

    def open(self) -> None:
        """Prepare the connection. Call it again after the connection was lost."""
        self._transaction = CommitTransaction(self._database.connection, self._consumer)
        if self._finder:
            self._finder.open(self._database.connection)

    @property
    def shape(self) -> TableShape:
        """Return the digits and limits of the columns of ohlcv_1min."""
        return self._transaction.shape

    def read_definitions_again(self) -> None:
        """Read which detectors are on with the next bars, without waiting for the end of the minute."""
        if self._finder:
            self._finder.read_again()

    def load_ahead(self, states: Sequence[PartitionState]) -> None:
        """Load the missing histories of symbols with open bars in one partition."""
        if self._finder:
            self._finder.load_ahead(states)

    def find_ahead(self, states: Sequence[PartitionState]) -> bool:
        """Detect on the bars of some partitions that close soon; return whether there was such a bar."""
        if self._finder is None:
            return False
        soon, bars, now_s = [], 0, self._world.monotonic_s()
        for state in states:
            closed = None if self._finder.is_ahead(state) else closing_soon(state)
            if closed is not None and bars < _AHEAD_BARS:
                bars += int(closed.mask.sum())
                soon.append((state, closed, self._newest.fresh_of(state, closed, now_s)))
        return bool(soon) and self._finder.find_ahead(soon, now_s)

    def has_detectable(self, state: PartitionState) -> bool:
        """Tell whether a partition has marked bars whose histories are loaded."""
        return self._finder is not None and self._finder.has_detectable(state)

    def leave(self, partition: int) -> None:
        """Forget the histories of a partition that this worker does not own any more."""
        self._newest.leave(partition)
        if self._finder:
            self._finder.histories.leave(partition)

    def patterns_first(self, states: Sequence[PartitionState]) -> list[Sequence[PartitionState]]:
        """Divide partitions into those with patterns that were found before the close, and the others.

        Each partition makes a commit longer, and a pattern is published when its commit ends. If more than half of the
        partitions have patterns, one commit takes all.
        """
        first = [state for state in states if self._finder is not None and self._finder.awaits_publishing(state)]
        if not first or 2 * len(first) > len(states):
            return [states]
        return [first, [state for state in states if state not in first]]

    # -- stage -------------------------------------------------------------------------------------------------------

    def stage(self, states: Sequence[PartitionState]) -> Commit:
        """Plan the commit of these partitions: stage their closed bars, and compare them with the stored bars.

        Takes no lock that another process waits for. Some bars may be held back for `stage_rest`.
        """
        began_at = self._world.monotonic_s()
        for state in states:
            self._take_away(state)
        plans = [plan_partition(state, self._world.token()) for state in states]
        rows = stage_rows(plans)
        now_s, redis_ahead_s = self._redis_clock()
        commit = Commit(plans, began_at, redis_ahead_s, rows, np.ones(len(rows), bool))
        rewritten = np.zeros(len(rows), bool)
        if len(rows):
            commit, rewritten = self._compare_bars(commit, now_s)
        read_ms = [state.read_to.ms for state in states if state.uncommitted.ticks]
        self._figures.note_lag(max(0.0, now_s * 1000 - min(read_ms)) if read_ms else 0.0)
        if self._finder:
            self._finder.find(plans, commit.rows, commit.changed, rewritten, now_s)
            mark_partial(self._database.connection, plans, commit.rows)
        commit = self._hold_back(commit)
        if len(commit.rows):
            commit = restage(self._database.connection, commit, commit.rows, commit.changed)
        plan_messages(self._database.connection, commit)
        return commit

    def _take_away(self, state: PartitionState) -> None:
        """Delete bars of other feeds in minutes that an ended replay's files cover without a trade."""
        for ended in state.uncommitted.ended_replays:
            if not ended.abandoned:
                minutes = minutes_not_held(
                    self._database.connection, ended.replay, state.partition, has_detail=self.shape.has_detail
                )
                state.take_away(ended.replay, minutes)

    def _compare_bars(self, commit: Commit, now_s: float) -> tuple[Commit, Mask]:
        """Compare the bars that may be stored already with the stored ones, and give each bar its final values.

        Returns the commit, not staged yet, and a mask of the rows that another feed wrote with the same values.
        """
        commit.rows["fresh"] = self._newest.are_fresh(commit.plans, self._world.monotonic_s())
        resolved = resolve(commit.rows, self._stored(commit.rows[~commit.rows["fresh"]], now_s), self.shape)
        superseded = resolved.superseded | losers_within_commit(resolved.rows, resolved.superseded)
        kept = ~superseded
        rewritten: Mask = (resolved.replaces & ~resolved.changed & has_prices(resolved.rows))[kept]
        take_superseded(commit.plans, resolved.rows, superseded)
        commit = replace(commit, replaces=bool(resolved.replaces.any()))
        return commit.with_rows(resolved.rows.compress(kept), resolved.changed[kept]), rewritten

    def _stored(self, rows: StagedRows, now_s: float) -> StagedRows:
        """Return the stored bars with the keys of these rows, and the numbers of these rows."""
        if not len(rows):
            return no_existing()
        connection = self._database.connection
        stage(connection, rows)
        with bars_kept(connection, rows["minute"], now_s) as are_old:
            if are_old:
                put_back_staged(connection, self.shape, rows["minute"])
            return existing(connection)

    def _hold_back(self, commit: Commit) -> Commit:
        held = hold_back(commit.plans, commit.rows, commit.changed)
        if held is None:
            return commit
        kept = ~np.isin(commit.rows["row_number"], held.rows["row_number"])
        commit = replace(commit, plans=[plan for plan, *_ in held.split], held_back=held)
        if self._finder:
            for plan in commit.plans:
                self._finder.histories.hold_back(plan)
        return commit.with_rows(commit.rows.compress(kept), commit.changed[kept])

    def stage_rest(self, durable: Commit) -> Commit | None:
        """Plan the commit of the bars that a durable commit left to a second one; None if it left none."""
        held = durable.held_back
        plans = plan_rest(held, durable.plans, self._world.token) if held else []
        if held is None or not plans:
            return None
        if self._finder:
            for plan in plans:
                self._finder.histories.lend_rest(plan)
        commit = replace(durable, plans=plans, began_at=self._world.monotonic_s(), held_back=None)
        mine = np.isin(held.rows["partition"], commit.partitions)
        commit = restage(self._database.connection, commit, held.rows.compress(mine), held.changed[mine])
        plan_messages(self._database.connection, commit)
        return commit

    def stage_marked(self, states: Sequence[PartitionState]) -> Commit:
        """Plan a commit without bars: detection on some marked bars of these partitions."""
        began_at = self._world.monotonic_s()
        plans = [plan_partition(state, self._world.token(), marked=True) for state in states]
        now_s, redis_ahead_s = self._redis_clock()
        if self._finder:
            self._finder.find_marked(plans, now_s)
            mark_partial(self._database.connection, plans, NO_ROWS)
        plan_findings(self._database.connection, plans)
        return Commit(plans, began_at, redis_ahead_s)

    def _redis_clock(self) -> tuple[float, float]:
        """Return Redis's time (Unix s), and this time minus our monotonic clock (s)."""
        now_s = redis_ms(self._client) / 1000
        return now_s, now_s - self._world.monotonic_s()

    # -- transact ----------------------------------------------------------------------------------------------------

    def transact(self, commit: Commit, *, undetected_elsewhere: int = 0) -> Commit:
        """Commit the plans together; return the commit with the plans that are durable now.

        It leaves out a fenced partition, and a partition of which another writer has stored a fresh bar. A bar that the
        database refuses becomes a dead letter; the others are committed. Raises psycopg.Error if the result is unknown:
        the caller must restore everything.
        undetected_elsewhere: bars of the worker's other partitions that wait for detection; they count in its row.
        """
        attempt, backoff = 0, Backoff(self._world, first_s=0.02, longest_s=0.2)
        unstorable = Unstorable(self._database.connection, self._transaction)
        while commit.plans:
            self._unanswered = {plan.state.partition: plan for plan in commit.plans}
            undetected = undetected_elsewhere + sum(len(plan.marks) for plan in commit.plans)
            try:
                superseded = self._transaction.run(commit, self._figures.row_with(commit.plans, undetected=undetected))
                self._figures.count_superseded(superseded)
                break
            except Fenced as e:
                self._figures.count_fenced(len(e.partitions))
                log.info("partition lost to another worker", partitions=e.partitions)
                commit = commit.without(e.partitions)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise
                self._world.sleep(backoff.pause_s())
            except psycopg.Error as e:
                commit = self._without_stored(commit) if is_fresh_stored(e) else unstorable.without_refused(commit, e)
        self._unanswered = {}
        self._newest.note(commit.plans)
        self._figures.add(commit.plans)
        self._measure(commit)
        return commit

    def _without_stored(self, commit: Commit) -> Commit:
        """Return the commit without the partitions of which another writer has stored a seemingly fresh bar."""
        partitions = fresh_partitions_stored(self._database.connection, commit.partitions)
        log.info("found bars of another writer: comparing each bar for an hour", partitions=partitions)
        self._newest.doubt(partitions, self._world.monotonic_s())
        return commit.without(partitions)

    def settle(self, partition: int, token: int) -> None:
        """Count a commit whose answer was lost, if the partition's token shows that it went through."""
        plan = self._unanswered.pop(partition, None)
        if plan is not None and plan.new_token == token:
            self._figures.add_unanswered(plan)

    def _measure(self, commit: Commit) -> None:
        now_s = self._world.monotonic_s()
        COMMIT_DURATION.observe(now_s - commit.began_at)
        COMMIT_TICKS.observe(sum(c.ticks_in for plan in commit.plans for c in plan.counts.values()))
        for arrived_ns in (plan.state.uncommitted.arrived_ns for plan in commit.plans):
            if arrived_ns:
                TICK_TO_COMMIT.observe(max(0.0, now_s + commit.redis_ahead_s - arrived_ns / 1e9))
