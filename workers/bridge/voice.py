"""The fleet's own messages: heartbeat, session, health, errors and monitoring, each with its own interval.

Only the active bridge publishes. If PostgreSQL is away or locked, it continues with its last reading, and reports that;
messages that were due are made when statements succeed again (the bridge retries). Redis errors are raised.
"""

from datetime import datetime

import psycopg
import structlog
from msgspec import structs

from ...contracts.errors import first_line
from ...contracts.fleet.fleet_health import HealthFinding, judge
from ...contracts.fleet.fleet_look import Away
from ...contracts.messages.channel_names import ERRORS
from ...contracts.messages.message import Message
from ...contracts.messages.streaming_messages import HealthStatus, Issue, streaming_health
from ...contracts.messages.system_messages import Components, health_status
from ...db.look.database_clock import DatabaseClock
from ...db.postgres import Database, is_away
from ...db.queries import query
from ...db.redis import Client, masters
from ...db.world import REAL, World
from . import health, heartbeat
from .controls import FORCE_HEALTH_CHECK, RELOAD_PATTERNS, Controls
from .fleet_watch import FleetWatch
from .monitoring import Monitoring
from .session import Sessions
from .watch_errors import ErrorWatch

log = structlog.get_logger()

_KEY_EVERY_S = 5.0
_HEALTH_EVERY_S = 5.0  # the session also starts and stops in this interval
_STATUS_EVERY_S = 15.0
_ROW_EVERY_S = 60.0
# repeated for new subscribers: the application counts itself online only after an announcement
_ANNOUNCE_EVERY_S = 60.0
_DEFINITIONS_EVERY_S = 60.0
_SYSTEM_STATUS_EVERY_S = 60.0


class _Timer:
    """Tells when something is due: at first immediately. After a failure it stays due."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = float("-inf")

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s

    def done(self, now_s: float) -> None:
        self._due_s = now_s + self._every_s


class Voice:
    """Makes the fleet's messages for one bridge.

    name: the bridge's; universe: announced with the session; partitions: of the stream. The database's clock gives the
    messages' times and New York time; without `clock`, the world's.
    """

    def __init__(
        self,
        database: Database,
        client: Client,
        *,
        name: str,
        universe: str,
        partitions: int,
        world: World = REAL,
        clock: DatabaseClock | None = None,
    ) -> None:
        self._host = world  # the application, on the same machine, compares the heartbeat with its clock
        world = world if clock is None else clock.world
        self._clock = clock
        self._database = database
        self._client = client
        self._name = name
        self._partitions = partitions
        self._world = world
        self._sessions = Sessions(database, universe, world=world)
        self._watch = ErrorWatch(world=world)
        self._monitoring = Monitoring()
        self._controls = Controls(client)
        self.fleet = FleetWatch(client, world=world)  # shared with the bridge's gauges
        self._epoch: int | None = None  # None until this bridge is the active one
        self._forget()

    def _forget(self) -> None:
        """Reset to the state before the first message."""
        self._unsaid: list[Message] = []  # made, but not returned yet because of an error
        self.fleet.forget()
        self._has_looked = False
        self._findings: list[HealthFinding] = []
        self._issues: list[Issue] = []
        self._status: HealthStatus | None = None
        self._away: Away | None = None  # PostgreSQL
        self._away_since_s = 0.0
        self._uptime_s = 0.0
        self._start_is_logged = False
        self._patterns = self._indicators = 0
        self._last_pattern_at: datetime | None = None
        self._began_s = 0.0
        self._key_timer = _Timer(_KEY_EVERY_S)
        self._health_timer = _Timer(_HEALTH_EVERY_S)
        self._status_timer = _Timer(_STATUS_EVERY_S)
        self._row_timer = _Timer(_ROW_EVERY_S)
        self._announce_timer = _Timer(_ANNOUNCE_EVERY_S)
        self._definitions_timer = _Timer(_DEFINITIONS_EVERY_S)
        self._system_status_timer = _Timer(_SYSTEM_STATUS_EVERY_S)

    @property
    def session_id(self) -> str:
        """Return the active session's id, or the last one's; empty before `begin`."""
        return self._sessions.session_id

    def note(self, patterns: int, indicators: int) -> None:
        """Count published patterns and indicators."""
        self._sessions.note(patterns, indicators)
        self._patterns += patterns
        self._indicators += indicators
        if patterns:
            self._last_pattern_at = self._world.utc_now()

    # -- begin, publish, end ---------------------------------------------------------------------------------------

    def begin(self, epoch: int) -> list[Message]:
        """Become the active voice: continue the session or start one. Raises psycopg.Error."""
        self._forget()
        self._read_clock()
        said = self._sessions.resume(self._world.utc_now())
        self._watch.begin(self._database.connection)
        self._epoch = epoch
        return said

    def begin_to_end(self, epoch: int) -> None:
        """Become the active voice only for the final messages: `end` follows. Raises psycopg.Error."""
        self._forget()
        self._sessions.find()
        self._epoch = epoch

    def beat(self, now_s: float) -> None:
        """Set the heartbeat key if due. Raises Redis's errors."""
        if self._key_timer.is_due(now_s):
            heartbeat.beat(self._client, self._host.utc_now())
            self._key_timer.done(now_s)

    def speak(self, now_s: float) -> list[Message]:
        """Return the messages that are due. now_s: monotonic seconds; call it ten times a second.

        Raises Redis's errors, and psycopg.Error if PostgreSQL refuses a statement, but not if it is away.
        """
        at = self._world.utc_now()
        self.beat(now_s)
        self._obey(self._controls.take(), at, now_s)
        if self._health_timer.is_due(now_s):
            self._look(at, now_s)
            self._tell_health(at, now_s)
            self._health_timer.done(now_s)
        said, self._unsaid = self._unsaid, []
        return said

    def end(self, *, another_takes_over: bool) -> list[Message]:
        """Stop publishing. If no other bridge takes over, the session and the fleet stop as well."""
        self._controls.close()
        if self._epoch is None:
            return []
        self._epoch = None
        at = self._world.utc_now()
        try:
            self._sessions.save()
            if not another_takes_over:
                self._unsaid += self._sessions.stop(at)
        except psycopg.Error as e:
            # The session's row stays active, and the next bridge continues it.
            if not is_away(self._database.connection, e):
                raise
        if not another_takes_over:
            self._status = health.status_of(self.fleet.last, self._findings, stopping=True)
            self._unsaid += [self._streaming_health(at), self._health_status(at), self._system_status()]
        said, self._unsaid = self._unsaid, []
        return said

    def _obey(self, actions: set[str], at: datetime, now_s: float) -> None:
        """Execute the application's requests now; a health check reports the last reading, at most 5 s old."""
        if FORCE_HEALTH_CHECK in actions:
            self._unsaid.append(self._health_check())
        if RELOAD_PATTERNS in actions and self._away is None:
            self._definitions_timer = _Timer(_DEFINITIONS_EVERY_S)
            try:
                self._database.connection.execute(query("tell_definitions_changed"))
                self._definition_errors(at, now_s)
            except psycopg.Error as e:
                if not is_away(self._database.connection, e):
                    raise
                self._note_away(e, at, now_s)

    # -- reads from PostgreSQL --------------------------------------------------------------------------------------

    def _look(self, at: datetime, now_s: float) -> None:
        if not self._has_looked:
            self._has_looked = True
            self._began_s = now_s
            self._announce_timer.done(now_s)  # it was announced in `begin`
        self._uptime_s = now_s - self._began_s
        try:
            self._read_clock()
            self._keep_session(at, now_s)
            self._watch_errors(at, now_s)
            self.fleet.read(self._database.connection, now_s)
            self._log_alive(now_s)  # last: the application's table may be locked
            self.fleet.read_flow_log(self._database.connection, now_s)
        except psycopg.Error as e:
            if not is_away(self._database.connection, e):
                raise
            self._note_away(e, at, now_s)
            return
        self._away = None

    def _read_clock(self) -> None:
        if self._clock is not None:
            self._clock.read(self._database.connection)

    def _keep_session(self, at: datetime, now_s: float) -> None:
        said = self._sessions.turn(at)
        if said:
            self._announce_timer.done(now_s)
        elif self._announce_timer.is_due(now_s):
            said = self._sessions.announce(at)
            self._announce_timer.done(now_s)
        self._unsaid += said
        self._sessions.save()

    def _log_alive(self, now_s: float) -> None:
        connection = self._database.connection
        if not self._start_is_logged and self._epoch is not None:
            flow_id = self._world.uuid()
            heartbeat.log_startup(connection, flow_id, name=self._name, epoch=self._epoch, partitions=self._partitions)
            self._start_is_logged = True
        if self._row_timer.is_due(now_s):
            heartbeat.log_alive(
                connection,
                self._world.uuid(),
                patterns=self._patterns,
                uptime_s=now_s - self._began_s,
                last_pattern_at=self._last_pattern_at,
            )
            self._row_timer.done(now_s)

    def _watch_errors(self, at: datetime, now_s: float) -> None:
        connection, at_s = self._database.connection, at.timestamp()
        self._unsaid += self._watch.new_errors(connection, at_s)
        self._definition_errors(at, now_s)

    def _definition_errors(self, at: datetime, now_s: float) -> None:
        if self._definitions_timer.is_due(now_s):
            listeners = self._error_listeners()
            self._unsaid += self._watch.definition_errors(self._database.connection, at.timestamp(), listeners)
            self._definitions_timer.done(now_s)

    def _error_listeners(self) -> int:
        return sum(count for node in masters(self._client) for _, count in node.pubsub_numsub(ERRORS))

    def _note_away(self, error: psycopg.Error, at: datetime, now_s: float) -> None:
        why = first_line(error)
        if self._away is None:
            self._away_since_s = now_s
            log.warning("health published without PostgreSQL", why=why)
            self._unsaid.append(self._watch.database_away(at.timestamp(), why))
        self._away = Away("postgresql", why, now_s - self._away_since_s)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _tell_health(self, at: datetime, now_s: float) -> None:
        self._findings = judge(self.fleet.last, [self._away] if self._away else [])
        self._issues = health.issues_of(self._findings, at, self._issues)
        status = health.status_of(self.fleet.last, self._findings)
        changed, self._status = status != self._status, status
        self._unsaid.append(self._streaming_health(at))
        self._unsaid += self._monitoring.tell_alerts(self._findings, self._issues, at.timestamp())
        if changed or self._system_status_timer.is_due(now_s):
            self._unsaid.append(self._system_status())
            self._system_status_timer.done(now_s)
        regular = self._status_timer.is_due(now_s)
        if changed or regular:
            self._unsaid.append(self._health_status(at))
        if regular:
            self._unsaid.append(self._monitoring.metric_update(self._findings))
            self._unsaid.append(self._health_check())
            self._status_timer.done(now_s)

    def _streaming_health(self, at: datetime) -> Message:
        look = self.fleet.last
        return streaming_health(
            now_s=at.timestamp(),
            session_id=self.session_id,
            status=self._status or "starting",
            active_symbols=look.symbols.active if look else 0,
            patterns_detected=self._sessions.patterns,
            indicators_calculated=self._sessions.indicators,
            connection=health.connection_of(look, self._away, self._partitions),
            data_flow=health.data_flow_of(look),
            resources=health.resources_of(look, self.fleet.own),
            stale_symbols=health.stale_symbols_of(look),
            issues=self._issues,
        )

    def _health_check(self) -> Message:
        return self._monitoring.health_check(self._status or "starting", self._findings, self._components())

    def _health_status(self, at: datetime) -> Message:
        return health_status(now_s=at.timestamp(), status=self._status or "starting", components=self._components())

    def _system_status(self) -> Message:
        return self._monitoring.system_status(self._status or "starting", self._findings, self._uptime_s)

    def _components(self) -> Components:
        own: health.Details = {
            "name": self._name,
            "uptime_seconds": round(self._uptime_s, 1),
            "patterns_published": self._patterns,
            "indicators_published": self._indicators,
        }
        components = health.components_of(self.fleet.last, self._findings, self._away, own)
        if self._status == "stopping":
            return structs.replace(components, bridge=structs.replace(components.bridge, status="stopping"))
        return components
