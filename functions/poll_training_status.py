"""The function behind the timer."""

from collections.abc import Callable

import azure.functions as func

from shared.permit_count import PermitCount
from shared.training_watches import TrainingWatches


def blueprint(watches: TrainingWatches, permits: PermitCount, warn: Callable[[], object]) -> func.Blueprint:
    """Bind the work on training watches, and on the number of permits, to its schedule.

    `warn` says what the start has to say: the host drops what is logged before an invocation runs.
    """
    functions = func.Blueprint()

    @functions.timer_trigger("timer", schedule="%TRAINING_POLL_SCHEDULE%")
    async def poll_training_status(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the binding wants it
        warn()
        await permits.keep()
        await watches.tick()

    return functions
