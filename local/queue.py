"""`python -m local.queue send|peek QUEUE [MESSAGE]`: what `send` and `peek` do in a terminal beside `make run`."""

import base64
import os
import sys

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueClient

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"


def plain(text: str) -> str:
    """What a message says, whether it is in Base64 or not."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text


def main(command: str, name: str, *message: str) -> None:
    """Put a message, which lives until it is deleted, or print the next 32, which stay where they are."""
    with QueueClient.from_connection_string(os.environ[CONNECTION], name) as queue:
        if command == "send":
            queue.send_message(*message, time_to_live=-1)
            print(f"sent to {name}")
        else:
            print(*_peek(queue) or [f"{name} is empty"], sep="\n")


def _peek(queue: QueueClient) -> list[str]:
    try:
        return [plain(message.content) for message in queue.peek_messages(32)]
    except ResourceNotFoundError:  # a poison queue is there once a message is in it
        return []


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (AzureError, KeyError, TypeError, ValueError) as error:
        sys.exit(f"{error}\n{__doc__}")
