"""Read files of bars, or of trades, as bars for detectors: no server, nothing stored."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from ...contracts.bar import has_prices
from ...contracts.errors import UsageError
from ...contracts.market_hours import hours_if_open
from ...contracts.spellings.trade_conditions import TRADE_RULES
from ...contracts.ticks import SHARE_MICRO, Column
from ...producer.arrow import need_arrow
from ...producer.replay import ReplaySource
from ...workers.history import CLOSED_DTYPE
from ...workers.partition.bar_book import NO_BARS, bars_of, merge
from ...workers.sessions import session_of

DAY_MINUTES = 1440
EPOCH_DAY = date(1970, 1, 1)

_MINUTE_S, _MINUTE_NS = 60, 60 * 10**9
_SUMMER_OFFSET = 4 * 60  # minutes that New York is behind UTC in summer; 60 more in winter
_HEADER_BYTES = 1 << 16
_PRICES = ("open", "high", "low", "close")
_MERGED_AT = 64  # batches of trades: then partial bars are merged
# Names of the column of times: in our own CSV, in development data, in the vendor's aggregates; of days.
_ISO, _NS, _DAY = ("timestamp", "timestamp_utc_iso"), "window_start", "date"


class Market(NamedTuple):
    """The bars of some symbols (CLOSED_DTYPE, by symbol, then minute), of 1 minute or of a day.

    A symbol in bars is its index in symbols. A daily bar's minute is the open of its day.
    """

    symbols: list[str]
    bars: Column
    is_daily: bool

    @property
    def days(self) -> list[date]:
        """Return the days of the bars, in New York."""
        days = np.unique(day_of(self.bars["minute"]))
        return [EPOCH_DAY + timedelta(days=int(day)) for day in days]


def read_markets(files: Sequence[str], rules: TRADE_RULES | None) -> list[Market]:
    """Read all files; return their 1-minute bars, then their daily bars, if any.

    rules: of trades' conditions, as in ReplaySource. Raises UsageError for a file without bars and trades, for bars of
    another length, and for two bars of the same symbol and time.
    """
    need_arrow()
    of_bars = {file: _bar_columns(file) for file in files}
    trades = [file for file in files if of_bars[file] is None]
    read = [(file, _read_bars(file, columns)) for file, columns in of_bars.items() if columns is not None]
    if trades:
        read.append((", ".join(trades), _bars_of_trades(trades, rules)))
    parts: dict[bool, list[tuple[list[str], Column]]] = {False: [], True: []}
    for file, (symbols, bars) in read:
        if is_daily := _is_daily(bars, file):
            bars["minute"] = openings_of(day_of(bars["minute"]))
        parts[is_daily].append((symbols, bars))
    return [_joined(some, is_daily=is_daily) for is_daily, some in parts.items() if some]


def regular(market: Market) -> Market:
    """Return a market with only the bars of regular hours; daily bars are."""
    return market if market.is_daily else market._replace(bars=market.bars[session_of(market.bars["minute"]) >= 0])


def day_of(minutes: Column) -> Column:
    """Return the New York day of each minute, in days since 1970; correct from midnight to 23:00."""
    return np.asarray((minutes - _SUMMER_OFFSET) // DAY_MINUTES)


def openings_of(days: Column) -> Column:
    """Return the minute at which the regular hours of each day begin; days: since 1970."""
    known, where = np.unique(days, return_inverse=True)
    opens = [hours_if_open(EPOCH_DAY + timedelta(days=day)).opens.timestamp() for day in known.tolist()]
    return np.array(opens, np.int64)[where] // _MINUTE_S


def _joined(parts: Sequence[tuple[list[str], Column]], *, is_daily: bool) -> Market:
    symbols = sorted({symbol for some, _ in parts for symbol in some})
    code_of = {symbol: code for code, symbol in enumerate(symbols)}
    bars = np.concatenate([bars for _, bars in parts])
    bars["symbol"] = np.concatenate([np.array([code_of[s] for s in some])[rows["symbol"]] for some, rows in parts])
    bars = bars[np.lexsort((bars["minute"], bars["symbol"]))]
    same = (bars["symbol"][1:] == bars["symbol"][:-1]) & (bars["minute"][1:] == bars["minute"][:-1])
    if same.any():
        twice = bars[1:][same][0]
        at = datetime.fromtimestamp(int(twice["minute"]) * _MINUTE_S, UTC)
        raise UsageError(f"the files have two bars of {symbols[twice['symbol']]} at {at:%Y-%m-%d %H:%M} UTC")
    return Market(symbols, bars, is_daily)


def _is_daily(bars: Column, file: str) -> bool:
    """Tell whether these are daily bars. Raises UsageError if they are neither daily nor 1-minute bars."""
    steps = np.diff(bars["minute"])[np.diff(bars["symbol"]) == 0]
    if not len(bars) or not len(steps):
        raise UsageError(f"{file}: fewer than two bars of any symbol")
    if (np.diff(day_of(bars["minute"]))[np.diff(bars["symbol"]) == 0] > 0).all():
        return True
    if (step := int(np.gcd.reduce(steps))) > 1:
        raise UsageError(f"{file}: bars of {step} minutes; bars of 1 minute are needed; longer ones are made from them")
    return False


# -- files of bars -------------------------------------------------------------------------------------------------


def _bar_columns(file: str) -> dict[str, str] | None:
    """Return a file's columns by meaning, or None if it has no bars (it is read as trades)."""
    if file.endswith(".parquet"):
        from pyarrow import parquet  # noqa: PLC0415  # producer/arrow.py

        names = _tried(file, lambda: parquet.read_schema(file).names)
    else:
        names = _tried(file, lambda: _header(file))
    if not set(_PRICES) <= set(names):
        return None
    columns = dict.fromkeys((*_PRICES, "volume"))
    found = {name: name for name in columns} | {
        "symbol": _first_of(("symbol", "ticker"), names, file),
        "time": _first_of((*_ISO, _NS, _DAY), names, file),
    }
    if "volume" not in names:
        raise UsageError(f"{file}: no column volume")
    return found


def _first_of(wanted: Sequence[str], names: Sequence[str], file: str) -> str:
    for name in wanted:
        if name in names:
            return name
    raise UsageError(f"{file}: no column {' or '.join(wanted)}")


def _header(file: str) -> list[str]:
    import pyarrow as pa  # noqa: PLC0415  # producer/arrow.py

    with pa.input_stream(file, compression="detect") as stream:
        first: bytes = stream.read(_HEADER_BYTES).partition(b"\n")[0]
    return [name.strip().strip('"') for name in first.decode("utf-8-sig", "replace").split(",")]


def _read_bars(file: str, columns: dict[str, str]) -> tuple[list[str], Column]:
    table = _tried(file, lambda: _table(file, columns))
    symbol = table.column(columns["symbol"]).combine_chunks().dictionary_encode()
    symbols = symbol.dictionary.to_pylist()
    values = {name: table.column(columns[name]).to_numpy().astype(np.float64) for name in (*_PRICES, "volume")}
    numbers = np.stack(list(values.values()))
    if not np.isfinite(numbers).all() or not (numbers[:4] > 0).all() or not (numbers[4] >= 0).all():
        raise UsageError(f"{file}: a bar without a price above 0, or without a volume")
    bars = np.empty(len(table), CLOSED_DTYPE)
    bars["symbol"] = symbol.indices.to_numpy()
    bars["minute"] = _minutes(table.column(columns["time"]), columns["time"])
    for name in _PRICES:
        bars[name] = values[name]
    bars["volume_micro"] = values["volume"] * SHARE_MICRO
    bars["notional"] = values["volume"] * values["close"]  # not used by any pattern
    return symbols, bars[np.lexsort((bars["minute"], bars["symbol"]))]


def _table(file: str, columns: dict[str, str]) -> Any:
    import pyarrow as pa  # noqa: PLC0415  # producer/arrow.py
    from pyarrow import csv, parquet  # noqa: PLC0415

    time = columns["time"]
    if file.endswith(".parquet"):
        return parquet.read_table(file, columns=list(columns.values()))
    types = dict.fromkeys((*_PRICES, "volume"), pa.float64())
    types |= {columns["symbol"]: pa.string()}
    types |= {time: {_NS: pa.int64(), _DAY: pa.date32()}.get(time, pa.timestamp("s", "UTC"))}
    options = csv.ConvertOptions(column_types=types, include_columns=list(columns.values()), null_values=[""])
    return csv.read_csv(file, convert_options=options)


def _minutes(times: Any, name: str) -> Column:
    import pyarrow as pa  # noqa: PLC0415  # producer/arrow.py

    if name == _DAY:
        return openings_of(times.cast(pa.int32()).to_numpy())
    if name == _NS:
        return np.asarray(times.to_numpy() // _MINUTE_NS)
    return np.asarray(times.cast(pa.timestamp("s", "UTC")).cast(pa.int64()).to_numpy() // _MINUTE_S)


def _tried(file: str, read: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415  # producer/arrow.py

    try:
        return read()
    except OSError as e:
        raise UsageError(f"{file}: {e.strerror or e}") from e
    except (pa.ArrowInvalid, pa.ArrowKeyError) as e:
        raise UsageError(f"{file}: cannot be read as bars: {e}") from e


# -- files of trades -----------------------------------------------------------------------------------------------


def _bars_of_trades(files: Sequence[str], rules: TRADE_RULES | None) -> tuple[list[str], Column]:
    """Make the bars of trade flat files by the workers' rule."""
    codes: dict[str, int] = {}
    parts = [NO_BARS]
    for ticks in ReplaySource(files, rules=rules):
        mine = np.array([codes.setdefault(symbol, len(codes)) for symbol in ticks.symbols], np.int64)
        parts.append(bars_of(ticks, mine[ticks.symbol_index]))
        if len(parts) > _MERGED_AT:
            parts = [merge(np.concatenate(parts))]
    bars = merge(np.concatenate(parts))
    bars = bars[has_prices(bars)]
    # Open and close limit high and low if no trade might set those, as in a commit.
    bars["high"] = np.where(np.isfinite(bars["high"]), bars["high"], np.maximum(bars["open"], bars["close"]))
    bars["low"] = np.where(np.isfinite(bars["low"]), bars["low"], np.minimum(bars["open"], bars["close"]))
    return list(codes), bars[list(CLOSED_DTYPE.names or ())].astype(CLOSED_DTYPE)
