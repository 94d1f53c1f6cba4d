"""⑧ What a commit writes, put into the staging tables, and its messages written: before its transaction, outside it."""

from collections.abc import Sequence

import numpy as np

from ...contracts.ticks import Column
from ...db.postgres import Connection
from ...db.tables.bars import stage
from ...db.tables.detections import stage_results
from .commit import Commit
from .plan import PartitionPlan, add_findings, add_messages, save_states, staged_higher_bars


def restage(connection: Connection, commit: Commit, rows: Column, changed: Column) -> Commit:
    """Stage other bars in place of a commit's own; return the commit of these."""
    commit = commit.with_rows(rows, changed)
    stage(connection, commit.rows)
    return commit


def plan_messages(connection: Connection, commit: Commit) -> None:
    """Write a commit's messages and states down as they follow from its bars and findings, and stage the latter."""
    add_messages(commit.plans, commit.rows, commit.changed)
    plan_findings(connection, commit.plans)


def plan_findings(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    """Write the messages of what was found, behind those of the bars, and stage it."""
    for plan in plans:
        add_findings(plan)
    stage_findings(connection, plans)
    save_states(plans)


def stage_findings(connection: Connection, plans: Sequence[PartitionPlan]) -> None:
    """Put what was found where the transaction finds it, in place of what some plan had there before."""
    higher = np.concatenate([staged_higher_bars(plan) for plan in plans])
    indicators = [staged for plan in plans for staged in plan.found.indicators]
    if len(higher) or indicators:
        stage_results(connection, higher, indicators)
