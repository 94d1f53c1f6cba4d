"""Progress of long work: a bar with rate and time left in a terminal, a log line now and then elsewhere."""

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
_AT_FIRST_S = 60.0  # a process that runs for days then says so each minute


class ShownProgress:
    """What a job tells of how far it is: a producer's progress, and how many bars wait for their detectors."""

    def __init__(
        self, on_progress: Callable[[Progress], None], on_undetected: Callable[[int], None], lines: IO[str] | None
    ) -> None:
        """lines: takes what processes beside the job write; None: they write to the terminal themselves."""
        self.on_progress = on_progress
        self.on_undetected = on_undetected
        self.lines = lines


@contextmanager
def show_progress(recording: ReplaySource | None, *, detecting: bool = False) -> Iterator[ShownProgress]:
    """Show in a terminal how far a replay is, as one bar for each part of its work; elsewhere a line now and then.

    The bars stay until the work ends. What is logged meanwhile stands above them, each line whole. A market has no end,
    and so no bars. detecting: the job also waits for its detectors.
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
    """Sending, committing and detecting, each with a bar of its own."""

    def __init__(self, bar: Bar, recording: ReplaySource, *, detecting: bool) -> None:
        self._bar = bar
        self._recording = recording
        self._started_s = time.monotonic()
        self._sending = bar.add_task("sending", total=recording.bytes_total, said="")
        self._committing = bar.add_task("committing", total=None, said="")
        self._detecting = bar.add_task("detecting", total=None, said="", visible=detecting)
        self._most = 0

    def on_progress(self, progress: Progress) -> None:
        """Show a producer's: what is sent of the files, and what is committed of what was sent."""
        read, total = self._recording.bytes_read, self._recording.bytes_total
        committed = max(0, progress.ticks - progress.uncommitted)
        rate = committed / max(0.001, time.monotonic() - self._started_s)
        self._bar.update(self._sending, completed=read, said=f"{progress.ticks:,} ticks")
        # How many there will be is known at the end; until then, as many as the bytes that were read promise.
        expected = progress.ticks if read >= total else progress.ticks * total / max(1, read)
        self._bar.update(self._committing, total=expected, completed=committed, said=f"{rate:,.0f} ticks/s")

    def on_undetected(self, bars: int) -> None:
        """Show how many closed bars wait for their detectors, of the most that did."""
        self._most = max(self._most, bars, 1)
        self._bar.update(self._detecting, total=self._most, completed=self._most - bars, said=f"{bars:,} bars wait")


class _LinesAbove(io.TextIOBase):
    """A file whose lines are printed above a live picture, each one when it is whole."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ""

    def write(self, text: str) -> int:
        """Print the whole lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)


def now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what passes on, of many lines on how far some work is, one every few seconds."""
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
