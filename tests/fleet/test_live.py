"""A live feed with all its troubles: late, disordered, empty, refused and future ticks, and hosts whose clocks lie."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import polars as pl
import psycopg
import pytest

MINUTE_NS = 60_000_000_000
TROUBLES = (
    "--disorder-ms", "400", "--late-share", "0.02", "--zero-share", "0.02", "--bad-share", "0.01",
    "--repeat-share", "0.05", "--future-ticks", "1",
)  # fmt: skip

# What a host with a wrong clock sees: every way to ask Python for the time of day is an hour off.
WRONG_CLOCK = """
import sys, time
real_time, real_time_ns = time.time, time.time_ns
time.time = lambda: real_time() + {hours} * 3600
time.time_ns = lambda: real_time_ns() + {hours} * 3600 * 10**9
from tickstockpl.ops.entry import every_command
every_command()
"""


def start(servers, log, *arguments, clock_hours=0):
    environment = os.environ | {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
    return subprocess.Popen(
        [sys.executable, "-c", WRONG_CLOCK.format(hours=clock_hours), *arguments],
        env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def session(module_servers, tmp_path_factory, wait_for):
    """Run 20 s of a live market into two workers; one's clock is an hour slow, the producer's an hour fast."""
    folder = tmp_path_factory.mktemp("live")
    ticks = folder / "ticks.csv"
    with (
        (folder / "log").open("wb") as log,
        psycopg.connect(module_servers.database_url, autocommit=True) as connection,
    ):
        workers = [start(module_servers, log, "worker", "--consumer", f"w{i}", clock_hours=-i) for i in range(2)]
        try:
            owned = "SELECT count(*) FROM lease WHERE unit LIKE 'partition:%' AND owner IS NOT NULL"
            wait_for(lambda: connection.execute(owned).fetchone() == (16,), 90)
            producer = start(
                module_servers, log, "producer", "--source", "synthetic", "--rate", "1000", "--seconds", "20",
                "--record", str(ticks), *TROUBLES, clock_hours=1,
            )  # fmt: skip
            assert producer.wait(180) == 0, (folder / "log").read_text()
            newest = pl.read_csv(ticks)["sip_timestamp"].sort()[-2]  # but for the one of next year
            closes_at = datetime.fromtimestamp((newest // MINUTE_NS + 1) * 60 + 1, UTC)
            # The last minute closes by the clock, in its own time.
            wait_for(lambda: datetime.now(UTC) > closes_at, 90)
            open_ticks = "SELECT sum(applied) FROM ledger"
            told = "SELECT sum(trade_count) FROM ohlcv_1min"
            wait_for(
                lambda: connection.execute(open_ticks).fetchone() == connection.execute(told).fetchone(),
                90,
            )
            yield connection, ticks
        finally:
            for worker in workers:
                worker.terminate()
            codes = [worker.wait(60) for worker in workers]
    assert codes == [0, 0], (folder / "log").read_text()


def recount(file):
    """Count the bars again, with another tool: polars, over the raw ticks in the order in which they came."""
    ticks = pl.read_csv(file).with_row_index("arrival").filter(pl.col("size") > 0)
    newest = ticks["sip_timestamp"].sort()[-1]
    ticks = ticks.filter(pl.col("sip_timestamp") < newest)  # the one of next year was refused
    return (
        ticks.with_columns(minute=pl.col("sip_timestamp") // MINUTE_NS)
        .sort("sip_timestamp", "arrival")
        .group_by("ticker", "minute", maintain_order=True)
        .agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            volume=pl.col("size").sum().round(6),
            trades=pl.len(),
        )
        .sort("ticker", "minute")
    )


def test_bars_equal_an_independent_recount_of_the_raw_ticks(session):
    connection, file = session
    expected = [tuple(row) for row in recount(file).iter_rows()]
    rows = connection.execute(
        "SELECT symbol, (extract(epoch FROM timestamp) / 60)::bigint, open::float8, high::float8, low::float8,"
        ' close::float8, volume::float8, trade_count FROM ohlcv_1min ORDER BY symbol COLLATE "C", timestamp'
    ).fetchall()
    assert len(rows) > 140  # 70 symbols, the current minute and late ticks of earlier ones
    assert rows == expected


def test_late_ticks_revise_bars_that_were_told_before(session):
    connection, _ = session
    (revised,) = connection.execute("SELECT count(*) FROM ohlcv_1min WHERE revision > 0").fetchone()
    assert revised > 0


def test_the_ledger_balances_and_counts_every_kind_of_trouble(session):
    connection, file = session
    names = ("ticks_in", "applied", "quote_or_zero", "refused", "future", "too_late", "superseded", "lost")
    sums = connection.execute(f"SELECT {', '.join(f'sum({name})::bigint' for name in names)} FROM ledger").fetchone()
    ledger = dict(zip(names, sums, strict=True))
    raw = pl.read_csv(file)
    zero = raw.filter(pl.col("size") == 0).height
    assert ledger["quote_or_zero"] == zero
    assert ledger["applied"] == raw.height - zero - 1
    assert ledger["refused"] > 0
    assert (ledger["future"], ledger["too_late"], ledger["superseded"], ledger["lost"]) == (1, 0, 0, 0)
    assert ledger["ticks_in"] == raw.height + ledger["refused"]


def test_every_refused_tick_is_a_dead_letter_with_its_reason(session):
    connection, _ = session
    (refused,) = connection.execute("SELECT sum(refused + future) FROM ledger").fetchone()
    reasons = dict(connection.execute("SELECT reason, count(*) FROM dead_letter GROUP BY reason").fetchall())
    assert sum(reasons.values()) == refused
    assert reasons["future"] == 1
    assert {"not_json", "symbol", "price", "size", "timestamp"} <= reasons.keys()
