"""The one reader of the results streams in a process: every result, in order, to whoever listens."""

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
_LOOK_EVERY_S = 1.0  # at the outbox, for what the streams did not bring; and for a stream with other partitions


class ResultsFeed(PatientLoop):
    """Begins with what comes after its start; goes on where it was once a server is back."""

    def __init__(self, database: Database, client: Client, hub: EventHub, *, stop: Stop, world: World) -> None:
        super().__init__(database, stop=stop, world=world)
        self._hub = hub
        self._client = client
        self._reader = ResultsReader(client, database, world=world, with_bars=True)
        self._told: dict[int, int] = {}
        self._look_at = 0.0

    def is_away(self, server: Server) -> bool:
        """Tell whether a server did not answer last."""
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
        """Read again after what was told last."""
        if self._redis_outage.is_on:
            VITALS.lost("redis")
        self._look_at = 0.0
        self._reader.seek(self._told)

    def leave(self) -> None:
        """Hold nothing: nobody waits for it."""

    def _follow_partitions(self) -> None:
        """Read the partitions that there are: none before the first worker or producer, others after a repartition."""
        connection = self.database.connection
        try:
            wanted = {RUNS, *range(recorded_partitions(connection) or 0)}
        except SetupError:
            return  # they are being changed
        if wanted != self._told.keys():
            numbers = last_numbers(connection, self._client, len(wanted) - 1)
            self._told = {p: self._told.get(p, numbers.get(p, 0)) for p in wanted}
            self._reader.seek(self._told)
