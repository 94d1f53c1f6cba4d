"""Deals the saved states of all partitions out to another number of partitions: rows follow their symbol. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...contracts.names import FRONT_DOOR_PRODUCER
from ...contracts.partition import partition_of
from ...contracts.ticks import Codes, Column, Mask
from ..marks import joined
from .bar_book import merge
from .frame_order import FrameOrder
from .saved_state import LoadedState, save_state


class Dealt(NamedTuple):
    """One partition's state. undetected: how many closed bars wait for detection. open_bars: how many, of all feeds."""

    state: bytes
    undetected: int
    open_bars: int


def producers_of(states: Sequence[LoadedState]) -> dict[str, str]:
    """Return the live producer that contributed last to each feed, with the feed: each partition's ledger needs it."""
    feeds = ((book.producer, feed) for state in states for feed, book in state.feeds.items())
    return {producer: feed for producer, feed in feeds if producer != FRONT_DOOR_PRODUCER}


def deal(states: Sequence[LoadedState], partitions: int, flows: Mapping[int, Mapping[str, FrameOrder]]) -> list[Dealt]:
    """Deal states out to this number of partitions. flows: of each new partition, by producer.

    Each feed gets the latest clock of all old partitions, so that it never goes back. No bar closes too early by this:
    all frames are read already.
    """
    symbols = sorted({symbol for state in states for symbol in state.symbols})
    homes = np.fromiter((partition_of(symbol, partitions) for symbol in symbols), "<i4", len(symbols))
    states = [_with_codes(state, symbols) for state in states]
    feeds = sorted({feed for state in states for feed in state.feeds})
    books = {feed: [state.feeds[feed] for state in states if feed in state.feeds] for feed in feeds}
    clocks = {feed: max(parts, key=lambda book: book.clock_ns) for feed, parts in books.items()}
    bars = {feed: merge(*(book.bars for book in parts)) for feed, parts in books.items()}
    waiting = {feed: joined([book.waiting for book in parts]) for feed, parts in books.items()}
    marks = joined([state.marks for state in states])
    early = [one for state in states for one in state.early]

    def deal_to(partition: int) -> Dealt:
        here = [_at(rows, homes, partition) for rows in (*bars.values(), *waiting.values(), marks)]
        mine, later = (dict(zip(feeds, rows, strict=True)) for rows in (here[: len(feeds)], here[len(feeds) : -1]))
        undos = [one for one in early if partition_of(one.undo.symbol, partitions) == partition]
        state = save_state(
            symbols, flows[partition], clocks, bars=mine, waiting=later, marks=here[-1], early=undos
        )  # fmt: skip
        return Dealt(state, len(here[-1]), sum(map(len, mine.values())))

    return [deal_to(partition) for partition in range(partitions)]


def _with_codes(state: LoadedState, symbols: Sequence[str]) -> LoadedState:
    """Return a state whose rows point into another, sorted list of symbols."""
    codes = np.searchsorted(np.array(symbols, object), np.array(state.symbols, object))
    feeds = {
        feed: replace(book, bars=_coded(book.bars, codes), waiting=_coded(book.waiting, codes))
        for feed, book in state.feeds.items()
    }
    return state._replace(symbols=list(symbols), feeds=feeds, marks=_coded(state.marks, codes))


def _coded(rows: NDArray[np.void], codes: Codes) -> NDArray[np.void]:
    rows = rows.copy()
    rows["symbol"] = codes[rows["symbol"]]
    return rows


def _at(rows: NDArray[np.void], homes: Column, partition: int) -> NDArray[np.void]:
    """Return the rows of a partition. homes: the partition of each symbol."""
    is_here: Mask = homes[rows["symbol"]] == partition
    return rows[is_here]
