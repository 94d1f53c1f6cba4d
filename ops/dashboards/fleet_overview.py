"""The fleet at a glance: is it well, how much flows, how late, and which processes do it."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import Rows, board
from .daily_runs import daily_runs, http_api
from .data_quality import sources_connected
from .panels import BLUE, GREEN, ORANGE, RED, figure, graph, quantiles, rows

_OF_OURS = "* on (job, instance) group_left (component) tickstock_build_info"  # which is 1


def fleet_overview() -> Dashboard:
    """Make the dashboard that is looked at first."""
    panels: Rows = {
        "Now": [
            figure(
                "Alerts",
                # 0 only where our rules are evaluated: without them nobody knows of any alert.
                'count(ALERTS{alertname=~"TickStock.*", alertstate="firing"})'
                " or on() 0 * fleet:tickstock_bridge_active:sum",
                says="Alerts of ops/prometheus/rules.yml that fire; what to do of each: docs/runbook.md.",
                unit=units.NoUnit,
                steps=[(1, RED)],
            ),
            figure(
                "Bridges that speak",
                "sum(tickstock_bridge_active)",
                says="One speaks, the others stand by. None: nothing is told, and the fleet's figures are unknown.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN), (2, ORANGE)],
            ),
            figure(
                "Workers",
                "max(tickstock_workers)",
                says="Workers that hold their name's lease.",
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
                says="Age of the oldest tick that is sent and not committed; unknown if one partition's is.",
                unit=units.Seconds,
                steps=[(5, ORANGE), (60, RED)],
            ),
            figure(
                "Ticks a second",
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
                says="Whether each process is served by both.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN)],
                words={0: "one is away", 1: "serve all"},
            ),
            figure(
                "Redis memory",
                "fleet:tickstock_redis_memory:ratio",
                says="Share of maxmemory: at 70 % committed entries are dropped early, at 90 % producers wait."
                " Unknown where Redis has no limit.",
                unit=units.PercentUnit,
                steps=[(0.7, ORANGE), (0.9, RED)],
            ),
            figure(
                "Foreign keys",
                "max(tickstock_foreign_keys)",
                says="Keys of ours in Redis that hold something else: `tickstock status` names them.",
                unit=units.NoUnit,
                steps=[(1, RED)],
            ),
            figure(
                "Open gaps",
                "max(tickstock_open_gaps)",
                says="What live feeds missed and nobody has fetched yet.",
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
                says="Empty: no alert, or no rules; the first figure above tells which.",
                labels={"alertname": "Alert", "severity": "Severity", "alertstate": "State"},
                worst_of="Series",
            ),
        ],
        "Flow": [
            graph(
                "Ticks a second",
                {
                    "in": "sum(rate(tickstock_ticks_in_total[$__rate_interval]))",
                    "applied": "sum(rate(tickstock_ticks_applied_total[$__rate_interval]))",
                    "sent by producers": "sum(rate(tickstock_producer_ticks_total[$__rate_interval]))",
                },
                says="What workers committed, and what producers sent.",
                unit=units.CountsPerSecond,
            ),
            graph(
                "Bars a minute",
                {
                    "closed": "60 * sum(rate(tickstock_bars_closed_total[$__rate_interval]))",
                    "revised": "60 * sum(rate(tickstock_bars_revised_total[$__rate_interval]))",
                },
                says="1-minute bars written, and written again because a late tick changed them.",
                unit=units.Short,
            ),
            graph(
                "Ticks sent and not committed",
                {"ticks": "sum(tickstock_lag_ticks)"},
                says="Over all partitions; unknown if one is.",
                unit=units.Short,
            ),
            graph(
                "Oldest unapplied tick",
                {"age": "fleet:tickstock_lag_seconds:max"},
                says="Over all partitions; unknown if one is.",
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
                says="Detectors included; a lease lasts 5 s.",
                unit=units.Seconds,
                width=6,
                steps=[(2.5, RED)],
            ),
            graph(
                "Commit batch",
                quantiles("tickstock_commit_ticks"),
                says="Ticks in one commit: it grows with what waits.",
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
                "Processes that are scraped",
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
                "Partitions that changed hands",
                {
                    "taken": "sum(increase(tickstock_takeovers_total[$__rate_interval]))",
                    "fenced": "sum(increase(tickstock_commits_fenced_total[$__rate_interval]))",
                },
                says="Taken by a worker, and left out of a commit because somebody else had them.",
                unit=units.Short,
                width=8,
            ),
            graph(
                "Memory",
                {"{{component}} {{instance}}": f"process_resident_memory_bytes {_OF_OURS}"},
                says="Resident, of each process.",
                unit=units.BytesIEC,
                width=8,
            ),
            graph(
                "Processor",
                {"{{component}} {{instance}}": f"rate(process_cpu_seconds_total[$__rate_interval]) {_OF_OURS}"},
                says="Of one core.",
                unit=units.PercentUnit,
                width=8,
            ),
            graph(
                "Servers lost and found again",
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
        says="Is it well, how much flows, how late. Unknown is said, never drawn as 0.",
    )
