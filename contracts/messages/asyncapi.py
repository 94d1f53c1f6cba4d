"""The AsyncAPI 3.0 document of every channel, generated from the Struct types of the messages."""

from collections import defaultdict
from typing import Any

import msgspec

from ...version import __version__
from .message_examples import example_messages
from .message_list import CHANNEL_MESSAGES, CHANNELS, ChannelMessage, kind_of

_SCHEMA_OF = "#/components/schemas/{name}"
_ADDED = {  # the publisher's script adds these, in one step with the PUBLISH
    "epoch": {"type": "integer", "minimum": 0, "description": "The bridge's epoch; a new one restarts seq."},
    "seq": {
        "type": "integer",
        "minimum": 1,
        "description": "From 1 in each epoch and channel. A missing number is a missed message.",
    },
}
_DESCRIPTION = (
    "The messages that TickStockPL publishes (PUBLISH): each is one JSON object. "
    "Every message carries epoch and seq; a result carries result_id (PARTITION-NUMBER: read missed messages from "
    "tickstock-results:{pPARTITION}), a detection also flow_id. Readers ignore unknown keys."
)


def asyncapi_document() -> dict[str, Any]:
    """Return the document, ready for JSON. Its server has no fixed address: a reader uses its own Redis."""
    references, schemas = msgspec.json.schema_components([s.body for s in CHANNEL_MESSAGES], ref_template=_SCHEMA_OF)
    examples = {(channel, kind_of(body)): body for channel, body in _decoded_examples()}
    messages = {
        message_name(entry): _message(entry, reference, examples[entry.channel, entry.kind])
        for entry, reference in zip(CHANNEL_MESSAGES, references, strict=True)
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
    "variables": {"host": {"description": "HOST:PORT of the Redis of the bridge."}},
}


def message_name(entry: ChannelMessage) -> str:
    """Name a message of the document: its channel, without the prefix, and its own name."""
    return f"{_operation(entry.channel)}.{entry.kind}"


def _operation(channel: str) -> str:
    return channel.removeprefix("tickstock").strip(".:").replace(":", "_").replace(".", "_")


def _channels() -> dict[str, Any]:
    messages_on: dict[str, dict[str, Any]] = defaultdict(dict)
    for entry in CHANNEL_MESSAGES:
        messages_on[entry.channel][entry.kind] = {"$ref": f"#/components/messages/{message_name(entry)}"}
    return {channel: {"address": channel, "messages": messages} for channel, messages in messages_on.items()}


def _send(channel: str) -> dict[str, Any]:
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}}


def _message(entry: ChannelMessage, reference: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    # An envelope's type does not fix the name of its event; in the document each message has one name.
    called = {key: {"const": entry.kind} for key, said in example.items() if said == entry.kind}
    added = {"type": "object", "properties": {**called, **_ADDED}, "required": list(_ADDED)}
    return {
        "name": entry.kind,
        "title": entry.kind,
        "contentType": "application/json",
        "payload": {"allOf": [reference, added]},
        "examples": [{"name": entry.kind, "payload": {**example, "epoch": 7, "seq": 1}}],
    }


def _decoded_examples() -> list[tuple[str, dict[str, Any]]]:
    return [(channel, msgspec.json.decode(body)) for channel, body in example_messages()]


def _all_required(schema: dict[str, Any]) -> dict[str, Any]:
    """Require every key of an object, constants included, which have a default in their type.

    A key that is optional in messages has no default and is not required.
    """
    if "properties" not in schema:
        return schema
    said = [
        name for name, is_ in schema["properties"].items() if "default" in is_ or name in schema.get("required", ())
    ]
    return {**schema, "required": said}
