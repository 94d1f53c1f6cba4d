"""What a measurement says, as it is kept: JSON from here to there."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...contracts.errors import UsageError

DIRECTIONS = {1: "bullish", -1: "bearish", 0: "either"}

Key = tuple[str, str, int]  # pattern, timeframe, direction


class Days(msgspec.Struct, frozen=True, kw_only=True):
    """Days of New York that were measured. named: each of them, where they are few."""

    first: str
    last: str
    count: int
    named: list[str]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the bars of one timeframe were: only those of regular hours count."""

    bars: int
    symbol_days: int
    symbols: list[str]
    days: Days


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How a pattern was defined."""

    threshold: float
    parameters: Mapping[str, float | str]


class Chance(msgspec.Struct, frozen=True, kw_only=True):
    """What was told of 1,000 of the same bars shuffled: the mean of all shuffles, the least and the most of them."""

    mean: float
    least: float
    most: float


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """The mean move in the pattern's direction, in ATR, after so many bars; low, high: its 95 % interval.

    of: detections that were told and have such a bar. all_bars: the mean of all bars at the same times of the day, in
    the same direction. shuffled: what followed the detections of the shuffled bars.
    """

    after: int
    of: int
    mean: float | None
    low: float | None
    high: float | None
    all_bars: float | None
    shuffled: float | None


class Hits(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the told detections were hits. expected: as many as of so many bars at the same times of the day."""

    hits: int
    of: int
    expected: float
    shuffled: float | None  # the share of hits among the detections of the shuffled bars


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern on one timeframe in one direction: 1 bullish, -1 bearish, 0 either.

    within_day, within_half_hour: of bars shuffled within that; of daily bars it is the year, and the quarter.
    """

    pattern: str
    timeframe: str
    direction: int
    found: int
    told: int
    found_per_1000: float
    told_per_1000: float
    told_per_symbol_day: float
    within_day: Chance | None
    within_half_hour: Chance | None
    followed: list[Followed]
    hits: Hits | None  # None: it has no direction, or nothing followed

    @property
    def key(self) -> Key:
        """Return what the row is of."""
        return self.pattern, self.timeframe, self.direction


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement. seed, shuffles: the same ones on the same files give the same figures."""

    version: str
    files: list[str]
    given: str  # which bars the detectors were given: regular, or all
    seed: int
    shuffles: int
    hit_after_bars: int
    hit_atr: float
    rules: dict[str, Rule]
    measured: dict[str, Measured]
    rows: list[Row]


def write_report(report: Report, file: Path) -> None:
    """Write a report as JSON."""
    file.write_text(json_of(report))


def json_of(report: Report) -> str:
    """Return a report as JSON that a person can read."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


def read_report(file: Path) -> Report:
    """Read a report. Raises UsageError for a file that is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Report)
    except OSError as e:
        raise UsageError(f"{file}: {e.strerror}") from e
    except msgspec.MsgspecError as e:
        raise UsageError(f"{file}: no report of `tickstock patterns measure`: {e}") from e
