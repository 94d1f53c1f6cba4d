"""The measurement: detections on bars and on the same bars shuffled, and the later moves."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from ...workers.detect.definition import Definitions
from .aftermath import AFTER, HIT_AFTER, HIT_ATR, Aftermath, aftermath
from .bar_files import EPOCH_DAY, Market, day_of
from .finding import TIMEFRAMES, Finds, begin_runs, find
from .intervals import mean_of
from .report import Chance, Days, Followed, Hits, Key, Measured, MeasuredRow
from .shuffle import shuffled, stretches

_NAMED_DAYS = 31
_HIT = AFTER.index(HIT_AFTER)


class Options(NamedTuple):
    """How to measure. shuffles: of each kind; 0: none."""

    timeframes: Sequence[str] = TIMEFRAMES
    shuffles: int = 20
    seed: int = 1


class _Rows(NamedTuple):
    """Published detections of one key: their moves (n, 3) in its direction, and those of bars at the same times."""

    moves: Column
    of_all: Column
    hits_of_all: Column
    clusters: Column


def measure(
    market: Market, definitions: Definitions, options: Options, say: Callable[[str], None]
) -> tuple[dict[str, Measured], list[MeasuredRow]]:
    """Measure a market's patterns. say: receives the progress, often."""
    real = find(market, definitions, options.timeframes, partial(say, "looking for patterns"))
    chances = [
        _shuffles(market, definitions, options, say, narrow=narrow) if options.shuffles else None
        for narrow in (False, True)
    ]
    measured = {found.timeframe: _measured(found) for found in real if len(found.bars)}
    rows = [row for found in real if len(found.bars) for row in _rows(found, *chances)]
    return measured, rows


class _ByChance:
    """The detections on shuffled bars, for one kind of shuffle, by key."""

    def __init__(self) -> None:
        self.told: dict[Key, list[float]] = defaultdict(list)  # per 1,000 bars, for each shuffle with any
        self.shuffles = 0
        self._moves: dict[Key, list[Column]] = defaultdict(list)

    def add(self, found: Sequence[Finds]) -> None:
        """Add one shuffle's detections."""
        self.shuffles += 1
        for some in found:
            if not len(some.bars):
                continue
            followed = aftermath(some.timeframe, some.bars)
            for key, mine in _by_key(some).items():
                told = some.found[mine]["told"]
                self.told[key].append(float(told.sum()) * 1000 / len(some.bars))
                self._moves[key].append(_followed(some, followed, mine[told], key[2]).moves)

    def chance(self, key: Key) -> Chance:
        """Return how often a key is published by chance."""
        rates = self.told[key] + [0.0] * (self.shuffles - len(self.told[key]))
        return Chance(mean=sum(rates) / len(rates), least=min(rates), most=max(rates))

    def moves(self, key: Key) -> Column:
        """Return the moves after all of a key's detections: (n, 3)."""
        return np.concatenate([np.empty((0, len(AFTER))), *self._moves[key]])


def _shuffles(
    market: Market, definitions: Definitions, options: Options, say: Callable[[str], None], *, narrow: bool
) -> _ByChance:
    by_chance = _ByChance()
    stretch, runs = stretches(market, narrow=narrow), begin_runs(market.bars)
    for number in range(options.shuffles):
        rng = np.random.default_rng([options.seed, narrow, number])
        mixed = shuffled(market, stretch, runs, rng)
        line = f"shuffle {number + 1 + narrow * options.shuffles} of {2 * options.shuffles}"
        by_chance.add(find(mixed, definitions, options.timeframes, partial(say, line)))
    return by_chance


def _measured(found: Finds) -> Measured:
    days = day_of(found.bars["minute"])
    named = [str(date.fromordinal(EPOCH_DAY.toordinal() + int(day))) for day in np.unique(days)]
    pairs = np.unique(found.bars["symbol"].astype(np.int64) << 32 | days)
    return Measured(
        bars=len(found.bars),
        symbol_days=len(pairs),
        symbols=[found.symbols[code] for code in np.unique(found.bars["symbol"]).tolist()],
        days=Days(first=named[0], last=named[-1], count=len(named), named=named if len(named) <= _NAMED_DAYS else []),
    )


def _by_key(found: Finds) -> dict[Key, Column]:
    """Return the indices in `found.found` of each key."""
    rows: dict[Key, Column] = {}
    for number, pattern in enumerate(found.patterns):
        of_pattern = found.found["pattern"] == number
        for direction in np.unique(found.found["direction"][of_pattern]).tolist():
            mine = np.flatnonzero(of_pattern & (found.found["direction"] == direction))
            rows[pattern, found.timeframe, direction] = mine
    return rows


def _followed(found: Finds, followed: Aftermath, mine: Column, direction: int) -> _Rows:
    bars = found.found["bar"][mine]
    way = direction or 1  # for a pattern without direction, the move upwards
    return _Rows(
        followed.moves[bars] * way,
        followed.of_all[bars] * way,
        (followed.up if direction > 0 else followed.down)[bars],
        followed.clusters[bars],
    )


def _rows(found: Finds, within_day: _ByChance | None, within_half_hour: _ByChance | None) -> list[MeasuredRow]:
    by_key = _by_key(found)
    nowhere = np.empty(0, np.intp)
    for chance in (within_day, within_half_hour):
        for key in chance.told if chance else ():
            if key[1] == found.timeframe:
                by_key.setdefault(key, nowhere)
    order = {pattern: number for number, pattern in enumerate(found.patterns)}
    followed = aftermath(found.timeframe, found.bars)
    keys = sorted(by_key, key=lambda key: (order[key[0]], -key[2]))
    return [_row(found, followed, key, by_key[key], within_day, within_half_hour) for key in keys]


def _row(
    found: Finds,
    followed: Aftermath,
    key: Key,
    mine: Column,
    within_day: _ByChance | None,
    within_half_hour: _ByChance | None,
) -> MeasuredRow:
    told = mine[found.found["told"][mine]]
    rows = _followed(found, followed, told, key[2])
    by_chance = within_day.moves(key) if within_day else np.empty((0, len(AFTER)))
    per_1000 = 1000 / len(found.bars)
    days = len(np.unique(found.bars["symbol"].astype(np.int64) << 32 | day_of(found.bars["minute"])))
    return MeasuredRow(
        pattern=key[0],
        timeframe=key[1],
        direction=key[2],
        found=len(mine),
        told=len(told),
        found_per_1000=len(mine) * per_1000,
        told_per_1000=len(told) * per_1000,
        told_per_symbol_day=len(told) / days,
        within_day=within_day.chance(key) if within_day else None,
        within_half_hour=within_half_hour.chance(key) if within_half_hour else None,
        followed=[_after(rows, by_chance, column) for column in range(len(AFTER))],
        hits=_hits(rows, by_chance) if key[2] else None,
    )


def _after(rows: _Rows, by_chance: Column, column: int) -> Followed:
    moves = rows.moves[:, column]
    mean = mean_of(moves, rows.clusters[:, column])
    return Followed(
        after=AFTER[column],
        of=mean.of,
        mean=mean.mean,
        low=mean.low,
        high=mean.high,
        all_bars=_mean(rows.of_all[~np.isnan(moves), column]),
        shuffled=_mean(by_chance[:, column]),
    )


def _hits(rows: _Rows, by_chance: Column) -> Hits | None:
    moves = rows.moves[:, _HIT]
    there = ~np.isnan(moves)
    if not there.any():
        return None
    others = by_chance[:, _HIT]
    others = others[~np.isnan(others)]
    return Hits(
        hits=int((moves[there] >= HIT_ATR).sum()),
        of=int(there.sum()),
        expected=float(rows.hits_of_all[there].sum()),
        shuffled=_mean(np.where(others >= HIT_ATR, 1.0, 0.0)),
    )


def _mean(values: Column) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None
