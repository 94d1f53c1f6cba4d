"""The bridge's reading of the fleet, renewed every two seconds; its messages and gauges share it."""

import psutil

from ...contracts.fleet.fleet_look import DefinitionFaults, FleetLook
from ...db.look.fleet_look import FleetReader, pause_s
from ...db.postgres import Connection
from ...db.redis import Client
from ...db.world import World
from ..detect.definitions import faults_of, read_definitions
from .health import OwnUsage

_LOOK_EVERY_S = 2.0
_LOOK_SHARE = 0.05  # of the bridge's time, with any number of partitions
_LONGEST_PAUSE_S = 15.0
_SELDOM_S = 15.0


class FleetWatch:
    """Reads the fleet's state repeatedly. The world's clock also gives New York time.

    last: the last reading, None before the first; count: readings so far; own: this process's usage at the last one.
    """

    def __init__(self, client: Client, *, world: World) -> None:
        self._world = world
        self._client = client
        self._reader = FleetReader(_definitions, now=world.utc_now, seldom_s=_SELDOM_S, with_counts=False)
        self._process = psutil.Process()
        self._process.cpu_percent()  # each later call measures since the last one
        self._due_s = float("-inf")
        self.last: FleetLook | None = None
        self.count = 0
        self.own = OwnUsage(0.0, 0.0)

    def forget(self) -> None:
        """Forget the last reading."""
        self.last = None
        self._due_s = float("-inf")

    def look_at_once(self) -> None:
        """Make the next reading due now: a server was away, so the last one is old."""
        self._due_s = float("-inf")

    def is_due(self, now_s: float) -> bool:
        """Tell whether a reading is due. now_s: monotonic seconds."""
        return now_s >= self._due_s

    def read(self, connection: Connection, now_s: float) -> None:
        """Read both servers. Raises PostgreSQL's and Redis's errors; then the last reading is kept."""
        began_s = self._world.monotonic_s()
        self.last = self._reader.read(connection, self._client, now_s)
        self.count += 1
        self.own = OwnUsage(self._process.cpu_percent(), self._process.memory_info().rss / 2**20)
        took_s = self._world.monotonic_s() - began_s
        self._due_s = now_s + pause_s(took_s, every_s=_LOOK_EVERY_S, share=_LOOK_SHARE, longest_s=_LONGEST_PAUSE_S)

    def read_flow_log(self, connection: Connection, now_s: float) -> None:
        """Add the flow log to the last reading, if due. Raises PostgreSQL's and Redis's errors."""
        if self.last is not None:
            self.last = self._reader.with_flow_log(self.last, connection, self._client, now_s)


def _definitions(connection: Connection) -> DefinitionFaults:
    return faults_of(read_definitions(connection))
