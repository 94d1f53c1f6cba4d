"""What is told to the application: by which bridge, on which channel, how fast, and who listens."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from .board import Rows, board
from .panels import BLUE, GREEN, ORANGE, RED, figure, graph, quantiles, rows


def bridge_detail() -> Dashboard:
    """Make the dashboard of the way out."""
    panels: Rows = {
        "Now": [
            figure(
                "Bridges that speak",
                "sum(tickstock_bridge_active)",
                says="One, and any number that stand by.",
                unit=units.NoUnit,
                below=RED,
                steps=[(1, GREEN), (2, ORANGE)],
            ),
            figure(
                "Standing by",
                "sum(tickstock_bridge_active == bool 0)",
                says="Bridges that take over when the one that speaks ends. None: a crash is silence until a restart.",
                unit=units.NoUnit,
                below=ORANGE,
                steps=[(1, GREEN)],
            ),
            figure(
                "Untold results",
                "max(tickstock_outbox_rows)",
                says="Committed, and not passed by the bridge.",
                unit=units.Short,
                steps=[(10_000, ORANGE), (100_000, RED)],
            ),
            figure(
                "Channels nobody hears",
                "sum(max by (channel) (tickstock_channel_receivers) == bool 0)",
                says="Of those on which something was said: their last message reached no subscriber.",
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
                says="A minute, by channel.",
                unit=units.CountsPerMinute,
            ),
            graph(
                "Receivers",
                {"{{channel}}": "max by (channel) (tickstock_channel_receivers)"},
                says="Subscribers that heard a channel's last message.",
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
                says="A channel without a row was silent since its bridge began.",
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
                "Untold results",
                {"rows": "max(tickstock_outbox_rows)"},
                says="Rows of the outbox that the bridge has not passed.",
                unit=units.Short,
                width=8,
                steps=[(10_000, ORANGE)],
            ),
            graph(
                "Who speaks",
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
                says="Share of maxmemory. Unknown where Redis has no limit.",
                unit=units.PercentUnit,
                steps=[(0.7, ORANGE), (0.9, RED)],
            ),
            figure(
                "Limit",
                "max(tickstock_redis_max_memory_bytes)",
                says="maxmemory: without one Redis takes all of the host.",
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
                says="Of Redis.",
                unit=units.BytesIEC,
                width=8,
            ),
            graph(
                "Results kept in Redis",
                {"entries": "sum(tickstock_results_entries)"},
                says="Over all tickstock-results:{pN}: what a subscriber can catch up with.",
                unit=units.Short,
                width=8,
            ),
        ],
    }
    return board(
        "tickstock-bridge",
        "TickStockPL: bridge",
        panels,
        says="What is told to the application, how fast, and who hears it.",
    )
