"""The one reader of the results streams in a process: it passes every result, in order, to the clients."""

from ....contracts.errors import SetupError
from ....contracts.names import RUNS
from ....contracts.server import Server
from ....contracts.stop import Stop
from ....db.postgres import Database
from ....db.redis import Client
from ....db.schema.migrate import recorded_partitions
from ....db.tables.bridge_positions import last_numbers
from ....db.vitals import VITALS
from ....db.world import World
from ....workers.bridge.results_reader import ResultsReader
from ....workers.daily.patient_loop import PatientLoop
from .event_hub import Event, EventHub

_BLOCK_MS = 100
_LOOK_EVERY_S = 1.0  # how often the outbox is read for results that no stream has, and the partitions for a change


class ResultsFeed(PatientLoop):
    """Begins with the results after its start. When a lost server is back, it continues after the last result."""

    def __init__(self, database: Database, client: Client, hub: EventHub, *, stop: Stop, world: World) -> None:
        super().__init__(database, stop=stop, world=world)
        self._hub = hub
        self._client = client
        self._reader = ResultsReader(client, database, world=world, with_bars=True)
        self._told: dict[int, int] = {}
        self._look_at = 0.0

    def is_away(self, server: Server) -> bool:
        """Tell whether a server did not answer the last time."""
        return (self._redis_outage if server == "redis" else self._database_outage).is_on

    def turn(self) -> None:
        """Read new results, and pass them to the clients of the hub."""
        if self._world.monotonic_s() >= self._look_at:
            self._look_at = self._world.monotonic_s() + _LOOK_EVERY_S
            self._follow_partitions()
            self._reader.look_at_outbox()
        self._reader.read(block_ms=_BLOCK_MS)
        VITALS.serves("redis")
        events: list[Event] = []
        while (row := self._reader.next_row(only_urgent=False)) is not None:
            self._told[row.partition] = row.number
            if row.kind != "void":
                events.append(Event(row.partition, row.number, row.kind, row.body))
        if events:
            self._hub.tell(events)

    def begin_anew(self) -> None:
        """Read again after the last results that clients received."""
        if self._redis_outage.is_on:
            VITALS.lost("redis")
        self._look_at = 0.0
        self._reader.seek(self._told)

    def leave(self) -> None:
        """Do nothing: no other process waits for this one."""

    def _follow_partitions(self) -> None:
        """Follow the number of partitions: 0 before the first worker or producer, another one after a repartition."""
        connection = self.database.connection
        try:
            wanted = {RUNS, *range(recorded_partitions(connection) or 0)}
        except SetupError:
            return  # they are being changed
        if wanted != self._told.keys():
            numbers = last_numbers(connection, self._client, len(wanted) - 1)
            self._told = {p: self._told.get(p, numbers.get(p, 0)) for p in wanted}
            self._reader.seek(self._told)
