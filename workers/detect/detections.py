"""Detections for the windows in which a pattern was found. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import talib

from ...contracts.detection import TIER, Detection
from ...contracts.ticks import Column
from ..windows import WINDOW, Windows
from .definition import PatternDefinition
from .patterns.base_rates import shipped_rates
from .search import Hits

LEAST_DEPTH = 21  # the bar and the 20 bars before it, for its relative volume
_RSI_BARS = 15
_MAX_STRENGTH = 99.0  # Wilder's RS is infinite if no close ever fell


class FoundBar(NamedTuple):
    """The bar on which a pattern was found. minute: its start. repeat_after: bars since the same event, or 0."""

    symbol: str
    timeframe: str
    minute: int
    repeat_after: int


def detections_of(
    bars: Sequence[FoundBar],
    pattern: PatternDefinition,
    hits: Hits,
    windows: Windows,
    now_s: float,
    *,
    tier: str = TIER,
) -> list[Detection]:
    """Return the detections for hits in some windows. now_s: the time of detection, Unix seconds."""
    rows, found = hits.rows, hits.found
    if not len(rows):
        return []
    opened, high, low, close, volume = (column[rows, -LEAST_DEPTH:] for column in windows[:5])
    length, whole = np.minimum(windows.length[rows], LEAST_DEPTH), windows.whole(rows)
    confidences, directions = found.confidence[rows].tolist(), found.direction[rows].tolist()
    return [
        Detection(
            symbol=bar.symbol,
            pattern=pattern.kind.name,
            timeframe=bar.timeframe,
            minute=bar.minute,
            confidence=confidences[i],
            direction=directions[i],
            open=float(opened[i, -1]),
            high=float(high[i, -1]),
            low=float(low[i, -1]),
            close=float(close[i, -1]),
            volume=float(volume[i, -1]),
            detected_at=now_s,
            levels=found.levels[row][~np.isnan(found.levels[row])].tolist(),
            parameters=dict(pattern.parameters),
            base_rate=shipped_rates().find(
                pattern.kind.name, bar.timeframe, directions[i], confidences[i], pattern.parameters
            ),
            price_change=float((close[i, -1] / close[i, -2] - 1) * 100) if length[i] > 1 else 0.0,
            relative_volume=_relative_volume(volume[i], length[i]),
            relative_strength=_relative_strength(whole.close[i], int(whole.length[i])),
            tier=tier,
            repeat_after=bar.repeat_after,
        )
        for i, (row, bar) in enumerate(zip(rows.tolist(), bars, strict=True))
    ]


def _relative_volume(volume: Column, length: int) -> float:
    mean = volume[-LEAST_DEPTH:-1].mean() if length >= LEAST_DEPTH else 0.0
    return float(volume[-1] / mean) if mean > 0 else 1.0


def _relative_strength(close: Column, length: int) -> float:
    if length < _RSI_BARS:
        return 1.0
    rsi = float(talib.RSI(np.ascontiguousarray(close[-min(length, WINDOW) :]), timeperiod=14)[-1])
    flat = bool((close[-_RSI_BARS:] == close[-1]).all())
    return 1.0 if flat else min(_MAX_STRENGTH, rsi / (100.0 - rsi)) if rsi < 100.0 else _MAX_STRENGTH
