"""The closed bars of a commit, staged as rows, and the rule that merges them with the stored bars. Pure."""

from dataclasses import dataclass

import numpy as np

from ...contracts.bar import has_prices
from ...contracts.names import REPAIR_FEED, minute_feed
from ...contracts.ticks import SHARE_MICRO, Column, Mask
from ...db.staged_rows import STAGED_DTYPE, StagedRows, TableShape

NO_ROWS: StagedRows = np.empty(0, STAGED_DTYPE)

REPAIR = minute_feed(REPAIR_FEED).encode()
STORED_FEED = b""  # of a bar that was put back from the application's table (db/sql/queries/forgotten_bars.sql)
_MAX_REVISION = 32_767


@dataclass(slots=True)
class Resolved:
    """Staged rows after the comparison with the stored bars.

    rows: with the values that are written. superseded: not written, because the place belongs to another feed.
    changed: the stored values differ, or there were none; only these are published. A bar that lost all its trades is
    among them: it has no prices any more.
    """

    rows: StagedRows
    superseded: Mask
    changed: Mask
    replaces: Mask  # the row overwrites what another feed wrote
    compared: bool  # some bars were stored: the rows may differ from the staged ones


def resolve(rows: StagedRows, stored: StagedRows, shape: TableShape) -> Resolved:
    """Merge staged bars with the bars that are stored for the same symbol and minute.

    Same feed: merge exactly, but replace in a whole-minute feed. Another feed: a replay replaces any other feed, a
    repair replaces a live feed, and a live bar is superseded. The revision grows by 1 if the values differ as the table
    stores them. A minute without prices is no bar yet, and is not published.
    """
    rows = rows.copy()
    bound_extremes(rows)
    superseded, changed = np.zeros(len(rows), bool), has_prices(rows)
    if not len(stored):
        return Resolved(rows, superseded, changed, replaces=np.zeros(len(rows), bool), compared=False)
    at = stored["row_number"]
    mine = rows[at]
    same_feed = stored["feed"] == mine["feed"]
    of_replay = stored["replay"] & (stored["feed"] != REPAIR)
    superseded[at] = ~same_feed & (~mine["replay"] | ((mine["feed"] == REPAIR) & of_replay))
    merged = _merged(mine, stored, same_feed & ~mine["whole"])
    bound_extremes(merged)
    differs = _differs(merged, stored, shape)
    revision = np.minimum(stored["revision"].astype("<i4") + differs, _MAX_REVISION)
    was_a_bar = has_prices(stored) | (stored["revision"] > 0)  # a bar that lost its last trade keeps its revision
    merged["revision"] = np.where(was_a_bar, revision, 0)
    rows[at] = merged
    changed[at] = differs & (has_prices(merged) | has_prices(stored))
    replaces = np.zeros(len(rows), bool)
    replaces[at] = ~same_feed & ~superseded[at]
    return Resolved(rows, superseded, changed, replaces, compared=True)


def bound_extremes(rows: StagedRows) -> None:
    """Let open and close bound high and low where no trade might set those."""
    for bound, name, of in ((np.inf, "low", np.minimum), (-np.inf, "high", np.maximum)):
        lacking = has_prices(rows) & (rows[name] == bound)
        rows[name][lacking] = of(rows["open"], rows["close"])[lacking]


def losers_within_commit(rows: StagedRows, superseded: Mask) -> Mask:
    """Mark the rows that are not written, because two feeds closed the same (symbol, minute) in this commit.

    A replay wins, then a repair, then the first live feed. The stored bars do not show this case.
    """
    number, most = np.arange(len(rows)), len(rows)
    rank = np.where(rows["replay"], -1 - number - most * (rows["feed"] != REPAIR), number)
    rank[superseded] = most
    order = np.lexsort((rank, rows["minute"], rows["symbol"]))
    ranked = rows[order]
    lost = np.zeros(len(rows), bool)
    same_place = (ranked["symbol"][1:] == ranked["symbol"][:-1]) & (ranked["minute"][1:] == ranked["minute"][:-1])
    lost[order[1:]] = same_place
    return lost


def _merged(mine: StagedRows, stored: StagedRows, where: Mask) -> StagedRows:
    """Merge each of my rows with the stored one where the mask says so; elsewhere my row stays as it is."""
    merged = mine.copy()
    earlier = where & (stored["open_ts"] <= mine["open_ts"])  # at equal times the stored trade arrived first
    later = where & (stored["close_ts"] > mine["close_ts"])
    for price, ts, chosen in (("open", "open_ts", earlier), ("close", "close_ts", later)):
        merged[price] = np.where(chosen, stored[price], mine[price])
        merged[ts] = np.where(chosen, stored[ts], mine[ts])
    merged["high"] = np.where(where, np.maximum(stored["high"], mine["high"]), mine["high"])
    merged["low"] = np.where(where, np.minimum(stored["low"], mine["low"]), mine["low"])
    for total in ("volume_micro", "notional", "trades"):
        merged[total] = np.where(where, stored[total] + mine[total], mine[total])
    return merged


def _differs(mine: StagedRows, stored: StagedRows, shape: TableShape) -> Mask:
    """Compare as the table stores: rounded to its decimals. vwap never decides: its sum depends on the order."""
    differs: Mask = mine["trades"] != stored["trades"]
    was_put_back: Mask = stored["feed"] == STORED_FEED
    for price in ("open", "high", "low", "close"):
        differs |= _differ_rounded(mine[price], stored[price], shape.price_decimals, was_put_back)
    volume, before = mine["volume_micro"] / SHARE_MICRO, stored["volume_micro"] / SHARE_MICRO
    return differs | _differ_rounded(volume, before, shape.volume_decimals, was_put_back)


def _differ_rounded(mine: Column, stored: Column, decimals: int, is_rounded: Mask) -> Mask:
    """Tell which values differ by their decimals. is_rounded: the stored value was rounded, half away from zero."""
    differ: Mask = np.round(mine, decimals) != np.round(stored, decimals)
    if is_rounded.any():
        differ[is_rounded] = np.abs(mine[is_rounded] - stored[is_rounded]) > 0.5 * 10.0**-decimals * (1 + 1e-6)
    return differ
