"""`tickstock status`."""

import sys
from contextlib import AbstractContextManager, ExitStack, closing

import click
import msgspec
from rich.console import Console
from rich.live import Live

from ....contracts.errors import SetupError
from ...process.console import Escaped, make_console
from ...process.shutdown import Stop
from ...status.monitor_tables import glance_of, picture_of, print_line, print_report, verdict
from ...status.observer import Observation, Observer, embedded_away
from ...wiring.servers import Place
from ..parts.options import CONTEXT, Number, look_options


@click.command(context_settings=CONTEXT, short_help="Print whether the fleet is healthy, and all that is known of it.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C: live in a terminal, else one report after another.")
@click.option("--every", type=Number(0.1, 3600), default=1.0, help="With --watch: seconds between two looks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, one a line for each look.")
@click.option("--all", "everything", is_flag=True, help="With --watch in a terminal: every table, not one line a part.")
@click.option("--minutes", type=Number(0.1, 1440), default=15.0, help="How far back flows and checkpoints are counted.")
@click.option("--flows", type=click.IntRange(0, 100), default=5, help="How many of the latest flows to show.")
@look_options
def status(  # one parameter for each option
    where: AbstractContextManager[Place],
    watch: bool,
    every: float,
    as_json: bool,
    everything: bool,
    minutes: float,
    flows: int,
) -> None:
    """Print who owns which partition, how far behind it is, both systems' heartbeats and the patterns' flows.

    A server that does not answer is said within two seconds. With --watch a terminal shows the verdict and one line for
    each part, which fits 80 by 24; --all shows every table.

    Exit 1 while the fleet is unhealthy: while a finding of level `error` stands (each says what to do). With --watch,
    exit 0 after Ctrl-C. Times are UTC. A lag that nobody can know (Redis lost entries) is unknown, in JSON null.

    \b
    epoch        how many owners a partition has had
    lag ticks    sent, and not committed yet
    lag s        the age of the oldest of them
    position     the last entry of tickstock-stream:{pN} that is committed
    pause s      how long it stood still when it changed its owner last
    revisions    bars that a late tick changed after they had been written
    fenced       times that a partition was left out of a commit, because another
                 worker had taken it
    restores     how often partitions were read again from their committed state:
                 each take-over is one
    ended in     partitions in which a replay has come to its end, of all
    untold       results that the bridge has not told yet
    stale        symbols without a bar for 5 minutes that had one within 8 hours
    orphans      published patterns that the application did not receive, parse or
                 deliver within 10 s
    """  # noqa: D301  # \b is for click: it leaves the lines below it as they are
    stop = Stop()
    with ExitStack() as opened:
        try:
            place = opened.enter_context(where)
        except SetupError as e:  # an embedded server does not start
            _print(embedded_away(e), as_json=as_json)
            sys.exit(1)
        observer = opened.enter_context(closing(Observer(place, window_s=minutes * 60, latest_flows=flows)))
        if not watch:
            look = observer.observe()
            _print(look, as_json=as_json)
            sys.exit(0 if look.is_healthy else 1)
        console = make_console(highlight=False, markup=False)
        if console.is_terminal and not as_json:
            _watch_live(observer, console, stop, every, everything=everything)
        else:
            _watch_plain(observer, stop, every, as_json=as_json)


def _watch_live(observer: Observer, console: Console, stop: Stop, every_s: float, *, everything: bool) -> None:
    """Redraw one picture; leave the verdict that was seen last above the prompt."""
    look = observer.observe()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            if everything:
                picture = picture_of(look.fleet, look.findings, width=console.width)
            else:
                picture = glance_of(look.fleet, look.findings, width=console.width, height=console.height)
            live.update(Escaped(picture), refresh=True)
            if stop.wait(every_s):
                break
            look = observer.observe()
    for line in verdict(look.fleet, look.findings):
        print_line(console, line, indent=9)


def _watch_plain(observer: Observer, stop: Stop, every_s: float, *, as_json: bool) -> None:
    while True:
        _print(observer.observe(), as_json=as_json)
        if stop.wait(every_s):
            return


def _print(look: Observation, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(look.document()).decode(), flush=True)
    else:
        print_report(look.fleet, look.findings)
