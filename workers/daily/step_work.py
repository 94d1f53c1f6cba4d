"""The input of a step, and the function that writes its result."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...contracts.daily.trading_days import Session
from ...contracts.market_hours import Closures
from ...contracts.runs import Step, StepResult
from ...db.postgres import Connection
from ...db.tables.runs import PinnedRun
from .asking import Ask
from .sources import Sources

Write = Callable[[Connection], StepResult]  # called in the step's transaction


class StepWork(NamedTuple):
    """A step, its run, and the run's days. now_s: Unix seconds, the database's. ask: runs a question to a vendor."""

    run: PinnedRun
    step: Step
    sessions: Sequence[Session]
    closures: Closures
    now_s: float
    sources: Sources
    ask: Ask

    @property
    def run_id(self) -> str:
        """Return the run's id as messages carry it."""
        return str(self.step.key.run_id)
