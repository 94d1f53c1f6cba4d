"""Bars as a Parquet file, for data frames: prices decimal(18,6), volume decimal(20,6), as the table holds them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

_ROWS_OF_A_GROUP = 50_000

_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("timestamp", pa.timestamp("us", "UTC")),
        *((name, pa.decimal128(18, 6)) for name in ("open", "high", "low", "close")),
        ("volume", pa.decimal128(20, 6)),
        ("trade_count", pa.int64()),
        ("vwap", pa.float64()),
    ]
)


def write_parquet(rows: Iterator[tuple[Any, ...]], output: Path) -> None:
    """Write rows of (symbol, timestamp, open, high, low, close, volume, trade_count, vwap)."""
    with parquet.ParquetWriter(output, _SCHEMA) as writer:
        while group := list(islice(rows, _ROWS_OF_A_GROUP)):
            columns = zip(zip(*group, strict=True), _SCHEMA, strict=True)
            arrays = [pa.array(column, field.type) for column, field in columns]
            writer.write_table(pa.table(arrays, _SCHEMA))
