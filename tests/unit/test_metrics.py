"""The names and labels that dashboards and alerts rest on, and Prometheus's own rules for them."""

import re
import socket

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tickstockpl.contracts import gap_reasons
from tickstockpl.contracts.errors import SetupError
from tickstockpl.db import metrics
from tickstockpl.db.metrics import dead_letter_reason
from tickstockpl.ops.process.metrics_server import MetricsAddress, metrics_server

LABELS = {
    "tickstock_server_up": ("server",),
    "tickstock_reconnects_total": ("server",),
    "tickstock_ticks_in_total": ("partition",),
    "tickstock_ticks_applied_total": ("partition",),
    "tickstock_ticks_duplicate_total": ("partition",),
    "tickstock_ticks_repeated_total": (),
    "tickstock_ticks_late_total": ("partition",),
    "tickstock_ticks_rejected_total": ("reason",),
    "tickstock_ticks_superseded_total": (),
    "tickstock_ticks_without_trade_total": (),
    "tickstock_ticks_lost_total": (),
    "tickstock_bars_closed_total": ("partition",),
    "tickstock_bars_revised_total": ("partition",),
    "tickstock_patterns_detected_total": ("pattern",),
    "tickstock_indicators_calculated_total": (),
    "tickstock_undetected_bars": (),
    "tickstock_histories_dropped_early_total": (),
    "tickstock_commit_duration_seconds": (),
    "tickstock_commit_ticks": (),
    "tickstock_tick_to_commit_seconds": (),
    "tickstock_partitions_owned": (),
    "tickstock_takeovers_total": (),
    "tickstock_commits_fenced_total": (),
    "tickstock_holes_total": (),
    "tickstock_dead_letters_total": ("reason",),
    "tickstock_bridge_active": (),
    "tickstock_messages_published_total": ("channel",),
    "tickstock_bar_close_to_publish_seconds": (),
    "tickstock_lag_ticks": ("partition",),
    "tickstock_lag_seconds": ("partition",),
    "tickstock_partitions": (),
    "tickstock_partitions_without_owner": (),
    "tickstock_workers": (),
    "tickstock_stream_entries": ("partition",),
    "tickstock_results_entries": ("partition",),
    "tickstock_front_door_entries": (),
    "tickstock_dead_letter_entries": (),
    "tickstock_outbox_rows": (),
    "tickstock_redis_memory_bytes": (),
    "tickstock_redis_max_memory_bytes": (),
    "tickstock_channel_receivers": ("channel",),
    "tickstock_stale_symbols": (),
    "tickstock_active_symbols": (),
    "tickstock_market_open": (),
    "tickstock_open_gaps": (),
    "tickstock_foreign_keys": (),
    "tickstock_run_steps_total": ("phase", "outcome"),
    "tickstock_run_step_duration_seconds": ("phase",),
    "tickstock_jobs_coordinator": (),
    "tickstock_jobs_processes": (),
    "tickstock_jobs_waiting_steps": (),
    "tickstock_run_status": ("status",),
    "tickstock_run_duration_seconds": (),
    "tickstock_run_still_seconds": (),
    "tickstock_run_failed_symbols": (),
    "tickstock_run_untold_messages": (),
    "tickstock_producer_ticks_total": ("feed",),
    "tickstock_producer_frames_total": ("feed",),
    "tickstock_producer_lag_ticks": ("feed",),
    "tickstock_producer_up": ("feed",),
    "tickstock_spool_bytes": (),
    "tickstock_spool_dropped_ticks_total": (),
    "tickstock_gaps_total": ("reason",),
    "tickstock_request_duration_seconds": ("route", "method", "status"),
    "tickstock_event_clients": (),
    "tickstock_event_clients_dropped_total": ("reason",),
}
SUFFIX = {"counter": "_total", "info": "_info"}  # the parser takes them off a family's name
# What promtool calls a problem: other units than the base ones, a type or an abbreviation in the name.
REQUEST = ("route", "method", "status")  # of our own calls, whatever others ask for
UNITS = ("milliseconds", "minutes", "hours", "kilobytes", "megabytes", "percent", "ms", "kb", "mb")


def families():
    registry = CollectorRegistry()
    for metric in metrics.ALL:
        registry.register(metric)
    return list(text_string_to_metric_families(generate_latest(registry).decode()))


def full_name(family):
    suffix = SUFFIX.get(family.type, "")
    return family.name if family.name.endswith(suffix) else family.name + suffix


def test_the_names_and_labels_are_those_that_dashboards_know():
    found = {m._name + SUFFIX.get(m._type, ""): m._labelnames for m in metrics.ALL}
    assert found == LABELS | {"tickstock_build_info": ()}  # whose labels are its values


@pytest.mark.parametrize("family", families(), ids=full_name)
def test_prometheus_has_no_problem_with_a_metric(family):
    name = full_name(family)
    if family.name.endswith("_created"):
        return
    words = name.split("_")
    assert re.fullmatch(r"tickstock(_[a-z0-9]+)+", name)
    assert (words[-1] == "total") == (family.type == "counter")
    assert not set(words) & {*UNITS, "counter", "gauge", "histogram", "count", "sum", "bucket"}
    assert family.documentation.endswith(".")


def test_no_label_has_a_value_for_each_symbol():
    labels = {label for metric in metrics.ALL for label in metric._labelnames}
    known = {"partition", "feed", "reason", "server", "channel", "pattern", "component", "phase", "outcome"}
    assert labels <= known | set(REQUEST) | {"status"}


@pytest.mark.parametrize("histogram", [m for m in metrics.ALL if m._type == "histogram"], ids=str)
def test_buckets_rise(histogram):
    bounds = histogram._upper_bounds
    assert bounds == sorted(set(bounds))
    assert len(bounds) <= 15


def test_a_reason_that_nobody_knows_is_other():
    assert dead_letter_reason("too_late") == "too_late"
    assert dead_letter_reason("x" * 64) == "other"


@pytest.mark.parametrize(
    ("why", "label"),
    [
        (gap_reasons.SPOOL_FULL, "spool_full"),
        (gap_reasons.SPOOL_TOO_OLD, "spool_too_old"),
        (gap_reasons.NOT_RUNNING, "not_running"),
        (gap_reasons.KEY_REFUSED, "key_refused"),
        (gap_reasons.FEED_TAKEN, "feed_taken"),
        (gap_reasons.SILENT, "silent"),
        (gap_reasons.CONNECTION_LOST, "connection_lost"),
        (gap_reasons.channel_lost("tickstock.data.raw", "Connection closed by server."), "channel_lost"),
        ("anything else", "other"),
    ],
)
def test_a_gap_is_counted_under_a_short_fixed_label(why, label):
    before = metrics.GAPS.labels(label)._value.get()
    metrics.count_gap(why)
    assert metrics.GAPS.labels(label)._value.get() == before + 1


def test_a_taken_port_is_tried_again_by_a_keeper_and_names_the_other_fleet():
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = MetricsAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(SetupError, match="another fleet may still run here"), metrics_server(address, "worker"):
            pass
