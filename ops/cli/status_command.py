"""`tickstock status`."""

import sys
from contextlib import AbstractContextManager, closing

import click
import msgspec
from rich.console import Console
from rich.live import Live

from ..console import Escaped, make_console
from ..monitor import Monitor
from ..monitor_tables import picture_of, print_report, verdict
from ..observer import Look, Observer
from ..shutdown import Stop
from ..wiring import Place
from .options import CONTEXT, Number, option, server_options


@click.command(context_settings=CONTEXT, short_help="Print whether the fleet is healthy, and all that is known of it.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C: live in a terminal, else one report after another.")
@option("--every", type=Number(0.1, 3600), default=1.0, help="With --watch: seconds between two looks.")
@option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, one a line for each look.")
@option("--minutes", type=Number(0.1, 1440), default=15.0, help="How far back flows and checkpoints are counted.")
@option("--flows", type=click.IntRange(0, 100), default=5, help="How many of the latest flows to show.")
@server_options
def status(  # one parameter for each option
    where: AbstractContextManager[Place], watch: bool, every: float, as_json: bool, minutes: float, flows: int
) -> None:
    """Print who owns which partition, how far behind it is, both systems' heartbeats and the patterns' flows.

    Exit 1 while the fleet is unhealthy: while a finding of level `error` stands (each says what to do). With --watch,
    exit 0 after Ctrl-C. Times are UTC. A lag that nobody can know (Redis lost entries) is unknown, in JSON null.

    \b
    epoch        how many owners a partition has had
    lag ticks    sent, and not committed yet
    lag s        the age of the oldest of them
    position     the last entry of tickstock-stream:{pN} that is committed
    pause s      how long it stood still when it changed its owner last
    revisions    bars that a late tick changed after they had been written
    fenced       times that a partition was left out of a commit, because another worker had taken it
    restores     how often partitions were read again from their committed state: each take-over is one
    ended in     partitions in which a replay has come to its end, of all
    untold       results that the bridge has not told yet
    stale        symbols without a bar for 5 minutes that had one within 8 hours
    orphans      published patterns that the application did not receive, parse or deliver within 10 s
    """  # noqa: D301  # \b is for click: it leaves the lines below it as they are
    stop = Stop()
    with where as place, closing(Observer(place, Monitor(window_s=minutes * 60, latest_flows=flows))) as observer:
        if not watch:
            look = observer.look()
            _print(look, as_json=as_json)
            sys.exit(0 if look.is_healthy else 1)
        console = make_console(highlight=False, markup=False)
        if console.is_terminal and not as_json:
            _watch_live(observer, console, stop, every)
        else:
            _watch_plain(observer, stop, every, as_json=as_json)


def _watch_live(observer: Observer, console: Console, stop: Stop, every_s: float) -> None:
    """Redraw one picture; leave the verdict that was seen last above the prompt."""
    look = observer.look()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Escaped(picture_of(look.report, look.findings, width=console.width)), refresh=True)
            if stop.wait(every_s):
                break
            look = observer.look()
    for line in verdict(look.findings):
        console.print(line, soft_wrap=True)


def _watch_plain(observer: Observer, stop: Stop, every_s: float, *, as_json: bool) -> None:
    while True:
        _print(observer.look(), as_json=as_json)
        if stop.wait(every_s):
            return


def _print(look: Look, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(look.document()).decode(), flush=True)
    else:
        print_report(look.report, look.findings)
