"""Options of the commands that find patterns in files: which patterns, on which timeframes."""

from collections.abc import Callable

import click

from ....contracts.timeframe import INTRADAY
from .selection import NamesType
from .setting import F, typed

DAILY = "daily"


def pattern_names_option(default: str) -> Callable[[F], F]:
    """Make a decorator that adds --pattern; the command gets `names`, None without the option."""
    return typed(
        "--pattern", "names", type=NamesType(), show_default=default, help="Only these patterns; all: every pattern."
    )


def timeframe_names(command: F) -> F:
    """Add --timeframe, which can be given more than once; the command gets `timeframes`, empty for all."""
    return typed(
        "--timeframe",
        "timeframes",
        type=click.Choice([*INTRADAY, DAILY]),
        multiple=True,
        show_default="all that the files have",
        help="Timeframe of the bars. Can be given more than once.",
    )(command)
