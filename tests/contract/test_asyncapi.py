"""The AsyncAPI document is valid, names every channel, and its schemas hold what is really said."""

import json

import jsonschema
import pytest
from tickstockpl.contracts.messages.asyncapi import asyncapi_document


@pytest.fixture(scope="module")
def document():
    return json.loads(json.dumps(asyncapi_document()))


@pytest.fixture(scope="module")
def official(schema_path):
    return json.loads(schema_path.read_text(encoding="utf-8"))


def validator_of(document, channel, kind):
    """Return a validator of one message, whose references point into the document."""
    reference = document["channels"][channel]["messages"][kind]["$ref"]
    message = document["components"]["messages"][reference.rpartition("/")[2]]
    schema = {**message["payload"], "components": document["components"]}
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())


def test_the_document_is_valid_asyncapi_3(document, official):
    jsonschema.Draft7Validator(official).validate(document)
    assert document["asyncapi"] == "3.0.0"


def test_a_damaged_document_is_not_valid(document, official):
    assert not jsonschema.Draft7Validator(official).is_valid({**document, "channels": {"a": {"address": 1}}})


def test_the_servers_address_is_left_to_the_reader(document):
    assert document["servers"]["redis"]["host"] == "{host}"


def test_every_channel_of_the_samples_is_in_the_document_and_no_other(document, samples):
    assert {channel["address"] for channel in document["channels"].values()} == {s.channel for s in samples}


def test_each_sample_is_valid_under_its_messages_schema(sample, document):
    assert not list(validator_of(document, sample.channel, sample.kind).iter_errors(sample.message))


def test_a_sample_without_one_of_its_keys_is_not_valid(sample, document):
    validator = validator_of(document, sample.channel, sample.kind)
    for key in sample.message.keys() - {"result_id", "flow_id"}:
        damaged = {name: value for name, value in sample.message.items() if name != key}
        assert not validator.is_valid(damaged), key


def test_each_example_of_the_document_is_valid_under_its_own_schema(document):
    for channel in document["channels"].values():
        for kind, reference in channel["messages"].items():
            message = document["components"]["messages"][reference["$ref"].rpartition("/")[2]]
            assert message["examples"]
            for example in message["examples"]:
                validator_of(document, channel["address"], kind).validate(example["payload"])


def test_epoch_and_seq_are_required_whole_numbers(document):
    for message in document["components"]["messages"].values():
        added = message["payload"]["allOf"][1]
        assert added["required"] == ["epoch", "seq"]
        assert {added["properties"][key]["type"] for key in ("epoch", "seq")} == {"integer"}


def test_flow_id_is_a_uuid_wherever_it_stands(document):
    for schema in document["components"]["schemas"].values():
        if "flow_id" in schema.get("properties", {}):
            assert schema["properties"]["flow_id"]["format"] == "uuid"


def test_every_reference_leads_somewhere(document):
    for reference in references_in(document):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert isinstance(place, dict), reference


def references_in(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references_in(item)


def test_the_command_prints_the_document(tickstock, document):
    run = tickstock("asyncapi")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == document
