"""The streaming session: from the market's open, or the fleet's start, until the close or the fleet's end.

It is stored in the table streaming_session, so that the next bridge, or a restarted one, continues it. The table
market_closure is read at each turn: a day may be closed, or end early, at short notice.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog

from ...contracts.market_hours import Closures, close_after, is_close, is_market_open
from ...contracts.messages.message import Message
from ...contracts.messages.streaming_messages import session_started, session_stopped
from ...db.postgres import Database, is_lost
from ...db.queries import query
from ...db.sessions import market_closures
from ...db.world import World

log = structlog.get_logger()

_RESTART_S = 60.0  # a bridge that restarts within this time continues the session that it stopped at its end
_TAKE_OVER_S = 30.0  # a standby takes the lease within 5 s, its time to live; a process manager restarts faster


@dataclass(slots=True)
class Session:
    """One row. patterns, indicators: published so far. stopped_at: None while it is active."""

    session_id: str
    universe: str
    started_at: datetime
    stopped_at: datetime | None
    patterns: int
    indicators: int


class Sessions:
    """The fleet's current session. Every change is written to its row before the message, so that it can be retried."""

    def __init__(self, database: Database, universe: str, *, world: World) -> None:
        self._world = world
        self._database = database
        self._universe = universe
        self._session: Session | None = None

    @property
    def session_id(self) -> str:
        """Return the id of the active session, or of the last one."""
        return self._session.session_id if self._session else ""

    @property
    def active(self) -> bool:
        """Tell whether a session runs."""
        return self._session is not None and self._session.stopped_at is None

    @property
    def patterns(self) -> int:
        """Return the number of the session's patterns."""
        return self._session.patterns if self._session else 0

    @property
    def indicators(self) -> int:
        """Return the number of the session's indicator values."""
        return self._session.indicators if self._session else 0

    def note(self, patterns: int, indicators: int) -> None:
        """Count published patterns and indicators."""
        if self._session:
            self._session.patterns += patterns
            self._session.indicators += indicators

    def resume(self, at: datetime) -> list[Message]:
        """Continue the active session, or start one at the fleet's start.

        A bridge that takes over after the close starts none: the session ended with the market.
        """
        self.find()
        self._reopen(at)
        said = self.turn(at)
        if self.active:
            return said or self.announce(at)
        if self._session and self._is_after_close(self._session, at):
            return said
        return said + self._start(at)

    def _reopen(self, at: datetime) -> None:
        last = self._session
        if last is None or self.active or last.stopped_at is None or is_close(last.stopped_at, self._closures()):
            return
        values = {"universe": self._universe, "at": at, "within_s": _RESTART_S}
        self._database.connection.execute(query("reopen_session"), values)
        self.find()

    def find(self) -> None:
        """Look up the active session, or else the last one."""
        self._session = self._read("active_session") or self._read("last_session")

    def turn(self, at: datetime) -> list[Message]:
        """Stop the session at the close, start one at the open."""
        if self._session and self.active:
            closes_at = close_after(self._session.started_at, self._closures())
            return self.stop(at, closes_at) if at >= closes_at else []
        return self._start(at) if is_market_open(at, self._closures()) else []

    def announce(self, at: datetime) -> list[Message]:
        """Announce the session again, for subscribers that came later."""
        if self._session is None or not self.active:
            return []
        return [
            session_started(
                now_s=at.timestamp(),
                session_id=self._session.session_id,
                universe=self._session.universe.partition(":")[0],
                symbol_universe_key=self._session.universe,
                started_at_s=self._session.started_at.timestamp(),
                symbol_count=self._symbol_count(self._session.universe),
            )
        ]

    def save(self) -> None:
        """Store the counts, for the next bridge."""
        if self._session and self.active:
            self._database.connection.execute(query("count_session"), self._counts(self._session))

    def stop(self, at: datetime, stopped_at: datetime | None = None) -> list[Message]:
        """Stop the active session: at the close (stopped_at), or now because the fleet stops."""
        session = self._session
        if session is None or not self.active:
            return []
        stopped_at = stopped_at or at
        self._database.connection.execute(query("stop_session"), self._counts(session) | {"at": stopped_at})
        session.stopped_at = stopped_at
        return [
            session_stopped(
                now_s=at.timestamp(),
                session_id=session.session_id,
                stopped_at_s=stopped_at.timestamp(),
                duration_seconds=(stopped_at - session.started_at).total_seconds(),
                total_patterns=session.patterns,
                total_indicators=session.indicators,
                final_status="stopped",
            )
        ]

    def _start(self, at: datetime) -> list[Message]:
        values = {"session_id": str(self._world.uuid()), "universe": self._universe, "at": at}
        self._database.connection.execute(query("start_session"), values)
        self._session = self._read("active_session")
        return self.announce(at)

    def _read(self, name: str) -> Session | None:
        row = self._database.connection.execute(query(name)).fetchone()
        return Session(*row) if row else None

    def _is_after_close(self, last: Session, at: datetime) -> bool:
        row = self._database.connection.execute(query("former_bridge"), {"within_s": _TAKE_OVER_S}).fetchone()
        took_over = row is not None and row[0]
        closures = self._closures()
        stopped_by_close = last.stopped_at is not None and is_close(last.stopped_at, closures)
        return took_over and stopped_by_close and not is_market_open(at, closures)

    def _closures(self) -> Closures:
        return market_closures(self._database.connection)

    def _symbol_count(self, universe: str) -> int:
        """Count a universe's symbols, for display; 0 if the tables are not as expected."""
        try:
            return self._counted(universe)
        except psycopg.Error as e:
            if is_lost(self._database.connection, e):
                raise
            log.warning("symbols not counted", universe=universe, why=str(e).strip())
            return 0

    def _counted(self, universe: str) -> int:
        connection = self._database.connection
        if connection.execute(query("has_cache_entries")).fetchone() == (True,):
            row = connection.execute(query("universe_size"), {"universe": universe}).fetchone()
            if row and row[0] is not None:
                return int(row[0])
        row = connection.execute(query("active_symbol_count")).fetchone()
        return int(row[0]) if row else 0

    def _counts(self, session: Session) -> dict[str, object]:
        return {"session_id": session.session_id, "patterns": session.patterns, "indicators": session.indicators}
