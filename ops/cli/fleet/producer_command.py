"""`tickstock-producer`: sends the ticks of one source into the stream."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import click

from ....contracts.errors import SetupError
from ....contracts.frames.frame import MAX_NAME_LENGTH, is_name
from ....contracts.names import MINUTE_FEED_ENDING
from ....contracts.spellings.trade_conditions import TRADE_RULES
from ....db.redis import Client, redis_ms
from ....producer.replay import ReplaySource
from ....producer.synthetic import MAX_SYMBOLS, SCENARIOS, Market, SyntheticSource, Trouble
from ...jobs.replay_run import expect_taken
from ...process.metrics_server import MetricsAddress, metrics_server
from ...process.progress import show_progress
from ...process.shutdown import Stop
from ...wiring.live_producer import LiveOptions, run_live
from ...wiring.producer import STOPPED_REPLAY, ProducerOptions, replay_feed, run_producer, synthetic_feed
from ...wiring.servers import Place, open_both, wait_for_server
from ..parts.fleet_settings import feed_option, partitions_option, trade_rules_option
from ..parts.live_options import LIVE_SOURCES, live_options
from ..parts.market_options import SpeedType, share
from ..parts.options import (
    CONTEXT,
    Number,
    OutputFile,
    metrics_options,
    server_options,
    stop_with_stdin_option,
    version_option,
)
from ..parts.setting import option, setting

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
    help="Multiple of market time, or max. A synthetic market at any speed but 1x is a replay.",
)
@partitions_option
@setting(
    ProducerOptions,
    "linger_ms",
    type=Number(0, 1000),
    help="Longest time that a live tick waits in a frame for more ticks.",
)
@setting(
    ProducerOptions,
    "max_lag_ticks",
    former="--max-lag",
    type=click.IntRange(1, 2**63 - 1),
    help="Stop sending while this number of ticks are sent and not committed.",
)
@feed_option
@setting(ProducerOptions, "codec", type=click.Choice(["zstd", "none"]), help="Compression of frames.")
@setting(ProducerOptions, "publish", is_flag=True, help="Replay: also publish the results on the channels.")
@setting(ProducerOptions, "again", is_flag=True, help="Replay: replay this content again if it was replayed before.")
@setting(
    ProducerOptions,
    "spool_max_bytes",
    type=click.IntRange(0, 2**63 - 1),
    help="Live: most bytes to keep on disk while Redis is away or full. 0: no spool, the source waits.",
)
@setting(
    ProducerOptions,
    "spool_dir",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="spool in the data folder",
    help="Live: folder of the spool. Use the same folder at the next start.",
)
@option(
    "--always-open/--no-always-open",
    default=None,
    show_default="on for a synthetic market only",
    help="Whether the market never closes (crypto). If it closes, patterns look at regular hours only.",
)
@trade_rules_option
@live_options
@setting(ProducerOptions, "record", type=OutputFile(), help="Also write every tick to this CSV file.")
@setting(Market, "symbols", type=click.IntRange(1, MAX_SYMBOLS), help="Synthetic: number of symbols.")
@setting(
    Market,
    "rate",
    type=Number(0.001, 10_000_000),
    help="Synthetic: ticks a second, the mean of a day of 6.5 h or of --seconds. The opening has 1.8 times as many.",
)
@option(
    "--seconds", type=Number(0.001, 1e8), show_default="no end", help="Synthetic: seconds of market time to produce."
)
@setting(Market, "seed", type=click.IntRange(0), help="Synthetic: the same seed gives the same ticks.")
@setting(Market, "scenario", type=click.Choice(list(SCENARIOS)), help="Synthetic: how prices move.")
@setting(
    Trouble,
    "disorder_ms",
    type=Number(0, 3_600_000),
    help="Synthetic: largest difference between the time of a tick and its arrival.",
)
@share("late_share", "come 1 to 300 s late")
@share("zero_share", "have size 0")
@share("bad_share", "are refused")
@share("repeat_share", "are repeated as separate trades")
@setting(
    Trouble,
    "future_ticks",
    type=click.IntRange(0, 1_000_000),
    help="Synthetic: number of ticks at the start with a time next year.",
)
@metrics_options
@stop_with_stdin_option
@server_options
def producer(  # one parameter for each option
    where: AbstractContextManager[Place],
    files: tuple[str, ...],
    source: str,
    speed: float | str | None,
    partitions: int | None,
    linger_ms: float,
    max_lag_ticks: int,
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
    """Send the ticks of one source into tickstock-stream, in numbered frames. Each is kept until it is committed.

    FILES: trade flat files (.csv, .csv.gz) for --source replay, sorted by time or grouped by ticker. All files of one
    command are one feed. Rows with a correction are left out. The same command continues a replay that was interrupted.
    """
    if not is_name(feed):
        raise click.UsageError(f"--feed {feed!r}: 1 to {MAX_NAME_LENGTH} printable ASCII characters are needed")
    if feed.endswith(MINUTE_FEED_ENDING):
        raise click.UsageError(
            f"--feed {feed!r}: a name cannot end in {MINUTE_FEED_ENDING}, the ending for the whole minutes of a feed"
        )
    stop = Stop(deadline_s=30.0, with_stdin=stop_with_stdin)
    pace = _pace(speed, default=1.0 if source == "synthetic" else None)
    is_open = source == "synthetic" if always_open is None else always_open
    options = ProducerOptions(
        max_lag_ticks, linger_ms, pace, feed, codec, publish, again, record, spool_max_bytes, spool_dir, is_open
    )
    if source == "replay" and not files:
        raise click.UsageError("--source replay needs at least one FILE")
    if source != "replay" and files:
        raise click.UsageError(f"--source {source} takes no FILE")
    if source == "replay" and always_open is not None:
        raise click.UsageError(
            "--always-open does not apply to --source replay: a replay keeps what is set for its symbols"
        )
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
        raise SetupError(STOPPED_REPLAY if recording is not None else "stopped before all ticks were committed")


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
