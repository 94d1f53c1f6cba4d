"""Lines of a flat file -> Ticks: a whole block at once if each line is a plain trade, else in halves. Pure."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from ..contracts.spellings.flat_file import (
    CONDITIONS,
    CORRECTION,
    CORRECTIONS_THAT_COUNT,
    EXCHANGE,
    FACILITY,
    PRICE,
    READ,
    SIZE,
    TICKER,
    TIME,
    TRADE_ID,
    conditions_of_line,
    place_of_line,
    read_line,
    refused_line,
)
from ..contracts.spellings.tick_values import NotATick, TickRow, sound_rows, symbol_table, ticks_of_rows
from ..contracts.spellings.trade_conditions import TRADE_RULES, unknown_of
from ..contracts.ticks import Column, Refused, Ticks, concat
from .coverage import Coverage
from .flat_file_columns import flags_of_block, keys_of_block, notes_of_block
from .names_of_trades import is_extreme

_FEW_LINES = 256  # this many lines or fewer are read one by one, which is faster than halving
_BOUND = 2.0**63  # a float of nanoseconds at or above this fits no int64
_TYPES = {
    TICKER: pa.dictionary(pa.int32(), pa.string()),
    PRICE: pa.float64(),
    SIZE: pa.float64(),
    TIME: pa.int64(),
    CORRECTION: pa.int64(),
    CONDITIONS: pa.dictionary(pa.int32(), pa.string()),
    EXCHANGE: pa.dictionary(pa.int32(), pa.string()),
    TRADE_ID: pa.string(),
    FACILITY: pa.dictionary(pa.int32(), pa.string()),
}

_FLOATS = {TIME: pa.float64(), CORRECTION: pa.float64()}  # of a file that a data frame has written


class _OddLine(Exception):
    """A line of this block cannot be read together with the others: halve the block."""


class LineReader:
    """Reads the blocks of lines of one file, in their order.

    unknown: the conditions that were found in the files and are in no table of rules.
    """

    def __init__(self, file: str, names: list[str], rules: TRADE_RULES, coverage: Coverage) -> None:
        self._file = file
        self._coverage = coverage
        self._names = names
        self._rules = rules
        self._left_out = 0
        self.unknown: set[Hashable] = set()
        self._numbered = [str(i) for i in range(len(names))]
        # By number: only the names that we read need to be unique.
        self._places = {name: self._numbered[names.index(name)] for name in READ[rules] if name in names}
        self._whole_numbers = self._convert_options(_TYPES)
        self._floats = self._convert_options(_TYPES | _FLOATS)
        self._convert = self._whole_numbers

    def _convert_options(self, types: Mapping[str, pa.DataType]) -> csv.ConvertOptions:
        return csv.ConvertOptions(
            column_types={place: types[name] for name, place in self._places.items()},
            include_columns=list(self._places.values()),
            null_values=[""],  # arrow's own list holds NA, which is a ticker
        )

    def taken_left_out(self) -> int:
        """Return how many trades were left out since the last call."""
        count, self._left_out = self._left_out, 0
        return count

    def read(self, block: bytes, first_line: int) -> Ticks:
        """Read whole lines. A block with an odd line is halved until few lines are left around it."""
        if not block:
            return Ticks.empty()
        for convert in (self._convert, self._floats if self._convert is self._whole_numbers else self._whole_numbers):
            try:
                ticks = self._read_at_once(block, first_line, convert)
            except (pa.ArrowInvalid, _OddLine):
                continue
            self._convert = convert  # the next block is most likely like this one
            return ticks
        middle = _middle(block)
        if not middle:
            return self._read_line_by_line(block, first_line)
        halves = block[:middle], block[middle:]
        return concat([self.read(halves[0], first_line), self.read(halves[1], first_line + halves[0].count(b"\n"))])

    def _read_at_once(self, block: bytes, first_line: int, convert: csv.ConvertOptions) -> Ticks:
        table = csv.read_csv(
            pa.BufferReader(block),
            # One thread and one block: the workers need the other cores, and the symbols come as one dictionary.
            csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self._numbered),
            csv.ParseOptions(),
            convert,
        )
        # Blank lines, lone carriage returns and open quotes make rows that are not lines.
        if table.num_rows != block.count(b"\n"):
            raise _OddLine
        column = {name: table.column(place).combine_chunks() for name, place in self._places.items()}
        symbols, codes = symbol_table(column[TICKER].dictionary.to_pylist())
        code = np.array(codes, "<i4")[column[TICKER].indices.to_numpy()]
        ts = _nanoseconds(column[TIME].fill_null(0).to_numpy())
        # An empty field is NaN here, which is neither a price nor a size.
        price, size = (column[name].to_numpy(zero_copy_only=False) for name in (PRICE, SIZE))
        sound, price = sound_rows(code, ts, price, size)
        kept = self._counts(column[CORRECTION]) if CORRECTION in column else np.ones_like(sound)
        refused = self._refuse(block, first_line, np.flatnonzero(kept & ~sound))
        self._left_out += len(kept) - int(kept.sum())
        optional = keys_of_block(column)
        if self._rules == "sip":
            optional |= flags_of_block(column, ts, self.unknown)
        note, notes = notes_of_block(column, np.flatnonzero(sound & is_extreme(price, size)))
        ticks = Ticks(symbols, code, ts, price, size, optional | note, refused, notes)
        self._coverage.note(symbols, code, ts)
        return ticks if (kept & sound).all() else ticks.take(kept & sound, refused)

    def _counts(self, correction: Any) -> NDArray[np.bool_]:
        codes = np.nan_to_num(correction.fill_null(0).to_numpy())
        if not (codes == np.floor(codes)).all():
            raise _OddLine
        codes_that_count = CORRECTIONS_THAT_COUNT[self._rules]
        return codes == codes_that_count[0] if len(codes_that_count) == 1 else np.isin(codes, codes_that_count)

    def _refuse(self, block: bytes, first_line: int, places: NDArray[np.intp]) -> list[Refused]:
        lines = block.split(b"\n") if len(places) else []
        read = [self._read_line(lines[place], first_line + place) for place in places.tolist()]
        refused = [line for line in read if isinstance(line, Refused)]
        if len(refused) < len(places):
            raise _OddLine  # read alone, the line gives another result than as a row of the block
        return refused

    def _read_line_by_line(self, block: bytes, first_line: int) -> Ticks:
        numbered = [
            (number, line)
            for number, line in enumerate(block.split(b"\n")[:-1], first_line)
            if line not in (b"", b"\r")
        ]
        self._cover([line for _, line in numbered])
        read = [self._read_line(line, number) for number, line in numbered]
        self._left_out += read.count(None)
        return ticks_of_rows([x for x in read if isinstance(x, TickRow)], [x for x in read if isinstance(x, Refused)])

    def _cover(self, lines: Sequence[bytes]) -> None:
        places = [place for line in lines if (place := place_of_line(line, self._names))]
        symbols = list(dict.fromkeys(symbol for symbol, _ in places))
        codes = {symbol: code for code, symbol in enumerate(symbols)}
        code = np.array([codes[symbol] for symbol, _ in places], "<i8")
        self._coverage.note(symbols, code, np.array([ts for _, ts in places], "<i8"))

    def _read_line(self, line: bytes, number: int) -> TickRow | Refused | None:
        try:
            row = read_line(line, self._names, self._rules)
        except NotATick as e:
            return refused_line(e, line, self._names, f"{self._file}:{number}")
        if row and self._rules == "sip":
            self.unknown |= unknown_of([conditions_of_line(line, self._names)])
        return row


def _nanoseconds(ts: Column) -> Column:
    """Return times as int64, 0 for a float that is not a time.

    Raises _OddLine for a time that is not a whole number.
    """
    if ts.dtype.kind == "i":
        return ts
    ts = np.where((ts >= 0) & (ts < _BOUND), ts, 0.0)
    if not (ts == np.floor(ts)).all():
        raise _OddLine
    return ts.astype("<i8")


def _middle(block: bytes) -> int:
    """Return the offset at which to halve a block, after a newline; 0 if it has few lines."""
    if block.count(b"\n") <= _FEW_LINES:
        return 0
    half = len(block) // 2
    behind = block.find(b"\n", half) + 1
    return behind if behind < len(block) else block.rfind(b"\n", 0, half) + 1
