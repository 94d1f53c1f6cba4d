"""The columns of a frame outside its block: only dead letters and cancels need them. Pure.

They are the last field of a frame. Older programs do not read it, so an older worker understands a newer front door.
"""

from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import zstandard

from ..bounds import MAX_BODY_BYTES, MAX_FRAME_ROWS
from ..errors import BadFrame
from ..ticks import OPTIONAL_COLUMNS, Column, Ticks

ASIDE_COLUMNS = ("facility", "note")

_Name = Annotated[str, msgspec.Meta(max_length=64)]
_Note = Annotated[str, msgspec.Meta(max_length=MAX_BODY_BYTES)]

_compressor = zstandard.ZstdCompressor(level=1, write_content_size=True)
_decompressor = zstandard.ZstdDecompressor()


class Aside(NamedTuple):
    """columns: the names of the columns in the block, in order. notes: the texts that the column `note` points to."""

    columns: Annotated[list[_Name], msgspec.Meta(max_length=len(ASIDE_COLUMNS))]
    block: bytes
    notes: Annotated[list[_Note], msgspec.Meta(max_length=MAX_FRAME_ROWS)]


NOTHING = Aside([], b"", [])


def pack_aside(ticks: Ticks, codec: Literal["zstd", "none"] = "zstd") -> Aside:
    """Return the columns outside the block, with those notes that a row points to."""
    columns = {name: ticks.optional[name] for name in ASIDE_COLUMNS if name in ticks.optional}
    columns = {name: column for name, column in columns.items() if column.any()}
    if not columns:
        return NOTHING
    notes: list[str] = []
    if "note" in columns:
        used, places = np.unique(columns["note"], return_inverse=True)
        notes = [ticks.notes[place - 1] for place in used.tolist() if place]
        columns["note"] = (places + (used[0] > 0)).astype(OPTIONAL_COLUMNS["note"])
    raw = b"".join([column.tobytes() for column in columns.values()])
    return Aside(list(columns), _compressor.compress(raw) if codec == "zstd" else raw, notes)


def unpack_aside(aside: Aside, count: int, codec: Literal["zstd", "none"]) -> dict[str, Column]:
    """Return the columns of `count` ticks, by name. Raises BadFrame if they do not fit."""
    if not aside.columns:
        return {}
    if not set(aside.columns) <= set(ASIDE_COLUMNS):
        raise BadFrame(f"unknown columns beside the block: {', '.join(aside.columns)[:80]}")
    layout = [OPTIONAL_COLUMNS[name] for name in aside.columns]
    size = sum(dtype.itemsize for dtype in layout) * count
    raw = _raw(aside.block, size) if codec == "zstd" else aside.block
    if len(raw) != size:
        raise BadFrame(f"{len(raw)} bytes beside the block, but {count} ticks take {size}")
    columns, offset = {}, 0
    for name, dtype in zip(aside.columns, layout, strict=True):
        columns[name] = np.frombuffer(raw, dtype, count, offset)
        offset += dtype.itemsize * count
    if "note" in columns and count and int(columns["note"].max()) > len(aside.notes):
        raise BadFrame(f"note {columns['note'].max()} of {len(aside.notes)}")
    return columns


def _raw(block: bytes, size: int) -> bytes:
    try:
        if zstandard.frame_content_size(block) != size:
            raise BadFrame("the columns beside the block have another size")
        return _decompressor.decompress(block)
    except zstandard.ZstdError as e:
        raise BadFrame(f"corrupt beside the block: {e}") from e
