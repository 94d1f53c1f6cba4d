"""Sends the spools of dead live producers under their names and numbers, then their end frames, in threads."""

import threading
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import psycopg
import structlog
from redis.exceptions import RedisError, ResponseError

from ...contracts.errors import LeaseTaken, ServerAway, SetupError, TickStockError, first_line
from ...contracts.frames.frame import decode
from ...contracts.frames.maker import Identity, make_frame
from ...contracts.gap import OnGap
from ...contracts.gap_reasons import SPOOL_TOO_OLD
from ...contracts.stop import Stop
from ...contracts.ticks import Ticks
from ...db import redis
from ...db.backoff import Backoff
from ...db.outage import server_of
from ...db.postgres import connect
from ...db.queries import query
from ...db.redis import Client
from ...db.streams.flow import read_flows
from ...db.vitals import VITALS
from ...db.world import REAL, World
from ..framer import Numbered
from ..producer_lease import ProducerLease
from .spool import Spool
from .spooled_writer import SpooledWriter

log = structlog.get_logger()

# Each waits for two commits. Without threads, a hundred dead producers would take two hundred seconds.
_AT_ONCE = 8
_FORGOTTEN_AFTER_S = (
    23 * 3600.0
)  # workers forget a producer's numbers after 24 h; after that its frames would count a second time


class SpoolTarget(NamedTuple):
    """The servers to which the frames are sent. Addresses, because each thread opens its own connections."""

    redis_url: str
    database_url: str
    partitions: int
    max_lag: int


class LeftBehind:
    """Sends spools in a thread, while the new feed runs."""

    def __init__(self, spool_dir: Path, target: SpoolTarget, stop: Stop, on_gap: OnGap) -> None:
        """spool_dir: has a folder for each producer. A folder that a process has locked is in use, not left behind."""
        self._thread = threading.Thread(
            target=send_left_behind, args=(spool_dir, target, stop, on_gap), name="left-behind", daemon=True
        )

    def start(self) -> None:
        """Look for spools and send them."""
        self._thread.start()

    def wait(self, stop: Stop) -> None:
        """Wait until all are sent and committed, or until the stop: the next start continues."""
        while self._thread.is_alive() and not stop.is_set():
            VITALS.turn()
            self._thread.join(0.05)


def send_left_behind(spool_dir: Path, target: SpoolTarget, stop: Stop, on_gap: OnGap, *, world: World = REAL) -> None:
    """Send each spool of a dead producer; the next start sends what cannot be sent now."""
    folders: SimpleQueue[Path] = SimpleQueue()
    for folder in sorted(path for path in spool_dir.glob("*") if path.is_dir()):
        folders.put(folder)
    senders = [
        threading.Thread(
            target=_send_each, args=(folders, target, stop, on_gap, world), name="left-behind", daemon=True
        )
        for _ in range(min(_AT_ONCE, folders.qsize()))
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def _send_each(folders: "SimpleQueue[Path]", target: SpoolTarget, stop: Stop, on_gap: OnGap, world: World) -> None:
    while not stop.is_set():
        try:
            folder = folders.get_nowait()
        except Empty:
            return
        try:
            with Spool(folder, max_bytes=1) as spool:
                if not spool.is_empty:
                    _send_until_done(spool, target, stop, on_gap, world)
        except SetupError as e:  # its producer lives
            log.debug("spool not taken", why=str(e))
        except (TickStockError, psycopg.Error, RedisError, OSError) as e:
            log.warning("spool left behind", spool=str(folder), why=str(e).strip(), do="the next start tries again")


def _send_until_done(spool: Spool, target: SpoolTarget, stop: Stop, on_gap: OnGap, world: World) -> None:
    backoff = Backoff(world)
    while not stop.is_set():
        try:
            _send(spool, target, stop, on_gap, world)
            return
        except LeaseTaken:
            return  # stopped while waiting for it
        except (ServerAway, psycopg.OperationalError, *redis.AWAY) as e:
            log.debug("server away", server=server_of(e), why=first_line(e))  # the new feed's own thread warns of it
            world.wait(stop, backoff.pause_s())


def _send(spool: Spool, target: SpoolTarget, stop: Stop, on_gap: OnGap, world: World) -> None:
    producer = spool.folder.name
    unit = f"producer:{producer}"
    heard_s = _last_heard_s(target, unit)
    if heard_s is None:
        log.warning("spool of another database: left alone", spool=str(spool.folder))
        return
    if heard_s > _FORGOTTEN_AFTER_S:
        _give_up(spool, on_gap)
        return
    identity = _identity(spool)
    if identity is None:
        return
    log.info("sending frames of a dead producer", producer=producer, bytes=spool.size)
    wait = partial(world.wait, stop)
    done = dict.fromkeys(range(target.partitions), 0)
    lease = ProducerLease(
        target.database_url, unit, f"{producer} left behind", wait=wait, partitions=target.partitions, world=world
    )
    client = redis.connect(target.redis_url)
    try:
        writer = SpooledWriter(client, producer, done=done, wait=wait, max_lag=target.max_lag, spool=spool, world=world)
        # The end frames may be in the spool already: an earlier sender may have written them before it was killed.
        if _advance(writer, lease, wait, lambda: writer.is_drained):
            writer.write(_end_frames(client, identity, writer, ended=_ended_partitions(target, producer)))
            if _advance(writer, lease, wait, lambda: writer.is_drained):
                writer.forget()
                log.info("frames of a dead producer are committed", producer=producer)
    finally:
        lease.release()
        client.close()


def _last_heard_s(target: SpoolTarget, unit: str) -> float | None:
    with connect(target.database_url, name="tickstock-producer") as connection:
        row = connection.execute(query("producer_last_heard"), {"unit": unit}).fetchone()
    return None if row is None else float(row[0])


def _give_up(spool: Spool, on_gap: OnGap) -> None:
    """Report frames that are too old to be sent as a gap, and delete them."""
    born_ms = []
    while frames := spool.read(1000):
        born_ms += [decode(frame.body).born_ms for frame in frames]
    log.error("spool too old to be sent", spool=str(spool.folder), frames=len(born_ms))
    if born_ms:
        on_gap(min(born_ms), max(born_ms), None, SPOOL_TOO_OLD)
    spool.clear()


def _advance(
    writer: SpooledWriter, lease: ProducerLease, wait: Callable[[float], bool], is_done: Callable[[], bool]
) -> bool:
    """Send until a condition is true; False if the process is stopped before."""
    while not is_done():
        writer.poll_if_due(every_s=0.1)
        lease.check()
        if wait(0.01):
            return False
    return True


def _identity(spool: Spool) -> Identity | None:
    """Return who made the frames, from the first of them; if no frame is whole, empty the spool and return None."""
    spool.rewind()
    first = spool.read(1)
    spool.rewind()
    if not first:
        spool.clear()
        return None
    frame = decode(first[0].body)
    return Identity(frame.producer, frame.feed, "live", delay_ms=frame.delay_ms)


def _ended_partitions(target: SpoolTarget, producer: str) -> set[int]:
    with connect(target.database_url, name="tickstock-producer") as connection:
        return {partition for (partition,) in connection.execute(query("ended_partitions"), {"producer": producer})}


def _end_frames(client: Client, identity: Identity, writer: SpooledWriter, *, ended: Collection[int]) -> list[Numbered]:
    """Make the producer's end frame, after its last number, in each partition without one.

    A second end frame would never be committed, and the wait for it would never end.
    """
    numbers = {p: number for p, number in writer.last_numbers().items() if p not in ended}
    frames = []
    for partition, flow in read_flows(client, identity.producer, list(numbers)).items():
        if isinstance(flow, ResponseError):
            raise flow
        last = max(numbers[partition], flow.sent_number)
        body = make_frame(identity, Ticks.empty(), "end", last, last + 1, writer.now_ms())
        frames.append(Numbered(partition, last, last + 1, body))
    return frames
