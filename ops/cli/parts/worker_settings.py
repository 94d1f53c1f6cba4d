"""Settings of workers that other commands read too: a replay starts workers, an audit counts as they did."""

import functools
from collections.abc import Callable, Collection
from typing import Any

import click

from ....contracts.bounds import READ_TICKS
from ....workers.row_retention import SHORTEST_BARS_DAYS, Keep
from ....workers.worker_options import WorkerOptions
from .options import Number
from .setting import F, default_of, option, setting

read_count_option = setting(
    WorkerOptions,
    "read_count",
    type=click.IntRange(1, 100_000),
    also=["TICKSTOCKPL_BATCH_SIZE"],
    help=f"Entries of a partition in one read.  [default: as many as {READ_TICKS:,} ticks fill]",
)
commit_ms_option = setting(
    WorkerOptions, "commit_ms", type=click.IntRange(1, 60_000), help="Longest time between two commits of a worker."
)
max_future_option = setting(
    WorkerOptions,
    "max_future_s",
    former="--max-future",
    type=Number(0, 86_400),
    help="How far the time of a tick may be ahead of its arrival. Workers refuse a tick that is further ahead.",
)

_LONGEST_DAYS = 36_500  # for ever
_KEPT = {
    "bars": "Days to keep the workers' own copy of a bar after its last change.",
    "patterns": "Days to keep rows of intraday_patterns.",
    "events": "Days to keep rows of integration_events.",
    "indicators": "Days to keep rows of intraday_indicators.",
    "daily": "Days to keep rows of daily_indicators, and of daily_, weekly_, monthly_ and daily_intraday_patterns.",
    "backtests": "Days to keep backtests that ran as jobs.",
    "records": "Days to keep dead letters, and the records of processes, sessions, ledgers and gaps.",
}


def keep_options(*kinds: str, formerly: Collection[str] = ()) -> Callable[[F], F]:
    """Make a decorator that adds --keep-KIND-days; the command gets `keep`, a Keep.

    kinds: fields of Keep. formerly: those of them that were called --KIND-days before.
    """

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def wrapped(*args: Any, **others: Any) -> Any:
            keep = Keep(**{kind: others.pop(f"keep_{kind}_days") for kind in kinds})
            return command(*args, keep=keep, **others)

        for kind in reversed(kinds):
            wrapped = _keep_option(kind, former=f"--{kind}-days" if kind in formerly else None)(wrapped)
        return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature

    return decorate


def _keep_option(kind: str, former: str | None) -> Callable[[F], F]:
    return option(
        f"--keep-{kind}-days",
        former=former,
        type=click.IntRange(SHORTEST_BARS_DAYS if kind == "bars" else 1, _LONGEST_DAYS),
        default=default_of(Keep, kind),
        help=_KEPT[kind],
    )
