"""One file of a spool: records, each with a checksum, so that a reader finds a record that a crash left incomplete.

A record is crc32, length of the body, partition, previous, last, body (little-endian); the crc covers all fields after
it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from ..framer import Numbered

SUFFIX = ".frames"

_RECORD = struct.Struct("<IIIqq")
_CRC_BYTES = 4


@dataclass(slots=True)
class Segment:
    """A file of a spool. tops: the last number of each partition in it; is_known: `tops` is complete."""

    path: Path
    size: int = 0
    tops: dict[int, int] = field(default_factory=dict)
    is_known: bool = True

    def is_committed(self, done: dict[int, int]) -> bool:
        """Tell whether every frame of the file is committed. done: partition -> last committed number."""
        return self.is_known and all(last <= done.get(partition, 0) for partition, last in self.tops.items())


def find_segments(folder: Path) -> dict[int, Segment]:
    """Return the segments of an earlier process, by number; their contents are unknown until they are read."""
    paths = sorted(folder.glob(f"[0-9]*[0-9]{SUFFIX}"))
    return {int(path.stem): Segment(path, path.stat().st_size, is_known=False) for path in paths}


def record_of(frame: Numbered) -> bytes:
    """Return the bytes of a frame's record."""
    rest = _RECORD.pack(0, len(frame.body), frame.partition, frame.previous, frame.last)[_CRC_BYTES:] + frame.body
    return crc32(rest).to_bytes(_CRC_BYTES, "little") + rest


def frames_of(block: bytes, offset: int) -> Iterator[tuple[Numbered, int]]:
    """Yield the frame of each record and the offset of its end, up to the first that is damaged or not whole.

    offset: of the block in its segment.
    """
    at = 0
    while at + _RECORD.size <= len(block):
        crc, length, partition, previous, last = _RECORD.unpack_from(block, at)
        end = at + _RECORD.size + length
        if end > len(block) or crc32(block[at + _CRC_BYTES : end]) != crc:
            return
        yield Numbered(partition, previous, last, block[at + _RECORD.size : end]), offset + end
        at = end
