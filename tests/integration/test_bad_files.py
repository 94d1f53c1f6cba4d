"""Files that are none, and rows that do not parse."""

import re

import pytest
import redis
from tickstockpl.contracts.names import DEAD_LETTERS
from tickstockpl.contracts.settings import Servers

from .one_stream import bars, dead_letters, ledger

HEADER = "ticker,price,sip_timestamp,size"
NOON = 1_381_147_200_000_000_000  # 2013-10-07T12:00:00Z


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.csv", None, "No such file or directory"),
        ("folder", "a folder", "Is a directory"),
        ("empty.csv", b"", "empty"),
        (
            "other.csv",
            b"date,open,close\n",
            "not a trade flat file: its first line lacks ticker, price, size, sip_timestamp",
        ),
        ("twice.csv", b"ticker,price,size,sip_timestamp,price\n", "its first line names price twice"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", "broken or cut off"),
    ],
)
@pytest.mark.parametrize("command", [("replay",), ("producer", "--source", "replay")])
def test_a_file_that_is_none_ends_the_command_with_one_clear_line(tmp_path, tickstock, command, name, content, said):
    file = tmp_path / name
    if content == "a folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    ran = tickstock(*command, file, servers=Servers("redis://127.0.0.1:1/0", "postgresql://127.0.0.1:1/none"))
    assert ran.returncode == 2
    assert re.fullmatch(f"Error: {re.escape(str(file))}: .*{re.escape(said)}.*\n", ran.stderr)


def test_a_row_that_does_not_parse_is_a_dead_letter_with_file_and_line(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    rows = [f"IBM,182.5,{NOON},100", "IBM,182.5", f"IBM,-1,{NOON},100", f",1,{NOON},1", f"IBM,182.6,{NOON},50"]
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    ran = tickstock("replay", file, "--workers", "1", "--partitions", "2", servers=migrated_servers)
    assert ran.returncode == 0, ran.stderr
    found = dead_letters(migrated_servers)
    assert {(reason, detail.split(": ")[0], original) for _, reason, detail, original in found} == {
        ("bad_row", f"{file}:3", b"IBM,182.5"),
        ("price", f"{file}:4", f"IBM,-1,{NOON},100".encode()),
        ("symbol", f"{file}:5", f",1,{NOON},1".encode()),
    }
    assert ledger(migrated_servers) == {"ticks_in": 5, "applied": 2, "refused": 3}
    assert bars(migrated_servers) == [("IBM", 182.5, 182.6, 150)]


def test_a_dead_letter_stands_in_redis_too(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    file.write_text(f"{HEADER}\nIBM,0,{NOON},100\nIBM,5,{NOON},1\n")
    assert tickstock("replay", file, "--workers", "1", servers=migrated_servers).returncode == 0
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        ((_, letter),) = client.xrange(DEAD_LETTERS)
    assert letter[b"reason"] == b"price"
    assert letter[b"detail"].startswith(f"{file}:2: ".encode())
    assert letter[b"original"] == f"IBM,0,{NOON},100".encode()
    assert letter[b"producer"].startswith(b"replay-")
