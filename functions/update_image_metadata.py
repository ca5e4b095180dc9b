"""The function behind the updates queue."""

import azure.functions as func

from functions.invocation import invocations
from shared.metadata_updates import Delivery, MetadataUpdates
from shared.old_message_warning import OldMessageWarning


def blueprint(updates: MetadataUpdates) -> func.Blueprint:
    """Bind the handling of metadata updates to its queue."""
    functions = func.Blueprint()
    warning = OldMessageWarning()

    # As binary: of a string the host merges the JSON's top-level fields into the message's own id, count and times.
    @functions.queue_trigger(
        "message",
        queue_name="%METADATA_UPDATES_QUEUE%",
        connection="AzureWebJobsStorage",
        data_type=func.DataType.BINARY,
    )
    async def update_image_metadata(message: func.QueueMessage) -> None:
        delivery = Delivery(message.id or "", message.get_body(), message.dequeue_count or 1)
        warning.seen(message.insertion_time)
        await invocations.run(updates.handle(delivery))

    return functions
