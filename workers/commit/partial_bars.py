"""Marks detections on a partial bar: the live feed missed ticks of one of its minutes."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np

from ...contracts.detection import Detection, IndicatorAlert, IndicatorValue
from ...contracts.timeframe import INTRADAY
from ...db.postgres import Connection
from ...db.staged_rows import StagedRows
from ...db.tables import gaps
from ...db.tables.gaps import GapMinutes
from .plan import PartitionPlan

_Result = TypeVar("_Result", Detection, IndicatorValue, IndicatorAlert)
_Minute = tuple[str, int]  # symbol, minute
_LONGEST = max(INTRADAY.values())


def mark_partial(connection: Connection, plans: Sequence[PartitionPlan], rows: StagedRows) -> None:
    """Mark what these plans publish of bars with a partial minute. rows: the staged bars of this commit.

    Usually nothing was missed in these minutes, and one query shows it. A minute that was repaired or replayed is
    complete.
    """
    minutes = {result.minute for plan in plans for result in _published(plan)}  # many results share few minutes
    if not minutes:
        return
    known = gaps.gaps_between(connection, min(minutes), max(minutes) + _LONGEST - 1)
    if known:
        for plan in plans:
            _mark_plan(connection, plan, known, rows)


def _published(plan: PartitionPlan) -> list[Detection | IndicatorValue | IndicatorAlert]:
    return [*plan.found.to_publish, *plan.found.indicators_to_publish, *plan.found.alerts]


def _span(result: Detection | IndicatorValue | IndicatorAlert) -> tuple[int, int]:
    """Return the first and last minute of a result's bar."""
    return result.minute, result.minute + INTRADAY[result.timeframe] - 1


def _mark_plan(connection: Connection, plan: PartitionPlan, known: Sequence[GapMinutes], rows: StagedRows) -> None:
    partition = plan.state.partition
    missed = {
        (result.symbol, minute)
        for result in _published(plan)
        for gap in known
        for minute in _shared(_span(result), gap)
        if gap.has(gap.feed, partition, result.symbol, minute)
    }
    feeds = gaps.feeds_of_bars(connection, missed) | _feeds_of_staged(plan, rows)
    partial = {
        (symbol, minute)
        for symbol, minute in missed
        if any(gap.has(feeds.get((symbol, minute), ""), partition, symbol, minute) for gap in known)
    }
    plan.found.to_publish = _marked(plan.found.to_publish, partial)
    plan.found.indicators_to_publish = _marked(plan.found.indicators_to_publish, partial)
    plan.found.alerts = _marked(plan.found.alerts, partial)


def _shared(span: tuple[int, int], gap: GapMinutes) -> range:
    return range(max(span[0], gap.first_minute), min(span[1], gap.last_minute) + 1)


def _feeds_of_staged(plan: PartitionPlan, rows: StagedRows) -> dict[_Minute, str]:
    mine = rows.compress(rows["partition"] == plan.state.partition) if len(rows) else rows
    symbols = np.char.decode(mine["symbol"], "utf-8").tolist() if len(mine) else []
    feeds = [feed.decode() for feed in mine["feed"].tolist()]
    return dict(zip(zip(symbols, mine["minute"].tolist(), strict=True), feeds, strict=True))


def _marked(results: list[_Result], partial: set[_Minute]) -> list[_Result]:
    """Return results; those of a bar with a partial minute are marked."""
    if not partial:
        return results
    return [
        msgspec.structs.replace(result, partial=True)
        if any((result.symbol, minute) in partial for minute in range(_span(result)[0], _span(result)[1] + 1))
        else result
        for result in results
    ]
