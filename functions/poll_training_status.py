"""The function behind the timer."""

import azure.functions as func

from shared.permit_count import PermitCount
from shared.training_watches import TrainingWatches


def blueprint(watches: TrainingWatches, permits: PermitCount) -> func.Blueprint:
    """Bind the work on training watches, and on the number of permits, to its schedule."""
    functions = func.Blueprint()

    @functions.timer_trigger("timer", schedule="%TRAINING_POLL_SCHEDULE%")
    async def poll_training_status(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the binding wants it
        await permits.keep()
        await watches.tick()

    return functions
