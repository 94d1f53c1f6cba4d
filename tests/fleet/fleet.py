"""Whole processes for the fault tests: start them, kill them, wait for what they do, look at what they left."""

import json
import os
import signal
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import processes
import psycopg
import redis
from tickstockpl.contracts.names import GROUP, results_key, stream_key
from tickstockpl.db import postgres
from tickstockpl.db.queries import query
from tickstockpl.db.schema.migrate import migrate, open_stream
from tickstockpl.ops.audit.ledger import read_ledger
from tickstockpl.workers.detect.definitions import seed_definitions
from waits import KeptConnection, looks

from .background import AWAY

BAR_FIELDS = ("open", "high", "low", "close", "volume", "trade_count")


def wait_for(condition, deadline_s, what="the condition"):
    """Wait until a condition holds and return its value; a server that is away, also one of ours, counts as not yet.

    deadline_s: at least a minute is given, for a busy machine: where the condition comes, that costs nothing.
    what: is waited for, or a function that says it when the wait was in vain.
    """
    deadline_s = max(deadline_s, 60)
    away = ""
    for _ in looks(deadline_s):
        try:
            if result := condition():
                return result
        except AWAY as e:
            away = e
    raise AssertionError(f"waited {deadline_s} s in vain for {what() if callable(what) else what} {away}")


class Fleet:
    """The processes of one test on one pair of servers; each one's output goes to a file of its name."""

    def __init__(self, servers, folder, *, partitions=16, client=None):
        self.servers = servers
        self.folder = Path(folder)
        self.partitions = partitions
        self.processes = {}
        self.redis = client or redis.Redis.from_url(servers.redis_url)
        self._database = KeptConnection(servers.database_url)
        with postgres.connect(servers.database_url, name="test") as connection:
            migrate(connection)
            open_stream(connection, partitions)

    def start(self, name, *arguments, program=processes.OPS, servers=None):
        """Start a command of ours, or a script, under a name of the test, on the test's servers or on a way to them."""
        with self.log_file(name).open("ab") as log:
            self.processes[name] = processes.Process(
                arguments, env=self.environment(servers), stdout=log, stderr=log, program=program
            )
        return self.processes[name]

    def environment(self, servers=None):
        servers = servers or self.servers
        return os.environ | {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}

    def start_worker(self, name, *options, **how):
        return self.start(name, "worker", "--consumer", name, *options, **how)

    def start_replay(self, name, files, *options, **how):
        return self.start(name, "producer", "--source", "replay", "--trade-rules", "all", *options, *files, **how)

    def kill(self, name):
        """SIGKILL, and wait until the process is gone."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, name, deadline_s=60):
        """SIGTERM, and return the exit code."""
        self.processes[name].terminate()
        return self.processes[name].wait(deadline_s)

    def end(self):
        """Leave no process, whatever happened."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self._database.close()
        self.redis.close()

    def log_file(self, name):
        return self.folder / f"{name}.log"

    def logs(self):
        """Return the end of every process's output: an assertion's second half."""
        return "\n".join(f"-- {file.name}\n{file.read_text()[-4000:]}" for file in sorted(self.folder.glob("*.log")))

    def exit_code(self, name, deadline_s):
        """Wait for a process's own end; another one that fails meanwhile fails the test."""
        process = self.processes[name]

        def has_ended():
            codes = {other: other_process.poll() or 0 for other, other_process in self.processes.items()}
            assert not any(code > 0 for other, code in codes.items() if other != name), (
                f"{codes}\n{self.logs()}"
            )  # a killed one has a negative code
            return process.poll() is not None

        wait_for(has_ended, deadline_s, lambda: f"the end of {name}\n{self.logs()}")
        return process.returncode

    # -- what the servers hold -------------------------------------------------------------------------------------

    def rows(self, statement, *values):
        return self._database.rows(statement, values)

    def let_dojis_stand_anywhere(self):
        """Find a Doji without a move that it ends: half an hour of random trades has no other pattern for sure."""
        with psycopg.connect(self.servers.database_url, autocommit=True) as connection:
            seed_definitions(connection)
            connection.execute(query("let_dojis_stand_anywhere"))

    def unacked(self, consumer):
        """Count the frames that a consumer has read and not acked, over all partitions."""
        pipeline = self.redis.pipeline(transaction=False)
        for p in range(self.partitions):
            pipeline.xpending_range(stream_key(p), GROUP, "-", "+", 1, consumername=consumer)
        replies = pipeline.execute(raise_on_error=False)
        return sum(len(reply) for reply in replies if isinstance(reply, list))

    def unacked_of_all(self):
        replies = (self.redis.xpending(stream_key(p), GROUP) for p in range(self.partitions))
        return sum(reply["pending"] for reply in replies)

    def owners(self):
        """Return how many partitions each living worker holds."""
        living = "starts_with(unit, 'partition:') AND expires_at > clock_timestamp()"
        return dict(self.rows(f"SELECT owner, count(*) FROM lease WHERE {living} GROUP BY owner"))

    def has_joined(self, name):
        return bool(self.rows("SELECT 1 FROM worker WHERE pid = %s", self.processes[name].pid))

    def waits_for_lock(self, application):
        """Tell whether a connection of this name waits for a lock."""
        where = "datname = current_database() AND application_name = %s AND wait_event_type = 'Lock'"
        return bool(self.rows(f"SELECT 1 FROM pg_stat_activity WHERE {where}", application))

    def end_leases_of(self, consumer):
        """Let a dead worker's leases end now, instead of after their time to live: only the test's wait is shorter."""
        self.rows("UPDATE lease SET expires_at = clock_timestamp() WHERE owner = %s", consumer)

    def bars(self):
        """Return every bar in the table, by (symbol, minute)."""
        columns = ", ".join(f"{name}::float8" for name in (*BAR_FIELDS, "vwap"))
        rows = self.rows(f'SELECT symbol, "timestamp", {columns} FROM ohlcv_1min')
        return {(symbol, at.astimezone(UTC)): values for symbol, at, *values in rows}

    def status(self):
        """Return what `tickstock status --json` says."""
        said = processes.run(["status", "--json"], env=self.environment(), within_s=60)
        assert said.returncode in (0, 1), said.stderr  # 1: something in the fleet is unhealthy just now
        return json.loads(said.stdout)

    def ledger(self):
        return self._database.look(read_ledger)

    def outbox(self, partition):
        return self.rows("SELECT number, kind, body FROM outbox WHERE partition = %s ORDER BY number", partition)

    def results(self, partition):
        """Read a results stream as the bridge would, past entries of strangers: [(outbox number, kind, body)]."""
        entries = self.redis.xrange(results_key(partition))
        ours = [(key, fields) for key, fields in entries if {b"kind", b"body"} <= fields.keys()]
        return [
            (int(key.partition(b"-")[0]), fields[b"kind"].decode(errors="replace"), fields[b"body"])
            for key, fields in ours
        ]


@contextmanager
def fleet_on(servers, folder, **how):
    """Give a fleet whose processes end with the block."""
    fleet = Fleet(servers, folder, **how)
    try:
        yield fleet
    finally:
        fleet.end()


# -- what must be true at the end --------------------------------------------------------------------------------------


def strict_bars(*files):
    """Read bars_strict_*.csv: bars by (symbol, minute)."""
    bars = {}
    for file in files:
        for row in pl.read_csv(file).iter_rows(named=True):
            at = datetime.fromisoformat(row["timestamp_utc_iso"])
            bars[row["symbol"], at] = [float(row[name]) for name in (*BAR_FIELDS, "vwap")]
    return bars


def recount(file):
    """Count the bars of a flat file with polars: the first and last row of a minute in file order open and close it."""
    minute = (pl.col("sip_timestamp") // 60_000_000_000 * 60).alias("minute")
    bars = (
        pl.read_csv(file, schema_overrides={"price": pl.Float64, "size": pl.Float64})
        .filter(pl.col("size") > 0)
        .group_by("ticker", minute)
        .agg(
            pl.col("price").sort_by("sip_timestamp", maintain_order=True).first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").sort_by("sip_timestamp", maintain_order=True).last().alias("close"),
            pl.col("size")
            .sum()
            .round(6)
            .alias("volume"),  # to the decimals that the feed has: a float sum adds its own
            pl.len().cast(pl.Float64).alias("trade_count"),
            ((pl.col("price") * pl.col("size")).sum() / pl.col("size").sum()).alias("vwap"),
        )
    )
    return {(symbol, datetime.fromtimestamp(at, UTC)): values for symbol, at, *values in bars.iter_rows()}


def assert_same_bars(found, expected):
    """Compare every row and field; vwap within 1e-9, because its sum depends on the order."""
    assert sorted(found.keys() ^ expected.keys())[:5] == [], f"{len(found)} bars, expected {len(expected)}"
    for key, values in expected.items():
        assert found[key][:-1] == values[:-1], key
        assert abs(found[key][-1] - values[-1]) <= 1e-9 * values[-1], key


def assert_ledger_balances(fleet, ticks_in):
    """Every tick is in the ledger once, and applied: nothing was lost, refused or counted twice."""
    rows = fleet.ledger()
    assert [row.gap for row in rows] == [0] * len(rows), rows
    assert [row.lost for row in rows] == [0] * len(rows), rows
    assert sum(row.ticks_in for row in rows) == ticks_in


def wait_until_detected(fleet):
    """Wait until no committed bar waits for its detectors."""
    wait_for(lambda: fleet.rows("SELECT sum(undetected) FROM checkpoint") == [(0,)], 90, "the detectors")


def assert_all_told(fleet):
    """Each outbox row stands in the results stream once, in order, under its number."""
    wait_until_detected(fleet)
    told = 0
    for partition in range(fleet.partitions):
        # Committed is not told yet: the worker sends it a moment later.
        wait_for(lambda p=partition: fleet.results(p) == fleet.outbox(p), 30, fleet.logs)
        outbox = fleet.outbox(partition)
        assert [number for number, _, _ in outbox] == list(range(1, len(outbox) + 1))
        told += len(outbox)
    assert told > 0
