"""A file appears under its name only when it is complete; a stopped command leaves the older one."""

import os
import re
from pathlib import Path

import pytest
import tickstockpl
from tickstockpl.ops.cli.parts.rows_text import write_rows
from tickstockpl.ops.process.whole_file import whole_file

ROOT = Path(tickstockpl.__file__).parent
# A note in a cache of our own, and secrets, which come into the world with their mode and are renamed too.
ELSEWHERE = {"ops/embedded/programs.py", "ops/secrets/folder.py"}
WRITES = re.compile(r'\.write_(text|bytes)\(|\.open\("w|\.savefig\(|parquet\.(ParquetWriter|write_table)\(|CSVWriter\(')


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError, SystemExit])
def test_an_end_half_way_leaves_the_older_file_and_nothing_else(tmp_path, end):
    file = tmp_path / "bars.csv"
    file.write_text("older")

    def rows():
        yield ["IBM", "1"]
        raise end

    with pytest.raises(end):
        write_rows(["symbol", "open"], rows(), "csv", file)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("bars.csv", "older")]


def test_an_end_half_way_leaves_no_file_where_there_was_none(tmp_path):
    def rows():
        yield ["IBM", "1"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(["symbol", "open"], rows(), "csv", tmp_path / "bars.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link_and_a_mode_stays_the_mode(tmp_path):
    (tmp_path / "real.csv").write_text("older")
    (tmp_path / "real.csv").chmod(0o640)
    (tmp_path / "link.csv").symlink_to("real.csv")
    with whole_file(tmp_path / "link.csv") as part:
        part.write_text("newer")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "newer"
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o640


def test_a_pipe_is_written_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(pipe) as part:
        part.write_text("row")
    assert os.read(reader, 10) == b"row"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path):
    file = tmp_path / ("n" * 251 + ".csv")
    with whole_file(file) as part:
        part.write_text("row")
    assert file.read_text() == "row"


def test_each_command_that_writes_a_file_writes_it_whole():
    others = set()
    for file in sorted((ROOT / "ops").rglob("*.py")):
        text = file.read_text()
        if WRITES.search(text) and "whole_file(" not in text:
            others.add(str(file.relative_to(ROOT)))
    assert others == ELSEWHERE
