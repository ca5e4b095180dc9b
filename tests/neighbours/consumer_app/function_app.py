"""What a consumer writes who knows nothing but the events' schema: a Functions app with the default settings."""

import logging

import azure.functions as func
from azure.core.messaging import CloudEvent

app = func.FunctionApp()


@app.queue_trigger("message", queue_name="%EVENTS_TO_READ%", connection="AzureWebJobsStorage")
async def react(message: func.QueueMessage) -> None:
    """Take note of the event."""
    event: CloudEvent[object] = CloudEvent.from_json(message.get_body())
    logging.info("understood %s %s", event.type, event.id)
