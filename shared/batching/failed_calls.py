"""What a failed call means for its images: sent again, suspected, searched for the one at fault, or given an outcome.

A 403, a 429 or an outage costs nobody anything but time; when calls go again, `limits` says.
"""

from __future__ import annotations

from enum import Enum

from shared.batching.outcomes import NotApplied, Refused, Retry
from shared.errors import AccessDenied, ApiError, CallRefused, RateLimited, SharedFieldsRefused, Unavailable


class AfterFailure(Enum):
    """What is done with a batch whose images have no outcome yet."""

    SEND_AGAIN = "send again"
    ACCUSE = "accuse"
    BISECT = "bisect"


def after_failure(
    error: Exception, *, of_one_message: bool, is_suspended: bool, is_witness: bool, failed_too_often: bool
) -> AfterFailure | NotApplied | Exception:
    """Say what a failed call means for its images: what is done with them, or their outcome, which is one for all.

    `of_one_message`: all images are wanted by the same message, so that there is nobody to tell it from.
    `is_suspended`: calls are suspended now, so that it has to be waited for the service anyway.
    `is_witness`: the call was evidence against the service; one that was not is evidence against its images.
    `failed_too_often`: the service has failed to respond to one of them repeatedly while it responded to others.
    """
    match error:
        case SharedFieldsRefused():
            return Refused(error.code, error.message)
        case RateLimited():
            return AfterFailure.SEND_AGAIN
        case Unavailable() | AccessDenied() if is_suspended or is_witness:
            if of_one_message:
                return AfterFailure.ACCUSE
            is_searched = failed_too_often and isinstance(error, Unavailable)
            return AfterFailure.BISECT if is_searched else AfterFailure.SEND_AGAIN
        case _ if not of_one_message:
            return AfterFailure.BISECT
        case CallRefused():
            return Refused(error.code, error.message)
        case ApiError():
            return Retry(str(error))
    return error
