"""A Redis whose clock steps while everything runs, by a library loaded before libc; PostgreSQL's stays right."""

import shutil
import subprocess
import threading
import time
from contextlib import closing

import pytest
import redis
from ports import free_port
from tickstockpl.contracts.names import FRONT_DOOR
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.embedded.programs import valkey_program
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.worker_options import WorkerOptions
from waits import KeptConnection

HOUR = 3600
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
int gettimeofday(struct timeval *tv, void *tz) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(tv, tz);
    long offset = 0;
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
    if (file) { if (fscanf(file, "%ld", &offset) != 1) offset = 0; fclose(file); }
    tv->tv_sec += offset;
    return result;
}
"""


class Clocked:
    """A Redis server whose clock is set by seconds in a file."""

    def __init__(self, folder):
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: the clock of one process cannot be set")
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(CLOCK)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._offset = folder / "offset"
        self.set(0)
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        env = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._offset)}
        command = [valkey_program(), "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes"]
        self._process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)

    def set(self, seconds):
        new = self._offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._offset)  # in one step: half of a number is another

    def close(self):
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture
def clocked(tmp_path, wait_for):
    server = Clocked(tmp_path)
    with redis.Redis.from_url(server.url) as client:
        wait_for(lambda: answers(client))
        yield server
    server.close()


def answers(client):
    try:
        return client.ping()
    except redis.RedisError:
        return False


def test_a_clock_that_steps_closes_no_bar_early_and_refuses_nothing(clocked, migrated_servers, wait_for):
    servers = Servers(clocked.url, migrated_servers.database_url)
    with postgres.connect(servers.database_url, name="test") as connection:
        open_stream(connection, 2)
    client, database = redis.Redis.from_url(servers.redis_url), KeptConnection(servers.database_url)
    stop, sent = threading.Event(), 0
    worker = make_worker(
        Place(servers, False, 5.0), WorkerOptions("w", commit_ms=50, gather_ms=10), partitions=None, stop=stop
    )
    thread = threading.Thread(target=worker.run)
    thread.start()

    def send(count):
        nonlocal sent
        for _ in range(count):
            client.xadd(FRONT_DOOR, {"symbol": "IBM", "price": "10", "volume": "1", "timestamp": repr(time.time())})
            sent += 1
        wait_for(lambda: ledger(database)[0] == sent)

    with client, closing(database), worker._client, closing(worker._database):
        try:
            send(5)
            for seconds in (HOUR, 0, -HOUR, 0, -HOUR, 0, HOUR, 0):
                clocked.set(seconds)
                wait_for(lambda at=seconds: abs(client.time()[0] - time.time() - at) < 30)
                for _ in range(10):  # rounds of reads, in which a clock that ran ahead would close the minute
                    send(2)
                newest = newest_bar(database)  # looked for first: the minute may end meanwhile
                assert newest is None or newest < int(time.time()) // 60
            assert ledger(database) == (165, 165)
            last_minute = int(time.time()) // 60
            wait_for(lambda: (newest_bar(database) or 0) >= last_minute, 90)
        finally:
            stop.set()
            thread.join(60)


def ledger(database):
    return database.rows("SELECT coalesce(sum(ticks_in), 0)::int, coalesce(sum(applied), 0)::int FROM ledger")[0]


def newest_bar(database):
    """Return the minute of the newest bar, in minutes since 1970; None if there is none."""
    return database.rows('SELECT (extract(epoch FROM max("timestamp")) / 60)::bigint FROM ohlcv_1min')[0][0]
