"""Describes an error of the queue service, and chooses the exit code."""

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
    """Describe an error, with what to do, and choose the exit code."""
    if isinstance(error, ClientAuthenticationError) or (
        isinstance(error, HttpResponseError) and error.status_code in REFUSED
    ):
        return (
            f"storage refuses access ({_word(error)}): check AzureWebJobsStorage, or give the identity the role "
            "Storage Queue Data Contributor",
            Exit.SETTINGS,
        )
    if isinstance(error, ServiceRequestError):
        return (
            f"storage cannot be reached ({one_line(error.message)}): check AzureWebJobsStorage and the network",
            Exit.UNREACHABLE,
        )
    return f"storage responded with an error: {_word(error)}", Exit.UNREACHABLE


def _word(error: AzureError) -> str:
    return error_code(error) or one_line(error.message)
