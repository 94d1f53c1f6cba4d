"""A day of the synthetic market as a flat file holds the very ticks that the market has."""

import gzip

import numpy as np
import pytest
from click.testing import CliRunner
from tickstockpl.contracts.ticks import concat
from tickstockpl.ops.cli.tickstock_command import tickstock
from tickstockpl.producer.replay import ReplaySource
from tickstockpl.producer.synthetic import Market, SyntheticSource

HEADER = (
    "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,"
    "trf_id,trf_timestamp"
)


def sample(file, *arguments):
    return CliRunner().invoke(tickstock, ["sample", str(file), *arguments])


@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz"])
def test_a_sample_is_replayed_as_the_market_that_it_was_made_of(tmp_path, name):
    said = sample(tmp_path / name, "--seconds", "120", "--symbols", "5", "--rate", "50")
    assert said.exit_code == 0, said.output
    assert said.output.startswith("6,000 trades of 5 symbols, ")
    read = concat(ReplaySource([tmp_path / name]))
    market = Market(symbols=5, rate=50.0, chunk_ns=60 * 10**9)
    made = concat([chunk.ticks for chunk in SyntheticSource(market, seconds=120)])
    assert not read.refused
    assert np.array(read.symbols)[read.symbol_index].tolist() == np.array(made.symbols)[made.symbol_index].tolist()
    assert read.ts.tolist() == made.ts.tolist()
    assert read.price.tolist() == made.price.tolist()
    assert read.size.tolist() == made.size.tolist()


def test_a_sample_s_first_line_is_the_vendor_s_and_its_day_begins_when_new_york_opens(tmp_path):
    assert sample(tmp_path / "day.csv", "--seconds", "1", "--day", "2026-01-05").exit_code == 0
    header, first, *_ = (tmp_path / "day.csv").read_text().splitlines()
    assert header == HEADER
    assert first.split(",")[8][:10] == "1767623400"  # 2026-01-05 09:30 in New York, 14:30 UTC


def test_the_same_options_give_the_same_file(tmp_path):
    for name in ("a.csv.gz", "b.csv.gz"):
        sample(tmp_path / name, "--seconds", "2")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).splitlines()) == 41


def test_a_folder_that_is_not_there_is_refused_before_any_work(tmp_path):
    said = sample(tmp_path / "none" / "day.csv")
    assert said.exit_code == 2
    assert "is not a folder" in said.stderr
