"""Options of the commands that make a synthetic market: how fast its time runs, and what goes wrong in it."""

from collections.abc import Callable
from typing import Any

import click

from ....producer.pace import parse_speed
from ....producer.synthetic import Trouble
from .options import Number
from .setting import F, setting


class SpeedType(click.ParamType[Any]):
    """`max`, `1x`, `60x`."""

    name = "SPEED"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the multiple of market time as a number, or `max`."""
        if not isinstance(value, str):
            return value
        try:
            return parse_speed(value) or "max"
        except ValueError:
            self.fail(f"{value!r} is not a speed: max, 1x, 60x", param, ctx)


def share(field: str, what: str, *, make: Callable[..., Any] = setting) -> Callable[[F], F]:
    """Make the option of a share of all ticks, a field of Trouble. make: typed_setting for one without a variable."""
    add: Callable[[F], F] = make(Trouble, field, type=Number(0, 1), help=f"Synthetic: share of ticks that {what}.")
    return add
