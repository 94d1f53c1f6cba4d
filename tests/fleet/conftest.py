"""Trades for the fault tests that no file outside is needed for."""

import random

import pytest

from .. import conftest

OPENING_NS = 1_381_152_600_000_000_000  # 2013-10-07 13:30 UTC
TICKS = 12_000
HALF_HOUR_MS = 30 * 60_000
SYMBOLS = ("AIG", "BAC", "IBM", "SPY", "BRK.B")


@pytest.fixture(scope="session")
def trades(tmp_path_factory):
    """Write half an hour of trades in whole cents; return the flat file and the number of its rows.

    A third of them share their millisecond with another: there the order in the file decides open and close.
    """
    numbers = random.Random(20131007)
    file = tmp_path_factory.mktemp("trades") / "trades.csv"
    with file.open("w") as out:
        out.write("ticker,correction,price,sip_timestamp,size\n")
        for at_ms in sorted(numbers.randrange(HALF_HOUR_MS) // 3 * 3 for _ in range(TICKS)):
            price, size = numbers.randrange(9_000, 11_000) / 100, numbers.randrange(1, 500)
            out.write(f"{numbers.choice(SYMBOLS)},0,{price},{OPENING_NS + at_ms * 1_000_000},{size}\n")
    return file, TICKS


@pytest.fixture
def own_servers():
    """Give servers that nobody else uses, and their folder: these are killed."""
    with conftest.own_servers() as started:
        yield started
