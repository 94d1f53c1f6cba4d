"""What processes hold in memory over a long run, and whether that is flat."""

import csv
import statistics
import time
from collections import defaultdict

import psutil

from .background import Background

EVERY_S = 2.0
MB = 1e6


class MemoryLog(Background):
    """Writes down the resident memory of processes, and what else is asked for. samples: {name: [(second, MB)]}."""

    def __init__(self, file, pids, figures):
        """pids: returns {name: pid}; figures: returns {name: bytes} of what is no process of ours."""
        super().__init__()
        self.samples = defaultdict(list)
        self._pids = pids
        self._figures = figures
        self._began = time.monotonic()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("w", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(("second", "name", "megabytes"))

    def turn(self):
        at_s = round(time.monotonic() - self._began, 1)
        found = {f"{name} {pid}": resident(pid) for name, pid in self._pids().items()} | self._figures()
        for name, size in found.items():
            if size:
                self.samples[name].append((at_s, size / MB))
                self._csv.writerow((at_s, name, round(size / MB, 1)))
        self._file.flush()
        return EVERY_S

    def finish(self, within_s=120):
        super().finish(within_s)
        self._file.close()

    def growth(self, at_least_s):
        """Return (name, median of the middle third, median of the last third, highest), MB, of those that lived long.

        The first third is left out: histories and caches fill.
        """
        for name, samples in sorted(self.samples.items()):
            first, last = samples[0][0], samples[-1][0]
            if last - first < at_least_s:
                continue
            third = (last - first) / 3
            middle = [size for at, size in samples if first + third <= at < last - third]
            end = [size for at, size in samples if at >= last - third]
            yield name, statistics.median(middle), statistics.median(end), max(size for _, size in samples)


def resident(pid):
    """Return bytes; 0 for a process that is gone."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
