"""How often a pattern's prediction came true: from base_rates.json, written by `tickstock patterns measure`.

A rate holds for the rule that it was measured of: other parameters, or a confidence below the threshold that it was
measured with, have none.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec

from ....contracts.detection import BaseRate
from .kind import Parameters

FILE = "base_rates.json"


class MeasuredRate(msgspec.Struct, frozen=True, kw_only=True):
    """The rate of one pattern on one timeframe in one direction (1 bullish, -1 bearish)."""

    pattern: str
    timeframe: str
    direction: int
    hits: int
    of: int
    expected: float
    days: int


class MeasuredRule(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern's rule when it was measured."""

    threshold: float
    parameters: Parameters


class BaseRates(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. days: the measured days, in words."""

    days: dict[str, str]
    hit: str
    after_bars: int
    rules: dict[str, MeasuredRule]
    rates: list[MeasuredRate]


class RatesOf:
    """Finds the base rate of a detection."""

    def __init__(self, measured: BaseRates) -> None:
        self._rules = measured.rules
        self._rates: Mapping[tuple[str, str, int], BaseRate] = {
            (rate.pattern, rate.timeframe, rate.direction): BaseRate(
                hits=rate.hits, of=rate.of, expected=rate.expected, after_bars=measured.after_bars, days=rate.days
            )
            for rate in measured.rates
        }

    def find(
        self, pattern: str, timeframe: str, direction: int, confidence: float, parameters: Parameters
    ) -> BaseRate | None:
        """Return the rate of such a detection, None if there is none for its rule."""
        rate = self._rates.get((pattern, timeframe, direction))
        if rate is None:
            return None
        rule = self._rules[pattern]
        return rate if confidence >= rule.threshold and parameters == rule.parameters else None


@cache
def shipped_rates() -> RatesOf:
    """Return the rates in this package."""
    file = resources.files(__package__) / FILE
    return RatesOf(msgspec.json.decode(file.read_bytes(), type=BaseRates))
