"""Writes a source's ticks to a flat file as they pass, so that bars can be recounted from it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from ..contracts.ticks import Ticks


def recorded(ticks: Iterable[Ticks | None], file: Path | None) -> Iterator[Ticks | None]:
    """Pass ticks on; with a file, write them to it first, in the columns that `--source replay` reads."""
    if file is None:
        yield from ticks
        return
    schema = pa.schema(
        [("ticker", pa.string()), ("price", pa.float64()), ("size", pa.float64()), ("sip_timestamp", pa.int64())]
    )
    with csv.CSVWriter(str(file), schema) as writer:
        for batch in ticks:
            if batch is not None and len(batch):
                symbols = pa.DictionaryArray.from_arrays(batch.symbol_index, list(batch.symbols)).cast(pa.string())
                writer.write_table(pa.table([symbols, batch.price, batch.size, batch.ts], schema))
            yield batch
