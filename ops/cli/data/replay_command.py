"""`tickstock replay`: makes bars of trade flat files."""

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
from ..parts.fleet_settings import partitions_option, trade_rules_option
from ..parts.market_options import SpeedType
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed
from ..parts.worker_settings import commit_ms_option, read_count_option


@click.command(context_settings=CONTEXT, short_help="Make bars of trade flat files.")
@click.argument("files", nargs=-1, type=click.Path())
@typed("--workers", type=click.IntRange(1, 64), default=2, help="Number of worker processes.")
@typed("--speed", type=SpeedType(), default="max", help="Multiple of market time, or max.")
@partitions_option
@read_count_option
@commit_ms_option
@trade_rules_option
@typed("--publish", is_flag=True, help="Also publish the results on the channels.")
@typed("--again", is_flag=True, help="Replay these files again if they were replayed before.")
@typed("--abandon", "abandoned", metavar="NAME", help="Give up this unfinished replay, and drop its open minutes.")
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
    """Make bars of trade flat files (.csv, .csv.gz): start a producer and workers, and print a summary with the ledger.

    Exit 0 only if every tick is accounted for, at least one counts, and no minute was cut. Refused rows are counted by
    reason and do not change the exit code. Replaying the same files again changes nothing. The same command
    continues a replay that was interrupted; --abandon NAME gives it up (`tickstock status` shows the name).

    The replay replaces the bars of its symbols, on each day, from the first row of a symbol to the last. Bars in that
    time for which the files have no trade are deleted. Give all files that have a part of the same minute in one
    command.
    """
    if files and abandoned:
        raise UsageError("FILES and --abandon cannot go together: replay files, or give a replay up")
    if not files and not abandoned:
        raise UsageError("give the FILES to replay, or --abandon NAME to give a replay up")
    stop = WatchedStop(deadline_s=30.0)
    if abandoned:
        with where as servers:
            became = abandon_replay(servers, abandoned, partitions, stop)
        click.echo(f"{abandoned} is abandoned: {became.dropped:,} ticks of its open minutes were dropped")
        kept = f"{became.kept:,} ticks stay in bars that were closed"
        click.echo(f"{kept}; the same command with --again replays all of them")
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
