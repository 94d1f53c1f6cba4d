"""The ledger as people read it."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .ledger import OUTCOMES, LedgerRow


def print_ledger(rows: Sequence[LedgerRow], *, left_out: int = 0, seconds: float | None = None) -> None:
    """Print what became of the ticks of each producer, and whether it adds up."""
    table = Table("producer", "ticks in", *(name.replace("_", " ") for name in OUTCOMES), "balance")
    for row in rows:
        counts = [f"{getattr(row, name):,}" for name in OUTCOMES]
        table.add_row(row.producer, f"{row.ticks_in:,}", *counts, "ok" if not row.gap else f"{row.gap:+,}")
    Console(width=max(120, Console().width)).print(table)
    if left_out:
        print(f"{left_out:,} rows with a correction were left out")
    if seconds is not None:
        ticks = sum(row.ticks_in for row in rows)
        print(f"{ticks:,} ticks in {seconds:.1f} s ({ticks / seconds:,.0f}/s)")
