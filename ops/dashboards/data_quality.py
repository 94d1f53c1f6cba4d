"""The dashboard of data quality: refused, late and lost ticks, gaps of feeds, and patterns on the bars."""

from grafana_foundation_sdk.builders.stat import Panel
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import Rows, board
from .panels import BLUE, GREEN, ORANGE, RED, figure, graph


def data_quality() -> Dashboard:
    """Make the dashboard of the ledger, the feeds and the detectors."""
    panels: Rows = {
        "Last hour": [
            figure(
                "Lost ticks",
                "sum(increase(tickstock_ticks_lost_total[1h]))",
                says="Ticks that were not sent again: a gap that REST may fill.",
                unit=units.Short,
                steps=[(1, RED)],
            ),
            figure(
                "Refused",
                "sum(increase(tickstock_ticks_rejected_total[1h])) / sum(increase(tickstock_ticks_in_total[1h]))",
                says="Share of the committed ticks. Unknown if there were none.",
                unit=units.PercentUnit,
                steps=[(0.001, ORANGE), (0.01, RED)],
            ),
            figure(
                "Too late",
                "sum(increase(tickstock_ticks_late_total[1h])) / sum(increase(tickstock_ticks_in_total[1h]))",
                says="Share of the committed ticks that were older than 15 minutes at their arrival.",
                unit=units.PercentUnit,
                steps=[(0.001, ORANGE), (0.01, RED)],
            ),
            figure(
                "Open gaps",
                "max(tickstock_open_gaps)",
                says="Gaps of live feeds that are not repaired yet: `tickstock gaps`.",
                unit=units.NoUnit,
                steps=[(1, ORANGE)],
            ),
            figure(
                "Stale symbols",
                "max(tickstock_stale_symbols)",
                says="With a bar in the last 8 hours and none in the last 5 minutes.",
                unit=units.NoUnit,
                below=BLUE,
            ),
            figure(
                "Active symbols",
                "max(tickstock_active_symbols)",
                says="With a bar in the last 5 minutes.",
                unit=units.NoUnit,
                below=BLUE,
            ),
        ],
        "Ticks": [
            graph(
                "Kept out of bars",
                {
                    "{{reason}}": "sum by (reason) (rate(tickstock_ticks_rejected_total[$__rate_interval]))",
                    "too late": "sum(rate(tickstock_ticks_late_total[$__rate_interval]))",
                    "superseded": "sum(rate(tickstock_ticks_superseded_total[$__rate_interval]))",
                    "no trade": "sum(rate(tickstock_ticks_without_trade_total[$__rate_interval]))",
                    "lost": "sum(rate(tickstock_ticks_lost_total[$__rate_interval]))",
                },
                says="Ticks per second, by reason. Together with the applied ones they are the ticks in.",
                unit=units.CountsPerSecond,
            ),
            graph(
                "Dead letters",
                {"{{reason}}": "sum by (reason) (increase(tickstock_dead_letters_total[$__rate_interval]))"},
                says="Kept with their originals: `tickstock dlq ls`.",
                unit=units.Short,
            ),
            graph(
                "Repeats and missing frames",
                {
                    "sent again": "sum(increase(tickstock_ticks_duplicate_total[$__rate_interval]))",
                    "same trade again": "sum(increase(tickstock_ticks_repeated_total[$__rate_interval]))",
                    "missing frames": "sum(increase(tickstock_holes_total[$__rate_interval]))",
                },
                says="Ticks dropped by their number, trades by their id, and frames that came after missing ones; most "
                "missing frames arrive later.",
                unit=units.Short,
            ),
            graph(
                "Revised bars",
                {
                    "revised": "sum(rate(tickstock_bars_revised_total[$__rate_interval]))"
                    " / sum(rate(tickstock_bars_closed_total[$__rate_interval]))"
                },
                says="Per closed bar; unknown if none closed.",
                unit=units.PercentUnit,
            ),
        ],
        "Feeds": [
            sources_connected(),
            figure(
                "Spool",
                "sum(tickstock_spool_bytes)",
                says="On the producers' disks, because Redis is away or full.",
                unit=units.BytesIEC,
                steps=[(1, ORANGE), (512 * 2**20, RED)],  # of 1 GiB, the default
            ),
            figure(
                "Dropped by a full spool",
                "sum(increase(tickstock_spool_dropped_ticks_total[1h]))",
                says="Ticks lost here in the last hour; a gap shows when.",
                unit=units.Short,
                steps=[(1, RED)],
            ),
            figure(
                "Gaps of the last hour",
                "sum(increase(tickstock_gaps_total[1h]))",
                says="Times that a feed may have missed.",
                unit=units.Short,
                steps=[(1, ORANGE)],
            ),
            figure(
                "Producers' lag",
                "max(tickstock_producer_lag_ticks)",
                says="Ticks that a producer keeps until their commit; at --max-lag-ticks it waits.",
                unit=units.Short,
                steps=[(1_000_000, ORANGE), (4_000_000, RED)],
            ),
            figure(
                "Ticks per frame",
                "sum(rate(tickstock_producer_ticks_total[5m])) / sum(rate(tickstock_producer_frames_total[5m]))",
                says="512 when busy.",
                unit=units.Short,
                below=BLUE,
            ),
            graph(
                "Ticks sent",
                {"{{feed}}": "sum by (feed) (rate(tickstock_producer_ticks_total[$__rate_interval]))"},
                says="Per second, by feed.",
                unit=units.CountsPerSecond,
                width=8,
            ),
            graph(
                "Gaps",
                {"{{reason}}": "sum by (reason) (increase(tickstock_gaps_total[$__rate_interval]))"},
                says="By reason.",
                unit=units.Short,
                width=8,
            ),
            graph(
                "Spool",
                {"{{instance}}": "tickstock_spool_bytes"},
                says="On disk, by producer.",
                unit=units.BytesIEC,
                width=8,
            ),
        ],
        "Detectors": [
            graph(
                "Patterns found",
                {"{{pattern}}": "60 * sum by (pattern) (rate(tickstock_patterns_detected_total[$__rate_interval]))"},
                says="Per minute, by pattern.",
                unit=units.CountsPerMinute,
                width=8,
            ),
            graph(
                "Indicators",
                {"values": "60 * sum(rate(tickstock_indicators_calculated_total[$__rate_interval]))"},
                says="Values committed per minute.",
                unit=units.CountsPerMinute,
                width=8,
            ),
            graph(
                "Bars that wait for detection",
                {"{{instance}}": "sum by (instance) (tickstock_undetected_bars)"},
                says="By worker.",
                unit=units.Short,
                width=8,
                steps=[(1_000, RED)],
            ),
        ],
    }
    return board(
        "tickstock-quality",
        "TickStockPL: data quality",
        panels,
        says="Is every tick accounted for, and every minute complete?",
    )


def sources_connected() -> Panel:
    """Make the panel that shows whether every feed has its source."""
    return figure(
        "Sources connected",
        "min(tickstock_producer_up)",
        says="Every producer's source.",
        unit=units.NoUnit,
        below=RED,
        steps=[(1, GREEN)],
        words={0: "one is not", 1: "all"},
    )
