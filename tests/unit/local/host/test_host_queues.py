"""What the local host makes of storage's answers."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from local.host.queues import MessageGoneError, TriggerQueue, is_polled_over


def refusal(status: int, code: str) -> HttpResponseError:
    error: Any = HttpResponseError(code, response=Mock(status_code=status, reason=code))
    error.error_code = code
    return error  # type: ignore[no-any-return]


def queue_that_answers(error: HttpResponseError) -> TriggerQueue:
    client = SimpleNamespace(delete_message=AsyncMock(side_effect=error), update_message=AsyncMock(side_effect=error))
    return TriggerQueue(Mock(get_queue_client=Mock(return_value=client)), "updates")


@pytest.mark.parametrize(("status", "code"), [(404, "MessageNotFound"), (400, "PopReceiptMismatch")])
async def test_a_message_that_somebody_else_has_is_gone(status: int, code: str) -> None:
    queue = queue_that_answers(refusal(status, code))

    with pytest.raises(MessageGoneError):
        await queue.delete("id", "receipt")
    with pytest.raises(MessageGoneError):
        await queue.hide("id", "receipt", 1.0)


async def test_any_other_refusal_of_storage_is_trouble() -> None:
    queue = queue_that_answers(refusal(503, "ServerBusy"))

    with pytest.raises(HttpResponseError):
        await queue.delete("id", "receipt")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal(503, "ServerBusy"), True),
        (refusal(500, "InternalError"), True),
        (refusal(409, "QueueBeingDeleted"), True),
        (refusal(403, "AuthenticationFailed"), False),
        (refusal(400, "InvalidHeaderValue"), False),
        (ServiceRequestError("no connection"), False),
        (OSError("no route"), False),
    ],
)
def test_only_errors_of_the_service_itself_are_polled_over(error: Exception, expected: bool) -> None:
    assert is_polled_over(error) is expected
