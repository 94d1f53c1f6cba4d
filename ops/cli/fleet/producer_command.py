"""`tickstock-producer`: one feed into the stream."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import click

from ....contracts.errors import SetupError
from ....contracts.frames.frame import MAX_NAME_LENGTH, is_name
from ....contracts.names import LIVE_FEED, MINUTE_FEED_ENDING
from ....contracts.spellings.trade_conditions import TRADE_RULES
from ....db.redis import Client, redis_ms
from ....producer.replay import ReplaySource
from ....producer.synthetic import SCENARIOS, Market, SyntheticSource, Trouble
from ...jobs.replay_run import expect_taken
from ...process.metrics_server import MetricsAddress, metrics_server
from ...process.progress import show_progress
from ...process.shutdown import Stop
from ...wiring.live_producer import LiveOptions, run_live
from ...wiring.producer import STOPPED_REPLAY, ProducerOptions, replay_feed, run_producer, synthetic_feed
from ...wiring.servers import Place, open_both, wait_for_server
from ..parts.live_options import LIVE_SOURCES, live_options
from ..parts.market_options import SpeedType, share
from ..parts.options import (
    CONTEXT,
    Number,
    OutputFile,
    metrics_options,
    option,
    server_options,
    stop_with_stdin_option,
    trade_rules_option,
    version_option,
)

_MAX_SPEED_CHUNK_TICKS = 100_000


@click.command("tickstock-producer", context_settings=CONTEXT)
@version_option("tickstock-producer")
@click.argument("files", nargs=-1, type=click.Path())
@option(
    "--source",
    type=click.Choice(["synthetic", "replay", *LIVE_SOURCES]),
    required=True,
    help="Where the ticks come from.",
)
@option(
    "--speed",
    type=SpeedType(),
    show_default="1x, replay: max",
    help="Multiple of market time, or max. Any synthetic speed but 1x is a replay.",
)
@option("--partitions", type=click.IntRange(1, 4096), help="Partition count of a new stream.  [default: 16]")
@option("--linger-ms", type=Number(0, 1000), default=5.0, help="How long a live tick waits for company.")
@option("--max-lag", type=click.IntRange(1), default=5_000_000, help="Wait while so many ticks are not committed.")
@option("--feed", default=LIVE_FEED, help="Name of a live feed; two of them never write one bar.")
@option("--codec", type=click.Choice(["zstd", "none"]), default="zstd", help="Compression of frames.")
@option("--publish", is_flag=True, help="Replay: tell the results on the channels too.")
@option("--again", is_flag=True, help="Replay: once more, where this content was replayed already.")
@option(
    "--spool-max-bytes",
    type=click.IntRange(0),
    default=1 << 30,
    help="Live: so much waits on disk while Redis is away or full; 0: no spool, the source waits.",
)
@option(
    "--spool-dir",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="spool in the data folder",
    help="Live: folder of the spool; give the next start the same one.",
)
@option(
    "--always-open/--no-always-open",
    default=None,
    help="Whether the market of these symbols never closes, as of crypto: else patterns look at regular hours alone."
    "  [default: only of a synthetic market]",
)
@trade_rules_option
@live_options
@option("--record", type=OutputFile(), help="Write every tick to this CSV file too.")
@option("--symbols", type=click.IntRange(1, 20_000), default=70, help="Synthetic: how many symbols.")
@option(
    "--rate",
    type=Number(0.001, 10_000_000),
    default=500.0,
    help="Synthetic: ticks a second, the mean of a 6.5 h day or of --seconds; it opens 1.8 times as busy.",
)
@option("--seconds", type=Number(0.001, 1e8), help="Synthetic: seconds of market time.  [default: without end]")
@option("--seed", type=click.IntRange(0), default=1, help="Synthetic: the same seed gives the same ticks.")
@option("--scenario", type=click.Choice(list(SCENARIOS)), default="normal", help="Synthetic: the market's character.")
@option("--disorder-ms", type=Number(0, 3_600_000), default=0.0, help="Synthetic: ticks out of order by so much.")
@share("--late-share", "come 1 to 300 s late")
@share("--zero-share", "have size 0")
@share("--bad-share", "are refused")
@share("--repeat-share", "are repeated as separate trades")
@option("--future-ticks", type=click.IntRange(0), default=0, help="Synthetic: ticks from next year, at the start.")
@metrics_options(9102)
@stop_with_stdin_option
@server_options
def producer(  # one parameter for each option
    where: AbstractContextManager[Place],
    files: tuple[str, ...],
    source: str,
    speed: float | str | None,
    partitions: int | None,
    linger_ms: float,
    max_lag: int,
    feed: str,
    codec: Literal["zstd", "none"],
    publish: bool,
    again: bool,
    spool_max_bytes: int,
    spool_dir: Path | None,
    always_open: bool | None,
    trade_rules: TRADE_RULES | None,
    live: LiveOptions | None,
    record: Path | None,
    seconds: float | None,
    metrics: MetricsAddress,
    stop_with_stdin: bool,
    **market: object,
) -> None:
    """Send the ticks of one source into tickstock-stream, framed and numbered, each kept until it is committed.

    FILES: trade flat files (.csv, .csv.gz) for --source replay, by time or grouped by ticker; all files of one command
    are one feed. Rows with a correction are left out. A replay that was interrupted goes on where it stood.
    """
    if not is_name(feed):
        raise click.UsageError(f"--feed {feed!r}: 1 to {MAX_NAME_LENGTH} printable ASCII characters are needed")
    if feed.endswith(MINUTE_FEED_ENDING):
        raise click.UsageError(
            f"--feed {feed!r}: no name ends in {MINUTE_FEED_ENDING}, under which a feed's whole minutes are kept"
        )
    stop = Stop(deadline_s=30.0, with_stdin=stop_with_stdin)
    pace = _pace(speed, default=1.0 if source == "synthetic" else None)
    is_open = source == "synthetic" if always_open is None else always_open
    options = ProducerOptions(
        max_lag, linger_ms, pace, feed, codec, publish, again, record, spool_max_bytes, spool_dir, is_open
    )
    if source == "replay" and not files:
        raise click.UsageError("--source replay needs at least one FILE")
    if source != "replay" and files:
        raise click.UsageError(f"--source {source} takes no FILE")
    if source == "replay" and always_open is not None:
        raise click.UsageError("--always-open is of a feed whose symbols are known: a replay takes what stands")
    recording = ReplaySource(files, rules=trade_rules) if files else None
    with metrics_server(metrics, "producer"), where as servers:
        client, count = open_both(servers, partitions=partitions)
        with show_progress(recording if pace is None else None) as shown:
            on_progress = shown.on_progress
            if live is not None:
                complete = run_live(servers, client, live, options, count, stop, on_progress)
            elif recording is not None:
                made = replay_feed(servers, files, options, count, stop, recording)
                complete = made is None or run_producer(servers, client, made, options, stop, on_progress)
            else:
                tape = _synthetic(options, seconds, market, _now_ms(servers, client))
                made = synthetic_feed(servers, tape, options, count, stop)
                complete = made is None or run_producer(servers, client, made, options, stop, on_progress)
    if complete and recording is not None and made is not None:
        expect_taken(recording)
    if not complete:
        raise SetupError(STOPPED_REPLAY if recording is not None else "stopped before all was committed")


def _now_ms(where: Place, client: Client) -> int:
    return wait_for_server(lambda: redis_ms(client), where.connect_timeout_s)


def _pace(speed: float | str | None, *, default: float | None) -> float | None:
    return default if speed is None else None if speed == "max" else float(speed)


def _synthetic(
    options: ProducerOptions, seconds: float | None, market: dict[str, object], now_ms: int
) -> SyntheticSource:
    trouble = Trouble(**{name: market.pop(name) for name in Trouble.__slots__})  # type: ignore[arg-type]
    if options.speed == 1.0:
        return SyntheticSource(Market(start_ns=now_ms * 1_000_000, trouble=trouble, **market), seconds=seconds)  # type: ignore[arg-type]
    rate = float(str(market["rate"]))
    chunk_ns = max(100_000_000, int(min(60.0, _MAX_SPEED_CHUNK_TICKS / rate) * 1e9)) if options.speed is None else 10**8
    return SyntheticSource(Market(chunk_ns=chunk_ns, trouble=trouble, **market), seconds=seconds)  # type: ignore[arg-type]
