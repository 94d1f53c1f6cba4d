"""⑨ The bridge's loop. A standby waits for the lease; the active bridge reads results, publishes, commits positions."""

from collections import Counter as CountOf
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ...contracts.errors import EpochForgotten, LeaseLost, LeaseTaken, ServerAway, TickStockError
from ...contracts.lease import Lease
from ...contracts.messages.channel_names import INDICATORS_STREAMING, PATTERNS
from ...contracts.messages.message import Message
from ...contracts.stop import Stop
from ...db import lease as leases
from ...db import redis
from ...db.lease import RENEW_EVERY_S
from ...db.metrics import BAR_CLOSE_TO_PUBLISH, BRIDGE_ACTIVE, MESSAGES_PUBLISHED
from ...db.postgres import Database
from ...db.publisher import MESSAGES_A_CALL, Publisher
from ...db.queries import query
from ...db.redis import Client
from ...db.tables import bridge_positions
from ...db.tables.results import OutboxRow
from ...db.vitals import VITALS
from ...db.world import REAL, World
from .fleet_gauges import FleetGauges
from .pacing import Pacing
from .result_messages import messages_of, newest_live_close_s
from .results_reader import ResultsReader
from .server_outages import ServerOutages
from .voice import Voice

if TYPE_CHECKING:  # needs OpenTelemetry, which is optional
    from ..commit.tracing import Tracing

log = structlog.get_logger()

_BATCH = 1000  # messages between two checks of the lease: a paused bridge may publish this many too many
_BLOCK_MS = 50
_COMMIT_EVERY_S = 0.1
_LOOK_EVERY_S = 5.0  # between two reads of the outbox
_STAND_BY_S = 0.2
_LEAVE_S = 2.0  # of the 5 s that a stop may take


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """User options of a bridge.

    streaming_rate: messages per second on each of the two streaming channels; None: no limit. universe_name: the name
    of the symbol universe in the session messages.
    """

    name: str
    streaming_rate: float | None = None
    universe_name: str = "live"


class Bridge:
    """One bridge. Many may run: the holder of the lease is active and publishes, the others are standbys.

    After any error, restart from the committed positions: messages that were published but not committed
    are published again, with the same ids.
    """

    def __init__(  # noqa: PLR0913  # two servers, and what the process hands in
        self,
        options: BridgeOptions,
        *,
        database: Database,
        client: Client,
        redis_url: str,
        partitions: int,
        voice: Voice,
        stop: Stop,
        tracing: "Tracing | None" = None,
        world: World = REAL,
    ) -> None:
        self._world = world
        self.options = options
        self._database = database
        self._client = client
        self._redis_url = redis_url
        self._partitions = partitions
        self._voice = voice
        self._stop = stop
        self._tracing = tracing
        self._outages = ServerOutages(world)
        self._listens = False
        self._reader = ResultsReader(client, database, world=world)
        self._pacing = Pacing(options.streaming_rate)
        self._gauges = FleetGauges(partitions, world=world)
        self._shown = 0  # readings of the fleet that the gauges have shown
        self._publisher: Publisher | None = None  # set while we hold the lease and the epoch is registered
        self._lease: Lease | None = None
        self._renew_at = self._commit_at = self._look_at = 0.0
        self._restored = False
        self._committed: dict[int, int] = {}
        self._told: dict[int, int] = {}  # last row read, by partition: published, or waiting in the pacing
        self._unsaid: list[Message] = []  # the voice's messages that Redis did not confirm
        self._waits_for = ""

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run as standby or active bridge until the stop event; then publish what remains and release the lease."""
        while not self._stop.is_set():
            try:
                VITALS.turn()
                self.turn()
            except LeaseLost as e:
                self._step_down(e)
            except EpochForgotten as e:
                log.warning("new epoch", why=str(e))
                self._publisher = None
            except (psycopg.Error, ServerAway) as e:
                self._note_database(e)
            except (RedisError, OSError) as e:
                self._note_redis(e)
        self._leave()

    @property
    def receivers(self) -> dict[str, int]:
        """Return how many subscribers received the last message of each channel."""
        return self._publisher.receivers if self._publisher else {}

    def turn(self) -> None:
        """Take one turn."""
        if not self._has_servers():
            return
        if not self._listens:
            self._database.connection.execute(query("listen_leases"))
            self._listens = True
            VITALS.join()
        if self._lease is None:
            self._stand_by()
            return
        has_room = self._outages.has_room
        if has_room:
            self._voice.beat(self._world.monotonic_s())  # before any statement that may wait for a lock in PostgreSQL
        self._keep_lease()
        if not has_room:
            self._look_at_fleet()  # Redis is full: a growing lag must be visible
            self._world.wait(self._stop, _BLOCK_MS / 1000)
            return
        if self._publisher is None:
            self._begin(self._lease)
        self._speak()
        if not self._restored:
            self._restore()
        self._look_at_outbox()
        self._read()
        self._tell()
        self._commit()
        self._look_at_fleet()
        self._outages.note_served()

    def _look_at_fleet(self) -> None:
        if self._publisher is None:
            return
        fleet, now_s = self._voice.fleet, self._world.monotonic_s()
        if fleet.is_due(now_s):
            fleet.read(self._database.connection, now_s)
        if fleet.last is not None and fleet.count != self._shown:
            self._gauges.take(fleet.last, self.receivers)
            self._shown = fleet.count

    def _read(self) -> None:
        if not self._pacing.is_full:
            self._reader.read(block_ms=_BLOCK_MS)
        elif not self._reader.has_rows:
            self._world.wait(self._stop, _BLOCK_MS / 1000)

    def _tell(self) -> None:
        """Publish one batch: patterns and alerts first, then the indicators of a row."""
        messages = self._pacing.release(self._world.monotonic_s())
        closes_s: list[float | None] = []
        traced: list[OutboxRow] = []
        while len(messages) < _BATCH and not self._pacing.is_full:
            row = self._reader.next_row(only_urgent=len(messages) >= MESSAGES_A_CALL)
            if row is None:
                break
            said = messages_of(row, self._voice.session_id)
            messages += self._pacing.hold_back(row.partition, row.number, said)
            self._told[row.partition] = row.number
            closes_s.append(newest_live_close_s(row) if said else None)
            if self._tracing is not None and row.kind == "patterns":
                traced.append(row)
        began_ns = self._world.unix_ns()
        self._publish(messages)
        self._measure(closes_s)
        if self._tracing is not None:
            self._tracing.published(traced, began_ns)

    def _measure(self, closes_s: list[float | None]) -> None:
        now_s = self._gauges.now_s()
        for close_s in closes_s:
            if close_s is not None and now_s is not None:
                BAR_CLOSE_TO_PUBLISH.observe(max(0.0, now_s - close_s))

    def _publish(self, messages: list[Message]) -> None:
        """Publish in order. Check the lease before each batch: the process may have been paused."""
        for first in range(0, len(messages), _BATCH):
            batch = messages[first : first + _BATCH]
            self._keep_lease()
            self._say(batch)
            channels = [channel for channel, _ in batch]
            self._voice.note(channels.count(PATTERNS), channels.count(INDICATORS_STREAMING))

    def _say(self, messages: list[Message]) -> None:
        if self._publisher is None:
            raise LeaseLost("not the active bridge")
        self._publisher.publish(messages)
        for channel, count in CountOf(channel for channel, _ in messages).items():
            MESSAGES_PUBLISHED.labels(channel).inc(count)
        self._outages.note_published()

    def _commit(self, *, now: bool = False) -> None:
        """Commit the positions after the publish: a crash between the two repeats messages and loses none."""
        if self._lease is None or (self._world.monotonic_s() < self._commit_at and not now):
            return
        self._commit_at = self._world.monotonic_s() + _COMMIT_EVERY_S
        done = {partition: self._pacing.done(partition, number) for partition, number in self._told.items()}
        moved = {partition: number for partition, number in done.items() if number != self._committed[partition]}
        if moved:
            bridge_positions.move(self._database.connection, self._lease.epoch, moved)
            self._committed |= moved

    def _speak(self) -> None:
        """Publish the voice's messages; publish again those that Redis did not confirm."""
        self._unsaid += self._voice.speak(self._world.monotonic_s())
        if self._unsaid:
            self._say(self._unsaid)
            self._unsaid = []

    def _look_at_outbox(self) -> None:
        if self._world.monotonic_s() >= self._look_at:
            self._look_at = self._world.monotonic_s() + _LOOK_EVERY_S
            self._reader.look_at_outbox()
            self._reader.show_positions(self._committed)

    # -- the lease -------------------------------------------------------------------------------------------------

    def _stand_by(self) -> None:
        """Take the lease if it is free, else wait a little; its release wakes us."""
        self._client.ping()  # a bridge that cannot reach Redis must not take the lease
        renewed_at = self._world.monotonic_s()
        try:
            self._lease = leases.take(self._database.connection, "bridge", self.options.name)
        except LeaseTaken as e:
            if str(e) != self._waits_for:
                self._say_who_speaks(str(e))
            self._waits_for = str(e)
            list(self._database.connection.notifies(timeout=_STAND_BY_S, stop_after=1))
            self._outages.note_served()
            return
        self._waits_for = ""
        self._renew_at = renewed_at + RENEW_EVERY_S

    def _say_who_speaks(self, why: str) -> None:
        if why.endswith(f"held by {self.options.name}"):
            do = f"start one of them with another --name, unless the former {self.options.name} was killed just now"
            log.warning("standby: another bridge has the same name", why=why, do=do)
        else:
            log.info("bridge is standby", why=why)

    def _keep_lease(self) -> None:
        now = self._world.monotonic_s()
        if self._lease is None or now < self._renew_at:
            return
        if not leases.renew(self._database.connection, self.options.name, [self._lease]):
            raise LeaseLost("another bridge took over")
        self._renew_at = now + RENEW_EVERY_S
        list(self._database.connection.notifies(timeout=0))  # of other leases: they would accumulate

    def _begin(self, lease: Lease) -> None:
        """Become the active bridge."""
        lease, publisher = self._register(lease)
        self._unsaid = self._voice.begin(lease.epoch)
        self._publisher = publisher
        BRIDGE_ACTIVE.set(1)
        self._gauges.show()
        log.info("bridge is active", name=self.options.name, epoch=lease.epoch)

    def _register(self, lease: Lease) -> tuple[Lease, Publisher]:
        """Claim the positions and register the epoch, before the first message."""
        self._lease = lease = bridge_positions.above_former(
            self._database.connection, self._client, self.options.name, lease
        )
        self._restore()
        publisher = Publisher(self._client, lease.epoch)
        publisher.open()
        return lease, publisher

    def _restore(self) -> None:
        """Restart from the committed positions: at the start, after a take-over, after any error."""
        if self._lease is None:
            raise LeaseLost("not the active bridge")
        connection, partitions = self._database.connection, self._partitions
        self._committed = bridge_positions.claim(connection, self._lease.epoch, partitions)
        last = bridge_positions.last_numbers(connection, self._client, partitions)
        self._told = {partition: min(number, last[partition]) for partition, number in self._committed.items()}
        if back := {p: number for p, number in self._told.items() if number < self._committed[p]}:
            log.error("positions ahead of all results: reset", to=back)
        self._reader.seek(self._told)
        self._pacing.clear()
        self._look_at = self._world.monotonic_s() + 2 * _BLOCK_MS / 1000  # first read the streams, then the outbox
        self._restored = True

    def _step_down(self, error: LeaseLost) -> None:
        log.info("bridge is no longer active", why=str(error))
        self._lease = self._publisher = None
        self._restored = False
        self._unsaid = []
        self._be_silent()

    def _be_silent(self) -> None:
        BRIDGE_ACTIVE.set(0)
        self._gauges.hide()

    # -- servers away ----------------------------------------------------------------------------------------------

    def _has_servers(self) -> bool:
        """Retry the servers that are away. While only PostgreSQL is away, the voice continues."""
        if self._outages.database.is_on and self._outages.database.is_retry_due:
            self._database.reopen()
            self._listens = False
            self._outages.end_database()
        if self._outages.redis.is_on and self._outages.redis.is_retry_due:
            self._look_at_redis()
            self._outages.end_redis()
        if not self._outages.wait:
            return True
        if self._lease and not self._outages.redis.is_on:
            self._voice.beat(self._world.monotonic_s())
            if self._publisher:
                self._speak()
        self._world.wait(self._stop, _BLOCK_MS / 1000)
        return False

    def _look_at_redis(self) -> None:
        try:
            redis.check(self._client, self._redis_url)
        except ServerAway as e:
            raise RedisConnectionError(str(e)) from e  # not a database error
        if self._publisher:
            self._publisher.check_server()

    def _note_database(self, error: psycopg.Error | ServerAway) -> None:
        """Wait for PostgreSQL, or for a lock in it; raise any other error."""
        self._restored = False
        self._forget_figures()
        self._renew_at = 0.0
        self._outages.note_database(error, self._database.connection)

    def _note_redis(self, error: RedisError | OSError) -> None:
        """Wait for Redis, or for room in it; raise any other error."""
        self._restored = False
        self._outages.note_redis(error)
        if self._outages.redis.is_on:
            self._renew_at = 0.0
            self._forget_figures()

    def _forget_figures(self) -> None:
        self._gauges.forget()
        self._voice.fleet.look_at_once()

    # -- the way out -----------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Publish the results already read and the final messages, then release. The next bridge publishes the rest."""
        for step in (self._say_the_rest, self._say_goodbye, self._release):
            try:
                step()
            except (psycopg.Error, RedisError, OSError, TickStockError) as e:
                log.warning("shutdown step failed", why=str(e).strip())
        log.info("bridge stopped", name=self.options.name)

    def _say_the_rest(self) -> None:
        if self._publisher is None or not self._restored:
            return
        end = self._world.monotonic_s() + _LEAVE_S
        while self._reader.has_rows and self._world.monotonic_s() < end:
            self._publish(self._pacing.release_all())
            self._tell()
        self._publish(self._pacing.release_all())
        self._commit(now=True)

    def _say_goodbye(self) -> None:
        """Withdraw before asking who remains: if all bridges stop at once, the last to withdraw finds none."""
        connection = self._database.connection
        connection.execute(query("withdraw_bridge"))
        (others,) = connection.execute(query("other_bridges")).fetchone() or (0,)
        if self._publisher is None and not others:
            self._stand_in()
        if self._publisher:
            self._say(self._unsaid + self._voice.end(another_takes_over=others > 0))

    def _stand_in(self) -> None:
        """Publish the final messages if the former active bridge left them to this one, which stops as well."""
        end = self._world.monotonic_s() + _LEAVE_S
        while self._lease is None and self._world.monotonic_s() < end:
            self._stand_by()
        if self._lease:
            lease, self._publisher = self._register(self._lease)
            self._unsaid = []
            self._voice.begin_to_end(lease.epoch)

    def _release(self) -> None:
        self._be_silent()
        if self._lease:
            leases.release(self._database.connection, self.options.name, [self._lease])
