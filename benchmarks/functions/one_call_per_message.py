"""What one writes first: a function that calls the API once for each message. For comparison only."""

import json
import os

import azure.functions as func
import httpx

app = func.FunctionApp()

client = httpx.AsyncClient(
    base_url=os.environ["CUSTOM_VISION_ENDPOINT"] + "/customvision/v3.3/Training",
    headers={"Training-key": os.environ["CUSTOM_VISION_TRAINING_KEY"]},
    timeout=30,
    limits=httpx.Limits(max_connections=16),  # more make httpx slower, not faster
)


@app.queue_trigger("message", queue_name="%METADATA_UPDATES_QUEUE%", connection="AzureWebJobsStorage")
async def update_image_metadata(message: func.QueueMessage) -> None:
    """Make one call; an error puts the message back."""
    update = json.loads(message.get_body())
    response = await client.post(
        f"/projects/{update['projectId']}/images/metadata",
        params={"imageIds": ",".join(update["imageIds"])},
        json=update["metadata"],
    )
    response.raise_for_status()
    if not response.json()["isBatchSuccessful"]:
        raise RuntimeError("not updated")
