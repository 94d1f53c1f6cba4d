"""Bars as a Parquet file, for data frames: prices decimal(18,6), volume decimal(20,6), as the table holds them."""

from collections.abc import Iterator, Sequence
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
        ("provenance", pa.string()),
    ]
)


def write_parquet(rows: Iterator[tuple[Any, ...]], output: Path, columns: Sequence[str]) -> None:
    """Write rows of these columns of the schema."""
    schema = pa.schema([_SCHEMA.field(name) for name in columns])
    with parquet.ParquetWriter(output, schema) as writer:
        while group := list(islice(rows, _ROWS_OF_A_GROUP)):
            arrays = [pa.array(c, field.type) for c, field in zip(zip(*group, strict=True), schema, strict=True)]
            writer.write_table(pa.table(arrays, schema))
