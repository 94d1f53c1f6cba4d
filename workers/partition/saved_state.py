"""A partition's state between two commits as bytes: the content of `checkpoint.state`. Pure.

A newer version may only append fields with defaults: so it can read the checkpoints of an older program.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from ...contracts.bar import BAR_DTYPE, Bars
from ...contracts.errors import SetupError
from ...contracts.spellings.json_text import NOT_JSON
from ..marks import MARK_DTYPE, NO_MARKS, Marks
from .early_undos import EarlyUndo
from .feed_bars import FeedBars
from .frame_order import FrameOrder
from .undo import Undo

_VERSION = 2


class _SavedFlow(msgspec.Struct, array_like=True):
    producer: str
    feed: str
    number: int
    ended: bool
    lost: list[tuple[int, int]]


class _SavedFeed(msgspec.Struct, array_like=True):
    feed: str
    replay: bool
    whole: bool
    producer: str
    publish: bool
    clock_ns: int
    bars: bytes
    waiting: bytes = b""
    delay_ms: int = 0


class _SavedUndo(msgspec.Struct, array_like=True):
    feed: str
    producer: str
    symbol: str
    trade_key: int
    undoes: int
    price: float
    size: float
    facility: int
    note: str
    ts: int
    arrived_ms: int


class _Saved(msgspec.Struct, array_like=True):
    version: int
    symbols: list[str]
    flows: list[_SavedFlow]
    feeds: list[_SavedFeed]
    marks: bytes = b""
    early: list[_SavedUndo] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Saved)
_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()


class LoadedState(NamedTuple):
    """The content of a checkpoint. symbols: bars and marks hold indices into this list. early: undos that wait."""

    symbols: list[str]
    flows: dict[str, FrameOrder]
    feeds: dict[str, FeedBars]
    marks: Marks
    early: Sequence[EarlyUndo] = ()


def save_state(
    symbols: Sequence[str],
    flows: Mapping[str, FrameOrder],
    feeds: Mapping[str, FeedBars],
    *,
    bars: Mapping[str, Bars],
    waiting: Mapping[str, Marks],
    marks: Marks,
    early: Sequence[EarlyUndo] = (),
) -> bytes:
    """Return a state as bytes, without ended replays. bars, waiting: by feed, as they will be after the commit."""
    parts = [*bars.values(), *waiting.values(), marks]
    used = np.unique(np.concatenate([part["symbol"] for part in parts]))
    renumber = np.zeros(len(symbols) + 1, "<i4")
    renumber[used] = np.arange(len(used))

    def saved_rows(rows: NDArray[np.void]) -> bytes:
        rows = rows.take(np.arange(len(rows)))
        rows["symbol"] = renumber[rows["symbol"]]
        return rows.tobytes()

    saved_feeds = [
        _SavedFeed(
            feed,
            book.replay,
            book.whole,
            book.producer,
            book.publish,
            book.clock_ns,
            saved_rows(bars[feed]),
            saved_rows(waiting.get(feed, NO_MARKS)),
            book.delay_ms,
        )
        for feed, book in feeds.items()
        if not book.ended
    ]
    saved_flows = [
        _SavedFlow(producer, flow.feed, flow.number, flow.ended, flow.lost)
        for producer, flow in flows.items()
        if not (flow.ended and flow.feed == producer)
    ]
    saved_early = [_SavedUndo(one.feed, one.producer, *one.undo, one.ts, one.arrived_ms) for one in early]
    saved = _Saved(
        _VERSION, [symbols[code] for code in used.tolist()], saved_flows, saved_feeds, saved_rows(marks), saved_early
    )  # fmt: skip
    return _compressor.compress(_encoder.encode(saved))


def load_state(state: bytes, partition: int) -> LoadedState:
    """Read a state. Raises SetupError if a newer program wrote it, or if it is damaged."""
    try:
        saved = _decoder.decode(_decompressor.decompress(state))
    except (*NOT_JSON, zstandard.ZstdError) as e:
        raise SetupError(f"checkpoint of partition {partition} cannot be read: {e}: restore it from a backup") from e
    if saved.version > _VERSION:
        raise SetupError(
            f"checkpoint of partition {partition} has version {saved.version}, this program knows {_VERSION}: "
            "run the newer program"
        )
    flows = {
        flow.producer: FrameOrder(flow.feed, flow.number, ended=flow.ended, end_applied=flow.ended, lost=flow.lost)
        for flow in saved.flows
    }
    feeds = {
        feed.feed: FeedBars(
            feed.replay,
            feed.whole,
            feed.producer,
            feed.publish,
            np.frombuffer(feed.bars, BAR_DTYPE).copy(),
            np.frombuffer(feed.waiting, MARK_DTYPE).copy(),
            feed.clock_ns,
            feed.clock_ns,
            delay_ms=feed.delay_ms,
        )
        for feed in saved.feeds
    }
    early = [EarlyUndo(one.feed, one.producer, _undo(one), one.ts, one.arrived_ms) for one in saved.early]
    return LoadedState(saved.symbols, flows, feeds, np.frombuffer(saved.marks, MARK_DTYPE).copy(), early)


def _undo(saved: _SavedUndo) -> Undo:
    return Undo(
        saved.symbol, saved.trade_key, saved.undoes, saved.price, saved.size, saved.facility, saved.note
    )  # fmt: skip
