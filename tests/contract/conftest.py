"""The kept samples, and the examples that the constructors of the messages make."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from tickstockpl.contracts.messages.message_examples import example_messages

HERE = Path(__file__).parent
KINDS = ("event", "event_type", "type")


class Sample(NamedTuple):
    channel: str
    kind: str
    message: dict


def kept_samples():
    """Return every sample, in the order of the files' names."""
    found = []
    for path in sorted((HERE / "samples").glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        found += [Sample(file["channel"], kind_of(message), message) for message in file["messages"]]
    return found


def kind_of(message):
    return next(message[key] for key in KINDS if key in message)


def made_messages():
    """Return the first example of each (channel, kind) as bytes, with epoch and seq where the publisher puts them."""
    made = {}
    for channel, body in example_messages():
        made.setdefault((channel, kind_of(json.loads(body))), body[:-1] + b',"epoch":7,"seq":1}')
    return made


def pytest_generate_tests(metafunc):
    if "sample" in metafunc.fixturenames:
        samples = kept_samples()
        metafunc.parametrize("sample", samples, ids=[f"{s.channel} {s.kind}" for s in samples])


@pytest.fixture(scope="session")
def samples():
    return kept_samples()


@pytest.fixture(scope="session")
def made():
    return made_messages()


@pytest.fixture(scope="session")
def schema_path():
    return HERE / "asyncapi-3.0.0.schema.json"
