"""⑧ Before the transaction, outside it: fill the staging tables with what a commit writes, and write its messages."""

from collections.abc import Sequence

import numpy as np

from ...contracts.ticks import Mask
from ...db.postgres import Connection
from ...db.staged_rows import StagedRows
from ...db.tables.bars import stage
from ...db.tables.detections import RecomputedBars, stage_results
from ..detect.detector import HigherBars
from .commit import Commit
from .messages import add_bar_messages, add_result_messages
from .plan import PartitionPlan, save_states

_STAGED_HIGHER = [
    ("partition", "<i4"),
    ("symbol", "S80"),
    ("timeframe", "<i2"),
    ("minute", "<i4"),
    *((name, "<f8") for name in ("open", "high", "low", "close", "volume_micro", "notional")),
]


def restage(connection: Connection, commit: Commit, rows: StagedRows, changed: Mask) -> Commit:
    """Stage other bars in place of a commit's own; return the commit of these."""
    commit = commit.with_rows(rows, changed)
    stage(connection, commit.rows)
    return commit


def plan_messages(connection: Connection, commit: Commit) -> None:
    """Write the messages and the saved states of a commit, and stage its findings."""
    add_bar_messages(commit.plans, commit.rows, commit.changed)
    plan_findings(connection, commit.plans)


def plan_findings(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    """Write the messages of the findings behind those of the bars, stage the findings, and save the states."""
    for plan in plans:
        add_result_messages(plan)
    stage_findings(connection, plans)
    save_states(plans)


def stage_findings(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    """Replace the contents of the staging tables of findings."""
    higher = np.concatenate([_staged_higher(plan) for plan in plans])
    indicators = [(plan.state.partition, column) for plan in plans for column in plan.found.indicators]
    recomputed = [_recomputed(plan) for plan in plans if len(plan.found.recomputed)]
    if len(higher) or indicators or recomputed:
        stage_results(connection, higher, indicators, recomputed)


def _recomputed(plan: PartitionPlan) -> RecomputedBars:
    marks = plan.found.recomputed
    symbols = [plan.state.symbols[code] for code in marks["symbol"].tolist()]
    return RecomputedBars(plan.state.partition, symbols, marks["timeframe"].tolist(), marks["minute"].tolist())


def _staged_higher(plan: PartitionPlan) -> HigherBars:
    """Return the changed bars of higher timeframes as rows of their staging table."""
    higher = plan.found.higher
    rows = np.empty(len(higher), _STAGED_HIGHER)
    rows["partition"] = plan.state.partition
    rows["symbol"] = np.array([plan.state.symbols[code].encode() for code in higher["symbol"]], "S80")
    for name in ("timeframe", "minute", "open", "high", "low", "close", "volume_micro", "notional"):
        rows[name] = higher[name]
    return rows
