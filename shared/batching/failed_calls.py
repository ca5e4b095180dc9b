"""Decides what a failed call means for its images.

They are sent again, sent by themselves from now on, searched for the message at fault, or given an outcome. A 403, a
429 or an outage costs no message anything but time.
"""

from __future__ import annotations

from enum import Enum

from shared.batching.outcomes import NotApplied, Refused, Retry
from shared.errors import AccessDenied, ApiError, CallRefused, RateLimited, SharedFieldsRefused, Unavailable


class AfterFailure(Enum):
    """What is done with a batch whose images have no outcome yet. `ACCUSE`: suspect the images of its one message."""

    SEND_AGAIN = "send again"
    ACCUSE = "accuse"
    BISECT = "bisect"


def after_failure(
    error: Exception, *, of_one_message: bool, is_suspended: bool, is_witness: bool, failed_too_often: bool
) -> AfterFailure | NotApplied | Exception:
    """Decide what is done with the images of a failed call, or which outcome all of them have.

    `of_one_message`: all images belong to the same message.
    `is_suspended`: calls are suspended now, so that the images have to wait for the service anyway.
    `is_witness`: the failure was evidence against the service; otherwise it is evidence against the images.
    `failed_too_often`: one of the images was in several failed calls while the service responded to others.
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
