"""The options that describe a backtest: symbols, patterns, days, timeframe, rules."""

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec

from ....contracts.timeframe import INTRADAY, LONGER
from ....workers.backtest.report import Request
from ....workers.backtest.rules import Rules
from .options import Number
from .selection import NamesType
from .setting import typed

F = TypeVar("F", bound=Callable[..., Any])

_DAY = click.DateTime(["%Y-%m-%d"])
_DEFAULT = Rules()
_OPTIONS = (
    typed("--symbols", type=NamesType(20), required=True, help="Symbols."),
    typed("--patterns", type=NamesType(), required=True, help="Patterns, as their rows in pattern_definitions say."),
    typed("--from", "start", type=_DAY, required=True, help="First day."),
    typed("--to", "end", type=_DAY, required=True, help="Last day."),
    typed("--timeframe", type=click.Choice([*INTRADAY, *LONGER]), default="daily", help="Timeframe of the bars."),
    typed("--initial-capital", type=Number(0), default=_DEFAULT.initial_capital, help="Dollars."),
    typed(
        "--commission-rate",
        type=Number(0),
        default=_DEFAULT.commission_rate,
        help="Share of the value, paid at entry and exit.",
    ),
    typed(
        "--slippage-rate",
        type=Number(0),
        default=_DEFAULT.slippage_rate,
        help="Share by which the price of a market order is worse.",
    ),
    typed(
        "--max-position-size",
        type=Number(0),
        default=_DEFAULT.max_position_size,
        help="Largest share of equity in a position.",
    ),
    typed(
        "--stop-loss-pct",
        type=Number(0),
        default=_DEFAULT.stop_loss_pct,
        help="Distance from the entry as a fraction of its price; 0: no stop.",
    ),
    typed(
        "--take-profit-pct",
        type=Number(0),
        default=_DEFAULT.take_profit_pct,
        help="Distance from the entry as a fraction of its price; 0: no target.",
    ),
    typed("--max-bars", type=click.IntRange(1, 1_000_000), help="Close a position after this number of bars."),
    typed("--short/--long-only", default=True, help="Open positions for bearish patterns, too, or not."),
)


def backtest_options(command: F) -> F:
    """Add the options to a command, which then gets an argument `request`, a Request."""

    @functools.wraps(command)
    def wrapped(  # one for each option
        *args: Any,
        symbols: tuple[str, ...],
        patterns: tuple[str, ...],
        start: datetime,
        end: datetime,
        timeframe: str,
        **others: Any,
    ) -> Any:
        rules = {name: others.pop(name) for name in Rules.__struct_fields__}
        rules |= {name: rules[name] or None for name in ("stop_loss_pct", "take_profit_pct")}
        request = Request(
            symbols=symbols,
            patterns=patterns,
            start=start.date().isoformat(),
            end=end.date().isoformat(),
            timeframe=timeframe,
            rules=msgspec.convert(rules, Rules),
        )
        return command(*args, request=request, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature
