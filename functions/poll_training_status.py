"""The function behind the timer."""

import asyncio
from collections.abc import Awaitable, Callable

import azure.functions as func

from functions.invocation import invocations
from shared.training_watches import TrainingWatches


def blueprint(watches: TrainingWatches, replenish_permits: Callable[[], Awaitable[None]]) -> func.Blueprint:
    """Bind the work on training watches, and on the number of permits, to its schedule."""
    functions = func.Blueprint()

    @functions.timer_trigger("timer", schedule="%TRAINING_POLL_SCHEDULE%")
    async def poll_training_status(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the binding wants it
        await invocations.run(_replenish_and_tick(watches, replenish_permits))

    return functions


async def _replenish_and_tick(watches: TrainingWatches, replenish_permits: Callable[[], Awaitable[None]]) -> None:
    """Do both, whatever becomes of the other."""
    results = await asyncio.gather(replenish_permits(), watches.tick(), return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        raise errors[0] if len(errors) == 1 else ExceptionGroup("neither permits nor watches", errors)
