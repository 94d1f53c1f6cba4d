"""The AsyncAPI 3.0 document of every channel, generated from the Struct types that the messages are made of."""

from collections import defaultdict
from typing import Any

import msgspec

from ...version import __version__
from .message_examples import example_messages
from .spoken import CHANNELS, SPOKEN, Spoken, kind_of

_SCHEMA_OF = "#/components/schemas/{name}"
_ADDED = {  # by the publisher's script, in one step with the PUBLISH
    "epoch": {"type": "integer", "minimum": 0, "description": "The bridge's epoch; a greater one starts anew."},
    "seq": {
        "type": "integer",
        "minimum": 1,
        "description": "From 1 in each epoch and channel: a hole is what this subscriber missed.",
    },
}
_DESCRIPTION = (
    "What TickStockPL tells its subscribers by plain PUBLISH: one JSON object a message. "
    "Every message carries epoch and seq; a result carries result_id (PARTITION-NUMBER: read what you missed from "
    "tickstock-results:{pPARTITION}) and, where it is a detection, flow_id. Readers ignore keys that they do not know."
)


def asyncapi_document() -> dict[str, Any]:
    """Return the document, ready for JSON. Its server has no address: it is the reader's own Redis."""
    references, schemas = msgspec.json.schema_components([s.body for s in SPOKEN], ref_template=_SCHEMA_OF)
    examples = {(channel, kind_of(body)): body for channel, body in _decoded_examples()}
    messages = {
        message_name(spoken): _message(spoken, reference, examples[spoken.channel, spoken.kind])
        for spoken, reference in zip(SPOKEN, references, strict=True)
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "TickStockPL", "version": __version__, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"redis": _SERVER},
        "channels": _channels(),
        "operations": {_operation(channel): _send(channel) for channel in CHANNELS},
        "components": {
            "messages": messages,
            "schemas": {name: _all_required(schema) for name, schema in schemas.items()},
        },
    }


_SERVER = {
    "host": "{host}",
    "protocol": "redis",
    "variables": {"host": {"description": "HOST:PORT of the Redis that the bridge speaks on."}},
}


def message_name(spoken: Spoken) -> str:
    """Name a message of the document: what its channel's last word is, and what it calls itself."""
    return f"{_operation(spoken.channel)}.{spoken.kind}"


def _operation(channel: str) -> str:
    return channel.removeprefix("tickstock").strip(".:").replace(":", "_").replace(".", "_")


def _channels() -> dict[str, Any]:
    spoken_on: dict[str, dict[str, Any]] = defaultdict(dict)
    for spoken in SPOKEN:
        spoken_on[spoken.channel][spoken.kind] = {"$ref": f"#/components/messages/{message_name(spoken)}"}
    return {channel: {"address": channel, "messages": messages} for channel, messages in spoken_on.items()}


def _send(channel: str) -> dict[str, Any]:
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}}


def _message(spoken: Spoken, reference: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    # An envelope's type leaves open what its event is called: each message of the document has one name.
    called = {key: {"const": spoken.kind} for key, said in example.items() if said == spoken.kind}
    added = {"type": "object", "properties": {**called, **_ADDED}, "required": list(_ADDED)}
    return {
        "name": spoken.kind,
        "title": spoken.kind,
        "contentType": "application/json",
        "payload": {"allOf": [reference, added]},
        "examples": [{"name": spoken.kind, "payload": {**example, "epoch": 7, "seq": 1}}],
    }


def _decoded_examples() -> list[tuple[str, dict[str, Any]]]:
    return [(channel, msgspec.json.decode(body)) for channel, body in example_messages()]


def _all_required(schema: dict[str, Any]) -> dict[str, Any]:
    """Require every key of an object: a constant has a default in its type, and is said all the same.

    What is said only sometimes has neither a default nor is it required.
    """
    if "properties" not in schema:
        return schema
    said = [
        name for name, is_ in schema["properties"].items() if "default" in is_ or name in schema.get("required", ())
    ]
    return {**schema, "required": said}
