"""Write the measured rates to the data file of base rates."""

from pathlib import Path

import msgspec

from ...workers.detect.patterns.base_rates import BaseRates, MeasuredRate, MeasuredRule
from ..process.whole_file import whole_file
from .report import Measured, Report


def base_rates_of(report: Report) -> BaseRates:
    """Return the rates of every pattern with later moves."""
    rates = [
        MeasuredRate(
            pattern=row.pattern,
            timeframe=row.timeframe,
            direction=row.direction,
            hits=row.hits.hits,
            of=row.hits.of,
            expected=round(row.hits.expected, 1),
            days=report.measured[row.timeframe].days.count,
        )
        for row in report.rows
        if row.hits
    ]
    return BaseRates(
        days={name: _source_of(measured) for name, measured in report.measured.items()},
        hit=f"the close lies {report.hit_atr:g} ATR or more in the pattern's direction",
        after_bars=report.hit_after_bars,
        rules={
            name: MeasuredRule(threshold=rule.threshold, parameters=rule.parameters)
            for name, rule in report.rules.items()
            if any(rate.pattern == name for rate in rates)
        },
        rates=rates,
    )


def write_base_rates(report: Report, file: Path) -> None:
    """Write the rates one per line, so that changes of the file are readable."""
    rates = base_rates_of(report)
    head = msgspec.to_builtins(rates)
    lines = [msgspec.json.encode(rate).decode() for rate in head.pop("rates")]
    rules = [f"  {_text(name)}: {_text(rule)}" for name, rule in head.pop("rules").items()]
    parts = [f" {_text(name)}: {_text(said)}" for name, said in head.items()]
    parts.append(' "rules": {\n' + ",\n".join(rules) + "\n }")
    parts.append(' "rates": [\n' + ",\n".join(f"  {line}" for line in lines) + "\n ]")
    with whole_file(file) as part:
        part.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _source_of(measured: Measured) -> str:
    days = measured.days
    when = ", ".join(days.named) if days.named else f"{days.count} days from {days.first} to {days.last}"
    return f"{', '.join(measured.symbols)}: {when}"
