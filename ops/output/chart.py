"""Draw a symbol's bars as candles with volume and patterns, and draw the account of a backtest."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...workers.backtest.report import Report
from ..process.whole_file import whole_file

_UP, _DOWN, _NEUTRAL = "#2a7f4f", "#b5413b", "#555555"
_COLOURS = {"bullish": _UP, "bearish": _DOWN}
_BODY = 0.7  # of a bar's place
_TICKS = 8  # times below the candles
_NAMED = 40  # above this number, patterns are marked without their names


class Picture(Figure):
    """A matplotlib figure that a notebook shows even if nobody imported pyplot."""

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


class ChartBar(NamedTuple):
    """One candle. at: its start. is_partial: the live feed missed a part of the minute."""

    at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    is_partial: bool = False


class ChartPattern(NamedTuple):
    """A pattern on the bar that starts at `at`."""

    at: datetime
    name: str
    direction: str | None
    levels: Sequence[float]


def candle_of(row: Sequence[Any]) -> ChartBar:
    """Make a candle from a row of db.rows.select_bars."""
    opened, high, low, close, volume = map(float, row[2:7])
    return ChartBar(row[1], opened, high, low, close, volume, is_partial=row[-1] == "partial")


def pattern_of(row: Sequence[Any]) -> ChartPattern:
    """Convert a row of db.rows.pattern_row to a pattern of the chart."""
    return ChartPattern(row[1], row[3], row[5], row[8])


def draw(title: str, bars: Sequence[ChartBar], patterns: Sequence[ChartPattern], file: Path) -> None:
    """Write a picture; the file's ending gives its format. Raises OSError, ValueError for an unknown format."""
    mpl.rcParams["svg.hashsalt"] = "tickstock"  # the same bars give the same file
    with whole_file(file) as part:
        candles(title, bars, patterns).savefig(part)


def candles(title: str, bars: Sequence[ChartBar], patterns: Sequence[ChartPattern], zone: tzinfo = UTC) -> Picture:
    """Return a picture of the bars, at least one. zone: the time zone of the axis."""
    figure = Picture(figsize=(12, 7), layout="constrained")
    prices, volumes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_candles(prices, bars)
    _draw_patterns(prices, bars, patterns)
    volumes.bar(range(len(bars)), [bar.volume for bar in bars], _BODY, color=[_colour(bar) for bar in bars])
    prices.set_title(title)
    prices.set_ylabel("price")
    volumes.set_ylabel("volume")
    _label_times(volumes, bars, zone)
    return figure


def account(report: Report) -> Picture:
    """Return a picture of a backtest: the account and its benchmark at each day's end, and the closed trades' money."""
    figure = Picture(figsize=(12, 6), layout="constrained")
    axes = figure.subplots()
    times, marked = _times(point.time for point in report.equity), "o" if len(report.equity) == 1 else None
    axes.plot(times, [point.equity for point in report.equity], label="patterns", marker=marked)
    axes.plot(times, [point.benchmark for point in report.equity], label="buy and hold", color="#888888", marker=marked)
    closed = sorted(report.trade_list, key=lambda one: one.exit_time)
    money = report.request.rules.initial_capital + np.cumsum([one.profit for one in closed])
    axes.step(_times(one.exit_time for one in closed), money, where="post", label="closed trades", linewidth=0.8)
    axes.set_ylabel("dollars")
    axes.set_title(f"{', '.join(report.request.patterns)} on {len(report.request.symbols)} symbols")
    axes.legend()
    return figure


def _times(texts: Iterable[str]) -> NDArray[np.datetime64]:
    return np.array([text[:19] for text in texts], "M8[s]")


def _colour(bar: ChartBar) -> str:
    return _UP if bar.close >= bar.open else _DOWN


def _draw_candles(axes: Axes, bars: Sequence[ChartBar]) -> None:
    colours = [_colour(bar) for bar in bars]
    places = range(len(bars))
    axes.vlines(places, [bar.low for bar in bars], [bar.high for bar in bars], colors=colours, linewidth=1)
    bodies = [abs(bar.close - bar.open) for bar in bars]
    axes.bar(places, bodies, _BODY, bottom=[min(bar.open, bar.close) for bar in bars], color=colours, edgecolor=colours)
    for place, bar in enumerate(bars):
        if bar.is_partial:
            axes.axvspan(place - 0.5, place + 0.5, color=_NEUTRAL, alpha=0.15, linewidth=0)
            axes.annotate("partial", (place, bar.high), (0, 4), textcoords="offset points", fontsize=7, ha="center")


def _draw_patterns(axes: Axes, bars: Sequence[ChartBar], patterns: Sequence[ChartPattern]) -> None:
    places = {bar.at: place for place, bar in enumerate(bars)}
    names: dict[int, list[ChartPattern]] = {}
    for pattern in patterns:
        if pattern.at in places:
            names.setdefault(places[pattern.at], []).append(pattern)
    for place, found in names.items():
        bar, colour = bars[place], _COLOURS.get(found[0].direction or "", _NEUTRAL)
        is_up = found[0].direction == "bullish"
        marked: dict[str, Any] = {"color": colour, "marker": "^" if is_up else "v", "linestyle": "none"}
        axes.plot([place], [bar.low if is_up else bar.high], **marked)
        if len(names) <= _NAMED:
            text, offset = "\n".join(one.name for one in found), (0, -8) if is_up else (0, 8)
            axes.annotate(
                text, (place, bar.low if is_up else bar.high), offset, textcoords="offset points", fontsize=7,
                color=colour, ha="center", va="top" if is_up else "bottom", rotation=90,
            )  # fmt: skip
        for level in {level for one in found for level in one.levels}:
            axes.hlines(level, max(0, place - 20), place, colors=colour, linestyles="dotted", linewidth=1)


def _label_times(axes: Axes, bars: Sequence[ChartBar], zone: tzinfo) -> None:
    """Write times below some bars: the bars are side by side, and the night between two days takes no room."""
    step = max(1, len(bars) // _TICKS)
    places = range(0, len(bars), step)
    times = [bar.at.astimezone(zone) for bar in bars]
    days = {at.date() for at in times}
    form = "%H:%M" if len(days) == 1 else "%Y-%m-%d" if len(days) == len(bars) else "%m-%d %H:%M"
    axes.set_xticks(list(places), [times[place].strftime(form) for place in places])
    axes.set_xlabel(f"{times[0]:%Y-%m-%d}, {zone}" if len(days) == 1 else f"start of the bar, {zone}")
