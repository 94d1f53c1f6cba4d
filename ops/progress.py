"""Progress of long work: a bar with rate and time left in a terminal, a log line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..producer.produce import Progress
from ..producer.replay import ReplaySource
from .console import make_console

log = structlog.get_logger()

_LINE_EVERY_S = 5.0


@contextmanager
def show_progress(recording: ReplaySource | None) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that shows how far a producer is; a recording has an end, a market has none."""
    if not sys.stderr.isatty() or recording is None:
        yield _lines(recording)
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    started_s = time.monotonic()
    with Bar(*columns, console=make_console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=recording.bytes_total, said="")

        def show(progress: Progress) -> None:
            rate = progress.ticks / max(0.001, time.monotonic() - started_s)
            bar.update(task, completed=recording.bytes_read, said=f"{progress.ticks:,} ticks, {rate:,.0f}/s")

        yield show


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
        if now_s < said_s + _LINE_EVERY_S:
            return
        said_s = now_s
        read = {"read": f"{recording.bytes_read / max(1, recording.bytes_total):.0%}"} if recording else {}
        log.info("producing", ticks=progress.ticks, per_s=round(progress.ticks / (now_s - started_s)), **read)

    return show
