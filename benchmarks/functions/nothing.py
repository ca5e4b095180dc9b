"""A function with the same binding that does nothing: what is left is the worker's own cost. For comparison only."""

import azure.functions as func

app = func.FunctionApp()


@app.queue_trigger(
    "message",
    queue_name="%METADATA_UPDATES_QUEUE%",
    connection="AzureWebJobsStorage",
    data_type=func.DataType.BINARY,
)
async def update_image_metadata(message: func.QueueMessage) -> None:
    """Return."""
