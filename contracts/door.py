"""The front door: which entry ids are valid numbers, and how a refused entry is marked."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .bounds import DOOR_PLAIN_WEIGHT
from .partition import MAX_POSITION, SEQ_BITS, Position, number_of
from .spellings.tick_values import shown, whole_numbers
from .ticks import MAX_BODY_BYTES, Refused

MARK = b"tickstock:id"  # first field of an entry whose sender chose an invalid id; its value is that id

Fields = Sequence[bytes]


class Numbered(NamedTuple):
    """Entries with a number, in order: (number, fields). weights: of each entry, see DOOR_PIECE_WEIGHT.

    bytes: size of their fields. marks: how many entries are marked as refused. is_whole: every entry has a number.
    """

    entries: list[tuple[int, Fields]]
    weights: list[int]
    bytes: int
    marks: int
    is_whole: bool


def number_entries(entries: Sequence[tuple[bytes, Fields]], most_ms: int) -> Numbered:
    """Turn the ids of entries into numbers, up to the first invalid id.

    most_ms: the largest valid time (Unix ms). Redis itself gives later ids only after a sender has chosen one.
    """
    ms, seq = whole_numbers([entry_id.replace(b"-", b" ") for entry_id, _ in entries]).reshape(-1, 2).T
    is_valid = (ms <= max(0, min(most_ms, MAX_POSITION.ms))) & (seq <= MAX_POSITION.seq)
    count = len(entries) if is_valid.all() else int(is_valid.argmin())
    numbers = ms[:count] << np.uint64(SEQ_BITS) | seq[:count]
    fields = [its for _, its in entries[:count]]
    sizes = [*map(len, map(b"".join, fields))]
    return Numbered(
        [*zip(numbers.tolist(), fields, strict=True)],
        [size if b"data" in its else DOOR_PLAIN_WEIGHT for size, its in zip(sizes, fields, strict=True)],
        sum(sizes),
        [its[0] for its in fields].count(MARK),
        is_whole=count == len(entries),
    )


def is_numbered(position: Position, most_ms: int) -> bool:
    """Tell whether an id can be a number."""
    return position.ms <= most_ms and position <= MAX_POSITION and number_of(position) is not None


def refused_mark(number: int, fields: Fields) -> Refused:
    """Refuse an entry whose sender chose an invalid id; its stored content can be sent again."""
    _, chosen, *rest = fields
    detail = f"id {shown(chosen)} was chosen by its sender, and is out of bounds"
    return Refused("entry_id", detail, spelled(rest), number)


def refused_giant(number: int, size: int, beginning: bytes) -> Refused:
    """Refuse an entry that is too large to read. beginning: the first bytes of its fields."""
    return Refused("too_large", f"{size} bytes", beginning[:MAX_BODY_BYTES], number)


def spelled(fields: Fields) -> bytes:
    """Return the stored form of an entry: its JSON, else its plain fields."""
    if len(fields) == 2 and fields[0] == b"data":
        return fields[1][:MAX_BODY_BYTES]
    return b" ".join(fields)[:MAX_BODY_BYTES]
