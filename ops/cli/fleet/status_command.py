"""`tickstock status`."""

import sys
from contextlib import AbstractContextManager, ExitStack, closing

import click
import msgspec
from rich.console import Console
from rich.live import Live

from ....contracts.errors import SetupError
from ....db.look.fleet_look import WINDOW_S
from ...process.console import Escaped, make_console
from ...process.shutdown import Stop
from ...status.monitor_tables import glance_of, picture_of, print_line, print_report, verdict
from ...status.observer import Observation, Observer, embedded_away
from ...wiring.servers import Place
from ..parts.options import CONTEXT, Number, look_options
from ..parts.setting import typed


@click.command(context_settings=CONTEXT, short_help="Print whether the fleet is healthy, and its state.")
@typed(
    "--watch", is_flag=True, help="Repeat until Ctrl-C: one live picture in a terminal, else one report after another."
)
@typed(
    "--every-s",
    former="--every",
    type=Number(0.1, 3600),
    default=1.0,
    help="With --watch: seconds between two reports.",
)
@typed("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch one in each line.")
@typed(
    "--all",
    "everything",
    is_flag=True,
    help="With --watch in a terminal: show every table instead of one line for each part.",
)
@typed(
    "--minutes",
    type=Number(0.1, 1440),
    default=WINDOW_S / 60,
    help="Over how many minutes to count flows and checkpoints.",
)
@typed("--flows", type=click.IntRange(0, 100), default=5, help="How many of the latest flows to show.")
@look_options
def status(  # one parameter for each option
    where: AbstractContextManager[Place],
    watch: bool,
    every_s: float,
    as_json: bool,
    everything: bool,
    minutes: float,
    flows: int,
) -> None:
    """Print the owner and the lag of each partition, the heartbeats of both systems, and the flows of patterns.

    A server that does not answer is reported within two seconds. With --watch a terminal shows the verdict and one line
    for each part, which fits 80 by 24; --all shows every table.

    Exit 1 while the fleet is unhealthy, which means while there is a finding of level `error` (each says what to do).
    With --watch, exit 0 after Ctrl-C. Times are UTC. If Redis lost entries, the lag is `unknown`, in JSON null.

    \b
    epoch        number of owners that the partition has had
    lag ticks    ticks that are sent and not committed
    lag s        age of the oldest of them
    position     last committed entry of tickstock-stream:{pN}
    pause s      time without an owner at the last change of owner
    revisions    bars that a late tick changed after they were written
    fenced       partitions left out of a commit because another worker had
                 taken them
    restores     times that a partition was read again from its committed state;
                 each take-over is one
    ended in     partitions in which the replay has ended, of all
    untold       results that the bridge has not published yet
    stale        symbols without a bar for 5 minutes that had one within 8 hours
    orphans      published patterns that the application did not receive, parse or
                 deliver within 10 s
    """  # noqa: D301  # \b: click does not wrap the lines below it
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
            _watch_live(observer, console, stop, every_s, everything=everything)
        else:
            _watch_plain(observer, stop, every_s, as_json=as_json)


def _watch_live(observer: Observer, console: Console, stop: Stop, every_s: float, *, everything: bool) -> None:
    """Redraw one picture until the stop, then print the last verdict."""
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
