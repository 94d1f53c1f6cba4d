"""The fleet's numbers over the last hour, for the small lines of a page. A new process begins with an empty hour."""

from datetime import datetime, timedelta

from ...contracts.fleet.fleet_look import FleetLook
from .answers import Moment

_KEPT = timedelta(hours=1)
_EVERY = timedelta(seconds=5)  # a line of an hour is narrower than its readings


class LastHour:
    """Keeps some numbers of each reading. One thread adds; others read a tuple that never changes."""

    def __init__(self) -> None:
        self._moments: tuple[Moment, ...] = ()

    def add(self, look: FleetLook) -> None:
        """Keep a reading, if the last kept one is five seconds old."""
        kept = self._moments
        if not kept or look.at - kept[-1].at >= _EVERY:
            self._moments = (*(moment for moment in kept if look.at - moment.at <= _KEPT), _moment(look))

    def after(self, at: datetime | None) -> list[Moment]:
        """Return the moments after a time, oldest first; all of them without one."""
        return [moment for moment in self._moments if at is None or moment.at > at]


def _moment(look: FleetLook) -> Moment:
    return Moment(
        at=look.at,
        ticks_per_second=look.usage.ticks_per_second,
        bars_per_minute=look.feed.bars_per_minute,
        lag_ticks=look.fleet.lag_ticks,
        lag_s=look.fleet.lag_s,
        unpublished=look.bridge.untold,
    )
