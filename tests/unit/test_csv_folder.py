"""Which files a job may name: those below one folder, and no other."""

import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.workers.daily.loads.csv_folder import CsvFolder


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "lists"
    (inside / "more").mkdir(parents=True)
    (inside / "dow_30.csv").write_text("symbol,name\nAAPL,Apple\nIBM,x\n")
    (inside / "more" / "two.csv").write_text("ticker\nMSFT\n")
    (tmp_path / "secret.csv").write_text("symbol\nSECRET\n")
    (inside / "link.csv").symlink_to(tmp_path / "secret.csv")
    (inside / "loop.csv").symlink_to("loop.csv")
    (inside / "good_link.csv").symlink_to("dow_30.csv")
    (inside / "no_list.csv").write_bytes(b"\x7fELF\0\1")
    return inside


@pytest.mark.parametrize(
    ("name", "symbols"),
    [("dow_30.csv", ["AAPL", "IBM"]), ("more/two.csv", ["MSFT"]), ("good_link.csv", ["AAPL", "IBM"])],
)
def test_a_file_of_the_folder_is_read(folder, name, symbols):
    assert CsvFolder(folder).symbols_of(name) == symbols


@pytest.mark.parametrize(
    "name", ["../secret.csv", "more/../../secret.csv", "link.csv", "/etc/passwd", "{}/dow_30.csv", "..", "a\0b"]
)
def test_what_lies_outside_is_refused_alike(folder, name):
    with pytest.raises(UsageError, match="is outside the folder of --csv-dir"):
        CsvFolder(folder).symbols_of(name.format(folder))


@pytest.mark.parametrize("name", ["nothing.csv", "more", "", "."])
def test_what_is_no_file_is_refused_with_those_that_there_are(folder, name):
    with pytest.raises(UsageError, match=r"the folder has: dow_30\.csv, good_link\.csv"):
        CsvFolder(folder).symbols_of(name)


def test_a_file_that_is_no_list_is_refused_without_its_path(folder):
    with pytest.raises(UsageError) as refused:
        CsvFolder(folder).symbols_of("no_list.csv")
    assert str(folder) not in str(refused.value)


def test_without_a_folder_no_file_is_read():
    with pytest.raises(UsageError, match="no folder is set up"):
        CsvFolder(None).symbols_of("dow_30.csv")
