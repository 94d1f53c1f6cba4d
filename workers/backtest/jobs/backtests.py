"""The coordinator's part in backtests: it advances a few of them at a time, and publishes the progress of each."""

from ....contracts.runs import StepKey
from ....db.postgres import Connection
from ....db.tables import jobs, run_steps
from ....db.world import World
from .moves import move_backtest

_AT_ONCE = 3  # backtests; the others wait in their queue
_DEALT = 8  # steps of each backtest: the steps of a daily run must not wait for all steps of a backtest
_SAY_EVERY_S = 1.0


class Backtests:
    """Advances the backtests; only the holder of the lease uses it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._say_at = 0.0

    def move(self, connection: Connection) -> list[tuple[StepKey, int]]:
        """Advance backtests and publish their progress; return the steps to deal."""
        says = self._world.monotonic_s() >= self._say_at
        if says:
            self._say_at = self._world.monotonic_s() + _SAY_EVERY_S
        due: list[tuple[StepKey, int]] = []
        for run_id in jobs.alive_jobs(connection, "backtest", _AT_ONCE):
            if move_backtest(connection, run_id, says=says):
                due += run_steps.waiting_steps(connection, run_id)[:_DEALT]
        return due

    def begin_anew(self) -> None:
        """Publish the progress of all backtests at the next move: another coordinator may have published since."""
        self._say_at = 0.0
