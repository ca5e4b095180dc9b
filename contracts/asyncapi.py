"""The AsyncAPI 3 document: which queue carries what, in which direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.schemas import DEFINITIONS, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contracts.schemas import Contract, Schema

UPDATES = "image-metadata-updates"
WATCHES = "training-watches"
EVENTS_QUEUE = "training-events"

DESCRIPTION = (
    "An Azure Functions app between Storage queues and the rate-limited APIs of Azure AI Custom Vision and Face. "
    "Addresses are the queues' default names; settings give them others. Messages may be plain or Base64; those of "
    "the input queues may also stand in a CloudEvents 1.0 or Event Grid envelope. The app writes Base64 unless it is "
    "set to write plain JSON. A message that was delivered in vain for about a day is moved to its dead-letter queue "
    "by the Functions host, as it is."
)


def asyncapi(contracts: Sequence[Contract], version: str) -> dict[str, Any]:
    """The document, complete in itself."""
    titles = [contract.title for contract in contracts]
    update, watch, update_letter, watch_letter, *events = titles
    channels = {
        "metadataUpdates": _channel(UPDATES, "Updates to be applied.", [update]),
        "metadataUpdatesPoison": _channel(f"{UPDATES}-poison", "What cannot be applied, and why.", [update_letter]),
        "trainingWatches": _channel(WATCHES, "Trainings to be told of.", [watch]),
        "trainingWatchesPoison": _channel(f"{WATCHES}-poison", "Watches that are not valid.", [watch_letter]),
        "events": _channel(EVENTS_QUEUE, "What other systems react to.", events),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Vision Relay", "version": version, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "storage": {
                "host": "{account}.queue.core.windows.net",
                "protocol": "https",
                "description": "The queue service of the storage account.",
                "variables": {"account": {"description": "The storage account's name."}},
            }
        },
        "channels": channels,
        "operations": {
            "receiveUpdate": _operation("receive", "metadataUpdates", "Apply an update."),
            "sendUpdateDeadLetter": _operation("send", "metadataUpdatesPoison", "Tell what could not be applied."),
            "receiveWatch": _operation("receive", "trainingWatches", "Watch a training."),
            "sendWatchDeadLetter": _operation("send", "trainingWatchesPoison", "Tell which watch is not valid."),
            "sendEvent": _operation("send", "events", "Tell what has happened; at least once, with the same id."),
        },
        "components": {
            "messages": {contract.title: _message(contract) for contract in contracts},
            "schemas": _schemas(contracts),
        },
    }


def _channel(address: str, description: str, messages: Iterable[str]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "servers": [{"$ref": "#/servers/storage"}],
        "messages": {title: {"$ref": f"#/components/messages/{title}"} for title in messages},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(contract: Contract) -> dict[str, Any]:
    kinds = {kind.value.replace(".", ""): kind.value for kind in EVENTS}
    is_event = contract.title in kinds
    return {
        "name": kinds.get(contract.title, contract.title),
        "title": contract.title,
        "summary": contract.schema["description"],
        "contentType": "application/cloudevents+json" if is_event else "application/json",
        "payload": {"$ref": f"#/components/schemas/{contract.title}"},
    }


def _schemas(contracts: Iterable[Contract]) -> Schema:
    """The schemas and all their definitions side by side, since an AsyncAPI document has one place for both."""
    schemas: Schema = {}
    for contract in contracts:
        definitions = contract.schema.get("$defs", {})
        bare = {name: value for name, value in contract.schema.items() if name != "$defs"}
        schemas |= {name: _repointed(schema) for name, schema in {**definitions, contract.title: bare}.items()}
    return dict(sorted(schemas.items()))


def _repointed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _repointed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_repointed(item) for item in value]
    if isinstance(value, str) and value.startswith(DEFINITIONS):
        return f"#/components/schemas/{value.removeprefix(DEFINITIONS)}"
    return value
