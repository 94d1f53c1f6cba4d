"""The coordinator's part in data loads: advance a few at a time, and write the state of all."""

from ....contracts.runs import StepKey
from ....db.postgres import Connection
from ....db.redis import Client
from ....db.tables import jobs, run_steps
from ....db.world import World
from ..sources import Sources
from .csv_folder import CsvFolder
from .load_moves import LoadMoves
from .load_states import LoadStates

_AT_ONCE = 3  # loads that run at the same time; the others are queued
_DEALT = 4  # dealt steps of each load: the steps of a daily run must not wait behind years of history


class Loads:
    """The data loads, as the coordinator with the lease advances them."""

    def __init__(self, client: Client, sources: Sources, world: World) -> None:
        self._sources = sources
        self._csv_folder = CsvFolder(sources.csv_dir)
        self._states = LoadStates(client, world)

    def move(self, connection: Connection) -> list[tuple[StepKey, int]]:
        """Advance the loads and write their states; return the steps to deal."""
        due: list[tuple[StepKey, int]] = []
        for run_id in jobs.alive_jobs(connection, "data_load", _AT_ONCE):
            run = LoadMoves(connection, run_id, self._csv_folder, self._sources).move(say_progress=False)
            if run is not None:
                due += run_steps.waiting_steps(connection, run_id)[:_DEALT]
        self._states.look(connection)
        return due

    def begin_anew(self) -> None:
        """Write every state again: another coordinator may have written older ones, or Redis may have lost them."""
        self._states.forget()
