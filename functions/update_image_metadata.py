"""The function behind the updates queue."""

import azure.functions as func

from functions.invocation import invocations
from shared.message_age import MessageAge
from shared.metadata_updates import Delivery, MetadataUpdates


def blueprint(updates: MetadataUpdates) -> func.Blueprint:
    """Bind the handling of metadata updates to its queue."""
    functions = func.Blueprint()
    age = MessageAge()

    # As binary: of a string the host merges the JSON's top-level fields into the message's own id, count and times.
    @functions.queue_trigger(
        "message",
        queue_name="%METADATA_UPDATES_QUEUE%",
        connection="AzureWebJobsStorage",
        data_type=func.DataType.BINARY,
    )
    async def update_image_metadata(message: func.QueueMessage) -> None:
        delivery = Delivery(message.id or "", message.get_body(), message.dequeue_count or 1)
        age.seen(message.insertion_time)
        await invocations.run(updates.handle(delivery))

    return functions
