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
from tickstockpl.workers.backtest.trading import Trade, trade

SYMBOLS, BARS = 20, 5_000
MINUTES = 252 * 390  # a year
STOP, TARGET, COMMISSION, CAPITAL = 0.02, 0.03, 0.001, 100_000.0
_SIGNALS, _SIGNALS_OF_MINUTES = 0.05, 0.005  # of the bars
_DAY_MINUTES = 1440
_RUNS, _LONG_S = 6, 10.0  # of each engine on each case

Trades = set[tuple[int, int, int, float, float, int]]  # symbol, bars and prices of entry and exit, shares
Rows = Iterator[tuple[Any, ...]]  # the same, as an engine has them


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
    yield _quiet(_case("a year of minutes", gaps=False, has_levels=True, bars=MINUTES, signals=_SIGNALS_OF_MINUTES))


def _quiet(case: Case) -> Case:
    """Leave out orders that are closed in the very bar that they open in: vectorbt looks at the levels a bar later."""
    entry = case.open[1:]
    hits = (case.low[1:] <= entry * (1 - STOP)) | (case.high[1:] >= entry * (1 + TARGET))
    is_hit = np.vstack([hits, np.zeros(SYMBOLS, bool)])
    return case._replace(direction=np.where(is_hit & (case.direction > 0), 0, case.direction))


def _turnless(case: Case) -> Case:
    """Leave out orders at an open whose gap closes a position: only our engine uses the money in the same open."""
    while True:
        trades = trades_of(our_rows(trade_ours(our_inputs(case))))
        turns = {one[:2] for one in trades} & {(one[0], one[2]) for one in trades}
        if not turns:
            return case
        symbols, bars = np.array([*turns]).T
        case.direction[bars - 1, symbols] = 0


def _case(name: str, *, gaps: bool, has_levels: bool, bars: int = BARS, signals: float = _SIGNALS) -> Case:
    random = np.random.default_rng(17)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.005 * (BARS / bars) ** 0.5, (bars, SYMBOLS)), axis=0))
    before = np.vstack([np.full(SYMBOLS, 50.0), close[:-1]])
    opened = before * np.exp(random.normal(0, 0.005, close.shape) * gaps)
    spread = np.abs(random.normal(0, 0.003 * (BARS / bars) ** 0.5, (2, *close.shape)))
    high = np.maximum(opened, close) * (1 + spread[0])
    low = np.minimum(opened, close) * (1 - spread[1])
    sides = [1] if has_levels else [1, -1]
    direction = np.where(random.random(close.shape) < signals, random.choice(sides, close.shape), 0)
    direction[0] = 0  # backtesting.py begins with the second bar
    # At the end of the data each engine has its own rule: all is sold at the last open, and its bar hits no level.
    direction[-2:] = [[-1], [0]]
    high[-1], low[-1], close[-1] = opened[-1], opened[-1], opened[-1]
    return Case(name, opened, high, low, close, direction, has_levels)


class OurInput(NamedTuple):
    """An account: its market and signals, and the rules."""

    market: Market
    signals: Signals
    rules: Rules


def our_inputs(case: Case) -> list[OurInput]:
    """Return each account's bars and signals as our engine has them."""
    rules = Rules(
        initial_capital=CAPITAL, commission_rate=COMMISSION, slippage_rate=0.0, max_position_size=1.0, short=False,
        stop_loss_pct=STOP if case.has_levels else None, take_profit_pct=TARGET if case.has_levels else None,
    )  # fmt: skip
    inputs, times = [], np.arange(len(case.close)) * _DAY_MINUTES
    for symbol in range(SYMBOLS):
        columns = (column[:, symbol].copy() for column in case[1:5])
        bars = np.flatnonzero(case.direction[:, symbol])
        signals = Signals(bars, case.direction[bars, symbol], np.ones(len(bars)), ["P"] * len(bars))
        inputs.append(OurInput(Market(["S"], np.array([0, len(times)]), times, *columns), signals, rules))
    return inputs


def trade_ours(inputs: list[OurInput]) -> list[list[Trade]]:
    """Trade with our engine, an account after the other."""
    traded = []
    for market, signals, rules in inputs:
        traded.append(trade(market, signals, rules).trades)
        curve_of(market.closes, traded[-1], rules)
    return traded


def our_rows(traded: list[list[Trade]]) -> Rows:
    """Yield our trades."""
    for symbol, trades in enumerate(traded):
        yield from ((symbol, t.entry_bar, t.exit_bar, t.entry_price, t.exit_price, t.shares) for t in trades)


def frames(case: Case) -> list[Any]:
    """Return a test of backtesting.py for each symbol. It wants a level with the order, so it is told the next open."""
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

    tests = []
    for symbol in range(SYMBOLS):
        names = ("Open", "High", "Low", "Close", "Direction")
        bars = pd.DataFrame(dict(zip(names, (column[:, symbol] for column in case[1:6]), strict=True)))
        bars.index = pd.date_range("2000-01-01", periods=len(bars), freq="D" if len(bars) == BARS else "min")
        tests.append(Backtest(bars, OnSignals, cash=CAPITAL, commission=COMMISSION, finalize_trades=True))
    return tests


def run_tests(tests: list[Any]) -> list[Any]:
    """Trade with backtesting.py, an account after the other."""
    return [test.run() for test in tests]


def rows_of_tests(tested: list[Any]) -> Rows:
    """Yield the trades of backtesting.py."""
    columns = ["EntryBar", "ExitBar", "EntryPrice", "ExitPrice", "Size"]
    for symbol, one in enumerate(tested):
        yield from ((symbol, *row) for row in one["_trades"][columns].itertuples(index=False))


def portfolio_arguments(case: Case) -> dict[str, Any]:
    """Return what vectorbt is called with: an order of a bar's signal is one of the next bar."""
    shifted = np.vstack([np.zeros(SYMBOLS, case.direction.dtype), case.direction[:-1]])
    levels = {"sl_stop": STOP, "tp_stop": TARGET, "stop_entry_price": "fillprice"} if case.has_levels else {}
    return {
        "close": case.close, "entries": shifted > 0, "exits": shifted < 0, "open": case.open, "high": case.high,
        "low": case.low, "price": case.open, "init_cash": CAPITAL, "fees": COMMISSION, "size": np.inf,
        "size_granularity": 1, "freq": "1D", **levels,
    }  # fmt: skip


def run_portfolio(arguments: dict[str, Any]) -> Any:
    """Trade with vectorbt, all accounts at once."""
    import vectorbt as vbt  # noqa: PLC0415  # of the extra `bench`

    account = vbt.Portfolio.from_signals(**arguments)
    account.value()
    return account.trades.records


def rows_of_records(records: Any) -> Rows:
    """Yield the trades of vectorbt."""
    columns = ("col", "entry_idx", "exit_idx", "entry_price", "exit_price", "size")
    yield from zip(*(records[name] for name in columns), strict=True)


class Engine(NamedTuple):
    """An engine. Only `trade` is measured: from its own form of bars and signals to its own form of trades.

    package: its distribution; None: ours.
    """

    package: str | None
    prepare: Callable[[Case], Any]
    trade: Callable[[Any], Any]
    rows: Callable[[Any], Rows]


ENGINES = {
    "ours": Engine(None, our_inputs, trade_ours, our_rows),
    "backtesting.py": Engine("backtesting", frames, run_tests, rows_of_tests),
    "vectorbt": Engine("vectorbt", portfolio_arguments, run_portfolio, rows_of_records),
}


def compare() -> Iterator[Compared]:
    """Run every case with every engine. Raises ImportError for an engine that is not installed."""
    for case in cases():
        mine, ours_s = _timed(ENGINES["ours"], case)
        yield Compared(case.name, "ours", ours_s, len(mine), 0, 1.0)
        for name, engine in ENGINES.items():
            if engine.package:
                theirs, seconds = _timed(engine, case)
                yield Compared(case.name, name, seconds, len(theirs), len(mine ^ theirs), seconds / ours_s)


def _timed(engine: Engine, case: Case) -> tuple[Trades, float]:
    """Return the trades, and the least processor time of some runs: other jobs of the machine do not count.

    The first run is not counted if there are several: numba compiles in it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that are not ours
        given = engine.prepare(case)
        times, began_s = [], time.process_time()
        while len(times) < _RUNS and sum(times) < _LONG_S:
            began_s = time.process_time()
            traded = engine.trade(given)
            times.append(time.process_time() - began_s)
        return trades_of(engine.rows(traded)), min(times)


def trades_of(rows: Rows) -> Trades:
    """Return trades in the form in which they are compared."""
    return {
        (int(symbol), int(entry), int(leave), round(float(bought), 4), round(float(sold), 4), round(float(shares)))
        for symbol, entry, leave, bought, sold, shares in rows
    }


def main() -> None:
    """Print the table."""
    table = Table("case", "engine", "processor s", "x ours", "trades", "trades that differ")
    for one in compare():
        cells = f"{one.seconds:.3f}", f"{one.ratio:.1f}", f"{one.trades:,}", f"{one.differing:,}"
        table.add_row(one.case, one.engine, *cells)
    Console(width=110).print(table)
    for name, engine in ENGINES.items():
        if engine.package:
            print(f"{name} {version(engine.package)}")  # noqa: T201  # a command's output


if __name__ == "__main__":
    main()
