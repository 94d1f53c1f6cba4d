"""Write the state of each data load to two Redis keys, where its sender reads it. It is computed from the rows.

The keys are never read here: the sender may have written a first state of its own there, of another type.
"""

import msgspec

from ....contracts.daily.load_state import LoadState
from ....contracts.names import job_status_keys
from ....db.postgres import Connection
from ....db.redis import Client
from ....db.tables.jobs import prune_refused
from ....db.tables.loads import Load, loads_to_show, steps_of_load
from ....db.world import World
from .load_state import state_of

KEPT_S = 86_400
_LOOK_EVERY_S = 0.5
_AGAIN_EVERY_S = 30.0  # for an unchanged state, so that its reader sees that a coordinator is running
_RESTORE_EVERY_S = 5.0


class LoadStates:
    """Remembers the last written state of each load, so that only changes are written."""

    def __init__(self, client: Client, world: World) -> None:
        self._client = client
        self._world = world
        self._look_at = self._restore_at = 0.0
        self._written: dict[str, tuple[LoadState, float]] = {}

    def look(self, connection: Connection) -> None:
        """Twice a second: write each state that has changed, is 30 s old, or was lost or overwritten in Redis."""
        now_s = self._world.monotonic_s()
        if now_s < self._look_at:
            return
        self._look_at = now_s + _LOOK_EVERY_S
        restores = now_s >= self._restore_at
        if restores:
            self._restore_at = now_s + _RESTORE_EVERY_S
            prune_refused(connection)
        loads = loads_to_show(connection)
        for load in loads:
            if self._may_be_due(load) or (restores and self._is_lost(load)):
                self._write(connection, load, now_s)
        self._written = {load.job_id: self._written[load.job_id] for load in loads if load.job_id in self._written}

    def forget(self) -> None:
        """Write every state again at the next call of `look`: another coordinator may have written since."""
        self._written.clear()

    def _may_be_due(self, load: Load) -> bool:
        written = self._written.get(load.job_id)
        return load.is_heard or load.ended_at is None or written is None or written[0].status != load.status

    def _is_lost(self, load: Load) -> bool:
        keys = job_status_keys(load.job_id)
        is_lost = not all(self._client.exists(key) for key in keys)
        if is_lost:
            self._written.pop(load.job_id, None)
        return is_lost

    def _write(self, connection: Connection, load: Load, now_s: float) -> None:
        state = state_of(load, steps_of_load(connection, load.run_id) if load.status != "queued" else [])
        former, at_s = self._written.get(load.job_id, (None, 0.0))
        is_same = former == msgspec.structs.replace(state, timestamp=former.timestamp) if former else False
        if is_same and not load.is_heard and now_s < at_s + _AGAIN_EVERY_S:
            return
        kept_s = KEPT_S if load.ended_s is None or load.is_heard else max(1, KEPT_S - int(load.ended_s))
        for key in job_status_keys(load.job_id):
            self._client.set(key, msgspec.json.encode(state), ex=kept_s)
        self._written[load.job_id] = state, now_s
