"""The values of indicators on many bars of one timeframe, and the alerts on them. Pure."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from ...contracts.detection import IndicatorAlert, IndicatorColumn
from ...contracts.ticks import Column, Mask
from ..windows import SessionSums, Windows
from .alerts import alerts_of, has_alerts
from .definition import IndicatorDefinition
from .indicators import Outputs


class NamedBars(NamedTuple):
    """n bars of one timeframe. minutes: their starts since 1970."""

    symbols: Sequence[str]
    timeframe: str
    minutes: Sequence[int]


class Computed(NamedTuple):
    """An indicator that is on, and its outputs on n bars: (n,) each, NaN if there is no value."""

    definition: IndicatorDefinition
    outputs: Outputs


def computed_on(windows: Windows, sums: SessionSums, definitions: Sequence[IndicatorDefinition]) -> list[Computed]:
    """Compute the outputs of each definition. windows, sums: each ends with its bar."""
    return [Computed(one, one.indicator.compute(windows, sums, one.period)) for one in definitions]


def columns_of(
    bars: NamedBars, computed: Sequence[Computed], again: Mask, now_s: float
) -> Iterator[tuple[Column, IndicatorColumn]]:
    """Yield the values of each definition, and the indices of their bars: a bar without a number is left out.

    again: the bar's values may be stored already. now_s: Unix seconds.
    """
    for definition, outputs in computed:
        rows = np.flatnonzero(np.isfinite(outputs).all(axis=0))
        if len(rows):
            yield (
                rows,
                IndicatorColumn(
                    indicator=definition.indicator.name,
                    timeframe=bars.timeframe,
                    period=definition.period,
                    keys=definition.indicator.keys(definition.period),
                    calculated_at=now_s,
                    symbols=[bars.symbols[row] for row in rows.tolist()],
                    minutes=[bars.minutes[row] for row in rows.tolist()],
                    again=again[rows].tolist(),
                    values=np.stack(outputs, axis=1)[rows].tolist(),
                ),
            )


def alerts_on(
    bars: NamedBars, windows: Windows, sums: SessionSums, computed: Sequence[Computed], rows: Column, now_s: float
) -> list[tuple[int, IndicatorAlert]]:
    """Return the alerts on some of the bars (rows), bar by bar, each with its row. The arguments are as above.

    The value on the bar before is computed from the same window without its last bar.
    """
    computed = [one for one in computed if has_alerts(one.definition.indicator.name)]
    if not computed or not len(rows):
        return []
    found: list[tuple[int, IndicatorAlert]] = []
    windows, sums = windows.of_rows(rows), SessionSums(sums.notional[rows], sums.volume[rows])
    close: Column = windows.close[:, -2:]
    for definition, outputs in computed:
        indicator, now = definition.indicator, [output[rows] for output in outputs]
        before = indicator.compute(windows.before(), sums, definition.period)
        steps = [np.stack(step, axis=1) for step in zip(before, now, strict=True)]
        for row, crossing in alerts_of(indicator.name, steps, close, definition.parameters):
            alert = IndicatorAlert(
                symbol=bars.symbols[rows[row]],
                alert_type=crossing.alert_type,
                indicator=indicator.name,
                timeframe=bars.timeframe,
                minute=bars.minutes[rows[row]],
                value=crossing.value,
                threshold=crossing.threshold,
                severity=crossing.severity,
                raised_at=now_s,
                rsi=float(now[0][row]) if indicator.name == "RSI" else None,
            )
            found.append((int(rows[row]), alert))
    return sorted(found, key=itemgetter(0))
