"""The coordinator's part in backtests: a few are moved on at a time, and how far each is is told."""

from ....contracts.runs import StepKey
from ....db.postgres import Connection
from ....db.tables import jobs, run_steps
from ....db.world import World
from .moves import move_backtest

_AT_ONCE = 3  # backtests; the others wait in their queue
_DEALT = 8  # steps of each: those of a daily run must not wait behind fifty symbols
_SAY_EVERY_S = 1.0


class Backtests:
    """What the holder of the lease does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._say_at = 0.0

    def move(self, connection: Connection) -> list[tuple[StepKey, int]]:
        """Move backtests on and tell how far they are; return the steps that are to be dealt."""
        says = self._world.monotonic_s() >= self._say_at
        if says:
            self._say_at = self._world.monotonic_s() + _SAY_EVERY_S
        due: list[tuple[StepKey, int]] = []
        for run_id in jobs.alive_jobs(connection, "backtest", _AT_ONCE):
            if move_backtest(connection, run_id, says=says):
                due += run_steps.waiting_steps(connection, run_id)[:_DEALT]
        return due

    def begin_anew(self) -> None:
        """Tell everything again: another coordinator may have told others."""
        self._say_at = 0.0
