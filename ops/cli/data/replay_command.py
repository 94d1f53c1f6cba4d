"""`tickstock replay`: files in, bars out, the whole job in one command."""

import os
import sys
import time
from contextlib import AbstractContextManager

import click

from ....contracts.errors import UsageError
from ....contracts.spellings.trade_conditions import TRADE_RULES
from ....producer.replay import ReplaySource
from ...jobs.abandon import abandon_replay
from ...jobs.feed_result import print_result
from ...jobs.fleet import WatchedStop
from ...jobs.replay_run import expect_taken, run_replay
from ...wiring.producer import ProducerOptions, said_rules
from ...wiring.servers import Place
from ..parts.market_options import SpeedType
from ..parts.options import CONTEXT, option, server_options, trade_rules_option


@click.command(context_settings=CONTEXT, short_help="Turn trade flat files into bars.")
@click.argument("files", nargs=-1, type=click.Path())
@option("--workers", type=click.IntRange(1, 64), default=2, help="Worker processes.")
@option("--speed", type=SpeedType(), default="max", help="Multiple of market time, or max.")
@option("--partitions", type=click.IntRange(1, 4096), help="Partition count of a new stream.  [default: 16]")
@option("--read-count", type=click.IntRange(1, 100_000), help="Workers: entries of a partition in one read.")
@option("--commit-ms", type=click.IntRange(1, 60_000), default=1000, help="Workers: commit at the latest after this.")
@trade_rules_option
@option("--publish", is_flag=True, help="Tell the results on the channels too.")
@option("--again", is_flag=True, help="Once more, where these files were replayed already.")
@click.option("--abandon", "abandoned", metavar="NAME", help="Give up this unfinished replay: drop its open minutes.")
@server_options
def replay(  # one parameter for each option
    where: AbstractContextManager[Place],
    files: tuple[str, ...],
    workers: int,
    speed: float | str,
    partitions: int | None,
    read_count: int | None,
    commit_ms: int,
    trade_rules: TRADE_RULES | None,
    publish: bool,
    again: bool,
    abandoned: str | None,
) -> None:
    """Turn trade flat files (.csv, .csv.gz) into bars: a producer, workers, and a summary with the ledger.

    Exit 0 only if every tick is accounted for, some were taken, and no minute was cut. Refused rows are counted with
    their reasons, and alone do not change that. The same files once more change nothing. A replay that was interrupted
    goes on with the same command, or is given up with --abandon NAME (the name that `tickstock status` shows).

    What the files say replaces what stands: for each of their symbols, on each day, from the first row to the last. A
    bar of those minutes that they have no trade of is taken away. Parts of one minute belong into one command.
    """
    if files and abandoned:
        raise UsageError("FILES are replayed, --abandon gives a replay up: not both")
    if not files and not abandoned:
        raise UsageError("name the FILES to replay, or with --abandon the replay to give up")
    stop = WatchedStop(deadline_s=30.0)
    if abandoned:
        with where as servers:
            became = abandon_replay(servers, abandoned, partitions, stop)
        click.echo(f"{abandoned} is abandoned: {became.dropped:,} ticks of its open minutes were dropped")
        kept = f"{became.kept:,} ticks stay in bars that were closed"
        click.echo(f"{kept}; the same files with --again replay all of them")
        return
    source = ReplaySource(files, rules=trade_rules)
    options = ProducerOptions(speed=None if speed == "max" else float(speed), publish=publish, again=again)
    turns = ["--commit-ms", str(commit_ms), *(["--read-count", str(read_count)] if read_count else [])]
    fleet = [["--consumer", f"replay-{os.getpid()}-{i + 1}", *turns] for i in range(workers)]
    started_s = time.monotonic()
    with where as servers:
        result = run_replay(servers, files, source, options, partitions=partitions, workers=fleet, stop=stop)
    if result is None:
        return
    print_result(result, seconds=time.monotonic() - started_s, left_out=source.rows_left_out)
    click.echo(f"bars by --trade-rules {said_rules(source.rules)}")
    click.echo("`tickstock bars` and `tickstock patterns` print them")
    expect_taken(source)
    if not result.rows or result.cut or any(row.gap or row.lost for row in result.rows):
        sys.exit(1)
