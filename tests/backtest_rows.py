"""Bars that backtests are about, and jobs as the application asks for them and hears of them."""

import json
from datetime import date, timedelta

import numpy as np
from tickstockpl.contracts.names import JOBS_BACKTEST, JOBS_CANCEL

LAST = date(2025, 11, 21)
PATTERNS = ["EngulfingPattern", "HaramiPattern", "HikkakePattern"]  # often there, and both ways
KEPT = {
    "backtest_result": "figures::text",
    "backtest_trade": "number, symbol, pattern, direction, confidence, entry_time, exit_time, entry_price, exit_price,"
    " shares, commission, profit, bars, reason",
    "backtest_equity": '"time", equity, benchmark, exposure',
}


def add_wandering_days(database, *symbols, days=400):
    """Give symbols bars of days that wander, each its own way, the last of them on a Friday."""
    found = [LAST - timedelta(days=back) for back in range(days * 7 // 5 + 7, -1, -1)]
    found = [day for day in found if day.weekday() < 5][-days:]
    for number, symbol in enumerate(symbols):
        numbers = np.random.default_rng(14 + number)
        database.execute("INSERT INTO symbols (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol])
        closes = 50 * np.exp(np.cumsum(numbers.normal(0, 0.02, days + 1)))
        above, below = numbers.exponential(0.01, (2, days))
        into = "COPY ohlcv_daily (symbol, date, open, high, low, close, volume) FROM STDIN"
        with database.cursor().copy(into) as copy:
            for day, *prices in zip(found, closes, closes[1:], above, below, strict=False):
                opened, close, up, down = np.round(prices, 4).tolist()
                low, high = min(opened, close) * (1 - down), max(opened, close) * (1 + up)
                copy.write_row((symbol, day, opened, round(high, 4), round(low, 4), close, 1_000_000))


class Application:
    """Sends jobs as the application does."""

    def __init__(self, client):
        self.client = client

    def ask(self, job_id, **fields):
        body = {
            "type": "backtest_job", "job_id": job_id, "user_id": 7, "symbols": ["A", "B"], "patterns": PATTERNS,
            "start_date": "2024-11-21", "end_date": str(LAST), "timestamp": "2025-11-21T10:00:00",
            "source": "TickStockAppV2",
        }  # fmt: skip
        self.send(JOBS_BACKTEST, body | fields)

    def cancel(self, job_id):
        self.send(JOBS_CANCEL, {"type": "cancel_job", "job_id": job_id})

    def send(self, channel, body):
        self.client.publish(channel, body if isinstance(body, bytes) else json.dumps(body))

    def listeners(self):
        return dict(self.client.pubsub_numsub(JOBS_BACKTEST, JOBS_CANCEL))[JOBS_CANCEL.encode()]


def ended(database, job_id):
    """Return how a job ended; None while it is alive, or not there."""
    row = database.execute("SELECT status FROM run WHERE job_id = %s AND ended_at IS NOT NULL", [job_id]).fetchone()
    return row and row[0]


def kept(database, job_id):
    """Return every row that a job left, as text."""
    where = "WHERE run_id = (SELECT run_id FROM run WHERE job_id = %s) ORDER BY 1"
    return {
        table: [str(row) for row in database.execute(f"SELECT {columns} FROM {table} {where}", [job_id])]
        for table, columns in KEPT.items()
    }


def said(database):
    """Return what was said of runs, as the bridge publishes it: channel and body."""
    bodies = database.execute("SELECT body FROM outbox WHERE partition = -1 ORDER BY number")
    return [(channel, body) for (text,) in bodies for channel, body in json.loads(text)]


def said_of(database, job_id):
    """Return what was said of a job: the last word of the channel, and the body."""
    return [(channel.split(".")[-1], body) for channel, body in said(database) if body.get("job_id") == job_id]
