"""What is in force for the detectors: the definitions that are on, the splits, and the markets that never close."""

from ....db.postgres import Connection
from ....db.sessions import always_open_symbols
from ....db.tables.splits import split_minutes
from ....db.world import World
from ...detect.definition import Definitions
from ...detect.definitions import read_definitions
from ...detect.detector import Detector
from ...sessions import Track

_READ_EVERY_S = 60.0


class InForce:
    """Reads what is in force again each minute, and gives it to the detectors."""

    def __init__(self, connection: Connection, *, world: World) -> None:
        self._world = world
        self._splits: dict[str, tuple[int, ...]] = {}
        self._always_open: frozenset[str] = frozenset()
        self._wanted: frozenset[Track] | None = None  # None: not read yet
        self.open(connection)

    def open(self, connection: Connection) -> None:
        """Use this connection from now on."""
        self._connection = connection
        self.definitions = Definitions()
        self._read_at = 0.0

    def read_again(self) -> None:
        """Read everything again before the next bars."""
        self._read_at = 0.0

    def read_if_due(self) -> None:
        """Read everything again if a minute has passed. What did not change stays the same object."""
        if self._world.monotonic_s() >= self._read_at:
            if (definitions := read_definitions(self._connection)) != self.definitions:
                self.definitions = definitions  # another object: what was found before the close is not taken
            if (wanted := self.definitions.tracks()) != self._wanted:
                self._wanted = wanted
            if (always_open := always_open_symbols(self._connection)) != self._always_open:
                self._always_open = always_open
            if (splits := split_minutes(self._connection)) != self._splits:
                self._splits = splits
            self._read_at = self._world.monotonic_s() + _READ_EVERY_S

    def prepare(self, detector: Detector) -> None:
        """Give a detector the definitions, splits and markets; it drops the histories that these change."""
        detector.take_splits(self._splits)
        detector.take_always_open(self._always_open)
        if self._wanted is not None:
            detector.take_wanted(self._wanted)
