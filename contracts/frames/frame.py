"""A frame: the bytes of one stream entry, up to 512 ticks of one partition in columns.

Any client that can write to a stream can send a frame. So `decode` checks everything except the values of the rows
before anything is unpacked: size, numbers, texts, and the unpacked size of the block.

Layout: msgpack array of the fields of `Frame`; `block` holds the columns one after the other (ts i8, price f8, size f8,
symbol index u2, then the optional ones named in `columns`), little-endian, compressed as one piece. A crc32 of the
array follows it. Version 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal
from zlib import crc32

import msgspec
import numpy as np
import zstandard

from .. import bounds
from ..bounds import MAX_BODY_BYTES, MAX_DETAIL_LENGTH, MAX_FRAME_BYTES, MAX_FRAME_ROWS, MAX_NUMBER
from ..errors import BadFrame, UnknownFrameVersion
from ..names import LIVE_FEED, MINUTE_FEED_ENDING, REPAIR_FEED, is_front_door
from ..spellings.trade_key import NO_KEY
from ..ticks import MAX_PRICE, MAX_SIZE, OPTIONAL_COLUMNS, Column, Refused, Ticks
from .aside import ASIDE_COLUMNS, NOTHING, Aside, unpack_aside

VERSION = 1
MAX_TICKS = bounds.MAX_TICKS
MAX_NAME_LENGTH = 64  # of a producer or feed
FIELD = b"f"  # the one field of a stream entry that holds a frame
# a reader returns this, with the size, in place of an entry that is too large
TOO_LARGE = b"an entry of so many bytes: "

_BASE_COLUMNS: list[np.dtype[Any]] = [np.dtype(code) for code in ("<i8", "<f8", "<f8", "<u2")]
_BLOCK_COLUMNS = {name: dtype for name, dtype in OPTIONAL_COLUMNS.items() if name not in ASIDE_COLUMNS}
_CHECKSUM_BYTES = 4
_MAX_BLOCK_BYTES = MAX_FRAME_ROWS * 128  # unpacked: a row with every column takes less
_MAX_TEXT_LENGTH = 255  # of a symbol or column name; longer ones are not decoded

FrameKind = Literal["live", "replay", "end", "abandon"]

# Bounds, so that no frame carries a value that its column cannot hold.
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 43)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_FRAME_ROWS)]
_Text = Annotated[str, msgspec.Meta(max_length=_MAX_TEXT_LENGTH)]
_Symbols = Annotated[list[_Text], msgspec.Meta(max_length=MAX_FRAME_ROWS)]
_Columns = Annotated[list[_Text], msgspec.Meta(max_length=len(OPTIONAL_COLUMNS))]
_Refused = Annotated[list[Refused], msgspec.Meta(max_length=MAX_FRAME_ROWS)]
_CORRECTS = 2  # of the column `undoes`
_MAX_ROW_ID = (1 << 63) - 1


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One step of a producer's numbers in one partition: (previous, last], given once, before the first send.

    A number counts one tick or one refused row, and the end frame counts one. Front-door frames use entry ids as
    numbers. count: ticks in the block; refused rows are extra. born_ms: Redis TIME when the frame was made. delay_ms:
    the feed's delay behind the market, as it reports it. publish: whether the results of a replay are published on the
    channels (results of a live feed always are).
    """

    version: int
    producer: _Name
    feed: _Name
    kind: FrameKind
    previous: int
    last: _Number
    born_ms: _Milliseconds
    delay_ms: _Milliseconds
    publish: bool
    count: _Count
    symbols: _Symbols
    columns: _Columns
    codec: Literal["zstd", "none"]
    block: bytes
    refused: _Refused
    aside: Aside = NOTHING

    @property
    def rows(self) -> int:
        """Number of ticks and refused rows."""
        return self.count + len(self.refused)

    @property
    def held_bytes(self) -> int:
        """About how many bytes of memory it uses while it waits."""
        blocks = len(self.block) + len(self.aside.block) + sum(map(len, self.aside.notes))
        return blocks + 100 * len(self.symbols) + sum(200 + len(row.original) for row in self.refused) + 1000

    @property
    def is_replay(self) -> bool:
        """Tell whether the frame belongs to a replay, whose feed has its producer's name."""
        return self.feed == self.producer


class _Version(msgspec.Struct, array_like=True):
    version: int


# What the decoder raises: for a text that is not UTF-8 it is Python's own error.
_NOT_MSGPACK = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.msgpack.Encoder()
_NO_ASIDE = _encoder.encode(NOTHING)
_ARRAY_OF_15, _ARRAY_HEADER_BYTES = b"\x9f", 3  # msgpack's fixarray; one of 16 elements has a longer header
_decoder = msgspec.msgpack.Decoder(Frame)
_version_decoder = msgspec.msgpack.Decoder(_Version)
_compressor = zstandard.ZstdCompressor(level=1, write_content_size=True)
_decompressor = zstandard.ZstdDecompressor()


def only_used_symbols(ticks: Ticks) -> Ticks:
    """Renumber the symbols so that only those with a row are left, as a frame needs them."""
    used, codes = np.unique(ticks.symbol_index, return_inverse=True)
    symbols = [ticks.symbols[code] for code in used.tolist()]
    return replace(ticks, symbols=symbols, symbol_index=codes.astype("<u2"))


def block_columns(ticks: Ticks) -> list[str]:
    """Return the names of the optional columns in the block; the others are aside (contracts.frames.aside)."""
    return [name for name in ticks.optional if name not in ASIDE_COLUMNS]


def pack_columns(ticks: Ticks, codec: Literal["zstd", "none"] = "zstd") -> bytes:
    """Join the columns of some ticks and compress them."""
    parts = [ticks.ts.astype("<i8", copy=False), ticks.price, ticks.size, ticks.symbol_index.astype("<u2")]
    parts += [ticks.optional[name] for name in block_columns(ticks)]
    raw = b"".join([parts[i].tobytes() for i in range(len(parts))])
    return _compressor.compress(raw) if codec == "zstd" else raw


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame: the array, then its crc32."""
    body = _encoder.encode(frame)
    if not frame.aside.columns:  # without columns aside, write the older format: its first byte means 15 fields
        body = _ARRAY_OF_15 + body[_ARRAY_HEADER_BYTES : -len(_NO_ASIDE)]
    return body + crc32(body).to_bytes(_CHECKSUM_BYTES, "little")


def decode(body: bytes) -> Frame:
    """Read a frame's header; its block stays packed until `ticks_of`.

    Raises UnknownFrameVersion for another version, BadFrame for bytes that our programs never send. An invalid frame
    has no valid numbers either.
    """
    if body.startswith(TOO_LARGE):
        raise BadFrame(f"{ascii(body[:_MAX_TEXT_LENGTH].decode('latin-1'))[1:-1]}, at most {MAX_FRAME_BYTES} are read")
    if len(body) > MAX_FRAME_BYTES:
        raise BadFrame(f"{len(body)} bytes, but a frame has at most {MAX_FRAME_BYTES}")
    array, checksum = body[:-_CHECKSUM_BYTES], body[-_CHECKSUM_BYTES:]
    if crc32(array).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        raise BadFrame("not a frame, or damaged: the checksum does not fit")
    try:
        frame = _decoder.decode(array)
    except _NOT_MSGPACK as e:
        _refuse_other_version(array)
        raise BadFrame(f"not a frame: {e}") from e
    if frame.version != VERSION:
        _refuse_other_version(array)
    if not (is_name(frame.producer) and is_name(frame.feed)):
        raise BadFrame("a producer's or feed's name is not printable ASCII")
    _check_kind(frame)
    _check_numbers(frame)
    for row in frame.refused:
        _check_refused(frame, row)
    return frame


def _refuse_other_version(body: bytes) -> None:
    try:
        version = _version_decoder.decode(body).version
    except _NOT_MSGPACK:
        return
    if version != VERSION:
        raise UnknownFrameVersion(f"frame version {version}, but this program reads version {VERSION}: upgrade it")


def _check_kind(frame: Frame) -> None:
    """Raise BadFrame if the kind does not fit the names: the end of a replay closes every bar of its feed."""
    if frame.feed.endswith(MINUTE_FEED_ENDING) or (frame.is_replay and frame.feed in (LIVE_FEED, REPAIR_FEED)):
        raise BadFrame(f"{frame.producer} cannot send to the feed {frame.feed}")
    if frame.kind != "end" and frame.is_replay != (frame.kind in ("replay", "abandon")):
        raise BadFrame(f"{frame.producer} cannot send a frame of kind {frame.kind} to the feed {frame.feed}")


def _check_numbers(frame: Frame) -> None:
    """Raise BadFrame if the numbers do not fit the rows: ticks of other frames would be dropped or lost."""
    if not 0 <= frame.previous <= frame.last:
        raise BadFrame(f"numbers run backwards: {frame.previous} to {frame.last}")
    if frame.rows > MAX_FRAME_ROWS:
        raise BadFrame(f"{frame.rows} rows, but a frame has at most {MAX_FRAME_ROWS}")
    if is_front_door(frame.producer):
        if frame.kind != "live":
            raise BadFrame(f"the front door sends no frame of kind {frame.kind}")
        return  # its numbers are entry ids: `_check_row_ids` checks them
    if frame.last > MAX_NUMBER:
        raise BadFrame(f"number {frame.last} is out of bounds")
    taken = frame.rows + (frame.kind == "end")
    if frame.last - frame.previous != taken:
        raise BadFrame(f"numbers {frame.previous} to {frame.last}, but its rows take {taken}")


def _check_refused(frame: Frame, row: Refused) -> None:
    if len(row.reason) > MAX_NAME_LENGTH or not is_name(row.reason) or len(row.detail) > MAX_DETAIL_LENGTH:
        raise BadFrame("a refused row without a valid reason")
    if len(row.original) > MAX_BODY_BYTES:
        raise BadFrame(f"a refused row has {len(row.original)} bytes, but at most {MAX_BODY_BYTES} are kept")
    lowest = frame.previous + 1 if is_front_door(frame.producer) else 0
    highest = frame.last if is_front_door(frame.producer) else _MAX_ROW_ID
    if not lowest <= row.row_id <= highest:
        raise BadFrame(f"a refused row has number {row.row_id}, outside {frame.previous} to {frame.last}")


def ticks_of(frame: Frame) -> Ticks:
    """Unpack a frame's columns (read-only views of one buffer). Raises BadFrame if they do not fit the header."""
    layout = _layout_of(frame)
    raw = _raw_block(frame, frame.count * sum(dtype.itemsize for dtype in layout))
    offset = 0
    columns = []
    for dtype in layout:
        columns.append(np.frombuffer(raw, dtype, frame.count, offset))
        offset += dtype.itemsize * frame.count
    ts, price, size_column, symbol_index, *optional = columns
    if frame.count and int(symbol_index.max()) >= len(frame.symbols):
        raise BadFrame(f"symbol index {symbol_index.max()} of {len(frame.symbols)} symbols")
    named = dict(zip(frame.columns, optional, strict=True))
    if "undoes" in named:
        _check_undos(named, price, size_column)
    if is_front_door(frame.producer) and frame.count:
        _check_row_ids(frame, named.get("row_id"))
    named |= unpack_aside(frame.aside, frame.count, frame.codec)
    return Ticks(frame.symbols, symbol_index, ts, price, size_column, named, frame.refused, frame.aside.notes)


def _layout_of(frame: Frame) -> list[np.dtype[Any]]:
    if len(set(frame.columns)) < len(frame.columns):
        raise BadFrame("a column appears twice")
    try:
        return [*_BASE_COLUMNS, *(_BLOCK_COLUMNS[name] for name in frame.columns)]
    except KeyError as e:
        raise BadFrame(f"unknown column {e}") from e


def _check_undos(optional: Mapping[str, Column], price: Column, size: Column) -> None:
    """Raise BadFrame if a cancel or correction has no trade key, or a correction no valid price and size."""
    undoes, keys = optional["undoes"], optional.get("trade_key")
    if keys is None or (keys[undoes != 0] == NO_KEY).any() or (undoes > _CORRECTS).any():
        raise BadFrame("an undo without a trade key, or of an unknown kind")
    corrects = undoes == _CORRECTS
    fair = (price > 0) & (price < MAX_PRICE) & (size >= 0) & (size < MAX_SIZE)
    if not fair[corrects].all():
        raise BadFrame("a correction without a price and a size")


def _check_row_ids(frame: Frame, row_ids: Column | None) -> None:
    """Raise BadFrame if the rows of a front-door frame are not numbered in order, within the frame's numbers."""
    if row_ids is None:
        raise BadFrame("the front door's rows have no numbers")
    if not (frame.previous < row_ids[0] and row_ids[-1] <= frame.last and (row_ids[1:] >= row_ids[:-1]).all()):
        raise BadFrame(
            f"row numbers {row_ids[0]} to {row_ids[-1]} are outside {frame.previous} to {frame.last}, or not in order"
        )


def is_name(text: str) -> bool:
    """Tell whether a text is a valid name of a producer or feed."""
    return 0 < len(text) <= MAX_NAME_LENGTH and text.isascii() and text.isprintable()


def are_alike(batch: Sequence[Frame]) -> bool:
    """Tell whether frames can be unpacked together, as full frames of a replay can."""
    shape = (batch[0].count, "zstd")
    return shape[0] > 0 and all(
        (f.count, f.codec) == shape and not (f.columns or f.refused or f.aside.columns) for f in batch
    )


def ticks_of_alike(batch: Sequence[Frame]) -> Ticks:
    """Unpack frames of the same shape into one batch: as joining `ticks_of` of each, in two thirds of the time.

    Raises BadFrame if one is damaged; unpack them one by one to find it.
    """
    count = batch[0].count
    size = count * sum(dtype.itemsize for dtype in _BASE_COLUMNS)
    for frame in batch:
        _expect_size(_claimed_size(frame.block), count, size)
    sizes = np.full(len(batch), size, "<u8").tobytes()
    try:
        parts = _decompressor.multi_decompress_to_buffer([f.block for f in batch], decompressed_sizes=sizes)
        raw = np.frombuffer(b"".join([parts[i].tobytes() for i in range(len(parts))]), "u1").reshape(len(batch), size)
    except (zstandard.ZstdError, ValueError) as e:
        raise BadFrame(f"corrupt block: {e}") from e
    bounds = np.cumsum([0, *(count * dtype.itemsize for dtype in _BASE_COLUMNS)]).tolist()
    ts, price, sizes_column, index = (
        np.ascontiguousarray(raw[:, first:end]).view(dtype)
        for (first, end), dtype in zip(pairwise(bounds), _BASE_COLUMNS, strict=True)
    )
    lengths = np.array([len(f.symbols) for f in batch])
    if (index.max(axis=1) >= lengths).any():
        raise BadFrame("symbol index beyond the symbols")
    symbols: dict[str, int] = {}
    codes = np.array([symbols.setdefault(symbol, len(symbols)) for f in batch for symbol in f.symbols], "<i4")
    first_code = np.cumsum(lengths) - lengths
    return Ticks(
        tuple(symbols), codes[index + first_code[:, None]].ravel(), ts.ravel(), price.ravel(), sizes_column.ravel()
    )


def _raw_block(frame: Frame, size: int) -> bytes:
    """Return a block of exactly `size` bytes. It is unpacked only if its header claims this size."""
    if frame.codec == "none" or not frame.block:
        _expect_size(len(frame.block), frame.count, size)
        return frame.block
    _expect_size(_claimed_size(frame.block), frame.count, size)
    try:
        return _decompressor.decompress(frame.block)
    except zstandard.ZstdError as e:
        raise BadFrame(f"corrupt block: {e}") from e


def _claimed_size(block: bytes) -> int:
    """Return the unpacked size that a block claims; zstd never writes more."""
    try:
        size = zstandard.frame_content_size(block)
    except zstandard.ZstdError as e:
        raise BadFrame(f"corrupt block: {e}") from e
    if size < 0 or size > _MAX_BLOCK_BYTES:
        raise BadFrame(f"block claims {size} bytes")
    return size


def _expect_size(size: int, count: int, wanted: int) -> None:
    if size < wanted:
        raise BadFrame(f"truncated block: {size} bytes for {count} ticks")
    if size > wanted:
        raise BadFrame(f"block of {size} bytes, but {count} ticks take {wanted}")
