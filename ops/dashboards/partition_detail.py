"""The dashboard of partitions: what waits in each, its rates, and which partition is busiest."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import Rows, board
from .panels import GREEN, ORANGE, PURPLE, RED, figure, graph, rows

_CHOSEN = '{partition=~"$partition"}'


def partition_detail() -> Dashboard:
    """Make the dashboard for finding the partition that is behind."""
    panels: Rows = {
        "Now": [
            figure(
                "Partitions",
                "max(tickstock_partitions)",
                says="Of the stream; `tickstock repartition` changes it.",
                unit=units.NoUnit,
            ),
            figure(
                "Without owner",
                "max(tickstock_partitions_without_owner)",
                says="No worker commits these.",
                unit=units.NoUnit,
                steps=[(1, RED)],
            ),
            figure(
                "Lag unknown",
                # Only NaN differs from itself.
                "sum(tickstock_lag_seconds != bool tickstock_lag_seconds)",
                says="Partitions whose oldest uncommitted tick has an unknown age: Redis lost entries.",
                unit=units.NoUnit,
                steps=[(1, PURPLE)],
            ),
            figure(
                "Waiting ticks",
                "sum(tickstock_lag_ticks)",
                says="Sent and not committed, over all partitions.",
                unit=units.Short,
                steps=[(1_000_000, ORANGE), (4_000_000, RED)],  # producers wait at 5 M
            ),
            figure(
                "Busiest partition's share",
                "max(sum by (partition) (rate(tickstock_ticks_in_total[5m])))"
                " / sum(rate(tickstock_ticks_in_total[5m])) * max(tickstock_partitions)",
                says="Its ticks as a multiple of the mean; far above 3: one very busy symbol, which cannot be shared.",
                unit=units.NoUnit,
                steps=[(3, ORANGE), (6, RED)],
            ),
            figure(
                "Worker's largest share",
                "max(tickstock_partitions_owned) - min(tickstock_partitions_owned)",
                says="Most partitions of a worker minus the fewest of one: 0 or 1 if evenly shared.",
                unit=units.NoUnit,
                below=GREEN,
                steps=[(2, ORANGE)],
            ),
        ],
        "Partitions": [
            rows(
                "Each partition",
                {
                    "Waiting ticks": (f"sum by (partition) (tickstock_lag_ticks{_CHOSEN})", units.Short),
                    "Oldest": (f"max by (partition) (tickstock_lag_seconds{_CHOSEN})", units.Seconds),
                    "Ticks per second": (
                        f"sum by (partition) (rate(tickstock_ticks_in_total{_CHOSEN}[5m]))",
                        units.CountsPerSecond,
                    ),
                    "Entries": (f"max by (partition) (tickstock_stream_entries{_CHOSEN})", units.Short),
                    "Results": (f"max by (partition) (tickstock_results_entries{_CHOSEN})", units.Short),
                },
                says="What waits in each; an unknown lag is shown as unknown.",
                labels={"partition": "Partition"},
                worst_of="Oldest",
            ),
        ],
        "Waiting": [
            graph(
                "Ticks sent and not committed",
                {"{{partition}}": f"sum by (partition) (tickstock_lag_ticks{_CHOSEN})"},
                says="By partition.",
                unit=units.Short,
            ),
            graph(
                "Oldest unapplied tick",
                {"{{partition}}": f"max by (partition) (tickstock_lag_seconds{_CHOSEN})"},
                says="By partition.",
                unit=units.Seconds,
                steps=[(60, RED)],
            ),
            graph(
                "Stream entries",
                {"{{partition}}": f"max by (partition) (tickstock_stream_entries{_CHOSEN})"},
                says="Frames in tickstock-stream:{pN}; committed ones stay for --retention-s.",
                unit=units.Short,
            ),
            graph(
                "Results entries",
                {"{{partition}}": f"max by (partition) (tickstock_results_entries{_CHOSEN})"},
                says="Messages in tickstock-results:{pN}; 100,000 are kept, published or not.",
                unit=units.Short,
            ),
        ],
        "Flow": [
            graph(
                "Ticks in",
                {"{{partition}}": f"sum by (partition) (rate(tickstock_ticks_in_total{_CHOSEN}[$__rate_interval]))"},
                says="Committed ticks per second.",
                unit=units.CountsPerSecond,
            ),
            graph(
                "Ticks applied",
                {
                    "{{partition}}": f"sum by (partition) (rate(tickstock_ticks_applied_total{_CHOSEN}"
                    "[$__rate_interval]))"
                },
                says="Ticks per second that are in a bar.",
                unit=units.CountsPerSecond,
            ),
            graph(
                "Repeated ticks",
                {
                    "{{partition}}": f"sum by (partition) (rate(tickstock_ticks_duplicate_total{_CHOSEN}"
                    "[$__rate_interval]))"
                },
                says="Repeated ticks per second, recognised by their number and dropped.",
                unit=units.CountsPerSecond,
            ),
            graph(
                "Late ticks",
                {"{{partition}}": f"sum by (partition) (rate(tickstock_ticks_late_total{_CHOSEN}[$__rate_interval]))"},
                says="Ticks per second refused as more than 15 minutes older than their arrival.",
                unit=units.CountsPerSecond,
            ),
            graph(
                "Bars closed",
                {
                    "{{partition}}": f"60 * sum by (partition) (rate(tickstock_bars_closed_total{_CHOSEN}"
                    "[$__rate_interval]))"
                },
                says="Per minute.",
                unit=units.CountsPerMinute,
            ),
            graph(
                "Bars revised",
                {
                    "{{partition}}": f"60 * sum by (partition) (rate(tickstock_bars_revised_total{_CHOSEN}"
                    "[$__rate_interval]))"
                },
                says="Per minute, changed by late ticks.",
                unit=units.CountsPerMinute,
            ),
        ],
    }
    return board(
        "tickstock-partitions",
        "TickStockPL: partitions",
        panels,
        says="Which partition is behind, and why.",
        chooses={"partition": "tickstock_lag_ticks"},
    )
