"""A measurement for people: Markdown tables of one report, or of two side by side."""

from collections.abc import Iterator, Sequence

from .aftermath import AFTER
from .report import DIRECTIONS, Chance, Followed, Hits, Key, Measured, MeasuredRow, Report

_FEW = 10  # with fewer detections no mean is shown
_COMPARED = ("found", "published", "published a symbol-day", "shuffled", "hits")


def as_markdown(report: Report) -> str:
    """Return the tables of a report, one per timeframe."""
    return "\n".join([*_heading(report), *(line for name in report.measured for line in _table(report, name))]) + "\n"


def compared(before: Report, after: Report) -> str:
    """Return two reports side by side: detections and hits of each pattern."""
    return "\n".join(_comparison(before, after)) + "\n"


def _heading(report: Report) -> Iterator[str]:
    yield "# Patterns, measured"
    yield ""
    yield (
        f"By `tickstock patterns measure` {report.version}. Bars given to the detectors: {report.given}. Shuffles: "
        f"{report.shuffles} of each kind, seed {report.seed}. docs/measured_patterns.md explains the columns."
    )
    yield ""


def _table(report: Report, timeframe: str) -> Iterator[str]:
    measured = report.measured[timeframe]
    rows = [row for row in report.rows if row.timeframe == timeframe]
    published = sum(row.told_per_symbol_day for row in rows)
    yield f"**{timeframe}**: {_sample(measured)}; {published:.1f} published a symbol-day."
    yield ""
    wide, narrow = ("year", "quarter") if timeframe == "daily" else ("day", "half hour")
    columns = (
        *("pattern", "direction", "found", "published", "of 1,000 bars", f"shuffled in the {wide}"),
        *(f"in the {narrow}", "a symbol-day", *(f"after {after} bars" for after in AFTER)),
        "hits",
    )
    if rows:
        yield from (_line(columns), _line(["---"] * len(columns)), *(_line(_cells(row)) for row in rows), "")


def _sample(measured: Measured) -> str:
    days = measured.days
    when = ", ".join(days.named) if days.named else f"{days.count:,} days from {days.first} to {days.last}"
    symbols = ", ".join(measured.symbols) if len(measured.symbols) <= 10 else f"{len(measured.symbols):,} symbols"
    return f"{measured.bars:,} bars of {symbols}, {when}"


def _cells(row: MeasuredRow) -> Sequence[str]:
    return (
        *(row.pattern, DIRECTIONS[row.direction], f"{row.found:,}", f"{row.told:,}", _number(row.told_per_1000)),
        *(_chance(row.within_day), _chance(row.within_half_hour), _number(row.told_per_symbol_day)),
        *map(_move, row.followed),
        _hit(row.hits),
    )


def _chance(chance: Chance | None) -> str:
    return f"{_number(chance.mean)} ({_number(chance.least)} to {_number(chance.most)})" if chance else ""


def _move(followed: Followed) -> str:
    if followed.mean is None or followed.of < _FEW:
        return f"n = {followed.of}"
    interval = "" if followed.low is None or followed.high is None else f" [{followed.low:+.2f}, {followed.high:+.2f}]"
    others = [
        f"{name} {move:+.2f}"
        for name, move in (("all", followed.all_bars), ("shuffled", followed.shuffled))
        if move is not None
    ]
    return f"{followed.mean:+.2f}{interval} ({', '.join(others)})"


def _hit(hits: Hits | None) -> str:
    return f"{hits.hits} of {hits.of} ({hits.expected:.1f})" if hits else ""


def _number(rate: float) -> str:
    return f"{rate:.2f}" if rate < 10 else f"{rate:.0f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _comparison(before: Report, after: Report) -> Iterator[str]:
    yield _line(["timeframe", "published a symbol-day before", "now"])
    yield _line(["---"] * 3)
    for timeframe in dict.fromkeys((*before.measured, *after.measured)):
        totals = [_total(report, timeframe) for report in (before, after)]
        yield _line([timeframe, *("" if total is None else f"{total:.1f}" for total in totals)])
    yield ""
    if any(before.measured[name] != after.measured[name] for name in before.measured.keys() & after.measured.keys()):
        yield "The two reports are of different bars: their rates cannot be compared."
        yield ""
    pairs = [text for cell in _COMPARED for text in (f"{cell} before", "now")]
    columns = ("timeframe", "pattern", "direction", *pairs)
    yield _line(columns)
    yield _line(["---"] * len(columns))
    rows = [{row.key: row for row in report.rows} for report in (before, after)]
    for key in sorted(rows[0].keys() | rows[1].keys(), key=lambda key: _place(key, after)):
        yield _line(_both(key, rows[0].get(key), rows[1].get(key)))


def _total(report: Report, timeframe: str) -> float | None:
    rows = [row.told_per_symbol_day for row in report.rows if row.timeframe == timeframe]
    return sum(rows) if timeframe in report.measured else None


def _place(key: Key, report: Report) -> tuple[int, str, int]:
    timeframes = list(report.measured)
    return timeframes.index(key[1]) if key[1] in timeframes else len(timeframes), key[0], -key[2]


def _both(key: Key, before: MeasuredRow | None, now: MeasuredRow | None) -> Sequence[str]:
    pattern, timeframe, direction = key
    cells = [_short_cells(row) if row else [""] * len(_COMPARED) for row in (before, now)]
    return timeframe, pattern, DIRECTIONS[direction], *(cell for both in zip(*cells, strict=True) for cell in both)


def _short_cells(row: MeasuredRow) -> Sequence[str]:
    told = f"{row.told:,} ({_number(row.told_per_1000)} of 1,000)"
    return f"{row.found:,}", told, _number(row.told_per_symbol_day), _chance(row.within_day), _hit(row.hits)
