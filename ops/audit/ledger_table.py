"""The ledger as a table for people."""

from collections.abc import Iterator, Sequence

from rich.measure import Measurement
from rich.table import Column, Table

from ..process.console import make_console
from .ledger import OUTCOMES, LedgerRow

_NAME_WIDTH = 24
_LEAST_WIDTH = 144  # of a table with all columns
_OUTCOME_WIDTH = 18


def print_ledger(rows: Sequence[LedgerRow], *, left_out: int = 0, seconds: float | None = None) -> None:
    """Print the outcomes of each producer's ticks, and whether they balance.

    A file gets every column. A terminal gets the columns that are not empty, or, if it is too narrow, a line per
    outcome, with the producers side by side.
    """
    console = make_console()
    if console.is_terminal:
        for table in _fitting(rows, console.width):
            console.print(table)
    else:
        make_console(width=max(_LEAST_WIDTH, console.width)).print(_beside(rows, OUTCOMES))
    if refused := sum(row.refused + row.future + row.too_late for row in rows):
        print(f"{refused:,} ticks were refused: `tickstock dlq ls` says why")
    if left_out:
        print(f"{left_out:,} rows with a correction were left out")
    if seconds is not None:
        ticks = sum(row.ticks_in for row in rows)
        print(f"{ticks:,} ticks in {seconds:.1f} s ({ticks / seconds:,.0f}/s)")


def _fitting(rows: Sequence[LedgerRow], width: int) -> Iterator[Table]:
    """Yield tables that fit into a terminal."""
    seen = [name for name in OUTCOMES if name == "applied" or any(getattr(row, name) for row in rows)]
    table = _beside(rows, seen)
    console = make_console()
    needed = Measurement.get(console, console.options.update(max_width=_LEAST_WIDTH * 2), table)
    if needed.maximum <= width:
        yield table
        return
    side_by_side = max(1, (width - _OUTCOME_WIDTH) // (_NAME_WIDTH + 3))
    for first in range(0, len(rows), side_by_side):
        yield _below(rows[first : first + side_by_side], seen)


def _beside(rows: Sequence[LedgerRow], outcomes: Sequence[str]) -> Table:
    """Make a table with a line for each producer."""
    names = (name.replace("_", " ") for name in outcomes)
    table = Table(Column("producer", no_wrap=True), "ticks in", *names, "balance")
    for row in rows:
        table.add_row(_short(row.producer), *_numbers(row, outcomes))
    return table


def _below(rows: Sequence[LedgerRow], outcomes: Sequence[str]) -> Table:
    """Make a table with a line for each outcome."""
    table = Table("", *(Column(_short(row.producer), no_wrap=True, justify="right") for row in rows))
    names = ("ticks in", *(name.replace("_", " ") for name in outcomes), "balance")
    for name, numbers in zip(names, zip(*(_numbers(row, outcomes) for row in rows), strict=True), strict=True):
        table.add_row(name, *numbers)
    return table


def _numbers(row: LedgerRow, outcomes: Sequence[str]) -> list[str]:
    counts = (f"{getattr(row, name):,}" for name in outcomes)
    return [f"{row.ticks_in:,}", *counts, "ok" if not row.gap else f"{row.gap:+,}"]


def _short(name: str) -> str:
    """Shorten a replay's name in its middle: its kind and its attempt distinguish it."""
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 7]}…{name[-6:]}"
