"""A worker with little memory for histories finds, bit for bit, what one with much finds."""

import random

import pytest

from .fleet import fleet_on
from .test_detection_after_kill import FOUND, OPENING_S, found, prepare

SYMBOLS = [f"S{n}" for n in range(80)]
MINUTES = 100  # 80 symbols x 5 timeframes: some 2 MB of histories


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Write a random walk of many symbols. Seeded."""
    numbers = random.Random(5)
    prices = {symbol: 40.0 + n for n, symbol in enumerate(SYMBOLS)}
    file = tmp_path_factory.mktemp("market") / "market.csv"
    with file.open("w") as out:
        out.write("ticker,price,sip_timestamp,size\n")
        for minute in range(MINUTES):
            for second in (3, 30, 57):
                for symbol in SYMBOLS:
                    prices[symbol] = round(prices[symbol] + numbers.gauss(0, 0.05), 4)
                    at = (OPENING_S + minute * 60 + second) * 10**9
                    out.write(f"{symbol},{prices[symbol]},{at},{numbers.choice([1, 2.5, 300])}\n")
    return file


def findings(servers, folder, file, *options):
    with fleet_on(servers, folder, partitions=2) as fleet:
        prepare(fleet)
        # Only two of them, so that the test is about histories and not about rows.
        fleet.rows("UPDATE indicator_definitions SET enabled = name IN ('RSI', 'VWAP')")
        fleet.start_replay("producer", [file])
        fleet.start_worker("worker", *options)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        return found(fleet)


def test_findings_with_a_megabyte_for_histories_are_those_with_plenty(
    migrated_servers, module_servers, tmp_path, market
):
    (tmp_path / "little").mkdir()
    plenty = findings(module_servers, tmp_path, market, "--history-mb", "1000")
    little = findings(migrated_servers, tmp_path / "little", market, "--history-mb", "1")
    assert len(plenty[0]) > 8_000
    assert len(plenty[1]) > 50
    for statement, here, there in zip(FOUND, little, plenty, strict=True):
        assert here == there, statement
