"""Flat files (.csv, .csv.gz) as a feed: read block by block, in file order, never a whole file at once.

Whether a file is compressed is told by its first bytes. Pacing belongs to the caller.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from ..contracts.errors import UsageError
from ..contracts.flat_file import CORRECTION, PRICE, REQUIRED, SIZE, TICKER, TIME, read_header, read_line
from ..contracts.tick_values import NotATick, Row, sound_rows, symbol_table, ticks_of_rows
from ..contracts.ticks import MAX_BODY_BYTES, Refused, Ticks, concat

BLOCK_BYTES = 8 << 20  # 70,000 to 140,000 rows; two blocks are in memory at a time
HASH_BYTES = 1 << 20

_GZIP = b"\x1f\x8b"
_FEW_LINES = 256  # so few are read faster one by one than halved again
_TYPES = {
    TICKER: pa.dictionary(pa.int32(), pa.string()),
    PRICE: pa.float64(),
    SIZE: pa.float64(),
    TIME: pa.int64(),
    CORRECTION: pa.int64(),
}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _OddLine(Exception):
    """Some line of this block cannot be read at once with the others: look closer."""


class ReplaySource:
    """The trades of some flat files, file after file, as batches of Ticks; each iteration starts anew.

    bytes_total, bytes_read: as the files lie on the disk, for a progress bar. rows_left_out: trades with a correction.
    A row that is no trade is Refused, at its place, with FILE:LINE. Raises UsageError: at once for a file that is
    missing, empty or no trade flat file; in the middle, after the batches before it, where a compressed file is cut off
    or broken.
    """

    def __init__(self, files: Sequence[str | PathLike[str]], *, block_bytes: int = BLOCK_BYTES) -> None:
        if not files:
            raise UsageError("no file to replay")
        self._files = [str(file) for file in files]
        self._block_bytes = block_bytes
        self._sizes = [_check(file, block_bytes) for file in self._files]
        self.bytes_total = sum(self._sizes)
        self.bytes_read = 0
        self.rows_left_out = 0

    def __iter__(self) -> Iterator[Ticks]:
        """Yield batches that have rows or refused rows, in file order."""
        self.bytes_read = self.rows_left_out = bytes_before = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            with _opened(file) as (raw, plain):
                reader, first_line = None, 1
                for block in _blocks(file, plain, self._block_bytes):
                    rows = block
                    if reader is None:
                        header, _, rows = block.partition(b"\n")
                        reader, first_line = _LineReader(file, read_header(header, file)), 2
                    ticks = reader.read(rows, first_line)
                    first_line += rows.count(b"\n")
                    self.bytes_read = bytes_before + raw.tell()
                    self.rows_left_out += reader.taken_left_out()
                    if len(ticks) or ticks.refused:
                        yield ticks
            bytes_before += size
        self.bytes_read = self.bytes_total


def content_hash(files: Sequence[str | PathLike[str]], options: str) -> str:
    """Return the sha256 (hex) of the files' contents in order, uncompressed, and of an options string.

    Uncompressed, because a file and its .gz hold the same trades: they are the same replay.
    """
    digest = hashlib.sha256()
    for file in files:
        length = 0
        with _opened(str(file)) as (_, plain):
            while chunk := _read(str(file), plain, HASH_BYTES):
                digest.update(chunk)
                length += len(chunk)
        digest.update(b"\0%d\0" % length)  # where a file ends is part of its content
    digest.update(options.encode())
    return digest.hexdigest()


def _check(file: str, block_bytes: int) -> int:
    """Refuse a file that is no trade flat file, by its header; return its size on the disk."""
    with _opened(file) as (_, plain):
        first = next(_blocks(file, plain, min(block_bytes, MAX_BODY_BYTES)), b"")
        if not first:
            raise UsageError(f"{file}: empty")
        read_header(first.partition(b"\n")[0], file)
    return Path(file).stat().st_size


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, _Readable]]:
    """Open a file: as it lies on the disk, and as its plain text."""
    path = Path(file)
    with ExitStack() as stack:
        try:
            if path.is_fifo() or path.is_socket():  # to open one waits, and it could not be read twice
                raise UsageError(f"{file}: not a file")
            raw = stack.enter_context(path.open("rb"))
        except OSError as e:
            raise UsageError(f"{file}: {e.strerror}") from e
        packed = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        yield raw, pa.CompressedInputStream(raw, "gzip") if packed else raw


def _read(file: str, plain: _Readable, size: int) -> bytes:
    try:
        return plain.read(size)
    except OSError as e:  # a gzip that is cut off, fails its checksum, or has something behind it
        raise UsageError(f"{file}: broken or cut off, its last rows cannot be read: {e}") from e


def _blocks(file: str, plain: _Readable, block_bytes: int) -> Iterator[bytes]:
    """Yield the text in blocks of whole lines; the last line may lack its newline in the file."""
    rest = b""
    while chunk := _read(file, plain, block_bytes):
        lines, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield rest + lines + newline
            rest = tail
        elif len(rest) > block_bytes:
            raise UsageError(f"{file}: a line of more than {block_bytes} bytes")
        else:
            rest += chunk
    if rest:
        yield rest + b"\n"


class _LineReader:
    """Reads blocks of lines of one file: all at once where each is a plain trade, else closer and closer."""

    def __init__(self, file: str, names: list[str]) -> None:
        self._file = file
        self._names = names
        self._left_out = 0
        self._numbered = [str(i) for i in range(len(names))]
        # By number: only the names that we read need to be unique.
        self._places = {name: self._numbered[names.index(name)] for name in (*REQUIRED, CORRECTION) if name in names}
        self._convert = csv.ConvertOptions(
            column_types={place: _TYPES[name] for name, place in self._places.items()},
            include_columns=list(self._places.values()),
            null_values=[""],  # arrow's own list holds NA, which is a ticker
        )

    def taken_left_out(self) -> int:
        """Return how many trades were left out since the last call."""
        count, self._left_out = self._left_out, 0
        return count

    def read(self, block: bytes, first_line: int) -> Ticks:
        """Read whole lines. A block with an odd line is halved until that line stands among few."""
        if not block:
            return Ticks.empty()
        try:
            return self._read_at_once(block, first_line)
        except (pa.ArrowInvalid, _OddLine):
            pass
        middle = _middle(block)
        if not middle:
            return self._read_line_by_line(block, first_line)
        halves = block[:middle], block[middle:]
        return concat([self.read(halves[0], first_line), self.read(halves[1], first_line + halves[0].count(b"\n"))])

    def _read_at_once(self, block: bytes, first_line: int) -> Ticks:
        table = csv.read_csv(
            pa.BufferReader(block),
            # One thread and one block: the workers need the other cores, and the symbols come as one dictionary.
            csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self._numbered),
            csv.ParseOptions(),
            self._convert,
        )
        # Blank lines, lone carriage returns and open quotes make rows that are not lines.
        if table.num_rows != block.count(b"\n"):
            raise _OddLine
        column = {name: table.column(place).combine_chunks() for name, place in self._places.items()}
        symbols, codes = symbol_table(column[TICKER].dictionary.to_pylist())
        code = np.array(codes, "<i4")[column[TICKER].indices.to_numpy()]
        ts = column[TIME].fill_null(0).to_numpy()
        # An empty field is NaN here, which is neither a price nor a size.
        price, size = (column[name].to_numpy(zero_copy_only=False) for name in (PRICE, SIZE))
        sound, price = sound_rows(code, ts, price, size)
        kept = column[CORRECTION].fill_null(0).to_numpy() == 0 if CORRECTION in column else np.ones_like(sound)
        refused = self._refuse(block, first_line, np.flatnonzero(kept & ~sound))
        self._left_out += len(kept) - int(kept.sum())
        ticks = Ticks(symbols, code, ts, price, size, {}, refused)
        return ticks if (kept & sound).all() else ticks.take(kept & sound, refused)

    def _refuse(self, block: bytes, first_line: int, places: NDArray[np.intp]) -> list[Refused]:
        lines = block.split(b"\n") if len(places) else []
        read = [self._read_line(lines[place], first_line + place) for place in places.tolist()]
        refused = [line for line in read if isinstance(line, Refused)]
        if len(refused) < len(places):
            raise _OddLine  # a line by itself says something else than as a row
        return refused

    def _read_line_by_line(self, block: bytes, first_line: int) -> Ticks:
        numbered = enumerate(block.split(b"\n")[:-1], first_line)
        read = [self._read_line(line, number) for number, line in numbered if line not in (b"", b"\r")]
        self._left_out += read.count(None)
        return ticks_of_rows([x for x in read if isinstance(x, Row)], [x for x in read if isinstance(x, Refused)])

    def _read_line(self, line: bytes, number: int) -> Row | Refused | None:
        try:
            return read_line(line, self._names)
        except NotATick as e:
            return Refused(e.reason, f"{self._file}:{number}: {e.detail}", line[:MAX_BODY_BYTES])


def _middle(block: bytes) -> int:
    """Return where to halve a block, behind a newline; 0 where it has few lines."""
    if block.count(b"\n") <= _FEW_LINES:
        return 0
    half = len(block) // 2
    behind = block.find(b"\n", half) + 1
    return behind if behind < len(block) else block.rfind(b"\n", 0, half) + 1
