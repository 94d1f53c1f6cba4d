"""Pictures of patterns in files: the bars known at the detection, and later bars in grey."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ...contracts.errors import NothingFound
from ...contracts.spellings.trade_conditions import TRADE_RULES
from ...contracts.ticks import SHARE_MICRO, Column
from ...workers.detect.patterns.head_shoulders import DEPTH, five_extrema
from ...workers.detect.patterns.registry import PATTERNS
from ..process.whole_file import whole_file
from .bar_files import read_markets, regular
from .command import definitions_of
from .finding import DAILY, TIMEFRAMES, Finds, begin_runs, find
from .report import DIRECTIONS

_AFTER = 20  # bars, in grey
_BEFORE = 60  # bars, including the last one of the pattern
_UP, _DOWN, _LATER, _MARK = "#2a7f4f", "#b5413b", "#bbbbbb", "#33658a"
_BODY = 0.7  # of a bar's place


def draw_patterns(
    files: Sequence[str],
    names: Sequence[str] | None,
    timeframes: Sequence[str],
    rules: TRADE_RULES | None,
    *,
    count: int,
    seed: int,
    out: Path,
) -> Iterator[str]:
    """Draw `count` published detections of each pattern (all if there are fewer); yield a line per picture.

    They are chosen at random over all timeframes and symbols. Raises NothingFound if there are none.
    """
    definitions = definitions_of(names)
    markets = [regular(market) for market in read_markets(files, rules)]
    finds = [found for market in markets for found in find(market, definitions, timeframes or TIMEFRAMES)]
    mpl.use("agg")
    out.mkdir(parents=True, exist_ok=True)
    drawn = 0
    for number, definition in enumerate(definitions.patterns):
        places = [(found, int(i)) for found in finds for i in _published(found, number)]
        rng = np.random.default_rng([seed, number])
        chosen = sorted(rng.choice(len(places), min(count, len(places)), replace=False).tolist())
        for at, place in enumerate(chosen, start=1):
            found, i = places[place]
            file = out / f"{definition.kind.name}-{at:02}.png"
            yield f"{file}: {_draw(definition.kind.name, found, i, file)}"
            drawn += 1
    if not drawn:
        raise NothingFound("none of these patterns is found on the bars of the files")


def _published(found: Finds, number: int) -> Column:
    return np.flatnonzero(found.found["told"] & (found.found["pattern"] == number))


def _draw(pattern: str, found: Finds, number: int, file: Path) -> str:
    """Draw one detection; return its title. number: its index in the detections."""
    one = found.found[number]
    at = int(one["bar"])
    first, end = _around(found, at)
    bars, x = found.bars[first:end], np.arange(first, end) - at
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    prices, volumes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    colours = np.where(x > 0, _LATER, np.where(bars["close"] >= bars["open"], _UP, _DOWN)).tolist()
    prices.vlines(x, bars["low"], bars["high"], colors=colours, linewidth=1)
    least = (bars["high"].max() - bars["low"].min()) / 400  # makes a body without height visible
    bodies = np.maximum(np.abs(bars["close"] - bars["open"]), least)
    prices.bar(x, bodies, _BODY, bottom=np.minimum(bars["open"], bars["close"]), color=colours)
    volumes.bar(x, bars["volume_micro"] / SHARE_MICRO, _BODY, color=colours)
    volumes.yaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in (prices, volumes):
        axes.axvspan(-0.5, 0.5, color=_MARK, alpha=0.18, linewidth=0)
    if "HeadShoulders" in pattern:
        _draw_shape(prices, pattern, found.bars["close"][max(0, at - DEPTH + 1) : at + 1])
    else:
        for level in found.levels[number]:
            prices.hlines(level, x[0], 0, colors=_MARK, linestyles="dashed", linewidth=1)
    when = datetime.fromtimestamp(int(found.bars["minute"][at]) * 60, UTC)
    spelled = f"{when:%Y-%m-%d}" if found.timeframe == DAILY else f"{when:%Y-%m-%d %H:%M} UTC"
    symbol = found.symbols[int(found.bars["symbol"][at])]
    title = f"{symbol} {found.timeframe} {spelled}, {DIRECTIONS[int(one['direction'])]}, {one['confidence']:.2f}"
    prices.set_title(f"{pattern}: {title}")
    prices.set_ylabel("dollars")
    volumes.set_ylabel("shares")
    volumes.set_xlabel("bars from the one that completes the pattern; grey: not known then")
    with whole_file(file) as part:
        figure.savefig(part, dpi=80, metadata={"Software": None})
    return title


def _around(found: Finds, at: int) -> tuple[int, int]:
    """Return the range of bars to draw: of the same symbol, not over a split."""
    run = np.cumsum(begin_runs(found.bars))
    mine = np.flatnonzero(run == run[at])
    return max(int(mine[0]), at - _BEFORE + 1), min(int(mine[-1]), at + _AFTER) + 1


def _draw_shape(axes: Axes, pattern: str, close: Column) -> None:
    """Draw the five extrema and the neckline through the second and the fourth."""
    turn = -1.0 if pattern.startswith("Inverse") else 1.0
    bandwidth = float(PATTERNS[pattern].parameters["bandwidth"])
    _, _, shape = five_extrema(np.zeros(1, np.intp), close[None] * turn, bandwidth)
    x = np.arange(DEPTH) - DEPTH + 1
    first = int(shape.at[0, 0])
    axes.plot(x[first:], shape.neckline[0, first:] * turn, color=_MARK, linestyle="--", linewidth=1)
    axes.plot(x[shape.at[0]], shape.price[0] * turn, "o", color=_MARK, markersize=5)
