"""The fake server's trades: a synthetic market, or only those that a test sends."""

from typing import Protocol

import numpy as np

from ...producer.synthetic import Market, SyntheticSource
from .trade import Trade, trade_of

_CONDITIONS_TAG = 7  # a different random stream than the market's

# Numbers of https://massive.com/docs/rest/stocks/market-operations/exchanges
_OFF_EXCHANGE = 4
_EXCHANGES = (_OFF_EXCHANGE, _OFF_EXCHANGE, _OFF_EXCHANGE, 10, 11, 12, 12, 19)
_TRF = 202  # the trade reporting facility of off-exchange trades

# Share of trades with these conditions.
_SHARES = (
    (0.50, ()),
    (0.30, (14,)),  # intermarket sweep
    (0.10, (0,)),
    (0.04, (14, 4)),
    (0.01, (2,)),  # average price: volume only
    (0.01, (10,)),  # derivatively priced: no open and no close
    (0.01, (53,)),  # qualified contingent trade: volume only
    (0.01, (22,)),  # prior reference price
    (0.01, (7,)),  # cash sale
    (0.01, (16,)),  # official open of a market centre: no effect
)
_BOUNDS = np.cumsum([share for share, _ in _SHARES])[:-1]
_ODD_LOT = 37


class Tape(Protocol):
    """Trades in the order of their arrival."""

    def until(self, now_ns: int) -> list[Trade]:
        """Return the trades up to now (Unix ns) that were not returned before."""
        ...


class EmptyTape:
    """No trades: a test sends its own."""

    def until(self, now_ns: int) -> list[Trade]:  # noqa: ARG002  # the tape's signature
        """Return nothing."""
        return []


class SyntheticTape:
    """The trades of a live synthetic market from its start on, with conditions and ids."""

    def __init__(self, market: Market) -> None:
        self.source = SyntheticSource(market, seconds=None)
        self._chunk = 0
        self._count = 0
        self._ahead: list[tuple[int, Trade]] = []  # arrive after the last step: (arrival ns, trade)

    def until(self, now_ns: int) -> list[Trade]:
        """Return the trades up to now that were not returned before."""
        market = self.source.market
        while market.start_ns + self._chunk * market.chunk_ns <= now_ns:
            self._ahead += self._next_chunk()
        due = next((row for row, (arrival_ns, _) in enumerate(self._ahead) if arrival_ns > now_ns), len(self._ahead))
        arrived = [trade for _, trade in self._ahead[:due]]
        del self._ahead[:due]
        return arrived

    def _next_chunk(self) -> list[tuple[int, Trade]]:
        chunk = self.source.chunk(self._chunk)
        rng = np.random.default_rng((self.source.market.seed, _CONDITIONS_TAG, self._chunk))
        self._chunk += 1
        ticks, count = chunk.ticks, len(chunk.ticks)
        columns = (
            chunk.arrival_ns.tolist(),
            ticks.symbol_index.tolist(),
            (ticks.ts // 1_000_000).tolist(),
            ticks.price.tolist(),
            ticks.size.tolist(),
            np.searchsorted(_BOUNDS, rng.random(count)).tolist(),
            rng.integers(0, len(_EXCHANGES), count).tolist(),
        )
        return [self._arrival(*row) for row in zip(*columns, strict=True)]

    def _arrival(
        self, arrival_ns: int, symbol: int, at_ms: int, price: float, size: float, kind: int, exchange: int
    ) -> tuple[int, Trade]:
        self._count += 1
        trade = trade_of(
            self.source.symbols[symbol],
            at_ms,
            price,
            size,
            conditions=_SHARES[kind][1] + ((_ODD_LOT,) if size < 100 else ()),
            exchange=_EXCHANGES[exchange],
            trade_id=str(self._count),
            sequence=self._count,
            trf_id=_TRF if _EXCHANGES[exchange] == _OFF_EXCHANGE else None,
        )
        return arrival_ns, trade
