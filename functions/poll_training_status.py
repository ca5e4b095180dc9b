"""The function behind the timer."""

from collections.abc import Callable

import azure.functions as func

from shared.training_watches import TrainingWatches


def blueprint(watches: TrainingWatches, warn: Callable[[], object]) -> func.Blueprint:
    """Bind the work on training watches to its schedule. `warn` tells what the start has to tell."""
    functions = func.Blueprint()

    @functions.timer_trigger("timer", schedule="%TRAINING_POLL_SCHEDULE%")
    async def poll_training_status(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the binding wants it
        warn()
        await watches.tick()

    return functions
