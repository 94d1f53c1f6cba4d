"""Files that are no text are named for what they are, wherever one names a file of text."""

import gzip
import io
import tarfile
import zipfile

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.spellings.file_kind import kind_of_binary
from tickstockpl.db.tables.universe import symbols_of_bytes
from tickstockpl.ops.cli.tickstock_command import tickstock
from tickstockpl.producer.replay import ReplaySource

LINE = b"ticker,price,sip_timestamp,size\n"


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("day.csv", LINE)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("day.csv")
        info.size = len(LINE)
        archive.addfile(info, io.BytesIO(LINE))
    return buffer.getvalue()


def in_parquet():
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.table({"ticker": ["IBM"]}), buffer)
    return buffer.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped(), "but a zip file (or a spreadsheet): unpack it first"),
        (in_parquet(), "but a Parquet file: write it as CSV first"),
        (tarred(), "but a tar archive: unpack it first"),
        (gzip.compress(tarred()), "but in gzip a tar archive: unpack it first"),
        (gzip.compress(gzip.compress(LINE)), "but in gzip a gzip file in a gzip file: unpack it once"),
        (LINE.decode().encode("utf-16"), "but UTF-16 text: save it as UTF-8"),
        (b"\x01\x02\x00\x03" * 50, "but a binary file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # a time stands in gzip's bytes
)
def test_a_replay_names_what_a_binary_file_is(tmp_path, content, says):
    file = tmp_path / "day.csv"
    file.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        ReplaySource([file])
    assert str(refused.value).startswith(f"{file}: not a trade flat file, {says}")


def test_a_list_of_symbols_in_a_zip_file_is_named_as_one():
    with pytest.raises(UsageError, match=r"^symbols.zip is a zip file \(or a spreadsheet\): unpack it first"):
        symbols_of_bytes(b"PK\x03\x04\x14\x00\xff\xfe", "symbols.zip")


def test_a_list_of_symbols_in_gzip_is_said_to_be_one_gzip_file():
    with pytest.raises(UsageError, match=r"^symbols.csv.gz is a gzip file: unpack it first, with gunzip$"):
        symbols_of_bytes(gzip.compress(b"symbol\nAAPL\n"), "symbols.csv.gz")


def test_text_is_no_binary_file():
    assert [kind_of_binary(text) for text in (LINE, b"", "Zürich".encode(), b"\xef\xbb\xbf" + LINE)] == [None] * 4


def test_the_id_of_a_stream_s_entry_is_no_dead_letter_s_and_says_where_those_are():
    said = CliRunner().invoke(tickstock, ["dlq", "show", "99999-0"])
    assert said.exit_code == 2
    assert "'99999-0' is not the number of a dead letter, such as 17" in said.stderr
