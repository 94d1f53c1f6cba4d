"""A thread beside a live feed. It records the feed's gaps when they are found, and repairs them when they are due."""

import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue

import psycopg
import structlog
from redis.exceptions import RedisError

from ..contracts.errors import LeaseLost, LeaseTaken, ServerAway, SetupError, first_line
from ..contracts.gap import Gap
from ..contracts.names import LIVE_FEED
from ..contracts.stop import Stop
from ..db.backoff import Backoff
from ..db.postgres import Connection, connect
from ..db.tables import gaps
from ..db.world import REAL, World
from .gap_repair import SETTLE_S, Bars, GapRepair

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0
_LONGEST_PAUSE_S = 5.0  # while a server is away
_GAPS_A_LOOK = 100


class RepairThread(threading.Thread):
    """Records and repairs gaps until the stop; without `rest` it only records them.

    No error here stops the live feed. Gaps that were handed over wait in memory while the database is away.
    """

    def __init__(  # noqa: PLR0913  # two servers, the vendor, and the feed
        self,
        database_url: str,
        redis_url: str,
        rest: Bars | None,
        *,
        partitions: int,
        symbols: Callable[[], Sequence[str] | None],
        stop: Stop,
        feed: str = LIVE_FEED,
        settle_s: float = SETTLE_S,
        world: World = REAL,
    ) -> None:
        """symbols: returns the symbols that the feed subscribes to; None: all. feed: the feed whose gaps are repaired.

        settle_s: seconds after a gap's last minute until the vendor is asked, a feed's delay included.
        """
        super().__init__(name="repair", daemon=True)
        self._world = world
        self._database_url = database_url
        self._redis_url = redis_url
        self._rest = rest
        self._partitions = partitions
        self._symbols = symbols
        self._stopping = stop
        self._feed = feed
        self._settle_s = settle_s
        self._found: SimpleQueue[Gap] = SimpleQueue()
        self._unnoted: Gap | None = None
        self._said = ""

    def note(self, gap: Gap) -> None:
        """Hand over a gap. Any thread may call it."""
        log.warning("gap", feed=gap.feed, first_ms=gap.first_ms, last_ms=gap.last_ms, why=gap.why)
        self._found.put(gap)

    def run(self) -> None:
        """Record and repair gaps until the stop; while a server is away, wait for it."""
        backoff = Backoff(self._world, first_s=_LOOK_EVERY_S, longest_s=_LONGEST_PAUSE_S)
        while True:
            try:
                with connect(self._database_url, name="tickstock-repair") as connection:
                    backoff.reset()
                    self._attend(connection, partial(self._wait, connection))
            except (psycopg.Error, RedisError, ServerAway, SetupError, LeaseLost, OSError) as e:
                self._say(first_line(e))
            except Exception:  # noqa: BLE001  # a mistake here must not stop the live feed
                # As text: a renderer that shows variables would show the key.
                self._say(traceback.format_exc())
            if self._world.wait(self._stopping, backoff.pause_s()):
                if self._unnoted or not self._found.empty():
                    log.error("gaps are lost: the database is away", count=self._found.qsize() + bool(self._unnoted))
                return

    def _say(self, why: str) -> None:
        if why != self._said:
            log.warning("repair waits", why=why)
            self._said = why

    def _attend(self, connection: Connection, wait: Callable[[float], bool]) -> None:
        """Record and repair gaps on one connection until the stop."""
        if self._rest is None:
            while not wait(_LOOK_EVERY_S):
                pass
            return
        repair = GapRepair(
            connection,
            self._redis_url,
            self._rest,
            partitions=self._partitions,
            symbols=self._symbols,
            wait=wait,
            world=self._world,
        )
        try:
            while not wait(_LOOK_EVERY_S):
                repair.keep()
                self._repair_due(connection, repair)
            repair.close()
        except BaseException:
            repair.abandon()
            raise

    def _repair_due(self, connection: Connection, repair: GapRepair) -> None:
        due = gaps.due_gaps(connection, self._feed, settle_s=self._settle_s, count=_GAPS_A_LOOK)
        if not due:
            return
        try:
            with repair.turn():
                self._said = ""
                for gap in due:
                    repair.repair(gap)
                    if self._stopping.is_set():
                        return
        except LeaseTaken as e:
            self._say(str(e))

    def _wait(self, connection: Connection, seconds: float) -> bool:
        """Write the gaps that were found, then wait; return whether this thread must stop."""
        self._note_found(connection)
        stopped = self._world.wait(self._stopping, seconds)
        if stopped:
            self._note_found(connection)
        return stopped

    def _note_found(self, connection: Connection) -> None:
        """Write the gaps that were handed over; one that cannot be written stays the first."""
        while True:
            try:
                self._unnoted = self._unnoted or self._found.get_nowait()
            except Empty:
                return
            gaps.note_gap(connection, self._unnoted)
            self._unnoted = None
