"""What each process of processes.py has from its start: every command imported, and what each worker works out."""

import pkgutil
from importlib import import_module

import processes  # noqa: F401
from tickstockpl.contracts.market_hours import half_days
from tickstockpl.ops import cli

# All commands, and what they import only when they come to it.
IMPORTED_LATE = ("pyarrow.parquet", "tickstockpl.producer.flat_file_lines", "tickstockpl.ops.output.bars_parquet")
for module in (*(found.name for found in pkgutil.walk_packages(cli.__path__, f"{cli.__name__}.")), *IMPORTED_LATE):
    import_module(module)
half_days()
