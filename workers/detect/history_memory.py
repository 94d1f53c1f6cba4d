"""Keeps a worker's histories within its memory: those needed last are dropped, and loaded again when needed."""

from collections.abc import Sequence
from weakref import WeakSet

import numpy as np

from ..sessions import TRACKS
from ..windows import WINDOW
from .detector import Detector

_WHOLE_WINDOW_BYTES = (WINDOW + 50) * 72  # of one symbol in one timeframe
LOADED_SYMBOLS = (
    256  # at once, and of a partition in one step: their rows take 100 MB; ticks are read between two steps
)
_TURNS_A_MINUTE = 8  # about: the commits of a live minute
_MINUTES = np.array([track.timeframe for track in TRACKS])
_KEPT_SHARE = 0.8  # of the bound, after a drop: so that not every commit drops a little


class HistoryMemory:
    """Counts the histories of all partitions of a worker. bound: bytes."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._detectors: WeakSet[Detector] = WeakSet()  # those of lost partitions vanish by themselves
        self._turn = 0
        self._share = bound  # bytes that a partition may load in the commit

    def begin(self, detectors: Sequence[Detector]) -> None:
        """Begin the work of a commit on some partitions: the histories that it uses count as used last.

        A commit loads histories only up to the bound, so that none is dropped before it was used.
        """
        self._turn += 1
        for detector in detectors:
            self.note(detector)
        self._share = max(self._bound // 2, self.room()) // max(1, len(detectors))

    def symbols_of_a_step(self, timeframes: int) -> int:
        """Return of how many symbols of a partition a commit may load the histories of so many timeframes."""
        windows = timeframes + 1  # and what is kept of minutes outside the regular hours
        return max(1, min(LOADED_SYMBOLS, self._share // (windows * _WHOLE_WINDOW_BYTES)))

    def note(self, detector: Detector) -> None:
        """Count the histories of this partition, too."""
        self._detectors.add(detector)
        detector.turn = self._turn

    def room(self) -> int:
        """Return how many bytes may still be loaded before a history is dropped."""
        return max(0, self._bound - sum(detector.allocated for detector in self._detectors))

    def symbols_ahead(self) -> int:
        """Return of how many symbols a history may be loaded before it is needed.

        A tenth of the memory stays free: otherwise the next bars would push out what was loaded, and it would be loaded
        again, and so on.
        """
        return min(max(0, self.room() - self._bound // 10) // _WHOLE_WINDOW_BYTES, LOADED_SYMBOLS)

    def keep_within(self) -> int:
        """Drop histories until the rest is within the bound: first those that will probably be needed last.

        A history that was not used for long will not be used soon; one that is in use, when its next bar closes. So the
        histories of hours, all used when an hour ends, do not push out those of the next minute. Returns how many of
        1-minute bars were dropped although they are in use: if there are any, the bound is too small.
        """
        if self.room():
            return 0
        detectors = list(self._detectors)
        held = [detector.held() for detector in detectors]
        number = np.repeat(np.arange(len(held)), [one.shape[1] for one in held])
        place, symbol, used, size = np.concatenate(held, axis=1)
        age = self._turn - used
        order = np.lexsort((age, np.maximum(age, _TURNS_A_MINUTE * _MINUTES[place])))
        over = order[size[order].cumsum() > self._bound * _KEPT_SHARE]
        for i, detector in enumerate(detectors):
            mine = over[number[over] == i]
            for one in np.unique(place[mine]).tolist():
                detector.let_go(one, symbol[mine[place[mine] == one]])
            for history in detector.histories.values():
                history.give_back()
        return int(((_MINUTES[place[over]] == 1) & (age[over] <= _TURNS_A_MINUTE)).sum())
