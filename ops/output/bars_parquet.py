"""Write bars as Parquet, for data frames: prices decimal(18,6), volume decimal(20,6), as in the table.

The output is one file, or a folder with a folder for each day, `day=2026-03-02`, which DuckDB, polars, Spark and pandas
can read.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from pyarrow import compute, dataset, parquet

from ...contracts.market_hours import NEW_YORK
from ..process.whole_file import whole_file

_ROWS_OF_A_GROUP = 50_000
_DAY = "day"  # DuckDB and polars read its value as a date

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
    """Write rows with these columns of the schema into one file, which gets its name when it is complete."""
    schema = _schema_of(columns)
    with whole_file(output) as part, parquet.ParquetWriter(part, schema) as writer:
        for batch in _batches(rows, schema):
            writer.write_batch(batch)


def write_days(rows: Iterator[tuple[Any, ...]], folder: Path, columns: Sequence[str]) -> int:
    """Write rows into a folder, one file for each day in New York; return the number of days.

    A written day replaces the same day in the folder after all rows are written, so a stopped run changes nothing.
    """
    schema = _schema_of(columns)
    of_a_day = schema.append(pa.field(_DAY, pa.string()))
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".part-", dir=folder) as part:
        dataset.write_dataset(
            (_with_day(batch, of_a_day) for batch in _batches(rows, schema)), part, schema=of_a_day, format="parquet",
            partitioning=dataset.partitioning(pa.schema([of_a_day.field(_DAY)]), flavor="hive"),
            basename_template="bars-{i}.parquet", use_threads=False,  # threads would change the order of the rows
        )  # fmt: skip
        days = sorted(Path(part).iterdir())
        for day in days:
            shutil.rmtree(folder / day.name, ignore_errors=True)
            day.rename(folder / day.name)
    return len(days)


def _schema_of(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([_SCHEMA.field(name) for name in columns])


def _batches(rows: Iterator[tuple[Any, ...]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while group := list(islice(rows, _ROWS_OF_A_GROUP)):
        arrays = [pa.array(c, field.type) for c, field in zip(zip(*group, strict=True), schema, strict=True)]
        yield pa.record_batch(arrays, schema)


def _with_day(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    local = batch["timestamp"].cast(pa.timestamp("us", NEW_YORK.key))
    return pa.record_batch([*batch.columns, compute.strftime(local, "%Y-%m-%d")], schema)
