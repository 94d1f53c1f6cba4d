"""A synthetic market: the same options give the same ticks, in any order in which its chunks are made.

It makes the ticks and their arrival times; `produce.py` paces, numbers and sends them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contracts.errors import UsageError
from ..contracts.spellings.tick_json import parse_bodies
from ..contracts.spellings.timestamps import SECOND_NS
from ..contracts.ticks import MAX_TS_NS, MIN_TS_NS, Refused, Ticks

BLOCK_S = 23_400  # a regular session, 09:30 to 16:00
YEAR_NS = 366 * 86_400 * SECOND_NS
MAX_SYMBOLS = 20_000
MAX_LATE_S = 300

# The busiest first.
_TICKERS = (  # noqa: SIM905 - 70 quoted names on 70 lines read worse
    "AAPL MSFT NVDA AMZN GOOGL META BRK.B TSLA LLY AVGO JPM V UNH XOM MA JNJ PG HD COST ORCL MRK ABBV CVX ADBE KO PEP "
    "CRM BAC NFLX AMD WMT TMO MCD CSCO ACN ABT LIN INTC DIS WFC CMCSA VZ QCOM TXN DHR PM NEE UNP IBM GE CAT AMGN NKE "
    "SPGI BA HON LOW GS T RTX PFE SPY QQQ IWM DIA GLD XLF XLE TLT VTI"
).split()


class Scenario(NamedTuple):
    """The character of a market. story: (market seconds, factor on every price), linear in between.

    bell: additional activity after the opening. doji_every: one of this many symbols makes a Doji each minute: it
    closes at its open, far from its high and low.
    """

    sigma: float = 1.0
    story: tuple[tuple[float, float], ...] = ()
    bell: float = 0.0
    doji_every: int = 0


SCENARIOS = {
    "normal": Scenario(),
    "volatile": Scenario(sigma=4.0),
    "crash": Scenario(sigma=2.0, story=((300, 1.0), (900, 0.85), (2700, 0.92))),
    "rally": Scenario(story=((300, 1.0), (2700, 1.12))),
    "opening_bell": Scenario(sigma=2.0, bell=8.0),
    "lively": Scenario(doji_every=5),
}
_STORY_S = 3_600  # in a shorter run the whole story of the scenario happens faster
_BELL_S = 120  # the rush after the bell fades by a factor e in this time

# A tag for each kind of random numbers, so that no two of them share a seed.
_ROWS, _SYMBOLS, _KNOTS = 1, 2, 3

_SYMBOL_SLOTS = 1 << 20  # a draw of 20 bits picks a symbol; the rarest of 20,000 symbols still has 5 slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The faults of a real feed. Shares are of all ticks, 0..1; a row can have more than one fault."""

    disorder_ms: float = 0.0  # a tick's time lies this far before or behind its arrival, at most
    late_share: float = 0.0  # arrives 1..300 s after its time
    zero_share: float = 0.0  # size 0: a quote or an empty tick
    bad_share: float = 0.0  # no tick at all: refused by the parser of the real feeds
    repeat_share: float = 0.0  # a separate trade with the same fields as the one before
    future_ticks: int = 0  # additional ticks from next year, in the first chunk

    def __post_init__(self) -> None:
        for name in ("late_share", "zero_share", "bad_share", "repeat_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}: a share lies in 0..1")
        if not 0 <= self.disorder_ms < math.inf or self.future_ticks < 0:
            raise UsageError("disorder_ms and future_ticks cannot be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Every option of a synthetic market.

    rate: mean ticks a second of market time over all symbols, bad ones included. start_ns: Unix ns, the market's
    opening; the U-shaped day is laid over blocks of 6.5 h from there. chunk_ns: market time of one chunk.
    """

    seed: int = 1
    symbols: int = 70
    rate: float = 500.0
    scenario: str = "normal"
    start_ns: int = 1_748_871_000 * SECOND_NS  # Monday 2025-06-02, 09:30 in New York
    chunk_ns: int = 100_000_000
    trouble: Trouble = field(default_factory=Trouble)

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise UsageError(f"scenario {self.scenario!r} is unknown: one of {', '.join(SCENARIOS)}")
        if not 1 <= self.symbols <= MAX_SYMBOLS:
            raise UsageError(f"{self.symbols} symbols: 1 to {MAX_SYMBOLS} are possible")
        if not 0 < self.rate < math.inf:
            raise UsageError(f"rate is {self.rate}: a positive number of ticks a second is needed")
        if self.seed < 0 or self.chunk_ns < 1:
            raise UsageError("the seed cannot be negative, and a chunk takes at least 1 ns")
        if not MIN_TS_NS <= self.start_ns <= MAX_TS_NS:
            raise UsageError(f"start_ns is {self.start_ns}: Unix nanoseconds from 1990 to 2100 are needed")


class Chunk(NamedTuple):
    """Ticks in arrival order, and the market time (Unix ns) at which each row arrives, never falling."""

    ticks: Ticks
    arrival_ns: NDArray[np.int64]


class SyntheticSource:
    """The ticks of a market, for some market seconds or (None) without end."""

    def __init__(self, market: Market, *, seconds: float | None) -> None:
        if seconds is not None and not 0 < seconds < math.inf:
            raise UsageError(f"{seconds} seconds of market time: a positive number is needed")
        self.market = market
        self.seconds = seconds
        generated = (f"S{number:04d}" for number in range(len(_TICKERS) + 1, market.symbols + 1))
        self.symbols = (*_TICKERS[: market.symbols], *generated)
        span_s = float(BLOCK_S if seconds is None else seconds)
        pace = min(1.0, span_s / _STORY_S)
        self._end_ns = None if seconds is None else round(seconds * SECOND_NS)
        self._bell_s = _BELL_S * pace
        self._rows_per_busy_s = market.rate * span_s / self._busy_s(span_s)
        self._slots = _symbol_slots(market.symbols)
        self._prices = _Prices(market, pace)

    @property
    def chunk_count(self) -> int | None:
        """The number of chunks, the last one perhaps shorter; None without end."""
        return None if self._end_ns is None else -(-self._end_ns // self.market.chunk_ns)

    def describe(self) -> str:
        """Return one canonical line of every option that decides the ticks: equal lines give equal ticks."""
        options = asdict(self.market)
        options |= options.pop("trouble") | {"seconds": self.seconds}
        # However a whole number was written (60 or 60.0), the line is the same.
        canonical = {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in options.items()}
        return "synthetic version=1 " + " ".join(f"{name}={canonical[name]}" for name in sorted(canonical))

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks in order."""
        number = 0
        while self.chunk_count is None or number < self.chunk_count:
            yield self.chunk(number)
            number += 1

    def __iter__(self) -> Iterator[Chunk]:
        return self.chunks()

    def chunk(self, number: int) -> Chunk:
        """Return the rows of a chunk: they arrive within chunk_ns from start + number x chunk_ns on."""
        trouble = self.market.trouble
        rng = _generator(self.market.seed, _ROWS, number)
        low, high = self._bound_ns(number), self._bound_ns(number + 1)
        future = trouble.future_ticks if number == 0 else 0
        wanted = self._rows_until(high) - self._rows_until(low)
        bad = int(rng.binomial(wanted, trouble.bad_share)) if trouble.bad_share else 0
        arrival = np.sort(rng.integers(low, max(high, low + 1), wanted - bad + future))
        ticks = self._ticks(rng, arrival)
        if trouble.repeat_share:
            rows = _rows_with_repeats(rng, len(arrival), trouble.repeat_share)
            ticks, arrival = ticks.take(rows), arrival[rows]
        if future:
            # Chosen last: no repeat can copy one, and a size above 0 makes sure that it counts as a trade.
            rows = rng.choice(len(arrival), future, replace=False)
            ticks.ts[rows], ticks.size[rows] = self.market.start_ns + arrival[rows] + YEAR_NS, 100.0
        refused = _bad_ticks(rng, bad, self.symbols, self.market.start_ns + low)
        return Chunk(ticks.take(slice(None), refused), arrival + self.market.start_ns)

    def _ticks(self, rng: np.random.Generator, arrival: NDArray[np.int64]) -> Ticks:
        """Make one tick for each arrival (ns since the start)."""
        count = len(arrival)
        offset = _tick_times(rng, arrival, self.market.trouble)
        symbol_index = self._slots[rng.integers(0, _SYMBOL_SLOTS, count, dtype=np.uint32)]
        price = self._prices.at(offset, symbol_index, rng)
        size = _sizes(rng, count)
        if self.market.trouble.zero_share:
            size[rng.random(count) < self.market.trouble.zero_share] = 0.0
        return Ticks(self.symbols, symbol_index, offset + self.market.start_ns, price, size)

    def _bound_ns(self, number: int) -> int:
        bound = number * self.market.chunk_ns
        return bound if self._end_ns is None else min(bound, self._end_ns)

    def _rows_until(self, offset_ns: int) -> int:
        # Rounding the running total, not each chunk's share, gives the asked rate exactly for chunks of any length.
        return round(self._rows_per_busy_s * self._busy_s(offset_ns / SECOND_NS))

    def seconds_of(self, rows: int) -> float:
        """Return the market seconds until this number of rows has arrived."""
        low, high = 0.0, 1.0
        while self._rows_until(int(high * SECOND_NS)) < rows:
            low, high = high, 2 * high
        while high - low > 0.001:
            middle = (low + high) / 2
            low, high = (middle, high) if self._rows_until(int(middle * SECOND_NS)) < rows else (low, middle)
        return high

    def _busy_s(self, at_s: float) -> float:
        """Return the integral over time of how busy the market is, from its start."""
        blocks, within_s = divmod(at_s, BLOCK_S)
        return blocks * self._busy_s_of_block(BLOCK_S) + self._busy_s_of_block(within_s)

    def _busy_s_of_block(self, until_s: float) -> float:
        # A parabola: 1.8 at both ends of the block, 0.6 in its middle, mean 1. The bell's rush comes on top and fades.
        day = 0.6 * until_s + 0.2 * BLOCK_S * ((2 * until_s / BLOCK_S - 1) ** 3 + 1)
        rush = SCENARIOS[self.market.scenario].bell * self._bell_s * -math.expm1(-until_s / self._bell_s)
        return day + rush


_STEP_S = 10  # a price moves along a line between two nodes, this far apart
_OCTAVES = 12  # of noise, from 10 s to 5.7 h
_STEP_SIGMA = 0.0002  # of one step; a minute's is 0.05 %, a day's near 1.3 %
_SWING = 0.003  # of a price, on the way to a Doji
_MINUTE_S = 60
_BOUNCE = 0.0001  # of single trades around the line: a cent for 100 dollars


class _Prices:
    """The price of each symbol at any time.

    The logarithm of a price is a sum of noises. Each noise has random values at knots 1, 2, 4 … steps apart and is
    linear between them; it is as large as a random walk's move from knot to knot. A price does not depend on earlier
    prices, as that of a random walk does: so chunks can be made in any order, and a price always stays within some
    percent of its base, far from 0 and from every bound.
    """

    def __init__(self, market: Market, pace: float) -> None:
        scenario = SCENARIOS[market.scenario]
        draws = _generator(market.seed, _SYMBOLS).standard_normal((market.symbols, 2))
        self._seed = market.seed
        self._base = np.clip(np.exp(4.4 + 0.8 * draws[:, 0]), 5.0, 2000.0)
        self._beta = np.clip(1 + 0.15 * draws[:, 1], 0.7, 1.3)  # how much of the story a symbol shares
        self._sigma = scenario.sigma
        every = scenario.doji_every
        # By their place, so that some of the busiest are among them.
        self._swings = np.arange(market.symbols) % every == every // 2 if every else None
        self._story_s = [at_s * pace for at_s, _ in scenario.story]
        self._story_log = [math.log(factor) for _, factor in scenario.story]
        self._node = lru_cache(maxsize=64)(self._make_node)  # late ticks look 30 nodes back
        self._knot = lru_cache(maxsize=64)(self._make_knot)

    def at(
        self, offset: NDArray[np.int64], symbol_index: NDArray[np.uint16], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Price trades at times in ns since the start, in whole cents. Before the start the first price holds."""
        if not len(offset):
            return np.empty(0)
        at_s = np.maximum(offset, 0) / SECOND_NS
        swing: NDArray[np.float64] | float = 1.0
        if self._swings is not None:
            at_s, swing = _swung(at_s, self._swings[symbol_index])
        step = (at_s / _STEP_S).astype(np.int64)
        first = int(step.min())
        nodes = np.concatenate([self._node(index) for index in range(first, int(step.max()) + 2)])
        left = (step - first) * len(self._base) + symbol_index
        before, after = nodes[left], nodes[left + len(self._base)]
        price = before + (after - before) * (at_s / _STEP_S - step)
        price *= swing
        price *= 1 + _BOUNCE * self._sigma * rng.standard_normal(len(offset), dtype=np.float32)
        if self._story_s:
            price *= np.exp(self._beta[symbol_index] * np.interp(at_s, self._story_s, self._story_log))
        cents: NDArray[np.float64] = np.maximum(np.rint(price * 100), 1)
        return cents / 100

    def _make_node(self, index: int) -> NDArray[np.float64]:
        level = np.zeros(len(self._base))
        for octave in range(_OCTAVES):
            knot, within = divmod(index, 1 << octave)
            share = within / (1 << octave)
            noise = (1 - share) * self._knot(octave, knot) + share * self._knot(octave, knot + 1)
            level += _STEP_SIGMA * self._sigma * 2 ** (octave / 2) * noise
        return self._base * np.exp(level)

    def _make_knot(self, octave: int, knot: int) -> NDArray[np.float64]:
        return _generator(self._seed, _KNOTS, octave, knot).standard_normal(len(self._base))


def _swung(at_s: NDArray[np.float64], swings: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Move the price of some rows around the price at their minute's start. Return the times to price, and a factor.

    The factor is 1 plus the cube of a sine, which is flat at both ends of a minute: even a symbol with few trades ends
    the minute where it began.
    """
    in_minute_s = at_s % _MINUTE_S
    factor = np.where(swings, 1 + _SWING * np.sin(2 * np.pi * in_minute_s / _MINUTE_S) ** 3, 1.0)
    return np.where(swings, at_s - in_minute_s, at_s), factor


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _symbol_slots(symbols: int) -> NDArray[np.uint16]:
    """Lay the symbols over the slots by a power law: the n-th trades 1/n as often as the first.

    A look-up by a random slot is 5 times faster than a search in the cumulated weights.
    """
    weights = np.cumsum(1 / np.arange(1, symbols + 1))
    slots = (np.arange(_SYMBOL_SLOTS) + 0.5) / _SYMBOL_SLOTS
    return np.searchsorted(weights / weights[-1], slots).astype(np.uint16)


def _tick_times(rng: np.random.Generator, arrival: NDArray[np.int64], trouble: Trouble) -> NDArray[np.int64]:
    offset = arrival.copy()
    if disorder := round(trouble.disorder_ms * 1e6):
        offset += rng.integers(-disorder, disorder, len(arrival), endpoint=True)
    if trouble.late_share:
        late = rng.random(len(arrival)) < trouble.late_share
        offset[late] = arrival[late] - rng.integers(SECOND_NS, MAX_LATE_S * SECOND_NS, int(late.sum()), endpoint=True)
    return offset


def _sizes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw sizes: 72 % round lots, 26 % odd lots, 2 % fractions of at most 6 decimals."""
    size = 100 * np.ceil(np.exp(rng.standard_normal(count, dtype=np.float32))).astype(np.float64)
    kind = rng.random(count, dtype=np.float32)
    odd, fraction = (kind < 0.28).nonzero()[0], (kind < 0.02).nonzero()[0]
    size[odd] = rng.integers(1, 100, len(odd))
    size[fraction] = rng.integers(1, 5_000_000, len(fraction)) / 1e6
    return size


def _rows_with_repeats(rng: np.random.Generator, count: int, share: float) -> NDArray[np.int64]:
    """Return row numbers in which a share repeats the number before it."""
    rows = np.where(rng.random(count) < share, 0, np.arange(count))
    return np.maximum.accumulate(rows)


# Wrong values of a field, as JSON text, as a broken sender may send them; "" leaves the field out.
_BROKEN = (
    ("price", "NaN"),
    ("price", "101,25"),
    ("price", ""),
    ("price", '"NaN"'),
    ("price", "0"),
    ("price", "-101.25"),
    ("symbol", ""),
    ("symbol", '""'),
    ("symbol", '"A SYMBOL LONGER THAN 20"'),
    ("volume", "-100"),
    ("volume", '"many"'),
    ("timestamp", ""),
    ("timestamp", '"yesterday"'),
    ("timestamp", "5000000000"),
)


def _bad_ticks(rng: np.random.Generator, count: int, symbols: tuple[str, ...], at_ns: int) -> Sequence[Refused]:
    """Spoil one field each of some `tickstock:market:ticks` bodies, and have the parser refuse them."""
    prices, names = rng.integers(100, 50_000, count).tolist(), rng.integers(0, len(symbols), count).tolist()
    bodies = []
    for kind, name, price in zip(rng.integers(0, len(_BROKEN), count).tolist(), names, prices, strict=True):
        field_name, text = _BROKEN[kind]
        tick = {"type": '"market_tick"', "symbol": f'"{symbols[name]}"', "price": f"{price / 100:.2f}", "volume": "100"}
        tick |= {"timestamp": f"{at_ns / SECOND_NS:.3f}", field_name: text}
        bodies.append("{" + ",".join(f'"{key}":{value}' for key, value in tick.items() if value) + "}")
    return parse_bodies(body.encode() for body in bodies).refused
