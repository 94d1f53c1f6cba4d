"""Draw docs/pictures/*.png: each pattern of docs/patterns.md as it is found on real bars.

    python docs/draw_patterns.py --data FOLDER

FOLDER holds daily_dev.csv, daily_dev_splits.csv and bars_strict_2013-10-07.csv. Of all places where a pattern is found
the one of greatest confidence is drawn, and among equals the bar with the widest range.
"""
# ruff: noqa: INP001, T201  # a command beside the documents, in no package

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import click
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from tickstockpl.workers.detect.patterns.head_shoulders import DEPTH, five_extrema
from tickstockpl.workers.detect.patterns.kind import PatternKind
from tickstockpl.workers.detect.patterns.registry import PATTERNS
from tickstockpl.workers.windows import WINDOW, Windows

PICTURES = Path(__file__).parent / "pictures"
# The data in which each pattern is searched, and how many bars before and after it are drawn.
DRAWN = {
    "HeadShoulders": ("daily", DEPTH, 12),
    "InverseHeadShoulders": ("daily", DEPTH, 12),
    "Volume_Spike": ("daily", 40, 10),
    "Price_Breakout": ("1min", 40, 10),
    "Support_Test": ("1min", 60, 10),
    "Resistance_Break": ("1min", 60, 10),
    "Doji": ("daily", 20, 8),
    "Hammer": ("daily", 20, 8),
}
HOURS = ("2013-10-07T13:30:00Z", "2013-10-07T20:00:00Z")  # windows are made of bars of the regular hours
REGULAR = ("2013-10-07T14:00:00Z", "2013-10-07T20:00:00Z")  # the opening's first half hour is another market
UP, DOWN, MARK = "#2a9d8f", "#c8553d", "#33658a"


class Symbol(NamedTuple):
    """One symbol's bars, oldest first. times: as the file writes them. bars: open, high, low, close, volume, (5, n)."""

    name: str
    times: list[str]
    bars: NDArray[np.float64]


class Place(NamedTuple):
    """A pattern found on one bar of a symbol."""

    symbol: Symbol
    at: int
    confidence: float
    levels: NDArray[np.float64]


def read_bars(file: Path, time: str) -> list[Symbol]:
    """Read a file of bars; time: the name of its column of times."""
    rows = defaultdict(list)
    with file.open() as lines:
        for row in csv.DictReader(lines):
            if HOURS[0] <= row[time] < HOURS[1] or len(row[time]) == len("2013-10-07"):
                rows[row["symbol"]].append(row)
    names = ("open", "high", "low", "close", "volume")
    return [
        Symbol(name, [r[time] for r in of], np.array([[float(r[n]) for r in of] for n in names]))
        for name, of in rows.items()
    ]


def adjust_for_splits(symbols: list[Symbol], file: Path) -> None:
    """Multiply prices before each split, and divide the volumes."""
    with file.open() as lines:
        for split in csv.DictReader(lines):
            factor = float(split["multiply_earlier_prices_by"])
            for symbol in symbols:
                if symbol.name == split["symbol"]:
                    before = np.array(symbol.times) < split["first_date_at_new_price"]
                    symbol.bars[:4, before] *= factor
                    symbol.bars[4, before] /= factor


def clearest(kind: PatternKind, symbols: list[Symbol]) -> Place:
    """Return the place where the pattern is found with the greatest confidence."""
    places = [place for symbol in symbols for place in _places(kind, symbol)]
    return max(places, key=lambda p: (p.confidence, np.ptp(p.symbol.bars[1:3, p.at]) / p.symbol.bars[3, p.at]))


def _places(kind: PatternKind, symbol: Symbol) -> list[Place]:
    padded = np.pad(symbol.bars, ((0, 0), (WINDOW - 1, 0)), constant_values=np.nan)
    columns = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)
    length = np.minimum(np.arange(symbol.bars.shape[1]) + 1, WINDOW)
    found = kind.find(Windows(*columns, length).last(kind.depth), kind.parameters)
    within = [REGULAR[0] <= time < REGULAR[1] or len(time) == len("2013-10-07") for time in symbol.times]
    rows = np.flatnonzero((found.confidence >= kind.threshold) & within)
    return [Place(symbol, int(row), float(found.confidence[row]), found.levels[row]) for row in rows]


def draw(kind: PatternKind, place: Place, before: int, after: int) -> None:
    """Write the picture of one place."""
    figure, (prices, volumes) = plt.subplots(2, sharex=True, figsize=(8, 3.8), height_ratios=(4, 1))
    begin, end = max(0, place.at - before + 1), min(len(place.symbol.times), place.at + after + 1)
    opened, high, low, close, volume = place.symbol.bars[:, begin:end]
    x = np.arange(begin, end) - place.at
    colors = np.where(close >= opened, UP, DOWN)
    prices.vlines(x, low, high, colors=colors, linewidth=1)
    least = np.ptp(place.symbol.bars[1:3, begin:end]) / 400  # a body without height is still seen
    prices.bar(x, np.maximum(np.abs(close - opened), least), 0.7, np.minimum(opened, close), color=colors)
    volumes.bar(x, volume, 0.7, color=colors)
    volumes.yaxis.set_major_formatter(EngFormatter(sep=""))
    prices.margins(y=0.15)
    for axes in (prices, volumes):
        axes.axvspan(-0.5, 0.5, color=MARK, alpha=0.18, linewidth=0)
        axes.spines[["top", "right"]].set_visible(False)
    if "HeadShoulders" in kind.name:
        _draw_shape(prices, kind, place)
    else:
        for level in place.levels[~np.isnan(place.levels)]:
            prices.axhline(level, color=MARK, linestyle="--", linewidth=1)
    when = place.symbol.times[place.at].replace("T", " ").removesuffix(":00Z")
    bars = "daily" if len(when) == len("2013-10-07") else "1-minute"
    prices.set_title(f"{kind.name}: {place.symbol.name}, {bars} bar of {when}, confidence {place.confidence:.2f}")
    prices.set_ylabel("dollars")
    volumes.set_ylabel("shares")
    volumes.set_xlabel("bars from the one that completes the pattern")
    figure.align_ylabels()
    figure.savefig(PICTURES / f"{kind.name}.png", dpi=80, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def _draw_shape(prices: Axes, kind: PatternKind, place: Place) -> None:
    """Draw the five extrema and the neckline through the second and the fourth."""
    turn = -1.0 if kind.name.startswith("Inverse") else 1.0
    closes = place.symbol.bars[3:4, place.at - DEPTH + 1 : place.at + 1] * turn
    _, _, shape = five_extrema(np.zeros(1, np.intp), closes, float(kind.parameters["bandwidth"]))
    x = np.arange(DEPTH) - DEPTH + 1
    first = shape.at[0, 0]
    prices.plot(x[first:], shape.neckline[0, first:] * turn, color=MARK, linestyle="--", linewidth=1)
    prices.plot(x[shape.at[0]], shape.price[0] * turn, "o", color=MARK, markersize=4)
    for number, (column, price) in enumerate(zip(shape.at[0], shape.price[0] * turn, strict=True), start=1):
        up = (number % 2 == 1) == (turn > 0)
        prices.annotate(
            f"E{number}", (x[column], price), (0, 9 if up else -16), textcoords="offset points", ha="center"
        )


@click.command()
@click.option(
    "--data",
    envvar="TICKSTOCK_TEST_DATA",
    required=True,
    show_envvar=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder with the bars.",
)
def main(data: Path) -> None:
    """Draw each pattern where it is clearest on real bars."""
    mpl.use("agg")
    PICTURES.mkdir(exist_ok=True)
    daily = read_bars(data / "daily_dev.csv", "date")
    adjust_for_splits(daily, data / "daily_dev_splits.csv")
    bars = {"daily": daily, "1min": read_bars(data / "bars_strict_2013-10-07.csv", "timestamp_utc_iso")}
    for name, (timeframe, before, after) in DRAWN.items():
        place = clearest(PATTERNS[name], bars[timeframe])
        draw(PATTERNS[name], place, before, after)
        print(f"{name}: {place.symbol.name} {place.symbol.times[place.at]}, {place.confidence:.2f}")


if __name__ == "__main__":
    main()
