"""The dashboard of the bridge: the messages on each channel, their delay, and the number of subscribers."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import Rows, board
from .panels import BLUE, GREEN, ORANGE, RED, figure, graph, quantiles, rows


def bridge_detail() -> Dashboard:
    """Make the dashboard of the bridge."""
    panels: Rows = {
        "Now": [
            figure(
                "Active bridges",
                "sum(tickstock_bridge_active)",
                says="Exactly one; the others are standby.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN), (2, ORANGE)],
            ),
            figure(
                "Standby bridges",
                "sum(tickstock_bridge_active == bool 0)",
                says="They take over when the active one ends. None: after a crash nothing is published.",
                unit=units.NoUnit,
                below=ORANGE,
                steps=[(1, GREEN)],
            ),
            figure(
                "Unpublished results",
                "max(tickstock_outbox_rows)",
                says="Committed, and not published yet.",
                unit=units.Short,
                steps=[(10_000, ORANGE), (100_000, RED)],
            ),
            figure(
                "Channels without subscriber",
                "sum(max by (channel) (tickstock_channel_receivers) == bool 0)",
                says="Channels whose last message reached no subscriber.",
                unit=units.NoUnit,
                steps=[(1, ORANGE)],
            ),
            figure(
                "Front door",
                "max(tickstock_front_door_entries)",
                says="Plain entries in tickstock-stream that wait for a worker.",
                unit=units.Short,
                steps=[(10_000, ORANGE), (100_000, RED)],
            ),
            figure(
                "Dead letters in Redis",
                "max(tickstock_dead_letter_entries)",
                says="In tickstock-dlq, which keeps 100,000; PostgreSQL has all.",
                unit=units.Short,
                steps=[(1_000, ORANGE), (90_000, RED)],
            ),
        ],
        "Channels": [
            graph(
                "Messages",
                {"{{channel}}": "60 * sum by (channel) (rate(tickstock_messages_published_total[$__rate_interval]))"},
                says="Per minute, by channel.",
                unit=units.CountsPerMinute,
            ),
            graph(
                "Receivers",
                {"{{channel}}": "max by (channel) (tickstock_channel_receivers)"},
                says="Subscribers that received a channel's last message.",
                unit=units.NoUnit,
            ),
            rows(
                "Each channel",
                {
                    "Receivers": ("max by (channel) (tickstock_channel_receivers)", units.NoUnit),
                    "Messages in the last hour": (
                        "sum by (channel) (increase(tickstock_messages_published_total[1h]))",
                        units.Short,
                    ),
                },
                says="A channel without a row had no message since its bridge started.",
                labels={"channel": "Channel"},
                worst_of="Messages in the last hour",
            ),
        ],
        "On time": [
            graph(
                "Bar close to publish",
                quantiles("tickstock_bar_close_to_publish_seconds"),
                says="From the end of a bar's minute to its patterns on the channels.",
                unit=units.Seconds,
                width=8,
                steps=[(5, RED)],
            ),
            graph(
                "Unpublished results",
                {"rows": "max(tickstock_outbox_rows)"},
                says="Rows of the outbox that the bridge has not published.",
                unit=units.Short,
                width=8,
                steps=[(10_000, ORANGE)],
            ),
            graph(
                "Active bridge",
                {"{{instance}}": "tickstock_bridge_active"},
                says="1: this bridge is active.",
                unit=units.NoUnit,
                width=8,
            ),
        ],
        "Redis": [
            figure(
                "Memory",
                "fleet:tickstock_redis_memory:ratio",
                says="Share of maxmemory. Unknown if Redis has no limit.",
                unit=units.PercentUnit,
                steps=[(0.7, ORANGE), (0.9, RED)],
            ),
            figure(
                "Limit",
                "max(tickstock_redis_max_memory_bytes)",
                says="maxmemory: without it Redis may use all memory of the host.",
                unit=units.BytesIEC,
                below=BLUE,
                words={0: "none"},
            ),
            graph(
                "Memory",
                {
                    "used": "max(tickstock_redis_memory_bytes)",
                    "limit": "max(tickstock_redis_max_memory_bytes) > 0",
                },
                says="Memory of Redis.",
                unit=units.BytesIEC,
                width=8,
            ),
            graph(
                "Results kept in Redis",
                {"entries": "sum(tickstock_results_entries)"},
                says="Over all tickstock-results:{pN}: messages that a subscriber can read again.",
                unit=units.Short,
                width=8,
            ),
        ],
    }
    return board(
        "tickstock-bridge",
        "TickStockPL: bridge",
        panels,
        says="What the application gets, how fast, and how many subscribers receive it.",
    )
