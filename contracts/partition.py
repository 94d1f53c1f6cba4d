"""Symbol to partition, and the order of stream ids."""

import zlib
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .ticks import Ticks


def partition_of(symbol: str, partitions: int) -> int:
    """Return crc32(symbol in UTF-8) mod partitions: a symbol never changes partition."""
    return zlib.crc32(symbol.encode()) % partitions


def is_at_home(symbol: str, partition: int, partitions: int | None) -> bool:
    """Tell whether a symbol's ticks belong to a partition. partitions: how many exist; None: unknown."""
    return partitions is None or partition_of(symbol, partitions) == partition


def split(ticks: Ticks, partitions: int) -> dict[int, Ticks]:
    """Split ticks by partition; the order within a partition stays. Refused rows are left to the caller."""
    homes = np.fromiter((partition_of(s, partitions) for s in ticks.symbols), "<u2", len(ticks.symbols))
    home = homes[ticks.symbol_index]
    order = np.argsort(home, kind="stable")
    bounds = np.searchsorted(home[order], np.arange(partitions + 1))
    parts = enumerate(pairwise(bounds.tolist()))
    return {p: ticks.take(order[first:end]) for p, (first, end) in parts if end > first}


_LARGEST = 2**64 - 1  # in each half of an id


class Position(NamedTuple):
    """The id of a stream entry, ordered as Redis orders ids."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read "ms-seq", as Redis prints ids. Raises UsageError."""
        ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
        try:
            return cls(int(ms), int(seq or 0))
        except ValueError as e:
            raise UsageError(f"not a stream id: {text!r}") from e

    @classmethod
    def kept(cls, text: str) -> "Position":
        """Read a stored position; return the start of the stream if it is not a valid id.

        Reading from the start is safe: the producers' numbers show which ticks are new.
        """
        try:
            position = cls.parse(text)
        except UsageError:
            return START
        return position if max(position) < 2**64 and min(position) >= 0 else START

    def before(self) -> "Position":
        """Return the largest id below this one (for the start of the stream: itself)."""
        if self.seq:
            return Position(self.ms, self.seq - 1)
        return Position(self.ms - 1, 2**64 - 1) if self.ms else self

    def after(self) -> "Position":
        """Return the smallest id above this one."""
        return Position(self.ms, self.seq + 1) if self.seq < 2**64 - 1 else Position(self.ms + 1, 0)

    @property
    def exclusive(self) -> str:
        """Return a range start that excludes this id, as Redis writes it.

        Nothing follows the largest id, so that one is included.
        """
        return str(self) if self == (_LARGEST, _LARGEST) else f"({self}"

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


START = Position(0, 0)

SEQ_BITS = 20  # a million entries a millisecond; 2**43 ms reach the year 2248
MAX_POSITION = Position((1 << (63 - SEQ_BITS)) - 1, (1 << SEQ_BITS) - 1)  # the largest id that has a number


def number_of(position: Position) -> int | None:
    """Pack an entry id into one int64 that keeps the order; None if it does not fit."""
    if position.seq >> SEQ_BITS or position.ms >> (63 - SEQ_BITS):
        return None
    return position.ms << SEQ_BITS | position.seq


def position_of(number: int) -> Position:
    """Undo number_of."""
    return Position(number >> SEQ_BITS, number & ((1 << SEQ_BITS) - 1))


def ms_of(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the milliseconds of folded entry ids."""
    return numbers >> SEQ_BITS
