"""Record what a live feed may have missed before its first tick, and before the first tick of added symbols."""

from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from ...contracts.gap import OnGap
from ...contracts.gap_reasons import ADDED, NOT_RUNNING, STARTED
from ...contracts.ticks import Ticks

_AHEAD_MS = 3_000  # the clock of the trades may be ahead of ours


class Source(Protocol):
    """A live source: its ticks as they arrive, None while there are none."""

    @property
    def is_connected(self) -> bool:
        """Tell whether the source is connected."""

    def __iter__(self) -> Iterator[Ticks | None]:
        """Yield ticks as they arrive."""


class Start:
    """Records gaps at the start: the time since the last run, or the first part of the first minute.

    since_ms: the time up to which the feed is complete. is_traded: tells whether the market trades at a time.
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

    def passed_on(self, source: Source, *, whole_minutes: bool) -> Generator[Ticks | None, None, None]:
        """Pass ticks on; record the first gap when the source is connected.

        whole_minutes: its messages are whole minutes, so that no first minute is partial.
        """
        is_recorded = False
        for batch in source:
            if not is_recorded and (source.is_connected or (batch is not None and len(batch))):
                is_recorded = True
                self._record(whole_minutes=whole_minutes)
            yield batch

    def _record(self, *, whole_minutes: bool) -> None:
        if self._since_ms is not None:
            self._on_gap(self._since_ms, max(self._since_ms, self._now_ms() + _AHEAD_MS), None, NOT_RUNNING)
        elif not whole_minutes:
            self._record_minute(None, STARTED)

    def note_added(self, symbols: Sequence[str] | None) -> None:
        """Record that these symbols (None: all) are received from now on."""
        self._record_minute(symbols, ADDED)

    def _record_minute(self, symbols: Sequence[str] | None, why: str) -> None:
        """Record this minute as a gap, and the next one if it has begun by the trades' clock."""
        now_ms = self._now_ms()
        if self._is_traded(_at(now_ms)) or self._is_traded(_at(now_ms + _AHEAD_MS)):
            self._on_gap(now_ms, now_ms + _AHEAD_MS, symbols, why)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
