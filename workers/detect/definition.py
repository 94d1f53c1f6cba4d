"""The definition of a detector that is switched on: its threshold or period, timeframes and parameters. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ..sessions import REGULAR, Session, Track
from .indicators import Indicator
from .patterns.kind import Parameters, PatternKind


class PatternDefinition(NamedTuple):
    """A pattern that is switched on. timeframes: minutes. session: the bars in which it is searched."""

    kind: PatternKind
    threshold: float
    timeframes: frozenset[int]
    parameters: Parameters
    session: Session = REGULAR


class IndicatorDefinition(NamedTuple):
    """An indicator that is switched on. timeframes: minutes. parameters: of its alerts. session: its bars."""

    indicator: Indicator
    period: int | None
    timeframes: frozenset[int]
    parameters: Parameters
    session: Session = REGULAR


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
    idle: list[WrongRow] = field(default_factory=list)  # on, but not on any timeframe of the workers

    def tracks(self) -> frozenset[Track]:
        """Return the tracks that these definitions use."""
        patterns = [Track(pattern.session, minutes) for pattern in self.patterns for minutes in pattern.timeframes]
        indicators = [Track(one.session, minutes) for one in self.indicators for minutes in one.timeframes]
        return frozenset(patterns + indicators)
