"""/api/processing/schedule."""

from litestar import Controller, get, post
from litestar.params import JSONBody

from ...contracts.daily.schedule import Schedule
from ...db.tables.schedule import change_schedule, read_schedule
from .answers import ScheduleAnswer, ScheduleChange
from .refusals import WRITE, refusals
from .service import Shared


class ScheduleCalls(Controller):
    """When daily runs start by themselves."""

    path = "/api/processing/schedule"
    tags = ("processing",)

    @get(responses=refusals(503), sync_to_thread=True)
    def read(self, service: Shared) -> ScheduleAnswer:
        """Read the schedule."""
        with service.database.connection() as connection:
            return _answer(read_schedule(connection))

    @post(status_code=200, responses=refusals(*WRITE), sync_to_thread=True)
    def change(self, service: Shared, data: JSONBody[ScheduleChange | None] = None) -> ScheduleAnswer:
        """Change the named fields, and return the whole schedule."""
        wanted = data or ScheduleChange()
        with service.database.connection() as connection:
            changed = change_schedule(
                connection,
                enabled=wanted.enabled,
                trigger_time=wanted.trigger_time,
                universes=wanted.universes,
                market_check=wanted.market_check,
                after_close=wanted.after_close,
            )
        return _answer(changed)


def _answer(schedule: Schedule) -> ScheduleAnswer:
    return ScheduleAnswer(
        enabled=schedule.enabled,
        trigger_time=schedule.trigger_time,
        timezone=schedule.timezone,
        next_run=schedule.next_run,
        universes=schedule.universes,
        market_check=schedule.market_check,
        after_close=schedule.after_close,
    )
