"""The rules of a backtest once more, bar by bar in plain Python, written from the page and not from the engine."""

import math

START, STOP, TARGET, OPPOSITE, AGE, END = "start", "stop", "target", "opposite_signal", "max_bars", "end_of_data"


def chosen(signals):
    """{(symbol, bar): (direction, confidence, pattern)}: the most confident one of a bar, none where that is torn."""
    best = {}
    for symbol, bar, direction, confidence, pattern in signals:
        if direction:
            best.setdefault((symbol, bar), []).append((-confidence, pattern, direction))
    kept = {}
    for place, found in best.items():
        found.sort()
        rivals = {direction for confidence, _, direction in found if confidence == found[0][0]}
        if len(rivals) == 1:
            kept[place] = (found[0][2], -found[0][0], found[0][1])
    return kept


def backtest(bars, signals, rules):  # noqa: C901, PLR0912, PLR0915  # one loop, to be read against the page
    """Trade, time after time. bars: {symbol: [(time, open, high, low, close)]}; signals: (symbol, bar, ...).

    Returns the trades (symbol, pattern, direction, entry time, exit time, entry price, exit price, shares, profit,
    reason) and {time: equity}.
    """
    wanted = chosen(signals)
    times = sorted({bar[0] for series in bars.values() for bar in series})
    place = {symbol: {bar[0]: i for i, bar in enumerate(series)} for symbol, series in bars.items()}
    realized, held, trades, curve, last_close = rules.initial_capital, {}, [], {}, {}

    def close(symbol, time, price, reason, *, market):
        nonlocal realized
        one = held.pop(symbol)
        fill = price * (1 - one["direction"] * rules.slippage_rate) if market else price
        fee = one["shares"] * fill * rules.commission_rate
        gain = one["direction"] * one["shares"] * (fill - one["price"])
        realized += gain - fee
        trades.append(
            (symbol, one["pattern"], one["direction"], one["time"], time, one["price"], fill, one["shares"],
             gain - fee - one["fee"], reason)
        )  # fmt: skip

    def worth():
        return realized + sum(
            one["direction"] * one["shares"] * (last_close[symbol] - one["price"])
            for symbol, one in held.items()
            if symbol in last_close and one["closed_once"]
        )

    for time in times:
        here = [symbol for symbol in sorted(bars) if time in place[symbol]]
        for symbol in [symbol for symbol in here if symbol in held]:
            i, one = place[symbol][time], held[symbol]
            opened, side = bars[symbol][i][1], one["direction"]
            signal = wanted.get((symbol, i - 1))
            if one["stop"] is not None and side * opened <= side * one["stop"]:
                close(symbol, time, opened, STOP, market=True)
            elif one["target"] is not None and side * opened >= side * one["target"]:
                close(symbol, time, opened, TARGET, market=False)
            elif signal and signal[0] == -side and i - 1 >= one["entry"]:
                close(symbol, time, opened, OPPOSITE, market=True)
        entries = []
        for symbol in here:
            i = place[symbol][time]
            if i and (signal := wanted.get((symbol, i - 1))) and symbol not in held and (signal[0] > 0 or rules.short):
                entries.append((-signal[1], symbol, signal))
        for _, symbol, (direction, _, pattern) in sorted(entries, key=lambda one: one[:2]):
            i = place[symbol][time]
            price = bars[symbol][i][1] * (1 + direction * rules.slippage_rate)
            free = realized - sum(one["shares"] * one["price"] for one in held.values())
            budget = min(rules.max_position_size * worth(), free)
            shares = math.floor(budget / (price * (1 + rules.commission_rate)) + 1e-9)
            if shares < 1:
                continue
            fee = shares * price * rules.commission_rate
            realized -= fee
            held[symbol] = {
                "direction": direction, "pattern": pattern, "time": time, "entry": i, "price": price, "shares": shares,
                "fee": fee, "closed_once": False,
                "stop": None if rules.stop_loss_pct is None else price * (1 - direction * rules.stop_loss_pct),
                "target": None if rules.take_profit_pct is None else price * (1 + direction * rules.take_profit_pct),
            }  # fmt: skip
        for symbol in [symbol for symbol in here if symbol in held]:
            i, one = place[symbol][time], held[symbol]
            _, _, high, low, closed = bars[symbol][i]
            worst, best = (low, high) if one["direction"] > 0 else (high, low)
            side = one["direction"]
            if one["stop"] is not None and side * worst <= side * one["stop"]:
                close(symbol, time, one["stop"], STOP, market=True)
            elif one["target"] is not None and side * best >= side * one["target"]:
                close(symbol, time, one["target"], TARGET, market=False)
            elif rules.max_bars and i - one["entry"] + 1 >= rules.max_bars:
                close(symbol, time, closed, AGE, market=True)
        for symbol in here:
            last_close[symbol] = bars[symbol][place[symbol][time]][4]
            if symbol in held:
                held[symbol]["closed_once"] = True
        for symbol in sorted(held) if time == times[-1] else ():
            close(symbol, bars[symbol][-1][0], bars[symbol][-1][4], END, market=True)
        curve[time] = worth()
    return sorted(trades, key=lambda one: (one[3], one[0])), curve
