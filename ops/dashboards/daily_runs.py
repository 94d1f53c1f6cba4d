"""The rows of daily runs, and of the HTTP API: whether one is under way or was done, and what is asked."""

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
            says="The latest daily run, or until now.",
            unit=units.Seconds,
            below=BLUE,
        ),
        figure(
            "Without a step further",
            "max(tickstock_run_still_seconds)",
            says="The daily run or job that is under way; 0 where none is.",
            unit=units.Seconds,
            steps=[(60, ORANGE), (600, RED)],
        ),
        figure(
            "Symbols not done",
            "max(tickstock_run_failed_symbols)",
            says="By the latest daily run: `tickstock run retry` does them again.",
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
            "Steps that wait",
            "max(tickstock_jobs_waiting_steps)",
            says="In the stream tickstock-jobs, those under way included.",
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
            says="A minute. failed: attempts; redone: taken over from a process that fell silent.",
            unit=units.CountsPerMinute,
            width=8,
        ),
        graph(
            "A step takes",
            quantiles("tickstock_run_step_duration_seconds"),
            says="From the reading of its rows to the answer to its commit.",
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
            says="Steps that nobody has done, messages that the bridge has not passed; and who moves it on: one.",
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
            says="A second, by the answer's code.",
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
            says="Those that hear, and those that were sent away: slow, or too_many.",
            unit=units.Short,
            width=8,
        ),
    ]
