"""Decides what a failed call means for its images. An outage, a 403 or a 429 costs a message nothing but time.

======================================  ====================================  ===================================
the call                                its images, of several messages       of one message
======================================  ====================================  ===================================
429                                     are sent again                        are sent again
its project or metadata were refused    are all refused                       are all refused
was refused otherwise                   are searched, see `bisection`         are refused
unavailable or access denied, which is  are sent again; from the third time   are sent again, alone from now on
evidence against the service            on searched, if unavailable
the same of a call that is no witness   are searched                          wait for the next delivery
any other failure                       are searched                          wait for the next delivery; an error
                                                                              of ours ends the invocation
======================================  ====================================  ===================================
"""

import logging

from shared.batching.backlog import Backlog
from shared.batching.items import Batch
from shared.batching.outcome_types import Refused, Retry
from shared.errors import ApiError, CallRefused, RateLimited, SharedFieldsRefused, Unavailable
from shared.limits.circuit_breaker import trips
from shared.text import one_line

log = logging.getLogger(__name__)

MAX_FAILED_CALLS = 3
"""After so many calls that failed although the service responds to others, an image is suspected: otherwise it would
hold up its neighbours again and again."""


def after_failure(backlog: Backlog, batch: Batch, error: Exception, *, is_suspended: bool) -> None:
    """Do with the images of a failed call what its error asks for. `is_suspended`: they have to wait anyway."""
    if not isinstance(error, ApiError):
        log.error("unexpected error in a call: %s: %s", type(error).__name__, one_line(error))
    is_witness = batch.is_witness  # before this failure counts
    if trips(error):
        for item in batch.items:
            item.failed_calls += 1
        if is_witness or is_suspended:
            _after_evidence_against_the_service(backlog, batch, error)
            return
    match error:
        case SharedFieldsRefused():
            backlog.fail(batch, Refused(error.code, error.message))
        case RateLimited():
            backlog.wait_again(batch)
        case _ if not batch.is_of_one_message:
            backlog.bisect(batch, is_witness=is_witness)
        case CallRefused():
            backlog.fail(batch, Refused(error.code, error.message))
        case ApiError():
            backlog.fail(batch, Retry(str(error)))
        case _:
            backlog.fail(batch, error)


def _after_evidence_against_the_service(backlog: Backlog, batch: Batch, error: Exception) -> None:
    failed_too_often = any(item.failed_calls >= MAX_FAILED_CALLS for item in batch.items)
    if batch.is_of_one_message:
        backlog.accuse(batch)
    elif failed_too_often and isinstance(error, Unavailable):
        backlog.bisect(batch, is_witness=False)
    else:
        backlog.wait_again(batch)
