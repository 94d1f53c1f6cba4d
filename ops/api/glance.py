"""The last reading of the fleet's state. A thread repeats it, so that no call of the API waits for a server."""

import time

import structlog

from ...contracts.errors import SetupError, first_line
from ...contracts.stop import Stop
from ...db.look.fleet_look import pause_s
from ..status.observer import Observation, Observer
from .hour import LastHour
from .processing_look import ProcessingLook

log = structlog.get_logger()

_EVERY_S = 2.0
_SHARE = 0.1  # the largest part of the time that readings take, even with a large fleet
_LONGEST_PAUSE_S = 10.0
_LONG_S = 10.0  # a reading that takes longer is waiting for a server


class Glance:
    """Reads the fleet's state in its own thread. hour: some numbers of the readings."""

    def __init__(self, observer: Observer, processing: ProcessingLook) -> None:
        self._observer = observer
        self._processing = processing
        self.hour = LastHour()
        self._last: Observation | None = None
        self._at_s = time.monotonic()
        self._began_s: float | None = None
        self._fault = ""

    @property
    def last(self) -> Observation | None:
        """Return the last reading; None before the first."""
        return self._last

    @property
    def age_s(self) -> float:
        """Return the age of the last reading in seconds; before the first one, the seconds since the start."""
        return time.monotonic() - self._at_s

    @property
    def hangs(self) -> bool:
        """Tell whether the current reading waits for a server."""
        began_s = self._began_s
        return began_s is not None and time.monotonic() - began_s > _LONG_S

    def run(self, stop: Stop) -> None:
        """Read again and again until the stop."""
        while not stop.is_set():
            began_s = self._began_s = time.monotonic()
            self._processing.look()
            self._look()
            self._began_s = None
            took_s = time.monotonic() - began_s
            stop.wait(pause_s(took_s, every_s=_EVERY_S, share=_SHARE, longest_s=_LONGEST_PAUSE_S))
        self._observer.close()

    def _look(self) -> None:
        """Read once; if that fails, the last reading stays."""
        try:
            self._last = self._observer.observe()
        except SetupError as e:
            if first_line(e) != self._fault:
                log.warning("fleet cannot be read", why=first_line(e))
            self._fault = first_line(e)
            return
        self._fault = ""
        self._at_s = time.monotonic()
        if self._last.fleet:
            self.hour.add(self._last.fleet)
