"""A frame: the bytes of one stream entry, up to 512 ticks of one partition in columns.

Layout: msgpack array of the fields of `Frame`; `block` holds the columns one after the other (ts i8, price f8, size f8,
symbol index u2, then the optional ones named in `columns`), little-endian, compressed as one piece. A crc32 of the
array stands behind it. Version 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal
from zlib import crc32

import msgspec
import numpy as np
import zstandard

from .aside import ASIDE_COLUMNS, NOTHING, Aside, unpack_aside
from .errors import BadFrame, UnknownFrameVersion
from .ticks import OPTIONAL_COLUMNS, Refused, Ticks

VERSION = 1
MAX_TICKS = 512  # of one frame; only one front-door entry with more rows goes beyond, because its rows stay together
MAX_NAME_LENGTH = 64  # of a producer or feed
FIELD = b"f"  # the one field of a stream entry that holds a frame

_BASE_COLUMNS: list[np.dtype[Any]] = [np.dtype(code) for code in ("<i8", "<f8", "<f8", "<u2")]
_BLOCK_COLUMNS = {name: dtype for name, dtype in OPTIONAL_COLUMNS.items() if name not in ASIDE_COLUMNS}
_CHECKSUM_BYTES = 4
_MAX_BLOCK_BYTES = 16 << 20  # a corrupt length must not allocate more

Kind = Literal["live", "replay", "end", "abandon"]

# Bounds, so that a frame from a stranger cannot carry what no column holds.
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 43)]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)]


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One step of a producer's count in one partition: numbers (previous, last], given once, before the first send.

    A number counts one tick or one refused row, and the end frame counts one. Front-door frames number by entry ids.
    count: ticks in the block; the refused rows stand beside it.
    born_ms: Redis TIME when the frame was made. delay_ms: how far the feed says that it runs behind the market.
    publish: whether the results of a replay are told on the channels (those of a live feed always are).
    """

    version: int
    producer: _Name
    feed: _Name
    kind: Kind
    previous: int
    last: _Number
    born_ms: _Milliseconds
    delay_ms: _Milliseconds
    publish: bool
    count: _Count
    symbols: list[str]
    columns: list[str]
    codec: Literal["zstd", "none"]
    block: bytes
    refused: list[Refused]
    aside: Aside = NOTHING

    @property
    def is_replay(self) -> bool:
        """A replay is a feed of its own, under its producer's name."""
        return self.feed == self.producer


class _Version(msgspec.Struct, array_like=True):
    version: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)
_version_decoder = msgspec.msgpack.Decoder(_Version)
_compressor = zstandard.ZstdCompressor(level=1, write_content_size=True)
_decompressor = zstandard.ZstdDecompressor()


def only_used_symbols(ticks: Ticks) -> Ticks:
    """Renumber the symbols so that only those with a row are left: what a frame carries."""
    used, codes = np.unique(ticks.symbol_index, return_inverse=True)
    symbols = [ticks.symbols[code] for code in used.tolist()]
    return replace(ticks, symbols=symbols, symbol_index=codes.astype("<u2"))


def block_columns(ticks: Ticks) -> list[str]:
    """Return the names of the optional columns that stand in the block; the others stand aside (contracts.aside)."""
    return [name for name in ticks.optional if name not in ASIDE_COLUMNS]


def pack_columns(ticks: Ticks, codec: Literal["zstd", "none"] = "zstd") -> bytes:
    """Lay the columns of some ticks one after the other and compress them."""
    parts = [ticks.ts.astype("<i8", copy=False), ticks.price, ticks.size, ticks.symbol_index.astype("<u2")]
    parts += [ticks.optional[name] for name in block_columns(ticks)]
    raw = b"".join([parts[i].tobytes() for i in range(len(parts))])
    return _compressor.compress(raw) if codec == "zstd" else raw


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame: the array, and its crc32 behind it."""
    body = _encoder.encode(frame)
    return body + crc32(body).to_bytes(_CHECKSUM_BYTES, "little")


def decode(body: bytes) -> Frame:
    """Read a frame's header; its block stays packed until `ticks_of`.

    Raises UnknownFrameVersion for another version, BadFrame for anything that is no frame.
    """
    array, checksum = body[:-_CHECKSUM_BYTES], body[-_CHECKSUM_BYTES:]
    if crc32(array).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        raise BadFrame("not a frame, or damaged: the checksum does not fit")
    try:
        frame = _decoder.decode(array)
    except msgspec.DecodeError as e:
        _refuse_other_version(array)
        raise BadFrame(f"not a frame: {e}") from e
    if frame.version != VERSION:
        _refuse_other_version(array)
    if not 0 <= frame.previous <= frame.last:
        raise BadFrame(f"numbers run backwards: {frame.previous} to {frame.last}")
    if not (is_name(frame.producer) and is_name(frame.feed)):
        raise BadFrame("a producer's or feed's name is not printable ASCII")
    return frame


def _refuse_other_version(body: bytes) -> None:
    try:
        version = _version_decoder.decode(body).version
    except msgspec.DecodeError:
        return
    if version != VERSION:
        raise UnknownFrameVersion(f"frame version {version}, but this program reads version {VERSION}: upgrade it")


def ticks_of(frame: Frame) -> Ticks:
    """Unpack a frame's columns (views on one buffer: read only). Raises BadFrame where they do not fit its header."""
    raw = _raw_block(frame)
    offset = 0
    columns = []
    try:
        layout = [*_BASE_COLUMNS, *(_BLOCK_COLUMNS[name] for name in frame.columns)]
    except KeyError as e:
        raise BadFrame(f"unknown column {e}") from e
    for dtype in layout:
        size = dtype.itemsize * frame.count
        if offset + size > len(raw):
            raise BadFrame(f"truncated block: {len(raw)} bytes for {frame.count} ticks")
        columns.append(np.frombuffer(raw, dtype, frame.count, offset))
        offset += size
    if offset != len(raw):
        raise BadFrame(f"block of {len(raw)} bytes, but {frame.count} ticks take {offset}")
    ts, price, size_column, symbol_index, *optional = columns
    if frame.count and int(symbol_index.max()) >= len(frame.symbols):
        raise BadFrame(f"symbol index {symbol_index.max()} of {len(frame.symbols)} symbols")
    named = dict(zip(frame.columns, optional, strict=True))
    named |= unpack_aside(frame.aside, frame.count, frame.codec)
    return Ticks(frame.symbols, symbol_index, ts, price, size_column, named, frame.refused, frame.aside.notes)


def is_name(text: str) -> bool:
    """Tell whether a producer or feed can have this name."""
    return 0 < len(text) <= MAX_NAME_LENGTH and text.isascii() and text.isprintable()


def are_alike(batch: Sequence[Frame]) -> bool:
    """Tell whether frames can be unpacked together: full frames of a replay are."""
    shape = (batch[0].count, "zstd")
    return shape[0] > 0 and all(
        (f.count, f.codec) == shape and not (f.columns or f.refused or f.aside.columns) for f in batch
    )


def ticks_of_alike(batch: Sequence[Frame]) -> Ticks:
    """Unpack alike frames into one batch: the same as joining theirs, in two thirds of the time.

    Raises BadFrame where one of them is damaged; which one, only unpacking them one by one tells.
    """
    count = batch[0].count
    size = count * sum(dtype.itemsize for dtype in _BASE_COLUMNS)
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


def _raw_block(frame: Frame) -> bytes:
    if frame.codec == "none":
        return frame.block
    if not frame.block:
        return b""
    try:
        size = zstandard.frame_content_size(frame.block)
        if not 0 <= size <= _MAX_BLOCK_BYTES:
            raise BadFrame(f"block claims {size} bytes")
        return _decompressor.decompress(frame.block)
    except zstandard.ZstdError as e:
        raise BadFrame(f"corrupt block: {e}") from e
