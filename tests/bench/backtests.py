"""(k) The same trades by our engine, by backtesting.py and by vectorbt: `python tests/bench/backtests.py`.

Accounts of one symbol each, all money in each position, whole shares, commission on both sides, long only. The signals
are given: what is compared is the trading, from arrays of bars and signals to the trades and the equity at each close.
The trades are equal: orders on which the rules of the engines differ are left out (`_quiet`, `_turnless`).
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from tickstockpl.workers.backtest.equity import curve_of
from tickstockpl.workers.backtest.market import Market, Signals
from tickstockpl.workers.backtest.rules import Rules
from tickstockpl.workers.backtest.trading import trade

SYMBOLS, BARS = 20, 5_000
STOP, TARGET, COMMISSION, CAPITAL = 0.02, 0.03, 0.001, 100_000.0
_SIGNALS = 0.05  # of the bars
_MINUTES = 1440
_DECIMALS = 4  # of compared prices: the engines round the last bits of a stop differently

Trades = set[tuple[int, int, int, float, float, int]]  # symbol, bars and prices of entry and exit, shares


class Case(NamedTuple):
    """Bars and signals of some symbols: (bars, symbols); direction is 1, -1 or 0 for none."""

    name: str
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    direction: np.ndarray
    has_levels: bool


@dataclass(frozen=True)
class Compared:
    """One engine on one case. differing: trades of ours that it has not, and the other way round. ratio: to ours."""

    case: str
    engine: str
    seconds: float
    trades: int
    differing: int
    ratio: float


def cases() -> Iterator[Case]:
    """Make the three markets, each with its signals."""
    yield _case("opposite signals", gaps=True, has_levels=False)
    yield _quiet(_case("stop and target, without gaps", gaps=False, has_levels=True))
    yield _turnless(_quiet(_case("stop and target, with gaps", gaps=True, has_levels=True)))


def _quiet(case: Case) -> Case:
    """Leave out orders that are closed in the very bar that they open in: vectorbt looks at the levels a bar later."""
    entry = case.open[1:]
    hits = (case.low[1:] <= entry * (1 - STOP)) | (case.high[1:] >= entry * (1 + TARGET))
    is_hit = np.vstack([hits, np.zeros(SYMBOLS, bool)])
    return case._replace(direction=np.where(is_hit & (case.direction > 0), 0, case.direction))


def _turnless(case: Case) -> Case:
    """Leave out orders at an open whose gap closes a position: only our engine uses the money in the same open."""
    while True:
        trades = ours(case)
        turns = {one[:2] for one in trades} & {(one[0], one[2]) for one in trades}
        if not turns:
            return case
        symbols, bars = np.array([*turns]).T
        case.direction[bars - 1, symbols] = 0


def _case(name: str, *, gaps: bool, has_levels: bool) -> Case:
    random = np.random.default_rng(17)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.005, (BARS, SYMBOLS)), axis=0))
    before = np.vstack([np.full(SYMBOLS, 50.0), close[:-1]])
    opened = before * np.exp(random.normal(0, 0.005, close.shape) * gaps)
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.003, close.shape)))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.003, close.shape)))
    sides = [1] if has_levels else [1, -1]
    direction = np.where(random.random(close.shape) < _SIGNALS, random.choice(sides, close.shape), 0)
    direction[0] = 0  # backtesting.py begins with the second bar
    # At the end of the data each engine has its own rule: all is sold at the last open, and its bar hits no level.
    direction[-2:] = [[-1], [0]]
    high[-1], low[-1], close[-1] = opened[-1], opened[-1], opened[-1]
    return Case(name, opened, high, low, close, direction, has_levels)


def ours(case: Case) -> Trades:
    """Trade with our engine, an account after the other."""
    rules = Rules(
        initial_capital=CAPITAL, commission_rate=COMMISSION, slippage_rate=0.0, max_position_size=1.0, short=False,
        stop_loss_pct=STOP if case.has_levels else None, take_profit_pct=TARGET if case.has_levels else None,
    )  # fmt: skip
    found: Trades = set()
    for symbol in range(SYMBOLS):
        columns = (column[:, symbol].copy() for column in case[1:5])
        market = Market(["S"], np.array([0, BARS]), np.arange(BARS) * _MINUTES, *columns)
        bars = np.flatnonzero(case.direction[:, symbol])
        signals = Signals(bars, case.direction[bars, symbol], np.ones(len(bars)), ["P"] * len(bars))
        traded = trade(market, signals, rules).trades
        curve_of(market.closes, traded, rules)
        found |= {_row(symbol, t.entry_bar, t.exit_bar, t.entry_price, t.exit_price, t.shares) for t in traded}
    return found


def by_backtesting(case: Case) -> Trades:
    """Trade with backtesting.py. It wants a level with the order, so that it is told the next open."""
    import pandas as pd  # noqa: PLC0415  # of the extra `bench`
    from backtesting import Backtest, Strategy, backtesting  # noqa: PLC0415

    backtesting._tqdm = lambda bars, **_: bars  # its progress bar takes time, and stands in the table

    class OnSignals(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.next_open = np.append(self.data.Open[1:], np.nan)

        def next(self) -> None:
            bar = len(self.data) - 1
            direction = self.data.Direction[-1]
            if self.position and direction < 0:
                self.position.close()
            elif not self.position and direction > 0:
                opens = self.next_open[bar]
                levels = {"sl": opens * (1 - STOP), "tp": opens * (1 + TARGET)} if case.has_levels else {}
                # Its own size, a share of the money, would leave out the cents of the money.
                self.buy(size=math.floor(self.equity / (opens * (1 + COMMISSION)) + 1e-9), **levels)

    found: Trades = set()
    for symbol in range(SYMBOLS):
        names = ("Open", "High", "Low", "Close", "Direction")
        bars = pd.DataFrame(dict(zip(names, (column[:, symbol] for column in case[1:6]), strict=True)))
        bars.index = pd.date_range("2000-01-01", periods=BARS)
        tested = Backtest(bars, OnSignals, cash=CAPITAL, commission=COMMISSION, finalize_trades=True).run()
        columns = ("EntryBar", "ExitBar", "EntryPrice", "ExitPrice", "Size")
        found |= {_row(symbol, *row) for row in tested["_trades"][list(columns)].itertuples(index=False)}
    return found


def by_vectorbt(case: Case) -> Trades:
    """Trade with vectorbt, all symbols at once."""
    import vectorbt as vbt  # noqa: PLC0415  # of the extra `bench`

    shifted = np.vstack([np.zeros(SYMBOLS, case.direction.dtype), case.direction[:-1]])  # orders, one bar later
    levels = {"sl_stop": STOP, "tp_stop": TARGET, "stop_entry_price": "fillprice"} if case.has_levels else {}
    account = vbt.Portfolio.from_signals(
        case.close, shifted > 0, shifted < 0, open=case.open, high=case.high, low=case.low, price=case.open,
        init_cash=CAPITAL, fees=COMMISSION, size=np.inf, size_granularity=1, freq="1D", **levels,
    )  # fmt: skip
    account.value()
    columns = ("col", "entry_idx", "exit_idx", "entry_price", "exit_price", "size")
    return {_row(*row) for row in zip(*(account.trades.records[name] for name in columns), strict=True)}


def _row(symbol: Any, entry: Any, leave: Any, bought: Any, sold: Any, shares: Any) -> tuple[Any, ...]:
    prices = (round(float(price), _DECIMALS) for price in (bought, sold))
    return int(symbol), int(entry), int(leave), *prices, round(float(shares))


OTHERS: dict[str, tuple[str, Callable[[Case], Trades]]] = {
    "backtesting.py": ("backtesting", by_backtesting),
    "vectorbt": ("vectorbt", by_vectorbt),
}


def compare() -> Iterator[Compared]:
    """Run every case with every engine, the first run of each uncounted: numba compiles in it.

    Raises ImportError for an engine that is not installed.
    """
    for case in cases():
        mine, seconds = _timed(ours, case)
        yield Compared(case.name, "ours", seconds, len(mine), 0, 1.0)
        for name, (_, engine) in OTHERS.items():
            theirs, other_s = _timed(engine, case)
            yield Compared(case.name, name, other_s, len(theirs), len(mine ^ theirs), other_s / seconds)


def _timed(engine: Callable[[Case], Trades], case: Case) -> tuple[Trades, float]:
    """Return the trades, and the processor time: other jobs of the machine do not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that are not ours
        engine(case)
        began_s = time.process_time()
        return engine(case), time.process_time() - began_s


def main() -> None:
    """Print the table."""
    table = Table("case", "engine", "processor s", "x ours", "trades", "trades that differ")
    for one in compare():
        cells = f"{one.seconds:.3f}", f"{one.ratio:.1f}", f"{one.trades:,}", f"{one.differing:,}"
        table.add_row(one.case, one.engine, *cells)
    Console(width=110).print(table)
    for name, (package, _) in OTHERS.items():
        print(f"{name} {version(package)}")  # noqa: T201  # a command's output


if __name__ == "__main__":
    main()
