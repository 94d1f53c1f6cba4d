"""What the manifests promise: who runs what, with which rights, and that what they name exists."""

import json

import pytest
import yaml
from tickstockpl.ops.process.shutdown import STOP_DEADLINE_S

from ..docs.commands import ROOT, parse, variables_of
from .conftest import WORKLOADS, of_kind, pod_template

PROMETHEUS = ROOT / "ops" / "prometheus"
OPERATOR = ROOT / "ops" / "kubernetes" / "components" / "prometheus-operator"
SERVERS = {"REDIS_URL", "DATABASE_URL"}
KEY_FILES = {"TICKSTOCK_API_KEY_FILE", "TICKSTOCKPL_API_KEY_FILE"}
PORTS = {
    "tickstock-worker": 9101,
    "tickstock-producer": 9102,
    "tickstock-bridge": 9103,
    "tickstock-jobs": 9104,
    "tickstock-api": 9105,
}
STOP_S = dict.fromkeys(("tickstock-worker", "tickstock-bridge", "tickstock-jobs", "tickstock-api"), STOP_DEADLINE_S)
STOP_S["tickstock-producer"] = 30.0


@pytest.fixture(scope="session")
def processes(containers):
    """Give the containers that run a program of ours; that of the operator's pod waits for one."""
    ours = [container for container in containers if container.words != ["sleep", "infinity"]]
    assert len(ours) == len(containers) - 1
    return ours


def matches(selector, labels):
    return selector["matchLabels"].items() <= labels.items()


def pod_labels(workload):
    return pod_template(workload)["metadata"]["labels"]


def test_each_process_of_the_fleet_has_its_workload(example):
    workloads = of_kind(example, *WORKLOADS)
    assert {(each["kind"], each["metadata"]["name"]) for each in workloads} == {
        ("Deployment", "tickstock-worker"),
        ("Deployment", "tickstock-bridge"),
        ("Deployment", "tickstock-jobs"),
        ("Deployment", "tickstock-api"),
        ("StatefulSet", "tickstock-producer"),
        ("Job", "tickstock-migrate"),
        ("Deployment", "tickstock-operator"),
        ("CronJob", "tickstock-prune"),
    }
    replicas = {each["metadata"]["name"]: each["spec"].get("replicas") for each in workloads}
    assert replicas["tickstock-producer"] == 1
    assert replicas["tickstock-bridge"] == 2


def test_each_container_runs_a_command_that_its_program_understands(processes, monkeypatch):
    for container in processes:
        with monkeypatch.context() as patch:
            for name, value in container.environment.items():
                patch.setenv(name, value)
            assert parse(container.words)


def test_each_variable_is_one_that_some_process_reads(processes):
    spelled = set().union(*(variables_of(container.words) for container in processes)) | SERVERS
    for container in processes:
        own = {variable["name"] for variable in container.spec["env"]}
        assert own <= variables_of(container.words) | SERVERS, str(container)
        assert set(container.environment) <= spelled, str(container)


def test_no_secret_stands_in_the_manifests(example, containers):
    assert of_kind(example, "Secret") == []
    for container in containers:
        by_reference = {each["name"]: each["valueFrom"] for each in container.spec["env"] if "valueFrom" in each}
        secrets = {name: source["secretKeyRef"] for name, source in by_reference.items() if "secretKeyRef" in source}
        name = container.workload["metadata"]["name"]  # so that each role has rights of its own
        own = "tickstock-operator" if name == "tickstock-prune" else name
        assert secrets == {
            "REDIS_URL": {"name": own, "key": "redis-url"}, "DATABASE_URL": {"name": own, "key": "database-url"}
        }  # fmt: skip
        assert not any("://" in value or "KEY" in name for name, value in container.environment.items()
                       if name not in KEY_FILES)  # fmt: skip


def test_no_container_is_root_writes_its_image_or_holds_a_right(containers):
    for container in containers:
        pod, own = container.pod["securityContext"], container.spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        }  # fmt: skip
        assert container.pod["automountServiceAccountToken"] is False


def test_each_container_asks_for_what_it_needs_and_its_memory_is_bounded(containers):
    for container in containers:
        assert set(container.spec["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container.spec["resources"]["limits"]) == {"memory"}


def test_probes_ask_the_metrics_port_of_each_process(containers):
    for container in containers:
        name = container.workload["metadata"]["name"]
        if name not in PORTS:
            continue
        port = PORTS[name]
        assert container.environment["TICKSTOCK_METRICS_PORT"] == str(port)
        assert container.environment["TICKSTOCK_METRICS_HOST"] == "0.0.0.0"
        http = [{"name": "http", "containerPort": 8080}] if name == "tickstock-api" else []
        assert container.spec["ports"] == [{"name": "metrics", "containerPort": port}, *http]
        paths = {probe: container.spec[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
        assert paths == {
            "startup": {"path": "/healthz", "port": "metrics"},
            "liveness": {"path": "/healthz", "port": "metrics"},
            "readiness": {"path": "/readyz", "port": "metrics"},
        }


def test_a_pod_has_longer_to_end_than_its_process_takes(containers):
    for container in containers:
        name = container.workload["metadata"]["name"]
        if name in STOP_S:
            assert container.pod["terminationGracePeriodSeconds"] > STOP_S[name] + 5, name


def test_each_mounted_volume_exists_and_nothing_else_is_written(containers):
    for container in containers:
        claims = [claim["metadata"]["name"] for claim in container.workload["spec"].get("volumeClaimTemplates", ())]
        volumes = {volume["name"] for volume in container.pod["volumes"]} | set(claims)
        assert {mount["name"] for mount in container.spec["volumeMounts"]} == volumes
    (producer,) = (each for each in containers if str(each) == "producer")
    mounts = {mount["name"]: mount["mountPath"] for mount in producer.spec["volumeMounts"]}
    assert producer.environment["TICKSTOCK_SPOOL_DIR"] == mounts["spool"]
    assert producer.environment["TICKSTOCK_API_KEY_FILE"].startswith(mounts["massive"])


def test_what_selects_pods_meets_those_it_means(example):
    pods = {each["metadata"]["name"]: pod_labels(each) for each in of_kind(example, *WORKLOADS)}
    met = {
        (each["kind"], each["metadata"]["name"]): {
            name
            for name, labels in pods.items()
            if matches(each["spec"].get("podSelector") or each["spec"]["selector"], labels)
        }
        for each in of_kind(example, "Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor")
    }
    assert met == {
        ("Deployment", "tickstock-worker"): {"tickstock-worker"},
        ("Deployment", "tickstock-bridge"): {"tickstock-bridge"},
        ("Deployment", "tickstock-jobs"): {"tickstock-jobs"},
        ("Deployment", "tickstock-api"): {"tickstock-api"},
        ("Deployment", "tickstock-operator"): {"tickstock-operator"},
        ("StatefulSet", "tickstock-producer"): {"tickstock-producer"},
        ("PodDisruptionBudget", "tickstock-worker"): {"tickstock-worker"},
        ("PodDisruptionBudget", "tickstock-bridge"): {"tickstock-bridge"},
        ("NetworkPolicy", "tickstock"): set(pods),
        ("NetworkPolicy", "tickstock-producer"): {"tickstock-producer"},
        ("NetworkPolicy", "tickstock-jobs"): {"tickstock-jobs"},
        ("NetworkPolicy", "tickstock-api"): {"tickstock-api"},
        ("PodMonitor", "tickstock"): set(pods),
    }
    for each in of_kind(example, "Deployment"):
        if each["metadata"]["name"] == "tickstock-operator":
            continue  # a single pod
        for spread in each["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert matches(spread["labelSelector"], pod_labels(each))


def test_an_overlay_changes_the_image_of_every_container_and_the_namespace_of_every_object(example, containers):
    assert {container.spec["image"] for container in containers} == {"registry.example/tickstockpl:1"}
    assert {document["metadata"]["namespace"] for document in example} == {"tickstock"}


@pytest.mark.parametrize("component", ["worker", "bridge", "jobs", "api", "producer", "migrate"])
def test_each_step_of_an_upgrade_can_be_applied_by_its_label(example, component):
    applied = [each for each in example if each["metadata"]["labels"].get("app.kubernetes.io/component") == component]
    assert [each["metadata"]["name"] for each in of_kind(applied, "Deployment", "StatefulSet", "Job")] == [
        f"tickstock-{component}"
    ]


def test_the_migration_needs_nothing_that_is_applied_after_it(base):
    (job,) = of_kind(base, "Job")
    pod = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    assert all("envFrom" not in container for container in pod["containers"])


def test_the_operators_rules_are_those_of_prometheus(example):
    rules = (PROMETHEUS / "rules.yml").read_text()
    (rule,) = of_kind(example, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(rules)
    indented = "".join(
        f"  {line}" if line.strip() else line for line in rules.partition("\ngroups:")[2].splitlines(True)
    )
    assert (OPERATOR / "prometheus-rule.yaml").read_text().endswith(f"\nspec:\n  groups:{indented.lstrip(' ')}")


def test_each_dashboard_is_a_config_map_that_grafanas_sidecar_takes(example):
    maps = [
        each for each in of_kind(example, "ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    found = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    files = (ROOT / "ops" / "grafana" / "dashboards").glob("*.json")
    assert found == {file.name: json.loads(file.read_text()) for file in files}


def test_the_pod_for_commands_and_the_daily_job_share_one_users_addresses(containers):
    (operator,) = (each for each in containers if str(each) == "operator")
    (prune,) = (each for each in containers if str(each) == "prune")
    assert operator.spec["env"] == prune.spec["env"]
    assert prune.words == ["tickstock", "prune"]
