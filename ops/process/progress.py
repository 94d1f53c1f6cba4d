"""Progress of long work: a bar with rate and remaining time in a terminal, otherwise a log line now and then."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TextIO, cast

import structlog
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ...producer.produce import Progress
from ...producer.replay import ReplaySource
from .console import make_console

log = structlog.get_logger()

_LINE_EVERY_S = 5.0
_AT_FIRST_S = 60.0  # then a process that runs for days logs a line per minute


class ShownProgress:
    """The progress of a job: of its producer, and the number of bars that wait for detection."""

    def __init__(
        self, on_progress: Callable[[Progress], None], on_undetected: Callable[[int], None], lines: IO[str] | None
    ) -> None:
        """lines: receives the output of child processes; None: they write to the terminal themselves."""
        self.on_progress = on_progress
        self.on_undetected = on_undetected
        self.lines = lines


@contextmanager
def show_progress(recording: ReplaySource | None, *, detecting: bool = False) -> Iterator[ShownProgress]:
    """Show a replay's progress: in a terminal one bar for each part of its work, otherwise a line now and then.

    The bars stay until the work ends, with log lines above them. A market has no end, and so no bars. detecting: the
    job also waits for detection.
    """
    if not sys.stderr.isatty() or recording is None:
        yield ShownProgress(_lines(recording), lambda _: None, None)
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Bar(*columns, TimeRemainingColumn(), console=make_console(stderr=True), transient=True) as bar:
        lines = cast("TextIO", _LinesAbove(bar.console))
        logger_factory = structlog.get_config()["logger_factory"]
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(lines))
        try:
            bars = _ReplayBars(bar, recording, detecting=detecting)
            yield ShownProgress(bars.on_progress, bars.on_undetected, lines)
        finally:
            structlog.configure(logger_factory=logger_factory)


class _ReplayBars:
    """Bars for sending, committing and detecting."""

    def __init__(self, bar: Bar, recording: ReplaySource, *, detecting: bool) -> None:
        self._bar = bar
        self._recording = recording
        self._started_s = time.monotonic()
        self._sending = bar.add_task("sending", total=recording.bytes_total, said="")
        self._committing = bar.add_task("committing", total=None, said="")
        self._detecting = bar.add_task("detecting", total=None, said="", visible=detecting)
        self._most = 0

    def on_progress(self, progress: Progress) -> None:
        """Show a producer's progress: how much of the files is sent, and how much of that is committed."""
        read, total = self._recording.bytes_read, self._recording.bytes_total
        committed = max(0, progress.ticks - progress.uncommitted)
        rate = committed / max(0.001, time.monotonic() - self._started_s)
        self._bar.update(self._sending, completed=read, said=f"{progress.ticks:,} ticks")
        # The total is known at the end; until then, estimate it from the bytes read.
        expected = progress.ticks if read >= total else progress.ticks * total / max(1, read)
        self._bar.update(self._committing, total=expected, completed=committed, said=f"{rate:,.0f} ticks/s")

    def on_undetected(self, bars: int) -> None:
        """Show how many closed bars wait for detection, relative to the largest number so far."""
        self._most = max(self._most, bars, 1)
        self._bar.update(self._detecting, total=self._most, completed=self._most - bars, said=f"{bars:,} bars wait")


class _LinesAbove(io.TextIOBase):
    """A file whose complete lines are printed above a live picture."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ""

    def write(self, text: str) -> int:
        """Print the complete lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)


def now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that passes on one of many progress lines every few seconds."""
    said_s = time.monotonic()

    def pass_on(line: str) -> None:
        nonlocal said_s
        if time.monotonic() >= said_s + _LINE_EVERY_S:
            said_s = time.monotonic()
            say(line)

    return pass_on


def _lines(recording: ReplaySource | None) -> Callable[[Progress], None]:
    started_s = said_s = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal said_s
        now_s = time.monotonic()
        every_s = _LINE_EVERY_S if recording or now_s < started_s + _AT_FIRST_S else _AT_FIRST_S
        if now_s < said_s + every_s:
            return
        said_s = now_s
        read = {"read": f"{recording.bytes_read / max(1, recording.bytes_total):.0%}"} if recording else {}
        log.info("producing", ticks=progress.ticks, per_s=round(progress.ticks / (now_s - started_s)), **read)

    return show
