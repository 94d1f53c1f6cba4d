"""A notebook with one day of bars, the patterns on the bars, and a backtest. `make notebook` opens it.

The notebook starts its own Valkey and PostgreSQL, which stop when it ends. It stores the day in the folder
`tickstock-notebook`, beside the data folder of the commands; TICKSTOCK_DATA_DIR names another folder.
"""
# ruff: noqa: ANN001, ANN002, ANN202, B018, INP001, N803, PLC0415, PLR1711  # cells of marimo: functions whose last line is shown

import marimo

app = marimo.App(width="medium", app_title="TickStockPL")


@app.cell
def _():
    import os
    import subprocess
    import sys
    from contextlib import ExitStack
    from pathlib import Path

    import marimo as mo
    from tickstockpl import frames
    from tickstockpl.ops.embedded.servers import default_data_dir, embedded_servers

    return ExitStack, Path, default_data_dir, embedded_servers, frames, mo, os, subprocess, sys


@app.cell
def _(mo):
    mo.md("""
    # A day of the synthetic market

    The first run writes a day of trades and computes bars from it. That takes about half a minute. For your own data,
    give the address of your database, `frames.bars("postgresql://…", symbols="AAPL")`, or set `DATABASE_URL`.
    """)


@app.cell
def _(ExitStack, Path, default_data_dir, embedded_servers, os):
    folder = Path(os.environ.get("TICKSTOCK_DATA_DIR") or default_data_dir().with_name("tickstock-notebook"))
    use = ExitStack()  # the servers run as long as it lives
    servers = use.enter_context(embedded_servers(folder, log=print))
    return folder, servers, use


@app.cell
def _(folder, os, servers, subprocess, sys):
    def tickstock(*arguments):
        """Run a command on these servers. Raises CalledProcessError."""
        addresses = {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
        subprocess.run([sys.executable, "-m", "tickstockpl.ops", *arguments], env=os.environ | addresses, check=True)

    file = folder / "2025-06-02.csv.gz"
    if not file.exists():
        tickstock("sample", str(file), "--symbols", "10", "--rate", "10")
    tickstock("migrate")
    tickstock("replay", str(file), "--workers", "1")  # the same file again changes nothing
    database = servers.database_url
    return (database,)


@app.cell
def _(database, frames, mo):
    symbols = frames.bars(database, last=1)["symbol"].to_list()
    symbol = mo.ui.dropdown(symbols, value=symbols[0], label="symbol")
    symbol
    return symbol, symbols


@app.cell
def _(database, frames, symbol):
    bars = frames.bars(database, symbols=symbol.value, timeframe="5min", zone="America/New_York")
    bars
    return (bars,)


@app.cell
def _(mo):
    mo.md("""
    ## Patterns on these bars
    """)


@app.cell
def _(database, frames, symbol):
    patterns = frames.patterns(database, symbols=symbol.value, timeframe="5min", zone="America/New_York")
    patterns.drop("flow_id")
    return (patterns,)


@app.cell
def _(database, frames, symbol):
    candles = frames.plot(symbol.value, database, timeframe="5min", zone="America/New_York")
    candles
    return (candles,)


@app.cell
def _(mo):
    mo.md("""
    ## A backtest of these patterns

    The synthetic prices are a random walk, so the patterns earn nothing and lose the costs. `docs/backtests.md` has the
    rules.
    """)


@app.cell
def _(database, frames, symbols):
    tested = frames.backtest(
        database,
        symbols=symbols,
        patterns=["Doji", "Hammer", "Price_Breakout", "Support_Test", "Volume_Spike"],
        start="2025-06-02",
        end="2025-06-03",
        timeframe="5min",
        zone="America/New_York",
        stop_loss_pct=0.005,
        take_profit_pct=0.01,
    )
    tested.figures
    return (tested,)


@app.cell
def _(tested):
    account = tested.plot()
    account
    return (account,)


@app.cell
def _(tested):
    tested.trades
    return


if __name__ == "__main__":
    app.run()
