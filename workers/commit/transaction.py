"""⑧ The one transaction of a commit: its statements in their order; and trials of what the database refuses."""

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import psycopg
import structlog
from psycopg import Cursor

from ...contracts.bar import has_prices
from ...contracts.errors import Fenced
from ...db.lease import LEASE_TTL_S
from ...db.postgres import Connection, is_refused_row
from ...db.queries import query
from ...db.schema.timescale import Chunks, lift_limits, lock_chunk_making
from ...db.staged_rows import TableShape
from ...db.tables.bars import delete_unpriced, mark_standing, open_stage, table_shape, unpriced_bars_stand, upsert
from ...db.tables.detections import (
    copy_detections,
    has_detection_copies,
    has_indicator_value,
    log_published,
    open_result_stages,
    write_detections,
    write_higher_bars,
    write_indicators,
)
from ...db.tables.gaps import hold_gaps, mark_staged, note_hole
from ..detect.indicators import INDICATORS
from ..partition.uncommitted import Counts
from .commit import Commit
from .plan import PartitionPlan

log = structlog.get_logger()

_FENCED = "TS001"  # raised by lock_checkpoints()
_DEAD_LETTER_COLUMNS = ("partition", "producer", "reason", "detail", "original", "entry")
_LAST_ROW = 2**31 - 1

_Answers = list[Cursor[tuple[str | None]]]  # of the application's tables that copy detections: an error text, or None
_Superseded = Cursor[tuple[int, int]]  # (partition, ticks that the ledger counts as superseded now)


class _Tables(NamedTuple):
    """Facts about the tables of bars that a transaction needs before its first statement."""

    makes_chunks: bool
    unpriced_stand: bool


class CommitTransaction:
    """Writes commits through one connection. It asks once about the tables: make a new one for a new connection."""

    def __init__(self, connection: Connection, consumer: str) -> None:
        self._connection = connection
        self._consumer = consumer
        open_stage(connection)
        open_result_stages(connection)
        lift_limits(connection)
        self.shape: TableShape = table_shape(connection)
        self._chunks = Chunks(connection)
        self._look_at_results()
        self._copies_wrong: set[str] = set()
        self._known_symbols: set[str] = set()

    def run(self, commit: Commit, worker_row: dict[str, object]) -> dict[int, int]:
        """Make a commit durable, whole or not at all. worker_row: of this worker, as it is after the commit.

        Returns by partition how many ticks are superseded now, because a replay or a repair replaced their bars.
        Raises Fenced if another worker owns one of the partitions, psycopg.Error if it is refused or unanswered.
        """
        connection, plans = self._connection, sorted(commit.plans, key=lambda plan: plan.state.partition)
        tables = self._look_at_bars(commit)
        try:
            with connection.transaction(), connection.pipeline():
                answers, superseded = self._write(commit, plans, tables)
                connection.execute(query("update_worker"), worker_row)
        except psycopg.Error as e:
            if e.sqlstate == _FENCED:
                raise Fenced([int(p) for p in (e.diag.message_detail or "").split(",")]) from e
            raise
        self._log_wrong_copies(answers)
        for plan in plans:
            self._known_symbols |= plan.symbols - plan.unstorable
        return dict(superseded.fetchall()) if superseded else {}

    def _look_at_results(self) -> None:
        self._has_indicator_value = has_indicator_value(self._connection)
        self._has_detection_copies = has_detection_copies(self._connection)

    def look_again(self) -> bool:
        """Look again at the tables of findings; return whether they have changed, so that a retry makes sense."""
        before = (self._has_indicator_value, self._has_detection_copies)
        self._look_at_results()
        return before != (self._has_indicator_value, self._has_detection_copies)

    def forget_symbols(self) -> bool:
        """Register every symbol again with its next bar, because one may be deleted. Return False if none was known."""
        knew, self._known_symbols = bool(self._known_symbols), set()
        return knew

    def _log_wrong_copies(self, answers: _Answers) -> None:
        """Log once each error of the application's tables that copy detections."""
        for cursor in answers:
            (wrong,) = cursor.fetchone() or (None,)
            if wrong is not None and wrong not in self._copies_wrong:
                self._copies_wrong.add(wrong)
                log.error("a table of the application's does not take detections", why=wrong)

    def _look_at_bars(self, commit: Commit) -> _Tables:
        minutes = commit.rows["minute"]
        makes_chunks = self._chunks.lacks(self._connection, minutes)
        lacks_prices = not has_prices(commit.rows).all()
        stand = lacks_prices and unpriced_bars_stand(self._connection, commit.partitions, minutes)
        return _Tables(makes_chunks, stand)

    def _write(
        self, commit: Commit, plans: Sequence[PartitionPlan], tables: _Tables
    ) -> tuple[_Answers, _Superseded | None]:
        connection = self._connection
        partitions = [plan.state.partition for plan in plans]
        tokens = [plan.state.held.token for plan in plans]
        if tables.makes_chunks:
            lock_chunk_making(connection)
        if are_live := not commit.rows["replay"].all():
            hold_gaps(connection)
        connection.execute(query("lock_checkpoints"), {"partitions": partitions, "tokens": tokens})
        for plan in plans:
            for hole in plan.state.uncommitted.given_up:
                note_hole(connection, hole, plan.state.symbols, has_detail=self.shape.has_detail)
        if are_live:
            mark_staged(connection, partitions, commit.rows["minute"])
        superseded = None
        if len(commit.rows):
            superseded = self._write_bars(commit, partitions, plans, stand=tables.unpriced_stand)
        answers = self._write_findings(partitions, plans)
        _append_outbox(connection, plans)
        _append_dead_letters(connection, plans)
        _add_to_ledger(connection, plans)
        _finish_replays(connection, plans)
        after = [plan.held_after for plan in plans]
        connection.execute(
            query("advance_checkpoints"),
            {
                "partitions": partitions,
                "tokens": [held.token for held in after],
                "positions": [str(plan.position) for plan in plans],
                "outbox_numbers": [held.outbox_number for held in after],
                "states": [plan.saved for plan in plans],
                "undetected": [len(plan.marks) for plan in plans],
            },
        )
        leases = [held.lease for held in after]
        ours = {"units": [lease.unit for lease in leases], "epochs": [lease.epoch for lease in leases]}
        connection.execute(query("renew_leases"), {"owner": self._consumer, "ttl_s": LEASE_TTL_S} | ours)
        return answers, superseded

    def _write_bars(
        self, commit: Commit, partitions: list[int], plans: Sequence[PartitionPlan], *, stand: bool
    ) -> _Superseded | None:
        connection, rows = self._connection, commit.rows
        superseded: _Superseded | None = None
        if any(plan.symbols - self._known_symbols for plan in plans):
            connection.execute(query("insert_symbols"), {"partitions": partitions, "first": 0, "last": _LAST_ROW})
        if commit.replaces:
            superseded = connection.execute(query("supersede_replaced_ticks"), {"partitions": partitions})
        again = has_prices(rows) & ~commit.changed
        if again.any():
            mark_standing(connection, self.shape, partitions, rows.compress(again))
        upsert(connection, self.shape, partitions, 0, _LAST_ROW, insert=bool(rows["fresh"].any()))
        if not has_prices(rows).all():
            delete_unpriced(connection, self.shape, partitions, rows["minute"], stand=stand)
        return superseded

    def _write_findings(self, partitions: list[int], plans: Sequence[PartitionPlan]) -> _Answers:
        connection, found = self._connection, [plan.found for plan in plans]
        if any(len(f.higher) for f in found):
            write_higher_bars(connection, partitions)
        detections = (
            [detection for f in found for detection in f.new],
            [detection for f in found for detection in f.again],
            [flow_id for f in found for flow_id in f.superseded],
        )
        write_detections(connection, *detections)
        answers = copy_detections(connection, *detections) if self._has_detection_copies else []
        log_published(connection, [detection for f in found for detection in f.to_publish])
        columns = [column for f in found for column in f.indicators]
        again = list(INDICATORS) if any(len(f.recomputed) for f in found) else []
        if columns or again:
            write_indicators(connection, partitions, again, has_value=self._has_indicator_value)
        return answers

    # -- trials, rolled back -----------------------------------------------------------------------------------------

    def takes_bars(self, commit: Commit, first: int, end: int) -> bool:
        """Tell whether the database accepts the staged rows from `first` up to `end`, exclusive."""
        makes_chunks = self._chunks.lacks(self._connection, commit.rows["minute"])
        try:
            with self._connection.transaction(force_rollback=True):
                self._try_bars(commit, first, end, makes_chunks=makes_chunks)
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as e:
            if not is_refused_row(e):
                raise
            return False
        return True

    def takes_findings(self, commit: Commit, trial: Sequence[PartitionPlan]) -> bool:
        """Tell whether the database accepts the staged findings of these plans, after the bars of their commit."""
        makes_chunks = self._chunks.lacks(self._connection, commit.rows["minute"])
        try:
            with self._connection.transaction(force_rollback=True):
                if len(commit.rows):
                    self._try_bars(commit, 0, len(commit.rows), makes_chunks=makes_chunks)
                self._write_findings(commit.partitions, trial)
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as e:
            if not is_refused_row(e):
                raise
            return False
        return True

    def _try_bars(self, commit: Commit, first: int, end: int, *, makes_chunks: bool) -> None:
        if makes_chunks:
            lock_chunk_making(self._connection)
        values = {"partitions": commit.partitions, "first": first, "last": end - 1}
        self._connection.execute(query("insert_symbols"), values)
        upsert(self._connection, self.shape, commit.partitions, first, end - 1)


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
        for ended in plan.state.uncommitted.ended_replays
    ]
    if rows:
        _insert(connection, "finish_replays", ("replay", "partition", "last_number", "abandoned"), rows)
        _insert(connection, "forget_covers", ("replay", "partition"), [row[:2] for row in rows])


def _insert(connection: Connection, name: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    connection.execute(query(name), values)
