"""The outbox messages of a commit: its bars, patterns, indicators and alerts, as they are published. Pure."""

from collections.abc import Sequence

import msgspec
import numpy as np

from ...contracts.bar import OutboxBar, has_prices
from ...contracts.ticks import SHARE_MICRO, Mask
from ...db.staged_rows import StagedRows
from .plan import PartitionPlan

_PATTERNS_A_MESSAGE = 256
_INDICATORS_A_MESSAGE = 1024


def add_bar_messages(plans: Sequence[PartitionPlan], rows: StagedRows, changed: Mask) -> None:
    """Write each partition's message with its new and revised bars, and count these.

    Bars of a feed that is not published are counted, too.
    """
    changed, revised = changed & has_prices(rows), rows["revision"] > 0
    for plan in plans:
        plan.messages.clear()
        here = changed & (rows["partition"] == plan.state.partition)
        plan.bars, plan.revisions = int((here & ~revised).sum()), int((here & revised).sum())
        for closed in plan.closed:
            mine = here & (rows["feed"] == closed.feed.encode())
            if closed.book.publish and mine.any():
                body = {"feed": closed.feed, "bars": outbox_bars(rows[mine])}
                plan.messages.append(("bars", msgspec.json.encode(body)))


def add_result_messages(plan: PartitionPlan) -> None:
    """Write the messages of what was found, behind those of the bars: patterns first."""
    found = plan.found
    for kind, results, most in (
        ("patterns", found.to_publish, _PATTERNS_A_MESSAGE),
        ("indicators", found.indicators_to_publish, _INDICATORS_A_MESSAGE),
        ("alerts", found.alerts, _INDICATORS_A_MESSAGE),
    ):
        for first in range(0, len(results), most):
            plan.messages.append((kind, msgspec.json.encode(results[first : first + most])))


def outbox_bars(rows: StagedRows) -> list[OutboxBar]:
    """Return staged bars as they are published."""
    volume = rows["volume_micro"] / SHARE_MICRO
    some = volume > 0
    columns = [
        np.char.decode(rows["symbol"], "utf-8"),
        rows["minute"].astype(np.int64) * 60,
        *(rows[name] for name in ("open", "high", "low", "close")),
        volume,
        np.where(some, rows["notional"] / np.where(some, volume, 1.0), rows["close"]),
    ]
    counts = [count or None for count in rows["trades"].tolist()]
    return list(map(OutboxBar, *(column.tolist() for column in columns), counts, rows["revision"].tolist()))
