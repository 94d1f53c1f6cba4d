"""`tickstock replay`: files in, bars out, the whole job in one command."""

import os
import sys
import time
from contextlib import AbstractContextManager

import click

from ...contracts.errors import SetupError, UsageError
from ...contracts.trade_conditions import TRADE_RULES
from ...db.queries import query
from ...producer.replay import ReplaySource
from .. import fleet
from ..abandon import abandon, check_abandonable, take_replay_lease
from ..ledger import LedgerRow, read_ledger
from ..ledger_table import print_ledger, print_result
from ..producer_wiring import STOPPED_REPLAY, ProducerOptions, replay_feed, run_producer, wait_for_detectors
from ..progress import show_progress
from ..shutdown import Stop
from ..wiring import Place, open_both, open_postgres
from .market_options import SpeedType
from .options import CONTEXT, option, server_options, trade_rules_option


@click.command(context_settings=CONTEXT, short_help="Turn trade flat files into bars.")
@click.argument("files", nargs=-1, type=click.Path())
@option("--workers", type=click.IntRange(1, 64), default=2, help="Worker processes.")
@option("--speed", type=SpeedType(), default="max", help="Multiple of market time, or max.")
@option("--partitions", type=click.IntRange(1, 4096), help="Partition count of a new stream.  [default: 16]")
@option("--read-count", type=click.IntRange(1, 100_000), help="Workers: entries of a partition in one read.")
@option("--commit-ms", type=click.IntRange(1, 60_000), default=1000, help="Workers: commit at the latest after this.")
@trade_rules_option("all")
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

    Exit 0 only if every tick is accounted for. The same files once more change nothing. A replay that was interrupted
    goes on with the same command, or is given up with --abandon NAME (the name that `tickstock status` shows).
    """
    if files and abandoned:
        raise UsageError("FILES are replayed, --abandon gives a replay up: not both")
    if not files and not abandoned:
        raise UsageError("name the FILES to replay, or with --abandon the replay to give up")
    stop = fleet.WatchedStop(deadline_s=30.0)
    if abandoned:
        _abandon(where, abandoned, partitions, stop)
        return
    rules: TRADE_RULES = trade_rules or "all"
    source = ReplaySource(files, rules=rules)
    options = ProducerOptions(speed=None if speed == "max" else float(speed), publish=publish, again=again, rules=rules)
    started_s = time.monotonic()
    with where as servers:
        client, count = open_both(servers, partitions=partitions)
        feed = replay_feed(servers, files, options, count, stop, source)
        if feed is None:
            return
        turns = ["--commit-ms", str(commit_ms), *(["--read-count", str(read_count)] if read_count else [])]
        names = [f"replay-{os.getpid()}-{i + 1}" for i in range(workers)]
        stop.workers = [fleet.start(servers, "worker", "--consumer", name, *turns) for name in names]
        with fleet.stopped_at_the_end(stop.workers), show_progress(source if speed == "max" else None) as on_progress:
            complete = run_producer(servers, client, feed, options, stop, on_progress)
            wait_for_detectors(servers, stop)
        with open_postgres(servers, name="tickstock-replay") as connection:
            rows = read_ledger(connection, feed.identity.producer)
            bars, patterns = connection.execute(query("bars_of_feed"), {"feed": feed.identity.feed}).fetchone() or (
                0,
                0,
            )
    if not complete:
        raise SetupError(STOPPED_REPLAY)
    print_ledger(rows, left_out=source.rows_left_out, seconds=time.monotonic() - started_s)
    print_result(bars, patterns)
    click.echo("`tickstock bars` and `tickstock patterns` print them")
    if not _balances(rows):
        sys.exit(1)


def _abandon(where: AbstractContextManager[Place], name: str, partitions: int | None, stop: Stop) -> None:
    with where as servers:
        client, count = open_both(servers, partitions=partitions)
        with open_postgres(servers, name="tickstock-abandon") as connection:
            check_abandonable(connection, name)
            lease = take_replay_lease(servers, name, stop.wait)
            processes = [fleet.start(servers, "worker", "--consumer", f"abandon-{os.getpid()}")]
            try:
                with fleet.stopped_at_the_end(processes):
                    became = abandon(
                        connection, client, name, count, lease=lease, wait=stop.wait,
                        is_hopeless=lambda: fleet.expect_one_alive(processes),
                    )  # fmt: skip
            finally:
                lease.release()
    click.echo(f"{name} is abandoned: {became.dropped:,} ticks of its open minutes were dropped")
    click.echo(f"{became.kept:,} ticks stay in bars that were closed; the same files with --again replay all of them")


def _balances(rows: list[LedgerRow]) -> bool:
    return bool(rows) and not any(row.gap or row.lost for row in rows)
