"""The values of indicators on many bars of one timeframe, and the alerts on them. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.detection import IndicatorAlert, IndicatorColumn
from ...contracts.ticks import Column, Mask
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
    again: Mask,
    now_s: float,
) -> Iterator[tuple[Column, IndicatorColumn]]:
    """Yield the values of each definition, and the indices of their bars: a bar without a number is left out.

    windows, sums: each ends with its bar. again: the bar's values may be stored already. now_s: Unix seconds.
    """
    for definition in definitions:
        indicator, period = definition.indicator, definition.period
        outputs = np.array(indicator.compute(windows, sums, period))
        rows = np.flatnonzero(np.isfinite(outputs).all(axis=0))
        if len(rows):
            yield (
                rows,
                IndicatorColumn(
                    indicator=indicator.name,
                    timeframe=bars.timeframe,
                    period=period,
                    keys=tuple(indicator.keys(period)),
                    calculated_at=now_s,
                    symbols=[bars.symbols[row] for row in rows.tolist()],
                    minutes=[bars.minutes[row] for row in rows.tolist()],
                    again=again[rows].tolist(),
                    values=outputs.T[rows].tolist(),
                ),
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
