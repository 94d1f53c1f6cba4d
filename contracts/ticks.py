"""Ticks: a batch of trades as numpy columns, the one form between a feed and the commit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from . import bounds

# Shape (n,); the dtype is named where it is made. Choose rows of structured arrays by take() and compress(): an index
# copies field by field, 20 times slower.
Column = NDArray[Any]

# Types of columns; shape (n,) if no other is named.
Mask = NDArray[np.bool_]  # True: this row is meant
Codes = NDArray[np.integer[Any]]  # of each row the symbol: its index in the partition's list of symbols
Minutes = NDArray[np.integer[Any]]  # starts of bars, in minutes since 1970 (UTC)

MAX_SYMBOL_LENGTH = 20  # symbols.symbol is varchar(20)
MAX_PRICE = 1e12  # numeric(18,6) holds less than this
MAX_SIZE = 1e14  # numeric(20,6) holds less than this
SHARE_MICRO = 1e6  # volumes are counted in whole millionths of a share
MAX_TRADE_COUNT = 1 << 31  # trade_count is an integer: less than this
MAX_BODY_BYTES = bounds.MAX_BODY_BYTES
MIN_TS_NS = 631_152_000_000_000_000  # 1990-01-01T00:00:00Z
MAX_TS_NS = 4_102_444_800_000_000_000  # 2100-01-01T00:00:00Z

OPTIONAL_COLUMNS: Mapping[str, np.dtype[Any]] = {
    "open": np.dtype("<f8"),  # aggregates have more than one price; absent means: price
    "high": np.dtype("<f8"),
    "low": np.dtype("<f8"),
    "vwap": np.dtype("<f8"),
    "whole_minute": np.dtype("<u1"),  # 1: this row replaces its minute (Massive AM)
    "row_id": np.dtype("<i8"),  # front door: the entry's id (partition.number_of), which is the row's number
    "flags": np.dtype("<u1"),  # which fields of its bar a trade may set, or REPEATED: the bits below; absent means all
    "trade_count": np.dtype("<i8"),  # trades in an aggregate; 0: unknown; absent means 1
    "trade_key": np.dtype("<i8"),  # identifies a trade of its symbol (contracts.trade_key); 0: no id
    "undoes": np.dtype("<u1"),  # 1: cancels the trade with this trade_key; 2: corrects it
    "facility": np.dtype("<u4"),  # who reported the trade (contracts.trade_key); 0: unknown
    "note": np.dtype("<u4"),  # number of the tick's text in `notes`, from 1; 0: none
}

SETS_OPEN_CLOSE, SETS_HIGH_LOW, SETS_VOLUME = 1, 2, 4
SETS_ALL = SETS_OPEN_CLOSE | SETS_HIGH_LOW | SETS_VOLUME
REPEATED = 8  # the trade came before: count it, but change no bar

_ABSENT = {"flags": SETS_ALL, "trade_count": 1}  # the value of an absent column, if not 0


class Refused(NamedTuple):
    """A tick that must not reach a bar: stored with its reason and counted, never silently repaired."""

    reason: str  # one of REASONS
    detail: str  # for a human: which field, which value, which line
    original: bytes  # as received, at most MAX_BODY_BYTES
    row_id: int = 0  # front door: the entry's id


REASONS = (
    "not_json",
    "not_an_object",
    "symbol",  # missing, empty, too long, control characters, invalid Unicode; an option
    "price",  # missing, not a number, NaN, infinite, zero, negative, too large
    "size",  # not a number, NaN, infinite, negative, too large, or too small: it would be counted as 0
    "timestamp",  # missing, not a time, outside 1990-2100
    "too_large",  # body over MAX_BODY_BYTES
    "unknown_shape",  # JSON or fields that are not a known tick
    "entry_id",  # a front-door entry with an invalid id chosen by its sender
    "bad_row",  # a CSV row that cannot be parsed
    "future",  # later than its arrival by more than --max-future-s
    "too_late",  # older than its arrival by more than 15 minutes
    "cannot_undo",  # a cancel or correction of a trade that is not in the stream
    "bad_frame",  # a stream entry that is not a frame
    "unstorable",  # the database refused its bar
    "unstorable_finding",  # the database refused a detection on a symbol's bars; the bars are stored
)


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """Columns of equal length n, in arrival order.

    symbols: the distinct symbols that symbol_index points into (some may have no row).
    symbol_index: (n,) integers. ts: (n,) int64, Unix nanoseconds UTC. price: (n,) float64, US dollars.
    size: (n,) float64, shares, may be fractional; 0: a quote or an empty tick, which changes no bar.
    optional: some of OPTIONAL_COLUMNS, each (n,). refused: rows of this batch that are not ticks.
    notes: the texts that the column `note` points into (contracts.trade_note).
    """

    symbols: Sequence[str]
    symbol_index: Column
    ts: NDArray[np.int64]
    price: NDArray[np.float64]
    size: NDArray[np.float64]
    optional: Mapping[str, Column] = field(default_factory=dict)
    refused: Sequence[Refused] = ()
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ts)

    @classmethod
    def empty(cls, refused: Sequence[Refused] = ()) -> Self:
        """Return no ticks, perhaps with refused rows."""
        f8 = np.empty(0, "<f8")
        return cls((), np.empty(0, "<u2"), np.empty(0, "<i8"), f8, f8, {}, refused)

    def take(self, rows: Column | slice, refused: Sequence[Refused] = ()) -> Self:
        """Return the rows chosen by a slice, a mask or indices; `symbols` is unchanged."""
        optional = {name: column[rows] for name, column in self.optional.items()}
        return type(self)(
            self.symbols, self.symbol_index[rows], self.ts[rows], self.price[rows], self.size[rows], optional, refused,
            self.notes,
        )  # fmt: skip


def concat(batches: Iterable[Ticks]) -> Ticks:
    """Join batches in order into one with a common list of symbols.

    If only some batches have an optional column, the others get its default: the price for open, high, low and vwap,
    all fields for flags, 1 for trade_count, 0 for the rest.
    """
    kept = list(batches)
    if len(kept) == 1:
        return kept[0]
    symbols: dict[str, int] = {}
    indices = []
    for batch in kept:
        codes = np.fromiter((symbols.setdefault(s, len(symbols)) for s in batch.symbols), "<i4", len(batch.symbols))
        indices.append(codes[batch.symbol_index])
    names = [name for name in OPTIONAL_COLUMNS if any(name in b.optional for b in kept)]
    notes: dict[str, int] = {}
    if "note" in names:
        kept = [_with_notes(batch, notes) for batch in kept]
    return Ticks(
        tuple(symbols),
        np.concatenate(indices) if indices else np.empty(0, "<i4"),
        np.concatenate([b.ts for b in kept]) if kept else np.empty(0, "<i8"),
        np.concatenate([b.price for b in kept]) if kept else np.empty(0, "<f8"),
        np.concatenate([b.size for b in kept]) if kept else np.empty(0, "<f8"),
        {name: np.concatenate([_column(b, name) for b in kept]) for name in names},
        tuple(r for b in kept for r in b.refused),
        tuple(notes),
    )


def _with_notes(batch: Ticks, notes: dict[str, int]) -> Ticks:
    """Make a batch's notes point into a common list, which grows; numbers start at 1."""
    if "note" not in batch.optional:
        return batch
    places = [0, *(notes.setdefault(text, len(notes) + 1) for text in batch.notes)]
    note = np.array(places, OPTIONAL_COLUMNS["note"])[batch.optional["note"]]
    return replace(batch, optional={**batch.optional, "note": note})


def _column(batch: Ticks, name: str) -> Column:
    if name in batch.optional:
        return batch.optional[name]
    dtype = OPTIONAL_COLUMNS[name]
    if dtype.kind == "f":
        return batch.price
    return np.full(len(batch), _ABSENT.get(name, 0), dtype)
