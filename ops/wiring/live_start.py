"""What a live feed may have missed before it is first heard, and of symbols before they are."""

from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from ...contracts.gap import OnGap
from ...contracts.gap_reasons import ADDED, NOT_RUNNING, STARTED
from ...contracts.ticks import Ticks

_AHEAD_MS = 3_000  # the clock that stamps trades may be ahead of ours


class Source(Protocol):
    """A live source: its ticks as they come, None while there are none."""

    @property
    def is_connected(self) -> bool:
        """Tell whether it is heard."""

    def __iter__(self) -> Iterator[Ticks | None]:
        """Listen."""


class Start:
    """Tells as gaps what lies before what is heard: the time since the last run, the first part of the first minute.

    since_ms: up to when all is known. is_traded: whether there are trades to be missed at a time.
    """

    def __init__(
        self,
        since_ms: int | None,
        now_ms: Callable[[], int],
        on_gap: OnGap,
        *,
        is_traded: Callable[[datetime], bool],
    ) -> None:
        self._since_ms = since_ms
        self._now_ms = now_ms
        self._on_gap = on_gap
        self._is_traded = is_traded

    def told(self, source: Source, *, hears_all: bool) -> Generator[Ticks | None, None, None]:
        """Pass ticks on; tell once the source is heard. hears_all: it says whole minutes, so that none is partial."""
        is_told = False
        for batch in source:
            if not is_told and (source.is_connected or (batch is not None and len(batch))):
                is_told = True
                self._tell(hears_all=hears_all)
            yield batch

    def _tell(self, *, hears_all: bool) -> None:
        if self._since_ms is not None:
            self._on_gap(self._since_ms, max(self._since_ms, self._now_ms() + _AHEAD_MS), None, NOT_RUNNING)
        elif not hears_all:
            self._tell_minute(None, STARTED)

    def tell_added(self, symbols: Sequence[str] | None) -> None:
        """Tell that these symbols (None: all) are heard from now on."""
        self._tell_minute(symbols, ADDED)

    def _tell_minute(self, symbols: Sequence[str] | None, why: str) -> None:
        """Tell of this minute, and of the next one where that has begun by another clock."""
        now_ms = self._now_ms()
        if self._is_traded(_at(now_ms)) or self._is_traded(_at(now_ms + _AHEAD_MS)):
            self._on_gap(now_ms, now_ms + _AHEAD_MS, symbols, why)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
