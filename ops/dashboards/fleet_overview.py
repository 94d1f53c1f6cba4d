"""The overview dashboard of the fleet: its health, its rates, its delays, and its processes."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import Rows, board
from .daily_runs import daily_runs, http_api
from .data_quality import sources_connected
from .panels import BLUE, GREEN, ORANGE, RED, figure, graph, quantiles, rows

_OF_OURS = "* on (job, instance) group_left (component) tickstock_build_info"  # always 1


def fleet_overview() -> Dashboard:
    """Make the dashboard to open first."""
    panels: Rows = {
        "Now": [
            figure(
                "Alerts",
                # 0 only if our rules are evaluated: without them no alert is known.
                'count(ALERTS{alertname=~"TickStock.*", alertstate="firing"})'
                " or on() 0 * fleet:tickstock_bridge_active:sum",
                says="Firing alerts of ops/prometheus/rules.yml; what to do: docs/runbook.md.",
                unit=units.NoUnit,
                steps=[(1, RED)],
            ),
            figure(
                "Active bridges",
                "sum(tickstock_bridge_active)",
                says="One is active, the others are standby. None: no messages, and the fleet's figures are unknown.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN), (2, ORANGE)],
            ),
            figure(
                "Workers",
                "max(tickstock_workers)",
                says="Workers with a valid lease.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN)],
            ),
            figure(
                "Partitions without owner",
                "max(tickstock_partitions_without_owner)",
                says="A killed worker's partitions are taken over within 6 s.",
                unit=units.NoUnit,
                steps=[(1, RED)],
            ),
            figure(
                "Oldest unapplied tick",
                "fleet:tickstock_lag_seconds:max",
                says="Age of the oldest uncommitted tick; unknown if unknown for one partition.",
                unit=units.Seconds,
                steps=[(5, ORANGE), (60, RED)],
            ),
            figure(
                "Ticks per second",
                "sum(rate(tickstock_ticks_applied_total[$__rate_interval]))",
                says="Committed into bars.",
                unit=units.CountsPerSecond,
                below=BLUE,
            ),
            figure(
                "Market",
                "max(tickstock_market_open)",
                says="The regular hours of the New York Stock Exchange, its holidays and half days included.",
                unit=units.NoUnit,
                below=BLUE,
                words={0: "closed", 1: "open"},
            ),
            sources_connected(),
            figure(
                "Redis and PostgreSQL",
                "min(tickstock_server_up)",
                says="Whether both answer all processes.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN)],
                words={0: "one is away", 1: "answer all"},
            ),
            figure(
                "Redis memory",
                "fleet:tickstock_redis_memory:ratio",
                says="Share of maxmemory: at 70 % committed entries are dropped early, at 90 % producers wait."
                " Unknown if Redis has no limit.",
                unit=units.PercentUnit,
                steps=[(0.7, ORANGE), (0.9, RED)],
            ),
            figure(
                "Foreign keys",
                "max(tickstock_foreign_keys)",
                says="Our Redis keys that hold another type: `tickstock status` names them.",
                unit=units.NoUnit,
                steps=[(1, RED)],
            ),
            figure(
                "Open gaps",
                "max(tickstock_open_gaps)",
                says="Gaps of live feeds that are not repaired yet.",
                unit=units.NoUnit,
                steps=[(1, ORANGE)],
            ),
            figure(
                "Versions",
                "count(count by (version) (tickstock_build_info))",
                says="More than one: an upgrade is under way, or stopped half way.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN), (2, ORANGE)],
            ),
        ],
        "Alerts": [
            rows(
                "Firing and pending",
                {
                    "Series": (
                        'count by (alertname, severity, alertstate) (ALERTS{alertname=~"TickStock.*"})',
                        units.NoUnit,
                    )
                },
                says="Empty: no alert, or no rules; see the first panel above.",
                labels={"alertname": "Alert", "severity": "Severity", "alertstate": "State"},
                worst_of="Series",
            ),
        ],
        "Flow": [
            graph(
                "Ticks per second",
                {
                    "in": "sum(rate(tickstock_ticks_in_total[$__rate_interval]))",
                    "applied": "sum(rate(tickstock_ticks_applied_total[$__rate_interval]))",
                    "sent by producers": "sum(rate(tickstock_producer_ticks_total[$__rate_interval]))",
                },
                says="Committed by workers, and sent by producers.",
                unit=units.CountsPerSecond,
            ),
            graph(
                "Bars per minute",
                {
                    "closed": "60 * sum(rate(tickstock_bars_closed_total[$__rate_interval]))",
                    "revised": "60 * sum(rate(tickstock_bars_revised_total[$__rate_interval]))",
                },
                says="1-minute bars closed, and bars changed by a late tick.",
                unit=units.Short,
            ),
            graph(
                "Ticks sent and not committed",
                {"ticks": "sum(tickstock_lag_ticks)"},
                says="Over all partitions; unknown if unknown for one.",
                unit=units.Short,
            ),
            graph(
                "Oldest unapplied tick",
                {"age": "fleet:tickstock_lag_seconds:max"},
                says="Over all partitions; unknown if unknown for one.",
                unit=units.Seconds,
                steps=[(60, RED)],
            ),
        ],
        "Latency": [
            graph(
                "Tick to commit",
                quantiles("tickstock_tick_to_commit_seconds"),
                says="From a live tick's arrival in Redis to the commit of its batch.",
                unit=units.Seconds,
                width=6,
                steps=[(5, RED)],
            ),
            graph(
                "Commit",
                quantiles("tickstock_commit_duration_seconds"),
                says="With detection; a lease lasts 5 s.",
                unit=units.Seconds,
                width=6,
                steps=[(2.5, RED)],
            ),
            graph(
                "Commit batch",
                quantiles("tickstock_commit_ticks"),
                says="Ticks in one commit; more when more wait.",
                unit=units.Short,
                width=6,
            ),
            graph(
                "Bar close to publish",
                quantiles("tickstock_bar_close_to_publish_seconds"),
                says="From the end of a bar's minute to its patterns on the channels.",
                unit=units.Seconds,
                width=6,
                steps=[(5, RED)],
            ),
        ],
        "Daily runs": daily_runs(),
        "HTTP API": http_api(),
        "Processes": [
            graph(
                "Scraped processes",
                {"{{component}}": "count by (component) (tickstock_build_info)"},
                says="Processes that answered Prometheus.",
                unit=units.NoUnit,
                width=8,
            ),
            graph(
                "Partitions owned",
                {"{{instance}}": "sum by (instance) (tickstock_partitions_owned)"},
                says="Each worker's fair share.",
                unit=units.NoUnit,
                width=8,
            ),
            graph(
                "Partitions that changed their owner",
                {
                    "taken": "sum(increase(tickstock_takeovers_total[$__rate_interval]))",
                    "lost to another worker": "sum(increase(tickstock_commits_fenced_total[$__rate_interval]))",
                },
                says="Taken by a worker, and found lost to another worker at a commit.",
                unit=units.Short,
                width=8,
            ),
            graph(
                "Memory",
                {"{{component}} {{instance}}": f"process_resident_memory_bytes {_OF_OURS}"},
                says="Resident memory of each process.",
                unit=units.BytesIEC,
                width=8,
            ),
            graph(
                "Processor",
                {"{{component}} {{instance}}": f"rate(process_cpu_seconds_total[$__rate_interval]) {_OF_OURS}"},
                says="Share of one core.",
                unit=units.PercentUnit,
                width=8,
            ),
            graph(
                "Reconnects to servers",
                {"{{server}}": "sum by (server) (increase(tickstock_reconnects_total[$__rate_interval]))"},
                says="By all processes.",
                unit=units.Short,
                width=8,
            ),
        ],
    }
    return board(
        "tickstock-fleet",
        "TickStockPL: fleet overview",
        panels,
        says="Is it healthy, how much flows, how late? Unknown values are shown as unknown, never as 0.",
    )
