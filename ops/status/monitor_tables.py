"""The state of the fleet as text: the verdict with its findings, both systems in a few lines, tables."""

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...contracts.fleet.fleet_health import HealthFinding, health_of
from ...contracts.fleet.fleet_look import FleetLook, Integration, JobsLook
from ...contracts.fleet.fleet_rules import duration, has_only_replayed
from ...contracts.printable import first_few
from ..process.console import make_console, plain
from .tables import fleet_lines, fleet_tables, moment, parts_lines, seconds, table_of

WIDE = 150  # width of the widest table
_LABEL, _LEVEL = 14, 9  # width of the columns before the text of a line, and of a finding
_MOST_PARTITIONS = 16  # in a picture for one screen: those with the largest lag
_STYLES = {"error": "bold red", "warn": "yellow", "note": "cyan"}
_WORDS = {
    "healthy": Text("healthy", "bold green"),
    "starting": Text("starting", "bold yellow"),
    "degraded": Text("degraded", "bold yellow"),
    "error": Text("UNHEALTHY", "bold red"),
}


def print_report(look: FleetLook | None, findings: Sequence[HealthFinding]) -> None:
    """Print the whole state, the verdict last, right above the next prompt.

    A narrow terminal gets fewer columns; a file or pipe all of them, without blanks at the end of a line.
    """
    out = make_console(highlight=False, markup=False)
    is_wide = out.width >= WIDE or not out.is_terminal
    if is_wide:
        out.width = max(WIDE, out.width)
    with out.capture() as captured:
        if look:
            for table in _tables(look, most_partitions=None, is_wide=is_wide):
                out.print(table)
            for line in _lines(look):
                print_line(out, line, _LABEL)
        health, *found = verdict(look, findings)
        print_line(out, health, _LABEL)
        for line in found:
            print_line(out, line, _LEVEL)
    text = captured.get()
    if not out.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    plain(sys.stdout).write(text)  # the console has escaped foreign text
    sys.stdout.flush()


def print_line(out: Console, line: Text, indent: int) -> None:
    """Print a line; in a terminal that is too narrow, on several lines that start below its text."""
    if not out.is_terminal or line.cell_len <= out.width:
        out.print(line, soft_wrap=True)
        return
    head, body = line[:indent], line[indent:]
    for part in body.wrap(out, out.width - indent):
        out.print(head + part, soft_wrap=True)
        head = Text(" " * indent)


def picture_of(look: FleetLook | None, findings: Sequence[HealthFinding], *, width: int) -> Group:
    """Make a picture for a screen: the verdict first, because the end may be cut off."""
    parts: list[RenderableType] = [*verdict(look, findings)]
    if look:
        parts += _lines(look)
        parts += _tables(look, most_partitions=_MOST_PARTITIONS, is_wide=width >= WIDE)
    return Group(*parts)


def glance_of(look: FleetLook | None, findings: Sequence[HealthFinding], *, width: int, height: int) -> Group:
    """Make a picture for a small screen, 80 by 24: the verdict, then one line per part; nothing is wrapped."""
    health, *found = verdict(look, findings)
    parts = [health]
    lines = list(glance_lines(look)) if look else []
    room = max(1, height - len(lines) - 2)  # the health's line, and the last one with the cursor
    if len(found) > room:
        more = Text(f"  and {len(found) - room + 1} more: tickstock status")
        found = [*found[: room - 1], more]
    parts += [*found, *lines]
    for line in parts:
        line.truncate(width, overflow="ellipsis")
    return Group(*parts)


def verdict(look: FleetLook | None, findings: Sequence[HealthFinding]) -> Iterator[Text]:
    """Yield the verdict, and a line per finding."""
    yield Text("Health        ").append_text(_WORDS[health_of(look, findings)])
    for finding in findings:
        line = Text(f"  {finding.level:<5}  ", _STYLES[finding.level]).append(finding.code, "bold")
        yield line.append(f"  {finding.message}  -> {finding.do}", "not bold")


def glance_lines(look: FleetLook) -> Iterator[Text]:
    """Yield one line per part of the fleet."""
    first, *others = map(Text, fleet_lines(look.fleet))
    yield first
    for line in parts_lines(look.fleet):
        yield Text(line)
    if look.producers:
        running = sum(producer.running for producer in look.producers)
        ticks = sum(producer.ticks for producer in look.producers)
        yield Text(f"Producers     {running} live of {len(look.producers)}, {ticks:,} ticks")
    yield from others
    yield from _rest(look)


def said_of(look: FleetLook) -> list[dict[str, str]]:
    """Return the lines as objects, for a page: the part, and what is said of it."""
    lines = (line.plain for line in _lines(look))
    return [{"part": line[:_LABEL].strip(), "says": line[_LABEL:]} for line in lines]


def _lines(look: FleetLook) -> Iterator[Text]:
    for line in fleet_lines(look.fleet):
        yield Text(line)
    yield from _rest(look)


def _rest(look: FleetLook) -> Iterator[Text]:
    bridge, feed = look.bridge, look.feed
    active = f"{bridge.owner} is active" if bridge.owner else "none is active"
    yield Text(
        f"Bridge        {active}, epoch {bridge.epoch}, {bridge.standbys} standby, {bridge.untold:,} unpublished"
    )
    market = "open" if feed.market_open else "closed"
    last = "never" if feed.silent_s is None else f"{feed.silent_s:,.1f} s ago"
    yield Text(
        f"Feed          market {market}, last live tick {last}, {feed.lost:,} lost, "
        f"gaps: {feed.open_gaps:,} open, {feed.missing_gaps:,} missing"
    )
    yield Text(f"Symbols       {_symbols(look)}")
    yield Text(f"Jobs          {_jobs(look.jobs)}")
    if look.integration:
        yield from _systems(look.integration)


def _symbols(look: FleetLook) -> str:
    symbols = look.symbols
    if has_only_replayed(look):  # old days: no symbol is late
        return f"{symbols.active + symbols.stale:,} have bars of replays"
    names = f" ({first_few(symbols.stale_symbols)})" if symbols.stale else ""
    return f"{symbols.active:,} active, {symbols.stale:,} stale{names}"


def _jobs(jobs: JobsLook) -> str:
    """Return the line about daily runs: their processes, and the state of the latest run."""
    steps = "?" if jobs.waiting_steps is None else f"{jobs.waiting_steps:,}"
    processes = f"{jobs.processes} process{'' if jobs.processes == 1 else 'es'}, {steps} steps wait"
    run = jobs.run
    if run is None:
        return f"{processes}; no daily run yet"
    phase = f" {run.phase}" if run.is_alive and run.phase else ""
    failed = f", {run.failed_symbols:,} symbols failed" if run.failed_symbols else ""
    return f"{processes}; {run.name} {run.status}{phase} after {duration(run.took_s)}{failed}"


def _systems(integration: Integration) -> Iterator[Text]:
    beats, flows = integration.heartbeats, integration.flows
    signs = (("key", beats.key_s), ("row", beats.logged_s))
    ours = ", ".join(f"{what} {_ago(s)}" if s is not None else f"no {what}" for what, s in signs)
    yield Text(f"TickStockPL   heartbeat {ours}")
    heard = f"{beats.subscribers} on tickstock.events.patterns"
    window = f"nothing logged in the last {integration.window_s / 60:,.0f} min"
    logged = window if beats.application_s is None else f"logged last {_ago(beats.application_s)}"
    yield Text(f"Application   {logged}, subscribers: {heard}")
    counts = f"{flows.published:,} published, {flows.received:,} received, {flows.parsed:,} parsed, "
    orphans = f"orphans: {flows.never_received:,} not received, {flows.never_parsed:,} not parsed, "
    yield Text(
        f"Flows         {counts}{flows.delivered:,} delivered; {orphans}{flows.never_delivered:,} not delivered "
        f"(last {integration.window_s / 60:,.0f} min)"
    )
    received = f"received {_ms(flows.received_ms_median)} / {_ms(flows.received_ms_p95)}"
    delivered = f"delivered {_ms(flows.delivered_ms_median)} / {_ms(flows.delivered_ms_p95)}"
    yield Text(f"Latency       {received}, {delivered} (median / 95 %)")


def _tables(look: FleetLook, *, most_partitions: int | None, is_wide: bool) -> Iterator[Table]:
    yield from fleet_tables(look.fleet, most_partitions=most_partitions, is_wide=is_wide)
    if look.producers:
        yield _producers(look)
    if look.leases:
        yield _leases(look)
    if look.integration and look.integration.checkpoints:
        yield _checkpoints(look.integration)
    if look.integration and look.integration.latest:
        yield _flows(look.integration, is_wide=is_wide)


def _producers(look: FleetLook) -> Table:
    table = table_of("Producers", "producer", "state", "feed", "ticks", "lost", "last tick s", "spool MB")
    for p in look.producers:
        state = Text("running", "green") if p.running else Text("silent", "red")
        spool = _megabytes(p.spool_bytes)
        table.add_row(p.name, state, p.feed or "-", f"{p.ticks:,}", f"{p.lost:,}", seconds(p.last_s), spool)
    return table


def _megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:,.1f}"


def _leases(look: FleetLook) -> Table:
    table = table_of("Leases", "unit", "owner", "epoch", "left s")
    for lease in look.leases:
        table.add_row(lease.unit, lease.owner, str(lease.epoch), seconds(lease.left_s))
    return table


def _checkpoints(integration: Integration) -> Table:
    table = table_of("Checkpoints", "system", "checkpoint", "count", "last s")
    for c in integration.checkpoints:
        table.add_row(c.source, c.checkpoint, f"{c.count:,}", seconds(c.last_s))
    return table


def _flows(integration: Integration, *, is_wide: bool) -> Table:
    ids = ("flow_id",) if is_wide else ()
    table = table_of("Latest flows", "time", "symbol", "pattern", "latency ms", "users", *ids, "path")
    for f in integration.latest:
        latency = "-" if f.total_latency_ms is None else f"{f.total_latency_ms:,.1f}"
        users = "-" if f.users_notified is None else f"{f.users_notified:,}"
        path = " > ".join(step or "-" for step in f.flow_path)
        flow_id = (str(f.flow_id),) if is_wide else ()
        table.add_row(moment(f.start_time), f.symbol or "-", f.pattern or "-", latency, users, *flow_id, path)
    return table


def _ago(age_s: float) -> str:
    return f"{age_s:,.1f} s ago"


def _ms(latency: float | None) -> str:
    return "-" if latency is None else f"{latency:,.1f} ms"
