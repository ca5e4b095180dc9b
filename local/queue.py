"""`python -m local.queue`: put a message into a queue, or look at those in it, of the account in the environment."""

from __future__ import annotations

import argparse
import base64
import os
import sys

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueClient

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
MOST = 32
FOREVER = -1


def plain(text: str) -> str:
    """What a message says, whether it is in Base64 or not."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text


def send(queue: QueueClient, message: str) -> None:
    """Put a message that lives until it is deleted. The queue is created if need be."""
    try:
        queue.send_message(message, time_to_live=FOREVER)
    except ResourceNotFoundError:
        queue.create_queue()
        queue.send_message(message, time_to_live=FOREVER)


def peek(queue: QueueClient) -> list[str]:
    """The next visible messages, up to 32 of them, which stay where they are. A queue that does not exist is empty."""
    try:
        return [plain(message.content) for message in queue.peek_messages(MOST)]
    except ResourceNotFoundError:
        return []


def main() -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.queue", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="send|peek")
    for name, about in (("send", "put a message"), ("peek", f"look at up to {MOST} messages, one a line")):
        command = commands.add_parser(name, help=about)
        command.add_argument("queue", help="the queue's name")
        if name == "send":
            command.add_argument("message", help="the message, as it is")
    arguments = parser.parse_args()
    if CONNECTION not in os.environ:
        parser.error(f"{CONNECTION} is not set; `make run` says how to set it")
    try:
        with QueueClient.from_connection_string(os.environ[CONNECTION], arguments.queue) as queue:
            if arguments.command == "send":
                send(queue, arguments.message)
                print(f"sent to {arguments.queue}")
            else:
                print(*peek(queue) or [f"{arguments.queue} is empty"], sep="\n")
    except (AzureError, ValueError) as error:
        print(f"{arguments.queue}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
