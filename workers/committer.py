"""⑧ Makes a step durable: the bars staged outside, ONE transaction inside, nothing of it seen before COMMIT."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import psycopg
import structlog

from ..contracts.errors import Fenced
from ..contracts.ticks import Column
from ..db.bars import TableShape, existing, open_stage, stage, table_shape, upsert
from ..db.lease import LEASE_TTL_S
from ..db.postgres import Connection, Database
from ..db.queries import query
from .commit_plan import (
    PartitionPlan,
    add_messages,
    outrun,
    plan_partition,
    resolve,
    stage_rows,
    take_superseded,
    take_unstorable,
)
from .partition_state import Counts, PartitionState

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


class Committer:
    """Commits partitions through one connection, in two steps: `stage`, then `transact`."""

    def __init__(self, database: Database, consumer: str) -> None:
        self.counts = WorkerCounts()
        self._database = database
        self._consumer = consumer
        self._rows: Column | None = None
        self._changed: Column = np.empty(0, bool)  # which of them differ from what stood: these are told
        self.open()

    def open(self) -> None:
        """Prepare the connection; again after it was lost."""
        open_stage(self._database.connection)
        self.shape: TableShape = table_shape(self._database.connection)
        self._known_symbols: set[str] = set()

    def stage(self, states: Sequence[PartitionState]) -> list[PartitionPlan]:
        """Plan the commit of these partitions: their closed bars staged, and compared with the bars that stand.

        Takes no lock that another process waits for.
        """
        plans = [plan_partition(state) for state in states]
        rows = self._rows = stage_rows(plans)
        self._changed = np.ones(len(rows), bool)
        if not len(rows):
            return plans
        connection = self._database.connection
        stage(connection, rows)
        resolved = resolve(rows, existing(connection), self.shape)
        superseded = resolved.superseded | outrun(resolved.rows, resolved.superseded)
        kept = ~superseded
        self._rows, self._changed = resolved.rows[kept], resolved.changed[kept]
        if resolved.compared or superseded.any():
            take_superseded(plans, resolved.rows, superseded)
            stage(connection, self._rows)
        add_messages(plans, self._rows, self._changed)
        return plans

    def transact(self, plans: list[PartitionPlan]) -> list[PartitionPlan]:
        """Commit the plans together; return those that are durable now.

        A partition that was fenced is left out, the others are committed. A bar that the database refuses goes to the
        dead letters, the others are committed. Raises psycopg.Error where the answer is unknown: restore everything.
        """
        attempt = 0
        while plans:
            try:
                self._transaction(plans)
                break
            except Fenced as e:
                self.counts.fenced += len(e.partitions)
                log.info("fenced", partitions=e.partitions)
                plans = [plan for plan in plans if plan.state.partition not in e.partitions]
            except (psycopg.errors.DataError, psycopg.errors.IntegrityError) as e:
                self._take_out_unstorable(plans, e)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(0.01 * 2**attempt)
        self._note_committed(plans)
        return plans

    def _transaction(self, plans: Sequence[PartitionPlan]) -> None:
        connection = self._database.connection
        try:
            with connection.transaction(), connection.pipeline():
                self._write(connection, sorted(plans, key=lambda plan: plan.state.partition))
        except psycopg.Error as e:
            if e.sqlstate == _FENCED:
                raise Fenced([int(p) for p in (e.diag.message_detail or "").split(",")]) from e
            raise

    def _write(self, connection: Connection, plans: Sequence[PartitionPlan]) -> None:
        partitions = [plan.state.partition for plan in plans]
        tokens = [plan.state.held.token for plan in plans]
        connection.execute(query("lock_checkpoints"), {"partitions": partitions, "tokens": tokens})
        if self._rows is not None and len(self._rows):
            self._write_bars(connection, partitions, plans)
        _append_outbox(connection, plans)
        _append_dead_letters(connection, plans)
        _add_to_ledger(connection, plans)
        _finish_replays(connection, plans)
        connection.execute(
            query("advance_checkpoints"),
            {
                "partitions": partitions,
                "tokens": [plan.new_token for plan in plans],
                "positions": [str(plan.position) for plan in plans],
                "outbox_numbers": [plan.state.held.outbox_number + len(plan.messages) for plan in plans],
                "states": [plan.saved for plan in plans],
            },
        )
        leases = [plan.state.held.lease for plan in plans]
        held = {"units": [lease.unit for lease in leases], "epochs": [lease.epoch for lease in leases]}
        connection.execute(query("renew_leases"), {"owner": self._consumer, "ttl_s": LEASE_TTL_S} | held)
        connection.execute(query("update_worker"), self.worker_row() | asdict(self._count(plans)))

    def _write_bars(self, connection: Connection, partitions: list[int], plans: Sequence[PartitionPlan]) -> None:
        if any(plan.symbols - self._known_symbols for plan in plans):
            connection.execute(query("insert_symbols"), {"partitions": partitions, "first": 0, "last": 2**31 - 1})
        upsert(connection, self.shape, partitions, 0, 2**31 - 1)

    def worker_row(self) -> dict[str, object]:
        """Return the values of this worker's row."""
        return {"consumer": self._consumer, "host": platform.node(), "pid": os.getpid()} | asdict(self.counts)

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
        )

    def _note_committed(self, plans: Sequence[PartitionPlan]) -> None:
        self.counts = self._count(plans)
        for plan in plans:
            self._known_symbols |= plan.symbols - plan.unstorable
            plan.state.held.token = plan.new_token
            plan.state.held.outbox_number += len(plan.messages)

    # -- what the database refuses ---------------------------------------------------------------------------------

    def _take_out_unstorable(self, plans: Sequence[PartitionPlan], error: psycopg.Error) -> None:
        """Find the staged bars that the database refuses, by trying halves, and take them out of the commit.

        Where no bar is to blame, a symbol that we know may have been deleted; else raises the error.
        """
        rows = self._rows
        if rows is None:
            raise error
        partitions = [plan.state.partition for plan in plans]
        bad = sorted(self._refused_rows(partitions, 0, int(rows["row_number"].max(initial=0)) + 1))
        if not bad:
            if not self._known_symbols:
                raise error
            self._known_symbols = set()
            return
        mask = np.isin(rows["row_number"], bad)
        take_unstorable(plans, rows, mask, str(error).strip().splitlines()[0])
        self._rows, self._changed = rows[~mask], self._changed[~mask]
        add_messages(plans, self._rows, self._changed)
        self._database.connection.execute(query("drop_staged"), {"rows": bad})

    def _refused_rows(self, partitions: list[int], first: int, end: int) -> Iterator[int]:
        if self._storable(partitions, first, end):
            return
        if end - first == 1:
            yield first
            return
        middle = (first + end) // 2
        yield from self._refused_rows(partitions, first, middle)
        yield from self._refused_rows(partitions, middle, end)

    def _storable(self, partitions: list[int], first: int, end: int) -> bool:
        connection = self._database.connection
        try:
            with connection.transaction(force_rollback=True):
                values = {"partitions": partitions, "first": first, "last": end - 1}
                connection.execute(query("insert_symbols"), values)
                upsert(connection, self.shape, partitions, first, end - 1)
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


def _insert(connection: Connection, name: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    connection.execute(query(name), values)
