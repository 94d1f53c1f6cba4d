"""Recognize a binary file by its first bytes, to explain it to a user who named it as a text file. Pure."""

PEEK_BYTES = 512
GZIP = b"\x1f\x8b"

# https://en.wikipedia.org/wiki/List_of_file_signatures
_STARTS = (
    (b"PK\x03\x04", "a zip file (or a spreadsheet): unpack it first, or save it as CSV"),
    (b"PAR1", "a Parquet file: write it as CSV first"),
    (GZIP, "a gzip file in a gzip file: unpack it once"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first, with unzstd"),
    (b"BZh", "a bzip2 file: unpack it first, with bunzip2"),
    (b"\xfd7zXZ\x00", "an xz file: unpack it first, with unxz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip file: unpack it first"),
    (b"ARROW1", "an Arrow file: write it as CSV first"),
    (b"\x89HDF", "an HDF5 file: write it as CSV first"),
    (b"SQLite format 3", "an SQLite database: export its table as CSV first"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file: save it as CSV"),
    (b"%PDF", "a PDF"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text: save it as UTF-8"),
)
_TAR_AT, _TAR = 257, b"ustar"


def kind_of_binary(first: bytes) -> str | None:
    """Name the file type that starts with these bytes, and what to do with it; None if it may be text.

    If the caller reads gzip files, these are the bytes inside.
    """
    for start, kind in _STARTS:
        if first.startswith(start):
            return kind
    if first[_TAR_AT:].startswith(_TAR):
        return "a tar archive: unpack it first"
    # The first line names the columns. A row may hold anything; it is refused alone.
    return "a binary file" if b"\0" in first.partition(b"\n")[0] else None
