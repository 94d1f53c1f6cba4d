"""Writes a source's ticks to a flat file as they pass, so that bars can be recounted from it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..contracts.ticks import REPEATED, Ticks
from .arrow import need_arrow


def recorded(ticks: Iterable[Ticks | None], file: Path | None) -> Iterator[Ticks | None]:
    """Pass ticks on; with a file, write them to it first, in the columns that `--source replay` reads."""
    if file is None:
        yield from ticks
        return
    need_arrow()
    import pyarrow as pa  # noqa: PLC0415  # arrow.py
    from pyarrow import csv  # noqa: PLC0415

    schema = pa.schema(
        [("ticker", pa.string()), ("price", pa.float64()), ("size", pa.float64()), ("sip_timestamp", pa.int64())]
    )
    with csv.CSVWriter(str(file), schema) as writer:
        for batch in ticks:
            if batch is not None and len(batch):
                once = _once(batch)
                symbols = pa.DictionaryArray.from_arrays(once.symbol_index, list(once.symbols)).cast(pa.string())
                writer.write_table(pa.table([symbols, once.price, once.size, once.ts], schema))
            yield batch


def _once(ticks: Ticks) -> Ticks:
    """Leave out repeated trades: the file has no ids by which a reader could recognise them."""
    flags = ticks.optional.get("flags")
    return ticks if flags is None else ticks.take(flags != REPEATED)
