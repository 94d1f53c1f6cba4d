"""The dashboard rows of daily runs and of the HTTP API."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders.stat import Panel as Figure
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models import units

from .panels import BLUE, GREEN, ORANGE, RED, figure, graph, quantiles


def daily_runs() -> Sequence[Figure | Graph]:
    """Make the panels."""
    return [*_figures(), *_graphs()]


def _figures() -> list[Figure]:
    return [
        figure(
            "Run",
            # Of the one status that is 1: its place in this list.
            'max(1 * tickstock_run_status{status=~"queued|running|cancelling"}'
            ' or 2 * tickstock_run_status{status="completed"}'
            ' or 3 * tickstock_run_status{status="cancelled"}'
            ' or 4 * tickstock_run_status{status=~"failed|interrupted"})',
            says="The latest daily run: `tickstock run show`.",
            unit=units.NoUnit,
            below=BLUE,
            steps=[(1, BLUE), (2, GREEN), (3, ORANGE), (4, RED)],
            words={0: "none yet", 1: "under way", 2: "completed", 3: "cancelled", 4: "failed"},
        ),
        figure(
            "Run took",
            "max(tickstock_run_duration_seconds)",
            says="Duration of the latest daily run, or until now.",
            unit=units.Seconds,
            below=BLUE,
        ),
        figure(
            "Since the last step",
            "max(tickstock_run_still_seconds)",
            says="Since the active daily run or job last ended a step; 0: none is active.",
            unit=units.Seconds,
            steps=[(60, ORANGE), (600, RED)],
        ),
        figure(
            "Failed symbols",
            "max(tickstock_run_failed_symbols)",
            says="Of the latest daily run: `tickstock run retry` does them again.",
            unit=units.NoUnit,
            steps=[(1, ORANGE)],
        ),
        figure(
            "Jobs processes",
            "max(tickstock_jobs_processes)",
            says="Any number share a run's steps; one of them coordinates.",
            unit=units.NoUnit,
            below=ORANGE,
            steps=[(1, GREEN)],
        ),
        figure(
            "Waiting steps",
            "max(tickstock_jobs_waiting_steps)",
            says="In the stream tickstock-jobs, with those that are being done.",
            unit=units.Short,
            below=BLUE,
        ),
    ]


def _graphs() -> list[Graph]:
    return [
        graph(
            "Steps",
            {
                "{{phase}} {{outcome}}": "60 * sum by (phase, outcome)"
                " (rate(tickstock_run_steps_total[$__rate_interval]))"
            },
            says="Per minute. failed: attempts; redone: taken over from a process that died.",
            unit=units.CountsPerMinute,
            width=8,
        ),
        graph(
            "A step takes",
            quantiles("tickstock_run_step_duration_seconds"),
            says="From the read of its rows to the end of its commit.",
            unit=units.Seconds,
            width=8,
        ),
        graph(
            "Waiting of a run",
            {
                "steps": "max(tickstock_jobs_waiting_steps)",
                "messages": "max(tickstock_run_untold_messages)",
                "coordinators": "sum(tickstock_jobs_coordinator)",
            },
            says="Waiting steps, unpublished messages, and active coordinators (must be 1).",
            unit=units.Short,
            width=8,
        ),
    ]


def http_api() -> Sequence[Graph]:
    """Make the panels of the HTTP API."""
    return [
        graph(
            "Requests",
            {"{{status}}": "sum by (status) (rate(tickstock_request_duration_seconds_count[$__rate_interval]))"},
            says="Per second, by status code.",
            unit=units.RequestsPerSecond,
            width=8,
        ),
        graph(
            "A request takes",
            quantiles("tickstock_request_duration_seconds"),
            says="The application waits for 2 s.",
            unit=units.Seconds,
            width=8,
            steps=[(0.25, RED)],
        ),
        graph(
            "Listeners of /events",
            {
                "now": "sum(tickstock_event_clients)",
                "{{reason}}": "sum by (reason) (increase(tickstock_event_clients_dropped_total[$__rate_interval]))",
            },
            says="Connected clients, and disconnected ones: slow, or too_many.",
            unit=units.Short,
            width=8,
        ),
    ]
