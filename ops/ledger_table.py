"""The ledger as people read it."""

from collections.abc import Sequence

from rich.table import Column, Table

from .console import make_console
from .ledger import OUTCOMES, LedgerRow

_NAME_WIDTH = 24
_LEAST_WIDTH = 144  # what the table takes; a narrow terminal wraps its lines


def print_ledger(rows: Sequence[LedgerRow], *, left_out: int = 0, seconds: float | None = None) -> None:
    """Print what became of the ticks of each producer, and whether it adds up."""
    table = Table(
        Column("producer", no_wrap=True), "ticks in", *(name.replace("_", " ") for name in OUTCOMES), "balance"
    )
    for row in rows:
        counts = [f"{getattr(row, name):,}" for name in OUTCOMES]
        table.add_row(_short(row.producer), f"{row.ticks_in:,}", *counts, "ok" if not row.gap else f"{row.gap:+,}")
    make_console(width=max(_LEAST_WIDTH, make_console().width)).print(table)
    if refused := sum(row.refused + row.future + row.too_late for row in rows):
        print(f"{refused:,} ticks were refused: `tickstock dlq ls` says why")
    if left_out:
        print(f"{left_out:,} rows with a correction were left out")
    if seconds is not None:
        ticks = sum(row.ticks_in for row in rows)
        print(f"{ticks:,} ticks in {seconds:.1f} s ({ticks / seconds:,.0f}/s)")


def _short(name: str) -> str:
    """Shorten a replay's name in its middle: its kind and its attempt tell it from others."""
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 7]}…{name[-6:]}"
