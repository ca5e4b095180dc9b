"""What to say of an error of the queue service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError

from ops.output import Exit
from ops.storage import error_code
from shared.text import one_line

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

REFUSED = (401, 403)


def describe_storage(error: AzureError) -> tuple[str, Exit]:
    """What to say of an error of the queue service."""
    if isinstance(error, ClientAuthenticationError) or (
        isinstance(error, HttpResponseError) and error.status_code in REFUSED
    ):
        return (
            f"storage does not let us in ({_word(error)}): look at AzureWebJobsStorage, or the identity's roles: "
            "Storage Queue Data Contributor is needed",
            Exit.SETTINGS,
        )
    if isinstance(error, ServiceRequestError):
        return (
            f"storage cannot be reached ({one_line(error.message)}): look at AzureWebJobsStorage and the network",
            Exit.UNREACHABLE,
        )
    return f"storage answered with an error: {_word(error)}", Exit.UNREACHABLE


def _word(error: AzureError) -> str:
    return error_code(error) or one_line(error.message)
