"""`python tests/bench/close_in_turn.py SYMBOLS CLOSES [LATE]`: processor time of closes, in one process in turn.

The worker's clock is moved by hand, so a busy machine changes little. LATE: late trades of each minute in the last
0.3 s before its close. A digest of what is in each table shows whether two versions find the same.
"""

import shutil
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from closing_market import never_stop, source_of
from latency import LatencyCase, fill_past
from place import Place, fresh_place
from stepped_worker import time_steps
from tickstockpl.contracts.bar import MINUTE_NS
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.spellings.timestamps import SECOND_NS
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.db import redis
from tickstockpl.db.postgres import Database
from tickstockpl.ops.embedded.servers import embedded_servers
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.sending.stream_writer import StreamWriter
from tickstockpl.workers.detect.definitions import seed_definitions
from tickstockpl.workers.worker import Worker
from tickstockpl.workers.worker_options import WorkerOptions

from tests.fake_world import HeldClock

PARTITIONS, WARM_UP = 16, 2
_WITHIN_S = 120.0
_DIGESTS = {
    "bars": "SELECT symbol, minute, open, high, low, close, volume_micro, notional, trades, revision FROM recent_bar",
    "patterns": "SELECT flow_id, symbol, pattern_type, confidence, pattern_data, levels FROM intraday_patterns",
    "indicators": "SELECT symbol, indicator_type, calculation_timestamp, value_data FROM intraday_indicators",
    "logged": "SELECT flow_id, checkpoint, channel, symbol, pattern_name, confidence FROM integration_events",
    "ledger": "SELECT partition, ticks_in, applied, refused, too_late, superseded, lost FROM ledger",
}


class _Never:
    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float) -> bool:
        del seconds
        return False


class CloseInTurn:
    """A worker on all partitions, and its market."""

    def __init__(self, place: Place, database: Database, case: LatencyCase) -> None:
        self._fake, self._client = HeldClock(), redis.connect(place.servers.redis_url)
        options = WorkerOptions("w", gather_ms=1)
        self.worker = Worker(
            options,
            database=database,
            client=self._client,
            redis_url=place.servers.redis_url,
            partitions=PARTITIONS,
            stop=_Never(),
            world=self._fake.world,
        )
        self._backend = database.connection.info.backend_pid
        self._source = source_of(case.symbols, case.rate)
        self._first = int(time.time()) // 3600 * 60 - 179  # so that five minutes end, but no hour
        fill_past(place, case, self._first)
        seed_definitions(place.database)
        done = dict.fromkeys(range(PARTITIONS), 0)
        self._writer = StreamWriter(self._client, "bench-1", done=done, wait=never_stop, max_lag=sys.maxsize)
        self._now_ms = 0
        self._framer = Framer(Identity("bench-1", "live", "live"), PARTITIONS, now_ms=lambda: self._now_ms)
        self._told: tuple[float, float] | None = None
        Worker.tell = self._noting(Worker.tell)  # type: ignore[method-assign]
        self.worker.join()
        self._until(lambda: len(self.worker._states) == PARTITIONS)

    def _noting(self, tell: Any) -> Any:
        def noted(worker: Worker, durable: Any) -> None:
            tell(worker, durable)
            if self._told is None and any(kind == "patterns" for plan in durable.plans for kind, _ in plan.messages):
                self._told = self._spent()

        return noted

    def close(self, number: int, late: int, begin: Any) -> tuple[float, float] | None:
        """Let a minute close; return the ms of the worker and of its backend until its patterns are in Redis."""
        minute, ticks = self._first + number, self._source.chunk(number).ticks
        within = ticks.ts % MINUTE_NS
        order, end_ns = np.argsort(within, kind="stable"), (minute + 1) * MINUTE_NS
        ticks = replace(ticks.take(order), ts=within[order] + minute * MINUTE_NS)
        self._send(ticks, end_ns + SECOND_NS // 10)
        self._turns(8, after_s=0.0)
        self._turns(12, after_s=0.15)
        if late:
            rows = np.sort(np.random.default_rng(number).choice(len(ticks), late, replace=False))
            self._send(ticks.take(rows), end_ns + SECOND_NS * 3 // 10)
            self._turns(3, after_s=0.0)
        self._until(self._is_idle)
        begin()
        before, self._told = self._spent(), None
        self._turns(1, after_s=0.4)
        told = self._told
        self._until(self._is_idle)
        return None if told is None else (1000 * (told[0] - before[0]), 1000 * (told[1] - before[1]))

    def _send(self, ticks: Ticks, at_ns: int) -> None:
        self._now_ms = self._writer.now_ms()
        self._framer.identity = replace(self._framer.identity, delay_ms=self._now_ms - at_ns // 1_000_000)
        self._writer.write([*self._framer.add(ticks), *self._framer.flush()])

    def _turns(self, count: int, *, after_s: float) -> None:
        self._fake.now_s += after_s
        self.worker._clock._ahead_ns = None  # compared again with Redis's clock, which was not moved
        for _ in range(count):
            self.worker.turn()

    def _until(self, condition: Any) -> None:
        deadline = time.monotonic() + _WITHIN_S
        while not condition():
            self.worker.turn()
            if time.monotonic() > deadline:
                raise TimeoutError(f"did not happen within {_WITHIN_S} s")

    def _is_idle(self) -> bool:
        return not any(len(state.marks) for state in self.worker._states.values())

    def _spent(self) -> tuple[float, float]:
        backend_ns = int(Path(f"/proc/{self._backend}/schedstat").read_text().split()[0])
        return time.thread_time(), backend_ns / 1e9


def main() -> None:
    """Print medians over the closes, the steps of the last one with its indicators, and the digests."""
    symbols, closes, late = (int(value) for value in (*sys.argv[1:], "0")[:3])
    spent: dict[str, list[float]] = {}
    time_steps(spent)

    def begin() -> None:
        for total in spent.values():
            total[:] = [0, 0.0, 0.0]

    folder = Path(tempfile.mkdtemp(prefix="tickstock-bench-"))
    folder.chmod(0o711)  # PostgreSQL's own account passes through
    try:
        with (
            embedded_servers(folder / "data", log=lambda _: None) as servers,
            fresh_place(servers, PARTITIONS) as place,
        ):
            database = Database(place.servers.database_url, name="tickstock-worker w", main_loop=True, by_keys=True)
            with closing(database):
                case = CloseInTurn(place, database, LatencyCase(symbols, closes))
                measured = [case.close(number, late, begin) for number in range(closes + WARM_UP)][WARM_UP:]
            some = [one for one in measured if one is not None]
            worker_ms, backend_ms = (statistics.median(one[i] for one in some) for i in (0, 1))
            lines = [
                f"{len(some)} closes, to their patterns: worker {worker_ms:.1f} ms, PostgreSQL {backend_ms:.1f} ms"
            ]
            steps = sorted(spent.items(), key=lambda step: -step[1][2])
            lines += [f"{name}: {1000 * cpu_s:.1f} ms" for name, (_, _, cpu_s) in steps if cpu_s > 0.0005]
            for name, statement in _DIGESTS.items():
                digest = f"SELECT count(*), md5(string_agg(x::text, '|' ORDER BY x::text)) FROM ({statement}) AS x"
                lines.append(f"{name}: {place.database.execute(digest).fetchone()}")
    finally:
        shutil.rmtree(folder)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
