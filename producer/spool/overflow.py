"""Drops ticks for which neither Redis nor the spool has room, before they get a number; counts and reports them."""

from collections import Counter
from collections.abc import Generator, Iterable

import numpy as np
import structlog

from ...contracts.gap import OnGap
from ...contracts.gap_reasons import SPOOL_FULL
from ...contracts.ticks import Ticks
from ...db.metrics import SPOOL_DROPPED
from ...db.world import REAL, World
from .spooled_writer import SpooledWriter

log = structlog.get_logger()

_REPORT_EVERY_S = 5.0  # a killed process has not reported its last seconds
_NAMED_SYMBOLS = 10  # in the log; the gap names all
_LIVE_MS = 30 * 60_000  # a tick whose time is further than this from its arrival does not set the limits of a gap


def admitted(
    ticks: Iterable[Ticks | None], writer: SpooledWriter, on_gap: OnGap, *, world: World = REAL
) -> Generator[Ticks | None, None, None]:
    """Pass ticks on while there is room; count the others by symbol and time, and report them to on_gap."""
    dropped = _Dropped(world)
    try:
        for batch in ticks:
            full = writer.is_full
            if full and batch is not None:
                dropped.add(batch, writer.now_ms())
            if dropped.ticks and (not full or dropped.is_due()):
                dropped.report(on_gap)
            yield None if full else batch
    finally:
        if dropped.ticks:
            dropped.report(on_gap)


class _Dropped:
    """The ticks dropped since the last report."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._report_at = 0.0
        self._start()

    def _start(self) -> None:
        self.ticks = 0
        self._of_symbol: Counter[str] = Counter()
        self._first_ms: int | None = None
        self._last_ms = 0

    def add(self, batch: Ticks, now_ms: int) -> None:
        """Count a batch. now_ms: Redis TIME."""
        if not self.ticks:
            self._report_at = self._world.monotonic_s() + _REPORT_EVERY_S
        self.ticks += len(batch)
        SPOOL_DROPPED.inc(len(batch))
        counts = np.bincount(batch.symbol_index, minlength=len(batch.symbols)).tolist()
        self._of_symbol.update({symbol: n for symbol, n in zip(batch.symbols, counts, strict=True) if n})
        at_ms = batch.ts // 1_000_000
        live = at_ms[np.abs(at_ms - now_ms) < _LIVE_MS]
        if len(live):
            first_ms = int(live.min())
            self._first_ms = first_ms if self._first_ms is None else min(first_ms, self._first_ms)
            self._last_ms = max(self._last_ms, int(live.max()))

    def is_due(self) -> bool:
        """Tell whether it is time for a report."""
        return self._world.monotonic_s() >= self._report_at

    def report(self, on_gap: OnGap) -> None:
        """Log and report the dropped ticks, and reset the counts."""
        log.error(
            "spool full: ticks dropped",
            ticks=self.ticks,
            symbols=len(self._of_symbol),
            most=dict(self._of_symbol.most_common(_NAMED_SYMBOLS)),
            first_ms=self._first_ms,
            last_ms=self._last_ms,
        )
        if self._first_ms is not None:
            on_gap(self._first_ms, self._last_ms, sorted(self._of_symbol), SPOOL_FULL)
        self._start()
