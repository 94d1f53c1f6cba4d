"""The last look at the fleet, taken again and again beside the calls: they never wait for a server."""

import time

import structlog

from ...contracts.errors import SetupError, first_line
from ...contracts.stop import Stop
from ..status.observer import Observation, Observer
from .processing_look import ProcessingLook

log = structlog.get_logger()

_EVERY_S = 2.0
_SHARE = 0.1  # of the time, however large the fleet is
_LONG_S = 10.0  # a look that takes longer waits for a server


class Glance:
    """Looks in a thread of its own."""

    def __init__(self, observer: Observer, processing: ProcessingLook) -> None:
        self._observer = observer
        self._processing = processing
        self._last: Observation | None = None
        self._at_s = time.monotonic()
        self._began_s: float | None = None
        self._fault = ""

    @property
    def last(self) -> Observation | None:
        """Return the last look; None before the first."""
        return self._last

    @property
    def age_s(self) -> float:
        """Return how old the last look is, in seconds; before the first, since the start."""
        return time.monotonic() - self._at_s

    @property
    def hangs(self) -> bool:
        """Tell whether the next look waits for a server."""
        began_s = self._began_s
        return began_s is not None and time.monotonic() - began_s > _LONG_S

    def run(self, stop: Stop) -> None:
        """Look until the stop."""
        while not stop.is_set():
            began_s = self._began_s = time.monotonic()
            self._processing.look()
            self._look()
            self._began_s = None
            stop.wait(max(_EVERY_S, (time.monotonic() - began_s) / _SHARE))
        self._observer.close()

    def _look(self) -> None:
        """Look once; a look that cannot be taken leaves the last one."""
        try:
            self._last = self._observer.observe()
        except SetupError as e:
            if first_line(e) != self._fault:
                log.warning("the fleet cannot be looked at", why=first_line(e))
            self._fault = first_line(e)
            return
        self._fault = ""
        self._at_s = time.monotonic()
