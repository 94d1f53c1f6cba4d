"""What the commands that look for patterns in files share: which patterns, on which timeframes."""

from collections.abc import Callable

import click

from ....contracts.timeframe import INTRADAY
from .options import F
from .selection import NamesType

DAILY = "daily"


def pattern_names_option(default: str) -> Callable[[F], F]:
    """Make a decorator that adds --pattern; the command gets `names`, None where none is said."""
    return click.option(
        "--pattern", "names", type=NamesType(), show_default=default, help="Only these patterns; `all`: every one."
    )


def timeframe_names(command: F) -> F:
    """Add --timeframe, which may come more than once; the command gets `timeframes`, none for all."""
    return click.option(
        "--timeframe",
        "timeframes",
        type=click.Choice([*INTRADAY, DAILY]),
        multiple=True,
        show_default="all that the files have",
        help="Length of the bars; may be given more than once.",
    )(command)
