"""Redis with little memory: the producer waits, the workers drain, and nothing is lost."""

import csv
import os

import psycopg
import redis
from processes import Process

SYMBOLS = [f"S{n:03d}" for n in range(40)]
TICKS = 400_000


def write_trades(file):
    """Write trades whose sizes compress badly; return the sum of the sizes."""
    total = 0
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("ticker", "price", "size", "sip_timestamp"))
        for n in range(TICKS):
            size = n * 7919 % 99_991 + 1
            total += size
            price = 10 + n * 104_729 % 1_000_003 / 1000
            rows.writerow((SYMBOLS[n % 40], price, size, 1_381_152_600_000_000_000 + n * 1_000_000))
    return total


def test_a_replay_larger_than_redis_memory_comes_through_whole(migrated_servers, tickstock, tmp_path):
    total = write_trades(tmp_path / "trades.csv")
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        before = client.info("memory")["used_memory"]
        client.config_set("maxmemory", before + 3_000_000)
        try:
            ran = tickstock("replay", tmp_path / "trades.csv", "--workers", 1, servers=migrated_servers, within_s=120)
        finally:
            client.config_set("maxmemory", 0)
    assert ran.returncode == 0, ran.stderr
    with psycopg.connect(migrated_servers.database_url) as connection:
        assert connection.execute("SELECT sum(trade_count), sum(volume) FROM ohlcv_1min").fetchone() == (TICKS, total)


def test_a_live_feed_comes_through_a_redis_that_is_out_of_memory(migrated_servers, wait_for, tmp_path):
    environment = {"REDIS_URL": migrated_servers.redis_url, "DATABASE_URL": migrated_servers.database_url} | {
        "TICKSTOCK_SPOOL_DIR": os.environ["TICKSTOCK_SPOOL_DIR"]
    }
    with (
        redis.Redis.from_url(migrated_servers.redis_url) as client,
        psycopg.connect(migrated_servers.database_url, autocommit=True) as connection,
        (tmp_path / "log").open("wb") as log,
        (tmp_path / "producer.log").open("wb") as producers_log,
    ):
        started = [Process(["worker", "--consumer", "w"], env=environment, stdout=log, stderr=log)]
        try:
            # The market lasts for six seconds: the worker must be at work before.
            owned = "SELECT 1 FROM lease WHERE unit = 'partition:0' AND owner = 'w'"
            wait_for(lambda: connection.execute(owned).fetchone())
            market = ("--source", "synthetic", "--rate", "2000", "--seconds", "6")
            producer = Process(["producer", *market], env=environment, stdout=producers_log, stderr=producers_log)
            started.append(producer)
            applied = "SELECT coalesce(sum(applied), 0)::bigint FROM ledger"
            wait_for(lambda: connection.execute(applied).fetchone() > (1000,))
            client.config_set("maxmemory", 1)  # every write is refused from here on
            wait_for(lambda: b"ticks go to the spool" in (tmp_path / "producer.log").read_bytes())
            client.config_set("maxmemory", 0)
            assert producer.wait(120) == 0
            ledger = connection.execute("SELECT sum(ticks_in)::bigint, sum(lost)::bigint FROM ledger").fetchone()
            assert ledger == (12_000, 0)
        finally:
            client.config_set("maxmemory", 0)
            for process in started:
                process.terminate()
            codes = [process.wait(60) for process in started]
        assert codes == [0, 0], (tmp_path / "log").read_text()
