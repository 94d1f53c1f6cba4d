"""Pack the signals and bars that a step found into bytes: the columns as they are in memory, bit for bit. Pure."""

import msgspec
import numpy as np

from ....contracts.ticks import Column
from ..find_signals import Found
from ..market import Market, Signals

_INT, _FLOAT = np.dtype("<i8"), np.dtype("<f8")


class _Part(msgspec.Struct, frozen=True, array_like=True):
    """The columns of a part: bounds, time and prices of the bars; bar, direction, confidence, names of the signals."""

    symbols: list[str]
    bounds: bytes
    time: bytes
    prices: list[bytes]
    bar: bytes
    direction: bytes
    confidence: bytes
    pattern: list[str]


def pack(found: Found) -> bytes:
    """Pack bars and signals into bytes."""
    market, signals = found
    part = _Part(
        symbols=list(market.symbols),
        bounds=_bytes(market.bounds, _INT),
        time=_bytes(market.time, _INT),
        prices=[_bytes(column, _FLOAT) for column in market[3:]],
        bar=_bytes(signals.bar, _INT),
        direction=_bytes(signals.direction, _INT),
        confidence=_bytes(signals.confidence, _FLOAT),
        pattern=list(signals.pattern),
    )
    return msgspec.msgpack.encode(part)


def unpack(body: bytes) -> Found:
    """Return the bars and signals of packed bytes."""
    part = msgspec.msgpack.decode(body, type=_Part)
    prices = (np.frombuffer(column, _FLOAT) for column in part.prices)
    market = Market(part.symbols, np.frombuffer(part.bounds, _INT), np.frombuffer(part.time, _INT), *prices)
    columns = (np.frombuffer(part.bar, _INT), np.frombuffer(part.direction, _INT))
    return Found(market, Signals(*columns, np.frombuffer(part.confidence, _FLOAT), part.pattern))


def _bytes(column: Column, form: np.dtype[np.generic]) -> bytes:
    return np.ascontiguousarray(column, form).tobytes()
