"""The coordinator's part in data loads: a few are moved on at a time, and the state of all is told."""

from ....contracts.runs import StepKey
from ....db.postgres import Connection
from ....db.redis import Client
from ....db.tables import jobs, run_steps
from ....db.world import World
from ..sources import Sources
from .csv_folder import CsvFolder
from .load_moves import LoadMoves
from .load_states import LoadStates

_AT_ONCE = 3  # loads; the others wait in their queue
_DEALT = 4  # steps of each: those of a daily run must not wait behind years of history


class Loads:
    """What the holder of the lease does."""

    def __init__(self, client: Client, sources: Sources, world: World) -> None:
        self._sources = sources
        self._csv_folder = CsvFolder(sources.csv_dir)
        self._states = LoadStates(client, world)

    def move(self, connection: Connection) -> list[tuple[StepKey, int]]:
        """Move loads on and tell their state; return the steps that are to be dealt."""
        due: list[tuple[StepKey, int]] = []
        for run_id in jobs.alive_jobs(connection, "data_load", _AT_ONCE):
            run = LoadMoves(connection, run_id, self._csv_folder, self._sources).move(say_progress=False)
            if run is not None:
                due += run_steps.waiting_steps(connection, run_id)[:_DEALT]
        self._states.look(connection)
        return due

    def begin_anew(self) -> None:
        """Tell every state again: another coordinator, or Redis before it was lost, may have told others."""
        self._states.forget()
