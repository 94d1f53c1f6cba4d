"""Repairs one gap at a time: fetch its minutes by REST, send them as frames of the feed `repair`, record the result.

A gap is closed when what was sent is committed, so that a crash at any point only means that it is fetched once more:
a minute that comes again replaces itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import psycopg
import structlog

from ..contracts.bar import MINUTE_MS, MINUTE_NS
from ..contracts.errors import LeaseLost, RestAway, RestBroken, RestRefused, RestStopped, TickStockError
from ..contracts.frames.maker import Identity
from ..contracts.lease import Lease
from ..contracts.names import REPAIR_FEED
from ..contracts.partition import partition_of
from ..contracts.ticks import Ticks
from ..contracts.universe import EVERY_SYMBOL
from ..db import lease as leases
from ..db import redis
from ..db.lease import RENEW_EVERY_S
from ..db.postgres import Connection
from ..db.schema.migrate import expect_partitions
from ..db.tables import gaps
from ..db.tables.gaps import MissingMinutes, OpenGap
from ..db.world import REAL, World
from .framer import Framer
from .sending.stream_writer import StreamWriter

log = structlog.get_logger()

REPAIR_UNIT = "repair"  # one process repairs at a time
SETTLE_S = 20.0  # after a minute: trades are reported within 10 s, and then the vendor makes its bar
FINAL_S = 16 * 60.0  # after a minute: the vendor adds late trades for about 15 minutes

_MAX_LAG = 200_000  # uncommitted ticks: a repair may be slow, and must leave room in Redis
_FAILURES_IN_A_ROW = 5  # symbols that failed; then the vendor or the key is at fault
_FIRST_PUT_OFF_S = 30.0
_MAX_PUT_OFF_S = 900.0
_DRAIN_DEADLINE_S = 5.0


class Bars(Protocol):
    """Where missing minutes come from: MassiveRest."""

    def minute_bars(self, symbol: str, first_ms: int, last_ms: int) -> Ticks:
        """Return the whole minutes of a symbol that start from first_ms to last_ms."""


class RepairOutcome(NamedTuple):
    """The result of one try, counted in minutes of symbols. error: why the gap must be tried again."""

    repaired: int
    missing: list[MissingMinutes]
    error: str | None = None
    after_s: float = 0.0  # how long the vendor asks us to wait

    @property
    def missing_count(self) -> int:
        """How many minutes of symbols are missing."""
        return sum(one.last_minute - one.first_minute + 1 for one in self.missing)


class GapRepair:
    """Repairs gaps as one live producer, from its first to `close`.

    An error of the servers, or LeaseLost, ends it: `abandon` it and make a new one.
    """

    def __init__(
        self,
        connection: Connection,
        redis_url: str,
        rest: Bars,
        *,
        partitions: int,
        symbols: Callable[[], Sequence[str] | None],
        wait: Callable[[float], bool],
        world: World = REAL,
    ) -> None:
        """symbols: of the feed; None or `*`: it has no list, and whatever had a bar in the week before is asked for.

        wait: wait this number of seconds, return True to stop.
        """
        self._world = world
        self._name = f"repair-{self._world.uuid().hex[:12]}"
        self._connection = connection
        self._rest = rest
        self._partitions = partitions
        self._symbols = symbols
        self._wait_outside = wait
        # While this lease is renewed, the checkpoints keep our numbers.
        self._leases: list[Lease] = [leases.take(connection, f"producer:{self._name}", self._name)]
        expect_partitions(connection, partitions)
        self._renew_at = self._world.monotonic_s() + RENEW_EVERY_S
        self._client = redis.connect(redis_url)
        done = dict.fromkeys(range(partitions), 0)
        self._writer = StreamWriter(self._client, self._name, done=done, wait=self._wait, max_lag=_MAX_LAG, world=world)
        self._has_sent = False
        self._framer = Framer(Identity(self._name, REPAIR_FEED, "live"), partitions, now_ms=self._writer.now_ms)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lease of the one process that repairs. Raises LeaseTaken if another holds it."""
        lease = leases.take(self._connection, REPAIR_UNIT, self._name)
        self._leases.append(lease)
        yield
        self._leases.remove(lease)
        leases.release(self._connection, self._name, [lease])

    def repair(self, gap: OpenGap) -> RepairOutcome | None:
        """Fetch a gap, send it, wait until it is committed, and record that; None if we are stopped before."""
        if not gaps.begin(self._connection, gap):
            return None  # it grew, and will be read again
        try:
            outcome = self._fetch(gap)
        except RestStopped:
            return None
        if outcome is None or not self._is_committed():
            return None  # we are to stop
        self._note(gap, outcome)
        return outcome

    def keep(self) -> None:
        """Renew the leases if it is time. Raises LeaseLost.

        They may expire during a long request. They are still ours if no other process has taken them meanwhile.
        """
        if self._world.monotonic_s() < self._renew_at:
            return
        self._renew_at = self._world.monotonic_s() + RENEW_EVERY_S
        if len(leases.renew(self._connection, self._name, self._leases)) < len(self._leases):
            raise LeaseLost("another process repairs now")

    def close(self) -> None:
        """Send the end frames if anything was sent, wait shortly for their commit, and release the leases."""
        if self._has_sent:
            self._writer.write(self._framer.end())
            deadline = self._world.monotonic_s() + _DRAIN_DEADLINE_S
            while not self._writer.is_drained and self._world.monotonic_s() < deadline:
                self._world.sleep(0.02)
                self._writer.poll_if_due(every_s=0.05)
            if self._writer.is_drained:
                self._writer.forget()
        self.abandon()

    def abandon(self) -> None:
        """Stop without end frames: a server is away, or another process repairs."""
        self._client.close()
        try:
            leases.release(self._connection, self._name, self._leases)
        except psycopg.Error as e:
            log.debug("leases left to end by themselves", why=str(e).strip())

    # -- one gap ---------------------------------------------------------------------------------------------------

    def _fetch(self, gap: OpenGap) -> RepairOutcome | None:
        """Ask for each symbol's minutes and send them; None if this process must stop."""
        failures = _Failures()
        repaired, missing = 0, list[MissingMinutes]()
        symbols = self._symbols_of(gap)
        for symbol in symbols:
            bars = self._ask(symbol, gap, failures)
            if bars is None and failures.are_enough:
                break
            if bars is None:
                continue
            self._has_sent = self._has_sent or len(bars) + len(bars.refused) > 0
            self._writer.write(self._framer.add(bars))
            repaired += len(bars)
            missing += missing_minutes(symbol, bars, gap)
            if self._wait(0):
                return None
        self._writer.write(self._framer.flush())
        error = failures.error if symbols else "no symbol is known that it may miss"
        return RepairOutcome(repaired, missing, error, failures.after_s)

    def _ask(self, symbol: str, gap: OpenGap, failures: "_Failures") -> Ticks | None:
        try:
            bars = self._rest.minute_bars(symbol, gap.first_minute * MINUTE_MS, gap.last_minute * MINUTE_MS)
        except (RestAway, RestRefused, RestBroken) as e:
            failures.add(symbol, e)
            return None
        failures.in_a_row = 0
        return bars

    def _symbols_of(self, gap: OpenGap) -> Sequence[str]:
        symbols = gap.symbols if gap.symbols is not None else self._symbols()
        if symbols is None or EVERY_SYMBOL in symbols:
            symbols = gaps.symbols_with_bars(self._connection, gap)
        if gap.partition is None:
            return symbols
        return [symbol for symbol in symbols if partition_of(symbol, self._partitions) == gap.partition]

    def _is_committed(self) -> bool:
        """Wait until the workers have committed what was sent; False if this process must stop."""
        if not self._writer.is_drained:
            log.info("minutes sent: waiting until they are committed", ticks=self._writer.lag)
        while not self._writer.is_drained:
            if self._wait(0.05):
                return False
            self._writer.poll_if_due(every_s=0.05)
        return True

    def _wait(self, seconds: float) -> bool:
        self.keep()
        return self._wait_outside(seconds)

    def _note(self, gap: OpenGap, outcome: RepairOutcome) -> None:
        if outcome.error is None:
            gaps.finish(self._connection, gap, repaired=outcome.repaired, missing=outcome.missing, final_s=FINAL_S)
            log.info("gap repaired", gap=gap.id, minutes=outcome.repaired, missing=outcome.missing_count)
            return
        wait_s = max(outcome.after_s, min(_MAX_PUT_OFF_S, _FIRST_PUT_OFF_S * 2.0 ** min(gap.tried, 10)))
        gaps.put_off(self._connection, gap, error=outcome.error, wait_s=wait_s)
        log.warning("gap not repaired", gap=gap.id, why=outcome.error, again_in_s=wait_s)


class _Failures:
    """The symbols of a gap that could not be asked for."""

    def __init__(self) -> None:
        self.error: str | None = None
        self.after_s = 0.0
        self.in_a_row = 0
        self._count = 0
        self._is_refused = False

    def add(self, symbol: str, error: TickStockError) -> None:
        """Count a failed symbol."""
        self._count += 1
        self.in_a_row += 1
        self.error = f"{error} ({symbol})" if self._count == 1 else f"{error} ({symbol} and {self._count - 1} before)"
        self._is_refused = isinstance(error, RestRefused)
        if isinstance(error, RestAway):
            self.after_s = max(self.after_s, error.after_s)

    @property
    def are_enough(self) -> bool:
        """Tell whether to stop asking: the vendor or the key would fail every symbol."""
        return self._is_refused or self.in_a_row >= _FAILURES_IN_A_ROW


def missing_minutes(symbol: str, bars: Ticks, gap: OpenGap) -> list[MissingMinutes]:
    """Return the ranges of a gap's minutes for which there is no bar."""
    had = np.unique(bars.ts // MINUTE_NS)
    edges = np.concatenate([[gap.first_minute - 1], had, [gap.last_minute + 1]])
    behind = np.flatnonzero(np.diff(edges) > 1)
    return [MissingMinutes(symbol, int(edges[i]) + 1, int(edges[i + 1]) - 1) for i in behind]
