"""Each manifest fits the schema of its kind, in which no unknown field is allowed."""

import copy
import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

HERE = Path(__file__).parent
VERSIONS = ("1.30", "1.37")  # the oldest that the manifests are for, and the newest that the validator knows
CUSTOM = {
    "ScaledObject": "scaledobject-keda-v1alpha1.schema.json",
    "PodMonitor": "podmonitor-monitoring-v1.schema.json",
    "PrometheusRule": "prometheusrule-monitoring-v1.schema.json",
}


def check(document, version):
    """Raise jsonschema's ValidationError where a document does not fit."""
    if document["kind"] in CUSTOM:
        jsonschema.validate(document, json.loads((HERE / CUSTOM[document["kind"]]).read_text()))
    else:
        kubernetes_validate.validate(document, version, strict=True)


def autoscaler(scaled_object):
    """Return the HorizontalPodAutoscaler that KEDA makes, as far as the ScaledObject spells it."""
    spec = scaled_object["spec"]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", **spec["scaleTargetRef"]},
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_the_schema_of_its_kind(example, version):
    kinds = set()
    for document in example:
        check(document, version)
        kinds.add(document["kind"])
    assert kinds == {
        "ConfigMap", "CronJob", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor",
        "PrometheusRule", "ScaledObject", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_the_behavior_that_keda_hands_on_fits_the_autoscalers_schema(example, version):
    scaled = [document for document in example if document["kind"] == "ScaledObject"]
    assert len(scaled) == 2
    for scaled_object in scaled:
        check(autoscaler(scaled_object), version)


@pytest.mark.parametrize("kind", ["Deployment", "NetworkPolicy", "PodDisruptionBudget", *CUSTOM])
def test_an_unknown_field_is_refused(example, kind):
    document = copy.deepcopy(next(document for document in example if document["kind"] == kind))
    document["spec"]["replica"] = 2
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        check(document, VERSIONS[-1])


def test_a_number_where_the_trigger_takes_text_is_refused(example):
    scaled_object = copy.deepcopy(next(document for document in example if document["kind"] == "ScaledObject"))
    scaled_object["spec"]["triggers"][0]["metadata"]["threshold"] = 1_000_000
    with pytest.raises(jsonschema.ValidationError, match="1000000"):
        check(scaled_object, VERSIONS[-1])
