"""A trade of Massive's WebSocket (channel T), and the JSON of a number of shares."""

import msgspec


class Trade(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="ev",
    tag="T",
    rename={
        "symbol": "sym",
        "exchange": "x",
        "trade_id": "i",
        "tape": "z",
        "price": "p",
        "shares": "s",
        "decimal_size": "ds",
        "conditions": "c",
        "at_ms": "t",
        "sequence": "q",
        "trf_id": "trfi",
        "trf_at_ms": "trft",
    },
):
    """One trade. Its JSON is a T event of https://massive.com/docs/websocket/stocks/trades.

    at_ms: SIP time, Unix ms. decimal_size: shares, decimal text, exact; shares: the same without its fraction.
    sequence: rises within a symbol, with gaps.
    """

    symbol: str
    exchange: int
    trade_id: str
    tape: int
    price: float
    shares: int
    decimal_size: str
    conditions: tuple[int, ...] = ()
    at_ms: int
    sequence: int
    trf_id: int | None = None
    trf_at_ms: int | None = None


def trade_of(  # noqa: PLR0913  # a trade has these fields
    symbol: str,
    at_ms: int,
    price: float,
    size: float,
    *,
    conditions: tuple[int, ...] = (),
    exchange: int = 11,
    trade_id: str = "1",
    sequence: int = 1,
    tape: int = 3,
    trf_id: int | None = None,
) -> Trade:
    """Make a trade; size: shares, at most 6 decimals. at_ms: Unix ms. trf_id: the off-exchange reporting facility."""
    micros = round(size * 1e6)
    return Trade(
        symbol=symbol,
        exchange=exchange,
        trade_id=trade_id,
        tape=tape,
        price=price,
        shares=micros // 1_000_000,
        decimal_size=decimal_text(micros),
        conditions=conditions,
        at_ms=at_ms,
        sequence=sequence,
        trf_id=trf_id,
        trf_at_ms=None if trf_id is None else at_ms,
    )


def decimal_text(micros: int) -> str:
    """Write millionths of a share as Massive does: at least one decimal, no other final zeros ("100.0", "0.25")."""
    whole, fraction = divmod(micros, 1_000_000)
    return f"{whole}.{fraction:06d}".rstrip("0") if fraction else f"{whole}.0"


def micro_shares(text: str) -> int:
    """Read decimal text of at most 6 decimals as millionths of a share."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 1_000_000 + (0 if fraction == "0" else int(fraction.ljust(6, "0")))
