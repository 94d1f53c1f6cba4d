"""`python tests/bench/run.py [--quick] [--memory]`: a table on stdout, every figure in build/bench.json."""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import backtests
import other_ways
import psycopg
from api_calls import api_calls
from backtest_runs import MINUTES, backtest_runs, said
from channel_source import channel_rate
from daily_run import DAYS, daily_run, fill_days
from drain import Drained, raw_drain, worker_drain
from fill import fill, market
from front_door_drain import front_door_rate
from latency import LatencyCase, measure_closes
from massive_frames import massive_frames_rate
from memory import resident_mb
from moves import pauses
from page_clients import CLIENTS, page_clients
from page_pixels import NoChromium, page_pixels
from place import fresh_place
from rich.console import Console
from rich.table import Table
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import redis
from tickstockpl.ops.embedded.servers import embedded_servers
from tickstockpl.producer.record import recorded
from tickstockpl.producer.replay import ReplaySource

OUT = Path(__file__).parents[2] / "build" / "bench.json"
_WIDTH = 140
TICKS_A_BAR = 300
SYMBOLS, PARTITIONS = 70, 16  # the main case
LATENCY_SYMBOLS = (70, 1_000, 5_000, 10_000)
API_SECONDS = 60.0
PAGE_CLOSES, BUSY_CLOSES = 10, 60  # the busy ones are those of an hour
DAILY_SYMBOLS, DAILY_PROCESSES = 5_000, (1, 2)
SIDE_CASES = ((500, 16, 300), (10_000, 16, 150), (70, 1, 300), (70, 64, 300))  # symbols, partitions, ticks a bar


@dataclass
class Report:
    """Every figure by case and name; the rows of the table in their order."""

    figures: dict[str, dict[str, float | str]] = field(default_factory=dict)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    progress: Console = field(default_factory=lambda: Console(stderr=True, width=_WIDTH))

    def add(
        self, case: str, what: str, value: float | str, unit: str = "ticks/s", note: str = "", **more: float
    ) -> None:
        """Add a row; `more` goes to the file alone."""
        self.figures[f"{case}: {what}"] = {"value": value, "unit": unit, "note": note, **more}
        shown = value if isinstance(value, str) else f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"
        self.rows.append((case, what, f"{shown} {unit}" if unit else shown, note))
        self.progress.print(f"{case}: {what}: {shown} {unit}", highlight=False)

    def show(self) -> None:
        """Print the table."""
        table = Table("case", "what", "value", "note")
        table.columns[2].justify = "right"
        for row in self.rows:
            table.add_row(*row)
        Console(width=_WIDTH).print(table)


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    main: int
    side: int
    loop: int
    front_door: int


FULL = Sizes(10_000_000, 3_000_000, 300_000, 500_000)
QUICK = Sizes(2_000_000, 1_000_000, 50_000, 100_000)
QUICK_MINUTES = (10, 63)  # of backtests: symbols, days


def main() -> None:
    """Run every case on embedded servers of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 M ticks in the main case instead of 10 M")
    parser.add_argument("--latency", action="store_true", help="only: bar close to PUBLISH, old and young databases")
    parser.add_argument("--symbols", type=int, help="with --latency: only so many symbols, in one case")
    parser.add_argument("--closes", type=int, default=20, help="with --latency: ends of a minute in a case")
    parser.add_argument("--young", action="store_true", help="with --symbols: a young database")
    parser.add_argument("--workers", type=int, default=1, help="with --symbols: how many")
    parser.add_argument("--daily", action="store_true", help="only: a daily run over 5,000 symbols")
    parser.add_argument("--api", action="store_true", help="only: every call of the HTTP API, beside a fleet")
    parser.add_argument("--page", action="store_true", help="only: from PUBLISH to the page, and 50 clients of it")
    parser.add_argument("--memory", action="store_true", help="resident memory after 10 M and 100 M ticks, too")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    report = Report()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends what this started, as Ctrl-C does
    folder = Path(tempfile.mkdtemp(prefix="tickstock-bench-"))
    folder.chmod(0o711)  # PostgreSQL's own account passes through
    try:
        with embedded_servers(folder / "data", log=lambda _: None) as servers:
            machine = _machine(servers)
            only = arguments.latency or arguments.daily or arguments.api or arguments.page
            if not only:
                _run_cases(report, servers, sizes, folder, memory=arguments.memory)
            if arguments.daily or not only:
                _daily_runs(report, servers)
            if arguments.latency or not only:
                _latencies(report, servers, _latency_cases(arguments))
            if arguments.api or not only:
                _api_calls(report, servers)
            if arguments.page or not only:
                _page(report, servers)
    finally:
        shutil.rmtree(folder)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"machine": machine, "sizes": asdict(sizes), "figures": report.figures}, indent=2) + "\n")
    report.show()
    report.progress.print(f"every figure: {OUT}")


def _run_cases(report: Report, servers: Servers, sizes: Sizes, folder: Path, *, memory: bool) -> None:
    worker = _main_case(report, servers, sizes.main)
    _other_ways(report, servers, sizes.loop, worker)
    for symbols, partitions, ticks_a_bar in SIDE_CASES:
        with fresh_place(servers, partitions) as place:
            filled = fill(place, market(symbols, sizes.side, ticks_a_bar))
            drained = worker_drain(place, filled, "--no-detect")
            _add_drain(report, f"(b) {symbols:,} symbols, {partitions} partitions", drained)
    _front_door(report, servers, sizes.front_door)
    _live_sources(report, servers)
    _real_trades(report, servers, folder, sizes.side)
    _pauses(report, servers)
    _backtests(report, servers, QUICK_MINUTES if sizes == QUICK else MINUTES)
    if memory:
        _memory(report, servers)


def _main_case(report: Report, servers: Servers, ticks: int) -> Drained:
    with fresh_place(servers, PARTITIONS) as place:
        filled = fill(place, market(SYMBOLS, ticks, TICKS_A_BAR))
        note = f"{filled.ticks:,} ticks, {SYMBOLS} symbols, {PARTITIONS} partitions, {TICKS_A_BAR} ticks a bar"
        report.add("(g) producer", "synthetic to frames in Redis", filled.rate, note=note)
        report.add("(g) producer", "memory of a synthetic tick", filled.bytes_a_tick, "bytes", "zstd")
        raw = raw_drain(place, filled)
        report.add("(a) raw drain", "by wall", raw.rate, note="XREADGROUP + XACK of the same frames", **asdict(raw))
        worker = worker_drain(place, filled, "--no-detect")
        _add_drain(report, "(b) one worker", worker)
        report.add("(b) one worker", "resident memory", worker.resident_mb, "MB", f"after {ticks:,} ticks")
        report.add("ratio", "b/a", worker.rate / raw.rate, "")
    with fresh_place(servers, PARTITIONS) as place:
        filled = fill(place, market(SYMBOLS, ticks // 4, TICKS_A_BAR))
        detecting = worker_drain(place, filled)
        _add_drain(report, "(b) one worker, with patterns and indicators", detecting)
        report.add("ratio", "with detection / bars alone", detecting.rate / worker.rate, "")
    return worker


def _live_sources(report: Report, servers: Servers) -> None:
    """What one core takes in of the live sources."""
    for channel in ("T", "A"):
        framed = massive_frames_rate(channel)
        note = f"{framed.bytes_an_event:.0f} bytes an event; parsing alone {framed.parsed_a_s:,.0f}/s"
        report.add(
            "(i) live sources", f"Massive {channel}, JSON to frames", framed.events_a_s, note=note, **asdict(framed)
        )
    with fresh_place(servers, PARTITIONS) as place:
        heard = channel_rate(place)
    note = f"{heard.lost:,} lost of {heard.published:,} at {heard.rate:,.0f}/s"
    report.add("(i) live sources", "channel, by its own CPU", heard.cpu_rate, note=note, lost=heard.lost)


def _backtests(report: Report, servers: Servers, minutes: tuple[int, int]) -> None:
    """Measure whole backtests, and compare the engine with others, where they are installed."""
    for name, run in backtest_runs(servers, minutes):
        report.add(f"(k) backtest, {name}", "tickstock backtest", run.seconds, "s", said(run), **asdict(run))
    try:
        for one in backtests.compare():
            note = f"{one.trades:,} trades, {one.differing:,} differ from ours"
            report.add(f"(k) backtest, {one.case}", one.engine, one.seconds, "s", note)
            report.add("ratio", f"k, {one.case}: {one.engine}/ours", one.ratio, "")
    except ImportError as e:
        report.add("(k) backtest", "other engines", "not installed", "", str(e))


def _latency_cases(arguments: argparse.Namespace) -> list[LatencyCase]:
    closes = arguments.closes
    if arguments.symbols:
        return [LatencyCase(arguments.symbols, closes, young=arguments.young, workers=arguments.workers)]
    cases = [LatencyCase(symbols, closes, young=young) for symbols in LATENCY_SYMBOLS for young in (False, True)]
    return [*cases, LatencyCase(5_000, closes, workers=2)]


def _latencies(report: Report, servers: Servers, cases: Sequence[LatencyCase]) -> None:
    """From a bar's close to its results at a subscriber, beside one bridge."""
    for case in cases:
        with fresh_place(servers, PARTITIONS) as place:
            measured = measure_closes(place, case)
        title = f"(h) bar close to PUBLISH, {case}"
        for kind, one in measured.latencies.items():
            note = f"{one.messages:,} messages; p50 {one.p50_s:.3f} s, max {one.max_s:.3f} s"
            report.add(title, f"{kind}, p99", one.p99_s, "s", note, **asdict(one))
        report.add(title, "worst close, patterns", max(measured.worst_s), "s")
        for name, seconds in measured.cpu_s.items():
            report.add(title, f"processor time of a close, {name}", seconds * 1000, "ms")
        for name, seconds in sorted(measured.steps_s.items(), key=lambda step: -step[1]):
            report.add(title, f"worker's step {name}", seconds * 1000, "ms")


def _daily_runs(report: Report, servers: Servers) -> None:
    """Measure the indicators and patterns of one day, week and month of a whole market."""
    with fresh_place(servers, PARTITIONS) as place:
        fill_days(place, DAILY_SYMBOLS)
        runs = [daily_run(place, processes) for processes in DAILY_PROCESSES]
    case = f"(j) daily run, {DAILY_SYMBOLS:,} symbols x {DAYS} days"
    for run in runs:
        note = f"{run.found:,} rows; processes {run.cpu_s:.1f} s, PostgreSQL {run.postgres_cpu_s:.1f} s of processor"
        report.add(case, f"{run.processes} x tickstock-jobs", run.seconds, "s", note, **asdict(run))
    report.add("ratio", "daily run, one / two processes", runs[0].seconds / runs[-1].seconds, "")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _page(report: Report, servers: Servers) -> None:
    """Measure the page in Chromium, and what its clients cost; the browser that comes first lowers what follows it."""
    _page_clients(report, servers)
    for title, browser_first in (("all of one priority", False), ("the browser first", True)):
        case = f"(l) the page in Chromium, {title}"
        with fresh_place(servers, PARTITIONS) as place:
            try:
                measured = page_pixels(place, _free_port(), PAGE_CLOSES, browser_first=browser_first)
            except NoChromium as e:
                report.add(case, "PUBLISH to row", "not measured", "", str(e))
                return
        for what, one in measured.latencies.items():
            note = f"{one.messages:,} seen; p50 {one.p50_s:.3f} s, max {one.max_s:.3f} s"
            report.add(case, f"{what}, p99", one.p99_s, "s", note, **asdict(one))
        report.add(case, "patterns without a row", measured.unseen, "", "the list shows 300")


def _page_clients(report: Report, servers: Servers) -> None:
    with fresh_place(servers, PARTITIONS) as place:
        measured = page_clients(place, _free_port(), PAGE_CLOSES, BUSY_CLOSES)
    case = "(l) clients of the page"
    for clients, one in ((0, measured.without), (CLIENTS, measured.beside)):
        published, calls = one.published, one.calls
        note = f"{published.messages:,} messages; p50 {published.p50_s:.3f} s, max {published.max_s:.3f} s"
        report.add(case, f"close to PUBLISH, {clients} clients, p99", published.p99_s, "s", note, **asdict(published))
        note = f"p50 {calls.p50_ms:.1f}, max {calls.max_ms:.0f} ms; {calls.calls} calls, {calls.faults} with a 5xx"
        report.add(case, f"the API's calls, {clients} clients, p99", calls.p99_ms, "ms", note, **asdict(calls))
        report.add(case, f"the API's processor time of a close, {clients} clients", one.api_cpu_s * 1000, "ms")
    for closes, resident in measured.resident_mb:
        report.add(case, f"the API's resident memory after {closes} closes", resident, "MB")


def _api_calls(report: Report, servers: Servers) -> None:
    """Measure every call of the HTTP API for a minute, and what it answers while PostgreSQL stands still."""
    with fresh_place(servers, PARTITIONS) as place:
        beside, hung = api_calls(place, _free_port(), API_SECONDS)
    for case, answered in (("(k) API beside a fleet", beside), ("(k) API, PostgreSQL stopped", hung)):
        for call, took in answered.items():
            note = f"p50 {took.p50_ms:.1f}, max {took.max_ms:.0f} ms; {took.calls} calls, {took.faults} with a 5xx"
            report.add(case, f"{call}, p99", took.p99_ms, "ms", note, **asdict(took))


def _add_drain(report: Report, case: str, drained: Drained) -> None:
    note = f"{drained.ticks:,} ticks to {drained.bars:,} bars in {drained.commits} commits"
    report.add(case, "by wall", drained.rate, note=note, **asdict(drained))
    servers = (
        f"PostgreSQL {drained.postgres_cpu_s:.2f} s, Redis {drained.redis_cpu_s:.2f} s, worker {drained.cpu_s:.2f} s"
    )
    report.add(case, "by its own CPU", drained.cpu_rate, note=f"{servers} of {drained.seconds:.2f} s")


def _other_ways(report: Report, servers: Servers, count: int, worker: Drained) -> None:
    messages = other_ways.json_ticks(count)
    cases = (
        ("c", "plain loop", other_ways.plain_loop, count),
        ("d", "FastStream", other_ways.faststream, count // 3),
        ("e", "Bytewax", other_ways.bytewax, count // 3),
    )
    for letter, name, way, ticks in cases:
        with fresh_place(servers, 1) as place:
            try:
                looped = way(place, messages[:ticks])
            except ImportError as e:
                report.add(f"({letter}) {name}", "by wall", "not installed", "", str(e))
                continue
        report.add(f"({letter}) {name}", "by wall", looped.rate, note=f"{ticks:,} JSON ticks", **asdict(looped))
        report.add("ratio", f"b/{letter}", worker.rate / looped.rate, "")


def _front_door(report: Report, servers: Servers, count: int) -> None:
    with fresh_place(servers, PARTITIONS) as place:
        try:
            rate = front_door_rate(place, count)
        except TimeoutError as e:
            report.add("(f) front door", "plain fields", "missing", "", str(e))
            return
    report.add("(f) front door", "plain fields", rate, note=f"{count:,} entries, to committed ticks")


def _real_trades(report: Report, servers: Servers, folder: Path, ticks: int) -> None:
    """Replay a flat file: the real one, or a recording of a synthetic market."""
    file = _flat_file(folder, ticks)
    for codec in ("zstd", "none"):
        with fresh_place(servers, PARTITIONS) as place:
            filled = fill(place, ReplaySource([file]), codec=codec)
            note = f"{file.name}, {filled.ticks:,} ticks"
            report.add(f"(g) producer, {codec}", "CSV to frames in Redis", filled.rate, note=note)
            report.add(f"(g) producer, {codec}", "memory of a tick of the file", filled.bytes_a_tick, "bytes", note)
            if codec == "zstd":
                _add_drain(report, "(b) one worker, the file", worker_drain(place, filled, "--no-detect"))


def _flat_file(folder: Path, ticks: int) -> Path:
    if data := os.environ.get("TICKSTOCK_TEST_DATA"):
        return max(Path(data).glob("*.csv.gz"), key=lambda file: file.stat().st_size)
    file = folder / "synthetic.csv"
    for _ in recorded(market(SYMBOLS, ticks, TICKS_A_BAR), file):
        pass
    return file


def _pauses(report: Report, servers: Servers) -> None:
    with fresh_place(servers, PARTITIONS) as place:
        planned, killed = pauses(place)
    for what, seconds in (("planned move", planned), ("killed worker", killed)):
        note = f"the longest of {len(seconds)} partitions; shortest {min(seconds):.2f} s"
        report.add("pause of a partition", what, max(seconds), "s", note)
        report.figures[f"pause of a partition: {what}"]["all"] = ", ".join(f"{s:.3f}" for s in sorted(seconds))


def _memory(report: Report, servers: Servers) -> None:
    with fresh_place(servers, PARTITIONS) as place:
        measured = resident_mb(place, FULL.main, rounds=10)
    report.add("(b) one worker", "resident memory after 10 M ticks", measured[0], "MB")
    growth = measured[-1] / measured[0] - 1
    report.add("(b) one worker", "resident memory after 100 M ticks", measured[-1], "MB", f"{growth:+.1%}")


def _machine(servers: Servers) -> dict[str, str | int | float | None]:
    client = redis.connect(servers.redis_url)
    info = client.info("server")
    with psycopg.connect(servers.database_url) as connection:
        postgres = connection.execute("SHOW server_version").fetchone()
    packages = ("tickstockpl", "numpy", "redis", "hiredis", "psycopg", "zstandard")
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "redis": info.get("valkey_version") or info["redis_version"],
        "postgresql": postgres[0] if postgres else None,
        **{name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
