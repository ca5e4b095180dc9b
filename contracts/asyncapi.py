"""The AsyncAPI 3 document: which queue carries what, in which direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.schemas import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contracts.schemas import Contract

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
        "trainingWatches": _channel(WATCHES, "Trainings to be watched.", [watch]),
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
            "sendUpdateDeadLetter": _operation("send", "metadataUpdatesPoison", "Write what could not be applied."),
            "receiveWatch": _operation("receive", "trainingWatches", "Watch a training."),
            "sendWatchDeadLetter": _operation("send", "trainingWatchesPoison", "Write which watch is not valid."),
            "sendEvent": _operation("send", "events", "Publish what has happened; at least once, with the same id."),
        },
        "components": {
            "messages": {contract.title: _message(contract) for contract in contracts},
            "schemas": {contract.title: contract.schema for contract in contracts},
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
