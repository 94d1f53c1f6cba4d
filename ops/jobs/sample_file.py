"""Write a day of the synthetic market as a trade flat file, with the vendor's columns."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ...contracts.spellings.flat_file import STANDARD_COLUMNS
from ...contracts.ticks import Ticks
from ...producer.synthetic import SyntheticSource
from ..process.whole_file import whole_file

_CHUNK_COMPRESSION = 6
_EXCHANGE = 4  # an existing one, the same for all: the trade's number alone identifies it
_TAPE = 1


class Written(NamedTuple):
    """The contents of a sample file."""

    trades: int
    symbols: int
    bytes: int


def write_sample(source: SyntheticSource, file: Path) -> Written:
    """Write every tick of a finite market; a name ending in .gz is compressed. Raises OSError.

    The file gets its name when it is complete: a stopped run leaves none.
    """
    trades, symbols = 0, np.zeros(len(source.symbols), dtype=bool)
    with whole_file(file) as part, _opened(part, compressed=file.suffix == ".gz") as out:
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        out.write(",".join(STANDARD_COLUMNS).encode() + b"\n")
        for chunk in source:
            if len(chunk.ticks):
                csv.write_csv(_table(chunk.ticks, trades), out, options)
                trades += len(chunk.ticks)
                symbols[chunk.ticks.symbol_index] = True
    return Written(trades, int(symbols.sum()), file.stat().st_size)


@contextmanager
def _opened(file: Path, *, compressed: bool) -> Iterator[BinaryIO]:
    with file.open("wb") as raw:
        if not compressed:
            yield raw
            return
        # No name and no time in its header: the same options give the same bytes.
        with gzip.GzipFile("", "wb", _CHUNK_COMPRESSION, raw, mtime=0) as packed:
            yield cast("BinaryIO", packed)


def _table(ticks: Ticks, before: int) -> pa.Table:
    count = len(ticks)
    numbers = pa.array(np.arange(before + 1, before + count + 1))
    symbols = pa.DictionaryArray.from_arrays(ticks.symbol_index, list(ticks.symbols)).cast(pa.string())
    columns = {
        "ticker": symbols,
        "conditions": pa.nulls(count, pa.string()),
        "correction": _all(0, count),
        "exchange": _all(_EXCHANGE, count),
        "id": numbers,
        "participant_timestamp": pa.array(ticks.ts),
        "price": pa.array(ticks.price),
        "sequence_number": numbers,
        "sip_timestamp": pa.array(ticks.ts),
        "size": pa.array(ticks.size),
        "tape": _all(_TAPE, count),
        "trf_id": _all(0, count),
        "trf_timestamp": _all(0, count),
    }
    return pa.table([columns[name] for name in STANDARD_COLUMNS], names=list(STANDARD_COLUMNS))


def _all(number: int, count: int) -> pa.Array:
    return pa.array(np.full(count, number))
