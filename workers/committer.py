"""⑧ Makes a step durable: the bars staged outside, ONE transaction inside, nothing of it seen before COMMIT."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import psutil
import psycopg
import structlog
from psycopg import Cursor

from ..contracts.bar import has_prices
from ..contracts.errors import Fenced
from ..contracts.ticks import Column
from ..db.backoff import Backoff
from ..db.bars import (
    delete_unpriced,
    existing,
    mark_standing,
    open_stage,
    stage,
    table_shape,
    unpriced_bars_stand,
    upsert,
)
from ..db.detections import (
    copy_detections,
    has_detection_copies,
    has_indicator_value,
    log_published,
    open_result_stages,
    stage_results,
    write_detections,
    write_higher_bars,
    write_indicators,
)
from ..db.forgotten_bars import bars_kept, put_back_staged
from ..db.gaps import note_hole
from ..db.lease import LEASE_TTL_S
from ..db.metrics import COMMIT_DURATION, COMMIT_TICKS, COMMITS_FENCED, TICK_TO_COMMIT
from ..db.postgres import Connection, Database
from ..db.queries import query
from ..db.redis import Client, redis_ms
from ..db.replays import minutes_not_held
from ..db.staged_rows import TableShape
from ..db.timescale import Chunks, lift_limits, lock_chunk_making
from ..db.world import World
from .commit_plan import (
    NO_ROWS,
    HeldBack,
    PartitionPlan,
    add_findings,
    add_messages,
    drop_all_findings,
    drop_findings,
    found_on,
    found_symbols,
    hold_back,
    outrun,
    plan_partition,
    plan_rest,
    resolve,
    save_states,
    stage_rows,
    staged_higher_bars,
    take_findings_back,
    take_superseded,
    take_unstorable,
)
from .detection import ResultFinder
from .history_memory import HISTORY_MB
from .partition_state import Counts, PartitionState
from .tally import Tally

log = structlog.get_logger()

_FENCED = "TS001"  # raised by lock_checkpoints()
_DEAD_LETTER_COLUMNS = ("partition", "producer", "reason", "detail", "original", "entry")
_ATTEMPTS = 5  # after a deadlock or serialization failure, which the server has rolled back whole


@dataclass(slots=True)
class WorkerCounts:
    """What this worker did since it started: the row in `worker` that each commit updates."""

    ticks: int = 0
    repeats: int = 0
    bars: int = 0
    revisions: int = 0
    commits: int = 0
    fenced: int = 0
    restores: int = 0
    patterns: int = 0
    indicators: int = 0
    alerts: int = 0


class Committer:
    """Commits partitions through one connection, in two steps: `stage`, then `transact`."""

    def __init__(
        self,
        database: Database,
        client: Client,
        consumer: str,
        *,
        world: World,
        detects: bool,
        history_mb: int = HISTORY_MB,
    ) -> None:
        self.counts = WorkerCounts()
        self._world = world
        self._database = database
        self._client = client
        self._finder = ResultFinder(database.connection, world=world, history_mb=history_mb) if detects else None
        self._process = psutil.Process()
        self._consumer = consumer
        self._rows: Column = NO_ROWS
        self._changed: Column = np.empty(0, bool)  # which of them differ from what stood: these are told
        self._replaces = False  # some of them take the place of what another feed wrote
        self._held_back: HeldBack | None = None
        self.tally = Tally()
        self._unanswered: dict[int, PartitionPlan] = {}  # whose COMMIT may have gone through
        self._began_at = self._world.monotonic_s()
        self._redis_ahead_s = 0.0  # Redis's clock less our monotonic one
        self.open()

    def open(self) -> None:
        """Prepare the connection; again after it was lost."""
        open_stage(self._database.connection)
        open_result_stages(self._database.connection)
        if self._finder:
            self._finder.open(self._database.connection)
        self.shape: TableShape = table_shape(self._database.connection)
        lift_limits(self._database.connection)
        self._chunks = Chunks(self._database.connection)
        self._makes_chunks = self._unpriced_stand = False
        self._has_indicator_value = has_indicator_value(self._database.connection)
        self._has_detection_copies = has_detection_copies(self._database.connection)
        self._copies_said: list[Cursor[tuple[str | None]]] = []
        self._copies_wrong: set[str] = set()
        self._known_symbols: set[str] = set()
        self.lag_ms = 0.0  # age of the oldest entry in the last commit, when it was made
        self.undetected = 0  # closed bars that wait for their detectors

    def read_definitions_again(self) -> None:
        """Read which detectors are on before the next bars, not only when the minute is over."""
        if self._finder:
            self._finder.read_again()

    def stage(self, states: Sequence[PartitionState]) -> list[PartitionPlan]:
        """Plan the commit of these partitions: their closed bars staged, and compared with the bars that stand.

        Takes no lock that another process waits for. Some bars may be left to `stage_rest`.
        """
        self._began_at = self._world.monotonic_s()
        for state in states:
            self._take_away(state)
        plans = [plan_partition(state, self._world.token()) for state in states]
        rows = self._rows = stage_rows(plans)
        self._replaces = False
        self._changed, self._stand_again = np.ones(len(rows), bool), np.zeros(len(rows), bool)
        now_s = self._now_s()
        if len(rows):
            self._stage_bars(plans, rows, now_s)
        read_ms = [state.read_to.ms for state in states if state.uncommitted_ticks]
        self.lag_ms = max(0.0, now_s * 1000 - min(read_ms)) if read_ms else 0.0
        if self._finder:
            self._finder.find(plans, self._rows, self._changed, self._stand_again, now_s)
        self._held_back = hold_back(plans, self._rows, self._changed)
        if self._held_back:
            self._leave_out(self._held_back.rows["row_number"])
            plans = [plan for plan, *_ in self._held_back.split]
        self._plan_messages(plans)
        return plans

    def stage_rest(self, durable: Sequence[PartitionPlan]) -> list[PartitionPlan]:
        """Plan the commit of what the last one left out; durable: that one's plans. Empty where it left out nothing."""
        self._began_at = self._world.monotonic_s()
        held, self._held_back = self._held_back, None
        plans = plan_rest(held, durable, self._world.token) if held else []
        if held and plans:
            mine = np.isin(held.rows["partition"], [plan.state.partition for plan in plans])
            self._restage(held.rows.compress(mine), held.changed[mine])
            self._plan_messages(plans)
        return plans

    def _take_away(self, state: PartitionState) -> None:
        """Let a replay that ends here take away the bars that its files do not hold, where they speak."""
        for ended in state.ended_replays:
            if not ended.abandoned:
                minutes = minutes_not_held(
                    self._database.connection, ended.replay, state.partition, has_detail=self.shape.has_detail
                )
                state.take_away(ended.replay, minutes)

    def _leave_out(self, numbers: Column) -> None:
        kept = ~np.isin(self._rows["row_number"], numbers)
        self._restage(self._rows.compress(kept), self._changed[kept])

    def _restage(self, rows: Column, changed: Column) -> None:
        rows["row_number"] = np.arange(len(rows))
        self._rows, self._changed = rows, changed
        stage(self._database.connection, rows)

    def _stage_bars(self, plans: Sequence[PartitionPlan], rows: Column, now_s: float) -> None:
        connection = self._database.connection
        stage(connection, rows)
        with bars_kept(connection, rows["minute"], now_s) as are_old:
            if are_old:
                put_back_staged(connection, self.shape, rows["minute"])
            resolved = resolve(rows, existing(connection), self.shape)
        self._replaces = bool(resolved.replaces.any())
        superseded = resolved.superseded | outrun(resolved.rows, resolved.superseded)
        kept = ~superseded
        self._rows, self._changed = resolved.rows.compress(kept), resolved.changed[kept]
        self._stand_again = (resolved.replaces & ~resolved.changed & has_prices(resolved.rows))[kept]
        if resolved.compared or superseded.any():
            take_superseded(plans, resolved.rows, superseded)
            self._restage(self._rows, self._changed)

    def stage_marked(self, states: Sequence[PartitionState]) -> list[PartitionPlan]:
        """Plan a commit without bars: some of what the marked bars of these partitions wait for."""
        self._began_at = self._world.monotonic_s()
        plans = [plan_partition(state, self._world.token(), marked=True) for state in states]
        self._rows, self._changed = NO_ROWS, np.empty(0, bool)
        if self._finder:
            self._finder.find_marked(plans, self._now_s())
        self._stage_findings(plans)
        return plans

    def load_ahead(self, states: Sequence[PartitionState]) -> None:
        """Load histories for the open bars of one partition, where some are missing."""
        if self._finder:
            any(self._finder.load_ahead(state) for state in states)

    def _stage_findings(self, plans: Sequence[PartitionPlan]) -> None:
        for plan in plans:
            add_findings(plan)
        self._stage_results(plans)
        save_states(plans)

    def _stage_results(self, plans: Sequence[PartitionPlan]) -> None:
        higher = np.concatenate([staged_higher_bars(plan) for plan in plans])
        indicators = [staged for plan in plans for staged in plan.found.indicators]
        if len(higher) or indicators:
            stage_results(self._database.connection, higher, indicators)

    def _now_s(self) -> float:
        now_s = redis_ms(self._client) / 1000
        self._redis_ahead_s = now_s - self._world.monotonic_s()
        return now_s

    def transact(self, plans: list[PartitionPlan]) -> list[PartitionPlan]:
        """Commit the plans together; return those that are durable now.

        A partition that was fenced is left out, the others are committed. A bar that the database refuses goes to the
        dead letters, the others are committed. Raises psycopg.Error where the answer is unknown: restore everything.
        """
        attempt, backoff = 0, Backoff(self._world, first_s=0.02, longest_s=0.2)
        while plans:
            self._unanswered = {plan.state.partition: plan for plan in plans}
            try:
                self._transaction(plans)
                break
            except Fenced as e:
                self.counts.fenced += len(e.partitions)
                COMMITS_FENCED.inc(len(e.partitions))
                log.info("fenced", partitions=e.partitions)
                plans = [plan for plan in plans if plan.state.partition not in e.partitions]
            except (psycopg.errors.DataError, psycopg.errors.IntegrityError) as e:
                self._take_out_unstorable(plans, e)
            except psycopg.errors.ProgrammingError as e:  # a table or a right that is gone
                if not self._leave_findings_out(plans, e):
                    raise
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise
                self._world.sleep(backoff.pause_s())
        self._unanswered = {}
        self._say_wrong_copies()
        self._note_committed(plans)
        return plans

    def _say_wrong_copies(self) -> None:
        """Say once what went wrong in the application's copies of detections."""
        for cursor in self._copies_said:
            (wrong,) = cursor.fetchone() or (None,)
            if wrong is not None and wrong not in self._copies_wrong:
                self._copies_wrong.add(wrong)
                log.error("a table of the application's does not take detections", why=wrong)
        self._copies_said = []

    def settle(self, partition: int, token: int) -> None:
        """Count a commit whose answer never came, where the partition's token shows that it went through."""
        plan = self._unanswered.pop(partition, None)
        if plan is not None and plan.new_token == token:
            self.counts = replace(self._count([plan]), commits=self.counts.commits)
            self.tally.add([plan])

    def _transaction(self, plans: Sequence[PartitionPlan]) -> None:
        connection = self._database.connection
        self._look_at_bars([plan.state.partition for plan in plans])
        try:
            with connection.transaction(), connection.pipeline():
                self._write(connection, sorted(plans, key=lambda plan: plan.state.partition))
        except psycopg.Error as e:
            if e.sqlstate == _FENCED:
                raise Fenced([int(p) for p in (e.diag.message_detail or "").split(",")]) from e
            raise

    def _look_at_bars(self, partitions: list[int]) -> None:
        """Learn of the tables of bars what a transaction has to know before its first statement."""
        connection, minutes = self._database.connection, self._rows["minute"]
        self._makes_chunks = self._chunks.lacks(connection, minutes)
        lacks_prices = not has_prices(self._rows).all()
        self._unpriced_stand = lacks_prices and unpriced_bars_stand(connection, partitions, minutes)

    def _write(self, connection: Connection, plans: Sequence[PartitionPlan]) -> None:
        partitions = [plan.state.partition for plan in plans]
        tokens = [plan.state.held.token for plan in plans]
        if self._makes_chunks:
            lock_chunk_making(connection)
        connection.execute(query("lock_checkpoints"), {"partitions": partitions, "tokens": tokens})
        if len(self._rows):
            self._write_bars(connection, partitions, plans)
        self._write_findings(connection, partitions, plans)
        _append_outbox(connection, plans)
        _append_dead_letters(connection, plans)
        _add_to_ledger(connection, plans)
        _finish_replays(connection, plans)
        for hole in (hole for plan in plans for hole in plan.state.given_up):
            note_hole(connection, hole)
        connection.execute(
            query("advance_checkpoints"),
            {
                "partitions": partitions,
                "tokens": [plan.new_token for plan in plans],
                "positions": [str(plan.position) for plan in plans],
                "outbox_numbers": [plan.state.held.outbox_number + len(plan.messages) for plan in plans],
                "states": [plan.saved for plan in plans],
                "undetected": [len(plan.marks) for plan in plans],
            },
        )
        leases = [plan.state.held.lease for plan in plans]
        held = {"units": [lease.unit for lease in leases], "epochs": [lease.epoch for lease in leases]}
        connection.execute(query("renew_leases"), {"owner": self._consumer, "ttl_s": LEASE_TTL_S} | held)
        connection.execute(query("update_worker"), self.worker_row() | asdict(self._count(plans)))

    def _write_bars(self, connection: Connection, partitions: list[int], plans: Sequence[PartitionPlan]) -> None:
        if any(plan.symbols - self._known_symbols for plan in plans):
            connection.execute(query("insert_symbols"), {"partitions": partitions, "first": 0, "last": 2**31 - 1})
        if self._replaces:
            connection.execute(query("supersede_replaced_ticks"), {"partitions": partitions})
        again = has_prices(self._rows) & ~self._changed
        if again.any():
            mark_standing(connection, self.shape, partitions, self._rows.compress(again))
        upsert(connection, self.shape, partitions, 0, 2**31 - 1)
        if not has_prices(self._rows).all():
            minutes, stand = self._rows["minute"], self._unpriced_stand
            delete_unpriced(connection, self.shape, partitions, minutes, stand=stand)

    def _write_findings(self, connection: Connection, partitions: list[int], plans: Sequence[PartitionPlan]) -> None:
        found = [plan.found for plan in plans]
        if any(len(f.higher) for f in found):
            write_higher_bars(connection, partitions)
        detections = (
            [detection for f in found for detection in f.new],
            [detection for f in found for detection in f.again],
            [flow_id for f in found for flow_id in f.superseded],
        )
        write_detections(connection, *detections)
        if self._has_detection_copies:
            self._copies_said = copy_detections(connection, *detections)
        log_published(connection, [detection for f in found for detection in f.told])
        staged = [indicator for f in found for indicator in f.indicators]
        if staged:
            again = any(indicator.again for indicator in staged)
            write_indicators(connection, partitions, again=again, has_value=self._has_indicator_value)

    def worker_row(self) -> dict[str, object]:
        """Return the values of this worker's row."""
        used = {
            "cpu_s": self._world.cpu_s(),
            "memory_mb": self._process.memory_info().rss / 2**20,
            "lag_ms": self.lag_ms,
            "undetected": self.undetected,
        }
        return {"consumer": self._consumer, "host": platform.node(), "pid": os.getpid()} | asdict(self.counts) | used

    def _count(self, plans: Sequence[PartitionPlan]) -> WorkerCounts:
        """Return the counts as they are once these plans are committed."""
        counts = self.counts
        return replace(
            counts,
            commits=counts.commits + 1,
            bars=counts.bars + sum(plan.bars for plan in plans),
            revisions=counts.revisions + sum(plan.revisions for plan in plans),
            ticks=counts.ticks + sum(c.ticks_in for plan in plans for c in plan.counts.values()),
            repeats=counts.repeats + sum(plan.repeats for plan in plans),
            patterns=counts.patterns + sum(len(plan.found.new) for plan in plans),
            indicators=counts.indicators + sum(len(plan.found.indicators) for plan in plans),
            alerts=counts.alerts + sum(len(plan.found.alerts) for plan in plans),
        )

    def _note_committed(self, plans: Sequence[PartitionPlan]) -> None:
        self.counts = self._count(plans)
        self.tally.add(plans)
        self._measure(plans)
        for plan in plans:
            self._known_symbols |= plan.symbols - plan.unstorable
            plan.state.held.token = plan.new_token
            plan.state.held.outbox_number += len(plan.messages)

    def _measure(self, plans: Sequence[PartitionPlan]) -> None:
        now_s = self._world.monotonic_s()
        COMMIT_DURATION.observe(now_s - self._began_at)
        COMMIT_TICKS.observe(sum(c.ticks_in for plan in plans for c in plan.counts.values()))
        for arrived_ns in (plan.state.arrived_ns for plan in plans):
            if arrived_ns:
                TICK_TO_COMMIT.observe(max(0.0, now_s + self._redis_ahead_s - arrived_ns / 1e9))

    # -- what the database refuses ---------------------------------------------------------------------------------

    def _take_out_unstorable(self, plans: Sequence[PartitionPlan], error: psycopg.Error) -> None:
        """Find what the database refuses of bars or findings, by trying halves, and take it out of the commit.

        Where nothing is to blame, a symbol that we know may have been deleted; else raises the error.
        """
        why = str(error).strip().splitlines()[0]
        if self._take_out_bars(plans, why) or self._take_out_findings(plans, why):
            return
        if not self._known_symbols:
            raise error
        self._known_symbols = set()

    def _leave_findings_out(self, plans: Sequence[PartitionPlan], error: psycopg.Error) -> bool:
        """Leave patterns and indicators out, where there are any; return whether the commit may go through without."""
        why = str(error).strip().splitlines()[0]
        if not any(plan.found.symbols or plan.found.superseded for plan in plans):
            return False
        for plan in plans:
            drop_all_findings(plan, why)
        log.error("findings refused by the database", why=why, do="`tickstock doctor` names what a table lacks")
        self._plan_messages(plans)
        return True

    def _take_out_bars(self, plans: Sequence[PartitionPlan], why: str) -> bool:
        rows = self._rows
        partitions = [plan.state.partition for plan in plans]
        bad = sorted(self._refused_rows(partitions, 0, len(rows))) if len(rows) else []
        if not bad:
            return False
        mask = np.isin(rows["row_number"], bad)
        symbols = sorted({symbol.decode() for symbol in rows["symbol"][mask].tolist()})
        take_unstorable(plans, rows, mask, why)
        self._restage(rows[~mask], self._changed[~mask])
        for plan in plans:
            take_findings_back(plan, symbols, self._rows)
        self._plan_messages(plans)
        return True

    def _plan_messages(self, plans: Sequence[PartitionPlan]) -> None:
        add_messages(plans, self._rows, self._changed)
        self._stage_findings(plans)

    def _take_out_findings(self, plans: Sequence[PartitionPlan], why: str) -> bool:
        symbols = [symbol for plan in plans for symbol in found_symbols(plan)]
        bad = set(self._refused_symbols(plans, symbols)) if symbols else set()
        for plan in plans:
            drop_findings(plan, bad, why)
        if bad:
            log.error("findings refused by the database", symbols=sorted(bad), why=why)
            self._plan_messages(plans)
        return bool(bad)

    def _refused_symbols(self, plans: Sequence[PartitionPlan], symbols: Sequence[str]) -> Iterator[str]:
        if self._are_findings_storable(plans, set(symbols)):
            return
        if len(symbols) == 1:
            yield symbols[0]
            return
        middle = len(symbols) // 2
        yield from self._refused_symbols(plans, symbols[:middle])
        yield from self._refused_symbols(plans, symbols[middle:])

    def _are_findings_storable(self, plans: Sequence[PartitionPlan], symbols: set[str]) -> bool:
        """Try to write what was found on some symbols; the staged findings are those alone afterwards."""
        connection = self._database.connection
        trial = [replace(plan, found=found_on(plan, symbols)) for plan in plans]
        partitions = [plan.state.partition for plan in plans]
        self._stage_results(trial)
        try:
            with connection.transaction(force_rollback=True):
                if len(self._rows):
                    self._try_bars(partitions, 0, len(self._rows))
                self._write_findings(connection, partitions, trial)
        except (psycopg.errors.DataError, psycopg.errors.IntegrityError):
            return False
        return True

    def _refused_rows(self, partitions: list[int], first: int, end: int) -> Iterator[int]:
        if self._storable(partitions, first, end):
            return
        if end - first == 1:
            yield first
            return
        middle = (first + end) // 2
        yield from self._refused_rows(partitions, first, middle)
        yield from self._refused_rows(partitions, middle, end)

    def _try_bars(self, partitions: list[int], first: int, end: int) -> None:
        connection = self._database.connection
        if self._makes_chunks:
            lock_chunk_making(connection)
        values = {"partitions": partitions, "first": first, "last": end - 1}
        connection.execute(query("insert_symbols"), values)
        upsert(connection, self.shape, partitions, first, end - 1)

    def _storable(self, partitions: list[int], first: int, end: int) -> bool:
        connection = self._database.connection
        try:
            with connection.transaction(force_rollback=True):
                self._try_bars(partitions, first, end)
        except (psycopg.errors.DataError, psycopg.errors.IntegrityError):
            return False
        return True


def _append_outbox(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    rows = [
        (plan.state.partition, plan.state.held.outbox_number + i, kind, body)
        for plan in plans
        for i, (kind, body) in enumerate(plan.messages, start=1)
    ]
    if rows:
        _insert(connection, "append_outbox", ("partition", "number", "kind", "body"), rows)


def _append_dead_letters(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    rows = [
        (
            plan.state.partition,
            letter.producer,
            letter.refused.reason.replace("\0", "?"),
            letter.refused.detail.replace("\0", "?"),
            letter.refused.original,
            letter.entry,
        )
        for plan in plans
        for letter in plan.dead_letters
    ]
    if rows:
        _insert(connection, "append_dead_letters", _DEAD_LETTER_COLUMNS, rows)


def _add_to_ledger(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    outcomes = [column.name for column in fields(Counts)]
    rows = []
    for plan in plans:
        for producer, counts in plan.counts.items():
            flow = plan.state.flows[producer]
            values = [getattr(counts, name) for name in outcomes]
            rows.append((plan.state.partition, producer, flow.feed, flow.number, *values, flow.end_applied))
    if rows:
        _insert(connection, "add_to_ledger", ("partition", "producer", "feed", "last_number", *outcomes, "ended"), rows)


def _finish_replays(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    rows = [
        (ended.replay, plan.state.partition, ended.last_number, ended.abandoned)
        for plan in plans
        for ended in plan.state.ended_replays
    ]
    if rows:
        _insert(connection, "finish_replays", ("replay", "partition", "last_number", "abandoned"), rows)
        _insert(connection, "forget_covers", ("replay", "partition"), [row[:2] for row in rows])


def _insert(connection: Connection, name: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    connection.execute(query(name), values)
