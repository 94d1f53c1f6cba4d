"""A detector that is switched on: with which threshold or period, on which timeframes, with which parameters. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from .indicators import Indicator
from .patterns.kind import Parameters, PatternKind


class PatternDefinition(NamedTuple):
    """A pattern that is switched on. timeframes: minutes."""

    kind: PatternKind
    threshold: float
    timeframes: frozenset[int]
    parameters: Parameters


class IndicatorDefinition(NamedTuple):
    """An indicator that is switched on. timeframes: minutes. parameters: of its alerts."""

    indicator: Indicator
    period: int | None
    timeframes: frozenset[int]
    parameters: Parameters


class WrongRow(NamedTuple):
    """A row that cannot be used, and why: it is reported and skipped."""

    table: str
    name: str
    why: str


@dataclass(slots=True)
class Definitions:
    """All rows that are switched on."""

    patterns: list[PatternDefinition] = field(default_factory=list)
    indicators: list[IndicatorDefinition] = field(default_factory=list)
    wrong: list[WrongRow] = field(default_factory=list)
    idle: list[WrongRow] = field(default_factory=list)  # on, but for no timeframe that workers detect on
