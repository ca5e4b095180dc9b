"""The protocol's messages, compiled from functions_rpc.proto when this is imported."""

from typing import Any

import grpc

messages: Any = grpc.protos("local/worker/functions_rpc.proto")
"""The message classes, `messages.StreamingMessage` and so on, as a worker's library expects them."""

SERVICE = "AzureFunctionsRpcMessages.FunctionRpc"
METHOD = "EventStream"
UNLIMITED_MESSAGES = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
