"""Workers by lag, daily runs by their steps: never more than have work, and what is unknown takes none away."""

import shutil
import subprocess

import pytest
import yaml
from tickstockpl.db import metrics
from tickstockpl.db.schema.migrate import DEFAULT_PARTITIONS

from .conftest import of_kind

KNOWN = [f'tickstock_lag_{unit}{{pod="b1",partition="{p}"}}' for unit in ("ticks", "seconds") for p in range(2)]
PARTITIONS = {"series": 'tickstock_partitions{pod="b1"}', "values": "2"}


@pytest.fixture(scope="session")
def scaled(example):
    return {each["metadata"]["name"]: each["spec"] for each in of_kind(example, "ScaledObject")}


@pytest.fixture(scope="session")
def spec(scaled):
    return scaled["tickstock-worker"]


@pytest.fixture(scope="session")
def jobs(scaled):
    return scaled["tickstock-jobs"]


@pytest.fixture(scope="session")
def queries(spec):
    return {trigger["name"]: trigger["metadata"]["query"] for trigger in spec["triggers"]}


def test_there_are_never_more_workers_than_partitions(spec, containers):
    (migrate,) = (container for container in containers if str(container) == "migrate")
    assert spec["maxReplicaCount"] == DEFAULT_PARTITIONS == int(migrate.environment["TICKSTOCK_PARTITIONS"])
    assert spec["fallback"]["replicas"] <= spec["maxReplicaCount"]


def test_the_autoscaler_alone_says_how_many_there_are(scaled, example):
    deployments = {each["metadata"]["name"]: each["spec"] for each in of_kind(example, "Deployment")}
    for name, spec in scaled.items():
        assert spec["scaleTargetRef"] == {"name": name}
        assert "replicas" not in deployments[name]


def test_an_unknown_lag_is_an_error_and_the_error_keeps_what_runs(spec):
    assert [trigger["metadata"]["ignoreNullValues"] for trigger in spec["triggers"]] == ["false", "false"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert spec["minReplicaCount"] >= 1  # KEDA's own way to 0 is another one


def test_somebody_is_always_there_to_begin_a_run_and_an_unknown_number_of_steps_keeps_what_runs(jobs):
    assert jobs["minReplicaCount"] >= 1
    assert [trigger["metadata"]["ignoreNullValues"] for trigger in jobs["triggers"]] == ["false"]
    assert jobs["fallback"] == {"failureThreshold": 3, "replicas": 1, "behavior": "currentReplicasIfHigher"}


def test_workers_go_more_slowly_than_they_come(spec):
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"] == {
        "stabilizationWindowSeconds": 600,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    }


def test_the_queries_ask_for_metrics_that_there_are(scaled):
    names = {metric.name for each in metrics.ALL for metric in each.describe()}
    for query in (trigger["metadata"]["query"] for spec in scaled.values() for trigger in spec["triggers"]):
        asked = {word for word in query.replace("(", " ").replace(")", " ").split() if word.startswith("tickstock_")}
        assert asked
        assert asked <= names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: Debian's package prometheus brings it")
@pytest.mark.parametrize(
    ("series", "ticks", "seconds"),
    [
        pytest.param(["3", "4", "0.5", "2"], 7, 2, id="known"),
        pytest.param(["0", "0", "0", "0"], 0, 0, id="nothing waits"),
        pytest.param(["3", "NaN", "0.5", "NaN"], None, None, id="one partition is unknown"),
        pytest.param(["NaN", "NaN", "NaN", "NaN"], None, None, id="all are unknown"),
        pytest.param(["3", "_", "0.5", "_"], None, None, id="one partition is missing"),
        pytest.param(["_", "_", "_", "_"], None, None, id="no bridge speaks"),
        pytest.param(["3 stale", "4 stale", "0.5 stale", "2 stale"], None, None, id="the bridge that spoke is gone"),
    ],
)
def test_the_queries_give_a_number_only_where_the_lag_of_every_partition_is_known(
    queries, tmp_path, series, ticks, seconds
):
    held = [
        {"series": name, "values": values if " " in values else f"{values} {values}"}
        for name, values in zip(KNOWN, series, strict=True)
    ]
    assert_queries(queries, tmp_path, [*held, PARTITIONS | {"values": "2 2"}], ticks, seconds)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: Debian's package prometheus brings it")
def test_a_lag_that_two_bridges_tell_during_a_take_over_counts_once(queries, tmp_path):
    both = [
        {"series": name.replace("b1", bridge), "values": f"{value} {value}"}
        for bridge in ("b1", "b2")
        for name, value in zip(KNOWN, (3, 4, 1, 2), strict=True)
    ]
    partitions = [PARTITIONS | {"values": "2 2"}, {"series": 'tickstock_partitions{pod="b2"}', "values": "2 2"}]
    assert_queries(queries, tmp_path, [*both, *partitions], 7, 2)


def assert_queries(queries, folder, series, ticks, seconds):
    """Ask promtool what both queries answer on some series; None: nothing."""
    asked = [
        {
            "expr": queries[name],
            "eval_time": "1m",
            "exp_samples": [] if expected is None else [{"labels": "{}", "value": expected}],
        }
        for name, expected in (("lag-ticks", ticks), ("lag-seconds", seconds))
    ]
    test = {"rule_files": [], "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
