"""Make a producer: a replay's or a synthetic feed, its writer, and its threads."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import uuid4

import structlog

from ...contracts.errors import SetupError, UsageError
from ...contracts.frames.maker import Identity
from ...contracts.gap import OnGap
from ...contracts.names import LIVE_FEED
from ...contracts.ticks import Ticks
from ...db.metrics import count_gap
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client
from ...db.sessions import set_always_open
from ...db.tables.replays import ReplayRun, note_cover, open_replay
from ...db.vitals import VITALS
from ...producer.framer import Framer
from ...producer.names_of_trades import without_names
from ...producer.pace import NOT_BY_TIME, by_tick_time, find_jumps, paced
from ...producer.produce import Feed, Progress, produce
from ...producer.producer_lease import ProducerLease
from ...producer.record import recorded
from ...producer.replay import ReplaySource, content_hash
from ...producer.sending.stream_writer import StreamWriter
from ...producer.sending.writer import Writer
from ...producer.spool.left_behind import LeftBehind, SpoolTarget
from ...producer.spool.overflow import admitted
from ...producer.spool.spool import Spool
from ...producer.spool.spooled_writer import SpooledWriter
from ...producer.synthetic import SyntheticSource
from ..audit.ledger import read_ledger
from ..embedded.servers import default_data_dir
from ..process.shutdown import Stop
from .redis_refusals import refusals_named
from .servers import Place, open_postgres, wait_for_server, with_postgres

log = structlog.get_logger()

_NAME = "tickstock-producer"  # of our connections

STOPPED_REPLAY = "stopped before the end: the same command continues from here"


class ProducerOptions(NamedTuple):
    """User options of any source. Each name ends with its unit."""

    max_lag_ticks: int = 5_000_000
    linger_ms: float = 5.0
    speed: float | None = None
    feed: str = LIVE_FEED
    codec: Literal["zstd", "none"] = "zstd"
    publish: bool = False
    again: bool = False
    record: Path | None = None
    spool_max_bytes: int = 1 << 30  # 0: no spool, a live source waits while Redis is away
    spool_dir: Path | None = None
    always_open: bool = False  # whether the market of the feed's symbols never closes


def replay_feed(
    where: Place, files: Sequence[str], options: ProducerOptions, partitions: int, stop: Stop, source: ReplaySource
) -> Feed | None:
    """Make a replay of flat files; None if it is finished already."""
    speed = options.speed
    said = f"partitions={partitions} codec={options.codec} publish={options.publish}"
    rules = said_rules(source.rules)
    base = content_hash(files, said if rules == "all" else f"{said} rules={rules}")
    told = f"{' '.join(files)} --trade-rules {rules}" if "," not in rules else " ".join(files)
    run = _open_run(where, f"replay-{base[:32]}", told, partitions, options)
    if run is None:
        return None
    skip = sum(run.numbers.values())
    unnamed = map(without_names, source)
    ticks: Iterable[Ticks | None] = unnamed
    if speed is not None:
        _expect_by_time(source)
        ticks = paced(by_tick_time(unnamed), speed, wait=stop.wait, skip=skip)
    identity = Identity(run.name, run.name, "replay", options.publish, 0, options.codec)

    def tell_cover() -> None:
        with open_postgres(where, name="tickstock-producer") as connection:
            note_cover(connection, run.name, source.coverage.spans(), partitions)

    return Feed(identity, ticks, run.numbers, "replay", None, ends=False, before_end=tell_cover)


def said_rules(rules: Sequence[str]) -> str:
    """Write the rules of files: one word if all are equal, else one per file."""
    return ",".join(rules if len(set(rules)) > 1 else rules[:1])


def _expect_by_time(source: ReplaySource) -> None:
    """Read files once before a paced replay. Raises UsageError if they are not ordered by time."""
    jumps = find_jumps(source)
    if any(jump.to_ns < jump.from_ns for jump in jumps) and source.coverage.groups_by_ticker:
        raise UsageError(f"these ticks are grouped by ticker: {NOT_BY_TIME}")


def synthetic_feed(
    where: Place, source: SyntheticSource, options: ProducerOptions, partitions: int, stop: Stop
) -> Feed | None:
    """Make a synthetic market: at speed 1x a live feed, else a replay, which the same options resume."""
    chunks = ((chunk.ticks, chunk.arrival_ns) for chunk in source.chunks())
    if options.speed == 1.0:
        name = f"synthetic-{uuid4().hex[:12]}"
        identity = Identity(name, options.feed, "live", publish=True, codec=options.codec)
        numbers = dict.fromkeys(range(partitions), 0)
        ticks = paced(chunks, 1.0, wait=stop.wait)
        return Feed(identity, ticks, numbers, f"producer:{name}", options.linger_ms, ends=True, symbols=source.symbols)
    description = source.describe()
    base = sha256(f"{description} partitions={partitions} codec={options.codec}".encode()).hexdigest()
    run = _open_run(where, f"synthetic-{base[:32]}", description, partitions, options)
    if run is None:
        return None
    identity = Identity(run.name, run.name, "replay", options.publish, 0, options.codec)
    speed = options.speed
    skip = sum(run.numbers.values())
    ticks = (chunk for chunk, _ in chunks) if speed is None else paced(chunks, speed, wait=stop.wait, skip=skip)
    return Feed(identity, ticks, run.numbers, "replay", None, ends=True, symbols=source.symbols)


def _open_run(where: Place, base: str, source: str, partitions: int, options: ProducerOptions) -> ReplayRun | None:
    def open_run(connection: Connection) -> tuple[ReplayRun, bool]:
        run = open_replay(connection, base, source, partitions, again=options.again)
        rows = read_ledger(connection, run.name) if run.finished else []
        return run, any(row.ticks_in and row.ticks_in == row.refused for row in rows)

    run, took_nothing = with_postgres(where, _NAME, open_run)
    if took_nothing:
        raise SetupError(f"{run.name}: replayed already, and no row was taken: `tickstock dlq ls` shows them")
    if run.finished:
        log.info("replayed already: nothing to do", replay=run.name, do="--again replays it again")
        return None
    if any(run.numbers.values()):
        log.info("replay continued", replay=run.name, ticks=sum(run.numbers.values()))
    return run


def _log_gap(first_ms: int, last_ms: int, symbols: Sequence[str] | None, why: str) -> None:
    count_gap(why)
    log.warning("gap", first_ms=first_ms, last_ms=last_ms, symbols=symbols and len(symbols), why=why)


def run_producer(
    where: Place,
    client: Client,
    feed: Feed,
    options: ProducerOptions,
    stop: Stop,
    on_progress: Callable[[Progress], None],
    on_gap: OnGap = _log_gap,
) -> bool:
    """Produce a feed; return whether all of it is committed."""
    wait = VITALS.turning(stop.wait)
    lease = wait_for_server(
        lambda: ProducerLease(
            where.servers.database_url,
            feed.lease,
            feed.identity.producer,
            wait=wait,
            is_ingest=feed.is_ingest,
            partitions=len(feed.numbers),
        ),
        where.connect_timeout_s,
    )
    with ExitStack() as opened:
        opened.enter_context(refusals_named(where.servers.redis_url, "producer"))
        opened.callback(lease.release)
        if (symbols := feed.symbols) is not None:
            with_postgres(where, _NAME, lambda c: set_always_open(c, symbols, is_open=options.always_open))
        writer = _make_writer(where, client, feed, options, stop, opened)
        if feed.identity.kind == "live":  # a replay can always send its ticks again
            lease.note_sent(feed.identity.feed, writer.sender.sent_numbers)
        ticks, left_behind = feed.ticks, None
        if isinstance(writer, SpooledWriter):
            lease.note_spool(lambda: writer.spool_bytes)
            ticks = opened.enter_context(closing(admitted(ticks, writer, on_gap)))
            left_behind = LeftBehind(_spool_dir(where, options), _spool_target(where, feed, options), stop, on_gap)
            left_behind.start()
        framer = Framer(feed.identity, len(feed.numbers), now_ms=writer.now_ms, skip=feed.numbers)
        VITALS.join()
        log.info("producer started", producer=feed.identity.producer, feed=feed.identity.feed)
        complete = produce(
            feed._replace(ticks=recorded(ticks, options.record)),
            framer=framer,
            writer=writer,
            lease=lease,
            stop=stop,
            on_progress=on_progress,
        )
        if left_behind is not None:
            left_behind.wait(stop)
        return complete


def _spool_dir(where: Place, options: ProducerOptions) -> Path:
    return options.spool_dir or (where.data_dir or default_data_dir()) / "spool"


def _spool_target(where: Place, feed: Feed, options: ProducerOptions) -> SpoolTarget:
    return SpoolTarget(where.servers.redis_url, where.servers.database_url, len(feed.numbers), options.max_lag_ticks)


def _make_writer(
    where: Place, client: Client, feed: Feed, options: ProducerOptions, stop: Stop, opened: ExitStack
) -> Writer:
    """Make a writer; for a live feed with a spool, because its source cannot wait."""
    name, numbers, lag = feed.identity.producer, feed.numbers, options.max_lag_ticks
    wait = VITALS.turning(stop.wait)
    if feed.identity.kind != "live" or not options.spool_max_bytes:
        return StreamWriter(client, name, done=numbers, wait=wait, max_lag=lag)
    spool = opened.enter_context(Spool(_spool_dir(where, options) / name, max_bytes=options.spool_max_bytes))
    return SpooledWriter(client, name, done=numbers, wait=wait, max_lag=lag, spool=spool)


def has_undetected_bars(where: Place) -> bool:
    """Tell whether committed bars wait for detection."""
    return with_postgres(where, _NAME, _has_undetected_bars)


def _has_undetected_bars(connection: Connection) -> bool:
    return _undetected_bars(connection) != 0


def _undetected_bars(connection: Connection) -> int:
    (waiting,) = connection.execute(query("undetected_bars")).fetchone() or (0,)
    return int(waiting or 0)


def wait_for_detectors(where: Place, stop: Stop, on_undetected: Callable[[int], None]) -> bool:
    """Wait until no committed bar waits for detection; return False if stopped before."""
    with open_postgres(where, name=_NAME) as connection:
        while waiting := _undetected_bars(connection):
            on_undetected(waiting)
            if stop.wait(0.05):
                return False
    on_undetected(0)
    return True
