"""Patterns first: a commit with detections leaves the bars of all other symbols to a second commit. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Codes, Mask
from ...db.staged_rows import StagedRows
from ..detect.detector import HigherBars
from ..marks import Marks, joined
from ..partition.numbering import are_among, of_symbols, without_symbols
from .plan import PartitionPlan, plan_partition

_MANY_BARS = 200  # so many take as long to commit as another transaction costs


class SplitPlan(NamedTuple):
    """A plan that was limited to the symbols with a detection, and the former plan of all symbols."""

    plan: PartitionPlan
    marks: Marks
    waiting: dict[str, Marks]
    higher: HigherBars


class HeldBack(NamedTuple):
    """The bars that a commit leaves to the next one.

    rows, changed: staged bars of symbols without a detection. plans: of the partitions without any detection; they are
    committed as they are. split: of the partitions whose other symbols are committed now.
    """

    rows: StagedRows
    changed: Mask
    plans: list[PartitionPlan]
    split: list[SplitPlan]


def hold_back(plans: Sequence[PartitionPlan], rows: StagedRows, changed: Mask) -> HeldBack | None:
    """If there are many bars, leave those of symbols without a detection to a second commit.

    A detection is published when its commit ends: thousands of other bars in that commit would delay it. Each symbol is
    whole in one of the two commits. Returns None if nothing is held back. That is also the case if a cancel changed a
    bar, because only this commit has that information.
    """
    if any(plan.state.uncommitted.rebuilt for plan in plans):
        return None
    if not any(plan.found.to_publish for plan in plans) or any(c.book.replay for plan in plans for c in plan.closed):
        return None
    found = {plan.state.partition: plan.state.codes_of(sorted(_first_symbols(plan))) for plan in plans}
    first = np.zeros(len(rows), bool)
    for plan in plans:
        names = {plan.state.symbols[code].encode() for code in found[plan.state.partition]}
        here = np.flatnonzero(rows["partition"] == plan.state.partition)
        first[here] = [symbol in names for symbol in rows["symbol"].take(here).tolist()]
    if len(rows) - first.sum() < _MANY_BARS:
        return None
    split = [_narrow(plan, found[plan.state.partition]) for plan in plans if len(found[plan.state.partition])]
    return HeldBack(
        rows.compress(~first), changed[~first], [plan for plan in plans if not len(found[plan.state.partition])], split
    )


def _first_symbols(plan: PartitionPlan) -> set[str]:
    """Return the symbols with a new or superseded detection, or with ticks that this plan counts as superseded."""
    return plan.found.symbols | set(plan.found.superseded.values()) | plan.superseded


def _narrow(plan: PartitionPlan, symbols: Codes) -> SplitPlan:
    """Limit a plan to some symbols; return it with the former plan of all symbols."""
    before = SplitPlan(plan, plan.marks, plan.waiting, plan.found.higher)
    plan.closed = [c._replace(mask=c.mask & are_among(c.book.bars["symbol"], symbols)) for c in plan.closed]
    plan.marks = joined([without_symbols(plan.state.marks, symbols), of_symbols(plan.marks, symbols)])
    plan.waiting = {
        feed: joined([without_symbols(book.waiting, symbols), of_symbols(plan.waiting[feed], symbols)])
        for feed, book in plan.state.feeds.items()
    }
    plan.found.higher = of_symbols(plan.found.higher, symbols)
    plan.symbols = {plan.state.symbols[code] for code in symbols.tolist()}
    return before


def plan_rest(held: HeldBack, durable: Sequence[PartitionPlan], new_token: Callable[[], int]) -> list[PartitionPlan]:
    """Plan the second commit, after the first one; leave out partitions that were fenced in the first."""
    plans = list(held.plans)
    for first, marks, waiting, higher in held.split:
        if first in durable:
            plan = plan_partition(first.state, new_token())
            plan.marks, plan.waiting = marks, waiting
            plan.found.higher = without_symbols(higher, first.found.higher["symbol"])
            here = held.rows["symbol"][held.rows["partition"] == plan.state.partition]
            plan.symbols = {symbol.decode() for symbol in here.tolist()}
            plans.append(plan)
    return plans
