"""The stored result of a measurement, as JSON."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...contracts.errors import UsageError
from ..process.whole_file import whole_file

DIRECTIONS = {1: "bullish", -1: "bearish", 0: "either"}

Key = tuple[str, str, int]  # pattern, timeframe, direction


class Days(msgspec.Struct, frozen=True, kw_only=True):
    """The measured days of New York. named: each of them, if they are few."""

    first: str
    last: str
    count: int
    named: list[str]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The measured bars of one timeframe: only those of regular hours count."""

    bars: int
    symbol_days: int
    symbols: list[str]
    days: Days


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern's definition."""

    threshold: float
    parameters: Mapping[str, float | str]


class Chance(msgspec.Struct, frozen=True, kw_only=True):
    """Published detections per 1,000 bars of shuffles: mean, smallest and largest."""

    mean: float
    least: float
    most: float


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """The mean move in the pattern's direction, in ATR, after a number of bars; low, high: its 95 % interval.

    of: published detections that have such a bar. all_bars: the mean of all bars at the same times of day, in the same
    direction. shuffled: the mean for detections on shuffled bars.
    """

    after: int
    of: int
    mean: float | None
    low: float | None
    high: float | None
    all_bars: float | None
    shuffled: float | None


class Hits(msgspec.Struct, frozen=True, kw_only=True):
    """How many published detections were hits. expected: the same number for bars at the same times of day."""

    hits: int
    of: int
    expected: float
    shuffled: float | None  # the share of hits among the detections of the shuffled bars


class MeasuredRow(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern on one timeframe in one direction: 1 bullish, -1 bearish, 0 either.

    within_day, within_half_hour: for bars shuffled within these; for daily bars within the year and the quarter.
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
    hits: Hits | None  # None: without a direction, or without later bars

    @property
    def key(self) -> Key:
        """Return the row's pattern, timeframe and direction."""
        return self.pattern, self.timeframe, self.direction


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement. The same seed and shuffles on the same files give the same figures."""

    version: str
    files: list[str]
    given: str  # the bars that detectors got: regular, or all
    seed: int
    shuffles: int
    hit_after_bars: int
    hit_atr: float
    rules: dict[str, Rule]
    measured: dict[str, Measured]
    rows: list[MeasuredRow]


def write_report(report: Report, file: Path) -> None:
    """Write a report as JSON."""
    with whole_file(file) as part:
        part.write_text(json_of(report))


def json_of(report: Report) -> str:
    """Return a report as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


def read_report(file: Path) -> Report:
    """Read a report. Raises UsageError for another kind of file."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Report)
    except OSError as e:
        raise UsageError(f"{file}: {e.strerror}") from e
    except msgspec.MsgspecError as e:
        raise UsageError(f"{file}: not a report of `tickstock patterns measure`: {e}") from e
