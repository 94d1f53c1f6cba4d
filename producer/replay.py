"""Flat files (.csv, .csv.gz) as a feed: read block by block, in file order, never a whole file at once.

The first bytes of a file show whether it is compressed. The caller does the pacing.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from os import PathLike
from pathlib import Path
from typing import Protocol

import structlog

from ..contracts.errors import UsageError
from ..contracts.spellings.file_kind import PEEK_BYTES, kind_of_binary
from ..contracts.spellings.flat_file import read_header, rules_of
from ..contracts.spellings.same_trade import SameTrades
from ..contracts.spellings.tick_values import shown
from ..contracts.spellings.trade_conditions import TRADE_RULES
from ..contracts.ticks import MAX_BODY_BYTES, Ticks
from .arrow import need_arrow
from .coverage import Coverage

log = structlog.get_logger()

BLOCK_BYTES = 8 << 20  # 70,000 to 140,000 rows; two blocks are in memory at a time
HASH_BYTES = 1 << 20

_GZIP = b"\x1f\x8b"
_SHOWN_CONDITIONS = 20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ReplaySource:
    """The trades of some flat files, file after file, as batches of Ticks; each iteration starts from the beginning.

    rules: `all` ignores conditions; `sip` adds the column `flags` if a condition limits what a trade sets; None: `sip`
    for each file with conditions. A repeated trade (the same id) is marked (contracts.same_trade); rows_repeated counts
    them. bytes_total, bytes_read: on the disk, for a progress bar. rows_left_out: trades that a correction cancels.
    rows_taken, refused (by reason), coverage: of the rows that were read. unknown_conditions: conditions without a
    rule; each is logged once. A row that is not a trade is Refused, at its place, with FILE:LINE. Raises UsageError: at
    once for a file that is missing, empty or no trade flat file; during the iteration for a compressed file that is
    incomplete or broken.
    """

    def __init__(
        self, files: Sequence[str | PathLike[str]], *, rules: TRADE_RULES | None = None, block_bytes: int = BLOCK_BYTES
    ) -> None:
        if not files:
            raise UsageError("no file to replay")
        need_arrow()
        self._files = [str(file) for file in files]
        self._block_bytes = block_bytes
        checked = [_check(file, rules, block_bytes) for file in self._files]
        self._sizes = [size for size, _ in checked]
        self.rules = [rules for _, rules in checked]  # of each file
        self.bytes_total = sum(self._sizes)
        self.bytes_read = 0
        self.rows_left_out = self.rows_repeated = 0
        self.rows_taken = 0
        self.refused: Counter[str] = Counter()
        self.coverage = Coverage()
        self.unknown_conditions: set[Hashable] = set()

    def __iter__(self) -> Iterator[Ticks]:
        """Yield batches that have rows or refused rows, in file order."""
        self.bytes_read = self.rows_left_out = self.rows_repeated = self.rows_taken = bytes_before = 0
        self.refused, self.coverage = Counter(), Coverage()
        same = SameTrades()
        from .flat_file_lines import LineReader  # noqa: PLC0415  # arrow.py

        for file, size, rules in zip(self._files, self._sizes, self.rules, strict=True):
            with _opened(file) as (raw, plain):
                reader, first_line = None, 1
                self.coverage.begin_file()
                for block in _blocks(file, plain, self._block_bytes):
                    rows = block
                    if reader is None:
                        header, _, rows = block.partition(b"\n")
                        reader = LineReader(file, read_header(header, file, rules), rules, self.coverage)
                        first_line = 2
                    ticks = same.mark(reader.read(rows, first_line))
                    first_line += rows.count(b"\n")
                    self.bytes_read = bytes_before + raw.tell()
                    self.rows_left_out += reader.taken_left_out()
                    self.rows_repeated = same.repeated
                    self.rows_taken += len(ticks)
                    self.refused.update(row.reason for row in ticks.refused)
                    self._report(file, reader.unknown)
                    if len(ticks) or ticks.refused:
                        yield ticks
            bytes_before += size
        self.bytes_read = self.bytes_total

    def _report(self, file: str, unknown: set[Hashable]) -> None:
        new = sorted(map(shown, unknown - self.unknown_conditions))
        if new:
            self.unknown_conditions |= unknown
            some = new[:_SHOWN_CONDITIONS]
            log.warning("unknown trade conditions: volume only", file=file, conditions=some, count=len(new))


def content_hash(files: Sequence[str | PathLike[str]], options: str) -> str:
    """Return the sha256 (hex) of the files' contents in order, uncompressed, and of an options string.

    Uncompressed, because a file and its .gz contain the same trades: they are the same replay. Raises UsageError if two
    of the files have the same lines: each of their trades would count twice. LF and CR LF make no difference.
    """
    digest = hashlib.sha256()
    met: dict[bytes, str] = {}
    for file in map(str, files):
        length, alone, line_ends = 0, hashlib.blake2b(), b""
        with _opened(file) as (_, plain):
            while chunk := _read(file, plain, HASH_BYTES):
                digest.update(chunk)
                length += len(chunk)
                if len(files) > 1:
                    text = line_ends + chunk.replace(b"\r", b"")
                    lines = text.rstrip(b"\n")  # the last line may lack its newline
                    line_ends = text[len(lines) :]
                    alone.update(lines)
        digest.update(b"\0%d\0" % length)  # so that the same rows, divided into other files, have another hash
        if other := met.get(alone.digest()):
            raise UsageError(f"{other} and {file} have the same content, which would count twice: name one of them")
        met[alone.digest()] = file
    digest.update(options.encode())
    return digest.hexdigest()


def _check(file: str, rules: TRADE_RULES | None, block_bytes: int) -> tuple[int, TRADE_RULES]:
    """Check by its header that a file is a trade flat file; return its size on the disk, and its rules."""
    with _opened(file) as (raw, plain):
        if raw is plain and (kind := kind_of_binary(raw.peek(PEEK_BYTES)[:PEEK_BYTES])):
            raise UsageError(f"{file}: not a trade flat file, but {kind}")
        first = next(_blocks(file, plain, min(block_bytes, MAX_BODY_BYTES)), b"")
        if not first:
            raise UsageError(f"{file}: empty")
        if kind := kind_of_binary(first[:PEEK_BYTES]):  # of a gzip file
            raise UsageError(f"{file}: not a trade flat file, but in gzip {kind}")
        header = first.partition(b"\n")[0]
        rules = rules or rules_of(read_header(header, file, "all"))
        read_header(header, file, rules)
    return Path(file).stat().st_size, rules


@contextmanager
def _opened(file: str) -> Iterator[tuple[BufferedReader, _Readable]]:
    """Open a file; return its bytes on the disk, and its plain text."""
    path = Path(file)
    with ExitStack() as stack:
        try:
            if path.is_fifo() or path.is_socket():  # opening a pipe waits, and it cannot be read twice
                raise UsageError(f"{file}: not a file")
            raw = stack.enter_context(path.open("rb"))
        except OSError as e:
            raise UsageError(f"{file}: {e.strerror}") from e
        packed = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        import pyarrow as pa  # noqa: PLC0415  # arrow.py

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
