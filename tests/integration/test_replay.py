import gzip
import os
import random
from pathlib import Path

import polars as pl
import psycopg
import pytest

FIELDS = ("open", "high", "low", "close", "volume", "trade_count")
SPELLED = (
    {"symbol": pl.String, "timestamp": pl.String}
    | dict.fromkeys(FIELDS, pl.Float64)
    | {"vwap": pl.Float64, "provenance": pl.String}
)


@pytest.fixture(scope="module")
def real():
    folder = os.environ.get("TICKSTOCK_TEST_DATA")
    if not folder:
        pytest.skip("TICKSTOCK_TEST_DATA does not name a folder with flat files")
    return Path(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write a flat file of 5,000 trades of five symbols, ordered by time, with troubles of real ones; seeded."""
    file = tmp_path_factory.mktemp("made") / "made.csv"
    chance = random.Random(20_131_007)
    ts = 1_381_154_400_000_000_000
    lines = ["ticker,conditions,correction,exchange,price,sip_timestamp,size"]
    for _ in range(5_000):
        ts += chance.choice((0, 0, 1_000_000, 250_000_000, 999_000_000, 7_000_000_000))
        symbol = chance.choice(("A", "B", "BRK.B", "NA", "ZZZZ"))
        price, size = chance.randrange(100, 20_000) / 100, chance.choice(("100", "1", "0.25", "37.125"))
        correction = chance.choice(("0",) * 20 + ("1",))
        lines.append(f'{symbol},"12,37",{correction},4,{price},{ts},{size}')
    file.write_text("\n".join(lines) + "\n")
    return file


def oracle(file):
    """Count the bars of a flat file with polars."""
    minute = pl.from_epoch(pl.col("sip_timestamp"), time_unit="ns").dt.truncate("1m").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    price, size = pl.col("price"), pl.col("size")
    schema = {"ticker": pl.String, "conditions": pl.String, "size": pl.Float64, "price": pl.Float64}
    return (
        pl.read_csv(file, schema_overrides=schema, null_values=[])
        .filter(pl.col("correction") == 0)
        .group_by(pl.col("ticker").alias("symbol"), minute.alias("timestamp"), maintain_order=True)
        .agg(
            open=price.first(), high=price.max(), low=price.min(), close=price.last(), volume=size.sum(),
            trade_count=pl.len().cast(pl.Float64), vwap=(price * size).sum() / size.sum(),
        )
        .sort("symbol", "timestamp")
    )  # fmt: skip


def published(file):
    """Read the bars that came with the data."""
    return pl.read_csv(file, schema_overrides=SPELLED).rename({"timestamp_utc_iso": "timestamp"})


def grouped_by_ticker(file, folder):
    """Sort a flat file's lines stably by their ticker, as the vendor's own files are."""
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    header, *lines = text.splitlines(keepends=True)
    grouped = folder / "grouped.csv"
    grouped.write_bytes(header + b"".join(sorted(lines, key=lambda line: line.partition(b",")[0])))
    return grouped


def replay(tickstock, servers, file, *options):
    ran = tickstock("replay", file, "--trade-rules", "all", *options, servers=servers)
    assert ran.returncode == 0, ran.stderr
    return ran


def bars(tickstock, servers):
    """Read the bars as a user does."""
    ran = tickstock("bars", "--format", "csv", servers=servers)
    assert ran.returncode == 0, ran.stderr
    return pl.read_csv(ran.stdout.encode(), schema_overrides=SPELLED, null_values=[])


def assert_equal(found, expected):
    assert found.columns == ["symbol", "timestamp", *FIELDS, "vwap", "provenance"]
    exact = ["symbol", "timestamp", *FIELDS]
    assert found.select(exact).equals(expected.select(exact))
    assert ((found["vwap"] - expected["vwap"]).abs() <= 1e-9 * expected["vwap"]).all()


def options(workers, partitions, read_count, commit_ms):
    named = {"workers": workers, "partitions": partitions, "read-count": read_count, "commit-ms": commit_ms}
    return [text for name, value in named.items() for text in (f"--{name}", str(value))]


# (grouped, workers, partitions, read count, commit ms): any two values of any two columns meet in some row.
PAIRWISE = [
    (False, 1, 2, 7, 50),
    (False, 1, 2, 7, 1000),
    (False, 4, 16, 500, 50),
    (True, 1, 16, 500, 50),
    (True, 4, 2, 500, 1000),
    (True, 4, 16, 7, 1000),
]


@pytest.mark.parametrize(("grouped", "workers", "partitions", "read_count", "commit_ms"), PAIRWISE)
def test_a_small_day_becomes_the_bars_of_an_independent_count(
    made, grouped, workers, partitions, read_count, commit_ms, *, tickstock, migrated_servers, tmp_path
):
    file = grouped_by_ticker(made, tmp_path) if grouped else made
    replay(tickstock, migrated_servers, file, *options(workers, partitions, read_count, commit_ms))
    assert_equal(bars(tickstock, migrated_servers), oracle(made))


@pytest.mark.parametrize(
    ("day", "grouped", "workers", "partitions", "read_count", "commit_ms"),
    [
        pytest.param("2013-10-07", False, 4, 16, 500, 1000, marks=pytest.mark.slow),
        ("2013-10-07", True, 1, 2, 7, 50),
        pytest.param("2013-10-08", False, 1, 2, 500, 50, marks=pytest.mark.slow),
        ("2013-10-08", True, 4, 16, 7, 1000),
    ],
)
def test_a_real_day_becomes_its_published_bars(
    real, day, grouped, workers, partitions, read_count, commit_ms, *, tickstock, migrated_servers, tmp_path
):
    file = real / f"{day}.csv.gz"
    file = grouped_by_ticker(file, tmp_path) if grouped else file
    replay(tickstock, migrated_servers, file, *options(workers, partitions, read_count, commit_ms))
    assert_equal(bars(tickstock, migrated_servers), published(real / f"bars_strict_{day}.csv"))


@pytest.mark.parametrize("grouped", [False, True])
def test_half_an_hour_of_one_symbol_becomes_its_published_bars(real, grouped, *, tickstock, migrated_servers, tmp_path):
    file = real / "tiny_IBM_2013-10-07.csv"
    replay(tickstock, migrated_servers, grouped_by_ticker(file, tmp_path) if grouped else file)
    expected = published(real / "tiny_IBM_2013-10-07_bars_strict.csv")
    assert len(expected) == 30
    assert_equal(bars(tickstock, migrated_servers), expected)


def rows(servers):
    """Read every bar with the transaction that wrote it."""
    with psycopg.connect(servers.database_url) as connection:
        return connection.execute('SELECT xmin, * FROM ohlcv_1min ORDER BY symbol, "timestamp"').fetchall()


def test_the_same_file_again_changes_no_row(made, tickstock, migrated_servers):
    replay(tickstock, migrated_servers, made)
    before = rows(migrated_servers)
    assert "replayed already" in replay(tickstock, migrated_servers, made).stderr
    assert rows(migrated_servers) == before


def test_the_same_file_once_more_by_force_changes_no_row(made, tickstock, migrated_servers):
    replay(tickstock, migrated_servers, made, "--commit-ms", "50")
    before = rows(migrated_servers)
    replay(tickstock, migrated_servers, made, "--again", "--read-count", "7")
    assert rows(migrated_servers) == before


def test_the_same_trades_in_another_order_of_symbols_change_no_row(made, tickstock, migrated_servers, tmp_path):
    replay(tickstock, migrated_servers, made)
    before = rows(migrated_servers)
    replay(tickstock, migrated_servers, grouped_by_ticker(made, tmp_path))
    assert rows(migrated_servers) == before


def test_rows_with_a_correction_are_left_out_and_counted(made, tickstock, migrated_servers):
    corrected = sum(line.split(",")[3] == "1" for line in made.read_text().splitlines()[1:])
    said = replay(tickstock, migrated_servers, made).stdout
    assert f"{corrected:,} rows with a correction were left out" in said
    assert f"{5_000 - corrected:,} ticks in" in said
