"""Makes a frame: the one place where ticks become the bytes of a stream entry. Pure."""

from dataclasses import dataclass
from typing import Literal

from ..ticks import Ticks
from .aside import pack_aside
from .frame import VERSION, Frame, FrameKind, block_columns, encode, only_used_symbols, pack_columns


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes the frames. A replay's feed is its own name."""

    producer: str
    feed: str
    kind: Literal["live", "replay"]
    publish: bool = True
    delay_ms: int = 0
    codec: Literal["zstd", "none"] = "zstd"


def make_frame(identity: Identity, ticks: Ticks, kind: FrameKind, previous: int, last: int, born_ms: int) -> bytes:
    """Return the bytes of the frame with the numbers (previous, last].

    ticks: the rows of one partition, refused ones too. born_ms: Redis TIME now, in Unix ms.
    """
    has_ticks = len(ticks) > 0
    ticks = only_used_symbols(ticks) if has_ticks else ticks
    frame = Frame(
        VERSION, identity.producer, identity.feed, kind, previous, last, born_ms, identity.delay_ms, identity.publish,
        len(ticks), list(ticks.symbols), block_columns(ticks) if has_ticks else [], identity.codec,
        pack_columns(ticks, identity.codec) if has_ticks else b"", list(ticks.refused),
        pack_aside(ticks, identity.codec),
    )  # fmt: skip
    return encode(frame)
