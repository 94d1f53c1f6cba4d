"""What the commands that play a market share: how fast its time runs, and how much goes wrong in it."""

from collections.abc import Callable
from typing import Any

import click

from ....producer.pace import parse_speed
from .options import F, Number, option


class SpeedType(click.ParamType[Any]):
    """`max`, `1x`, `60x`."""

    name = "SPEED"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the multiple of market time, None for max."""
        if not isinstance(value, str):
            return value
        try:
            return parse_speed(value) or "max"
        except ValueError:
            self.fail(f"{value!r} is not a speed: max, 1x, 60x", param, ctx)


def share(name: str, what: str) -> Callable[[F], F]:
    """Make an option for a share of all ticks."""
    return option(name, type=Number(0, 1), default=0.0, help=f"Synthetic: share of ticks that {what}.")
