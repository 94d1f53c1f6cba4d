"""The recount of an audit: what each trade may set, among seconds that bring their own highs and lows."""

import numpy as np
from tickstockpl.contracts.ticks import SETS_ALL, SETS_VOLUME, Ticks
from tickstockpl.ops.audit.recount import recount

MINUTE_NS = 29_000_000 * 60 * 10**9


def test_a_second_keeps_its_own_prices_among_trades_with_flags():
    price, size, flags = np.array([10.0, 12.0, 99.0]), np.array([100.0, 50.0, 5.0]), [SETS_ALL, SETS_ALL, SETS_VOLUME]
    told = {"open": [9.5, 12, 99], "high": [14.0, 12, 99], "low": [9.0, 12, 99], "vwap": [11.0, 12, 99]}
    columns = {name: np.array(values) for name, values in told.items()} | {"flags": np.array(flags, "<u1")}
    ts = MINUTE_NS + np.array([1, 2, 3], "<i8") * 10**9
    (bar,) = recount(Ticks(("A",), np.zeros(3, "<u2"), ts, price, size, columns)).bars
    names = ("open", "high", "low", "close", "volume_micro", "notional", "trades")
    assert [float(bar[name]) for name in names] == [9.5, 14.0, 9.0, 12.0, 155e6, 1100 + 600 + 495, 3]
