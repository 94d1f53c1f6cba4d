"""The values of indicators on many bars of one timeframe, and the alerts on them. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.detection import IndicatorAlert, IndicatorValue
from ...contracts.ticks import Column
from ..windows import SessionSums, Windows
from .alerts import alerts_of, has_alerts
from .definition import IndicatorDefinition


class NamedBars(NamedTuple):
    """n bars of one timeframe. minutes: their starts since 1970."""

    symbols: Sequence[str]
    timeframe: str
    minutes: Sequence[int]


def values_on(
    bars: NamedBars,
    windows: Windows,
    sums: SessionSums,
    definitions: Sequence[IndicatorDefinition],
    now_s: float,
) -> list[list[IndicatorValue]]:
    """Return the values on each bar, in the order of the definitions, without NaN.

    windows, sums: each ends with its bar. now_s: Unix seconds.
    """
    columns = [[*_values_of(bars, windows, sums, definition, now_s)] for definition in definitions]
    return [[value for value in values if value] for values in zip(*columns, strict=True)]


def _values_of(
    bars: NamedBars, windows: Windows, sums: SessionSums, definition: IndicatorDefinition, now_s: float
) -> Iterator[IndicatorValue | None]:
    indicator, period = definition.indicator, definition.period
    keys, outputs = indicator.keys(period), np.array(indicator.compute(windows, sums, period))
    numbers = np.isfinite(outputs).all(axis=0).tolist()
    for symbol, minute, values, is_number in zip(bars.symbols, bars.minutes, outputs.T.tolist(), numbers, strict=True):
        yield (
            IndicatorValue(
                symbol=symbol,
                indicator=indicator.name,
                timeframe=bars.timeframe,
                minute=minute,
                value=values[0],
                values=dict(zip(keys, values, strict=True)),
                period=period,
                calculated_at=now_s,
            )
            if is_number
            else None
        )


def alerts_on(
    bars: NamedBars,
    windows: Windows,
    sums: SessionSums,
    definitions: Sequence[IndicatorDefinition],
    now_s: float,
) -> list[IndicatorAlert]:
    """Return the alerts on some bars, bar by bar. The arguments are the same as in values_on.

    The value on the bar before is computed from the same window without its last bar.
    """
    found: list[tuple[int, IndicatorAlert]] = []
    close: Column = windows.close[:, -2:]
    for definition in definitions:
        indicator = definition.indicator
        if not has_alerts(indicator.name):
            continue
        before, now = (indicator.compute(some, sums, definition.period) for some in (windows.before(), windows))
        steps = [np.stack(step, axis=1) for step in zip(before, now, strict=True)]
        for row, crossing in alerts_of(indicator.name, steps, close, definition.parameters):
            alert = IndicatorAlert(
                symbol=bars.symbols[row],
                alert_type=crossing.alert_type,
                indicator=indicator.name,
                timeframe=bars.timeframe,
                minute=bars.minutes[row],
                value=crossing.value,
                threshold=crossing.threshold,
                severity=crossing.severity,
                raised_at=now_s,
                rsi=float(now[0][row]) if indicator.name == "RSI" else None,
            )
            found.append((row, alert))
    return [alert for _, alert in sorted(found, key=lambda one: one[0])]
