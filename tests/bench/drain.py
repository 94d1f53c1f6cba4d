"""(a) the frames read and acked, and no more; (b) one worker, from the same frames to committed bars."""

import time
from dataclasses import dataclass

import psutil
from fill import Filled
from place import Place, running, wait_for
from tickstockpl.contracts.names import stream_key

_WITHIN_S = 600.0


@dataclass(frozen=True)
class Drained:
    """One drain. cpu_s: user and system time of the drainer; its servers' time stands beside it."""

    ticks: int
    seconds: float
    cpu_s: float
    redis_cpu_s: float
    postgres_cpu_s: float = 0.0
    bars: int = 0
    commits: int = 0
    resident_mb: float = 0.0

    @property
    def rate(self) -> float:
        """Ticks a second of wall time."""
        return self.ticks / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Ticks a second of the drainer's own processor time."""
        return self.ticks / self.cpu_s


def raw_drain(place: Place, filled: Filled, *, entries: int = 32) -> Drained:
    """XREADGROUP and XACK of every frame, in reads as large as the worker's, through a group that is dropped again."""
    group = "bench-raw"
    keys = [stream_key(p) for p in range(place.partitions)]
    for key in keys:
        place.client.xgroup_create(key, group, id="0")
    read = ("XREADGROUP", "GROUP", group, "bench", "COUNT", entries, "STREAMS", *keys, *([">"] * len(keys)))
    redis_before, cpu_before, started = _redis_cpu_s(place), time.process_time(), time.perf_counter()
    while reply := place.client.execute_command(*read):
        acks = place.client.pipeline(transaction=False)
        for key, rows in reply:
            acks.xack(key, group, *[entry_id for entry_id, _ in rows])
        acks.execute()
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_before
    redis_cpu_s = _redis_cpu_s(place) - redis_before
    for key in keys:
        place.client.xgroup_destroy(key, group)
    return Drained(filled.ticks, seconds, cpu_s, redis_cpu_s)


def worker_drain(place: Place, filled: Filled, *options: str) -> Drained:
    """Let one worker take the partitions and drain them; time starts when it holds the first one."""
    with running(place, "worker", "--consumer", "bench", *options) as process:
        worker = psutil.Process(process.pid)
        wait_for(lambda: has_partition(place), within_s=_WITHIN_S, every_s=0.002)
        backend = _backend(place)
        started, redis_before = time.perf_counter(), _redis_cpu_s(place)
        cpu_before, backend_before = _cpu_s(worker), _cpu_s(backend)
        wait_for(lambda: is_drained(place, filled.replay), within_s=_WITHIN_S)
        return Drained(
            filled.ticks,
            time.perf_counter() - started,
            _cpu_s(worker) - cpu_before,
            _redis_cpu_s(place) - redis_before,
            _cpu_s(backend) - backend_before,
            place.count("SELECT count(*) FROM ohlcv_1min"),
            place.count("SELECT commits FROM worker"),
            worker.memory_info().rss / 1e6,
        )


def has_partition(place: Place) -> bool:
    """Tell whether a worker has started to take partitions."""
    return place.count("SELECT count(*) FROM lease WHERE unit LIKE 'partition:%%' AND owner IS NOT NULL") > 0


def is_drained(place: Place, replay: str) -> bool:
    """Tell whether a replay's end is committed in every partition."""
    finished = place.count("SELECT count(*) FROM finished_replay WHERE replay = %s", replay)
    return finished == place.partitions and place.count("SELECT sum(undetected) FROM checkpoint") == 0


def _backend(place: Place) -> psutil.Process:
    return psutil.Process(
        place.count("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tickstock-worker%%'")
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _redis_cpu_s(place: Place) -> float:
    used = place.client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])
