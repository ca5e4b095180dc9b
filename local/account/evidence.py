"""What the services have at the start of a run, and what is found at its end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.account.messages import INVALID_IDS
from local.cloud import EVENTS, UPDATES, UPDATES_POISON, WATCHES, WATCHES_POISON, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from azure.storage.queue import QueueMessage

    from local.account.messages import Images, Metadata, Workload
    from local.cloud import LocalCloud

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Evidence:
    """What is found when nothing moves any more.

    images          the service's images by project
    dead_letters    the texts in both poison queues
    events          the texts in the events queue
    published       the events that the Event Grid topic has taken, in so many calls (`publish_calls`)
    still_queued    the texts left in both input queues
    api_calls       calls that asked Custom Vision to update images
    """

    images: Images
    dead_letters: tuple[str, ...]
    events: tuple[str, ...]
    published: tuple[dict[str, Any], ...]
    publish_calls: int
    still_queued: tuple[str, ...]
    api_calls: int
    seconds: float


async def prepare(cloud: LocalCloud, workload: Workload) -> None:
    """Give the simulated services the images of the workload, and start its trainings."""
    for project_id, images in workload.archive.items():
        for metadata, image_ids in _by_metadata(images):
            await cloud.control.add_images(project_id, image_ids, metadata)
    await cloud.control.refuse_calls_with(workload.refusing_images, INVALID_IDS)
    for training in workload.trainings:
        await cloud.control.train(
            training.group_id, training.kind, running_seconds=training.running_seconds, failure=training.failure
        )


async def queued(cloud: LocalCloud) -> int:
    """How many messages both input queues have, the invisible ones included."""
    return await cloud.count(UPDATES) + await cloud.count(WATCHES)


async def collect(cloud: LocalCloud, workload: Workload, seconds: float) -> Evidence:
    """Take everything out of the queues, and ask the services what they have."""
    published = await cloud.control.published_events()
    counters = await cloud.control.counters()
    return Evidence(
        images=await cloud.images(workload.archive),
        dead_letters=tuple(map(text_of, await _taken(cloud, UPDATES_POISON, WATCHES_POISON))),
        events=tuple(map(text_of, await _taken(cloud, EVENTS))),
        published=published.events,
        publish_calls=len(published.calls),
        still_queued=tuple(message.content for message in await _taken(cloud, UPDATES, WATCHES)),
        api_calls=sum(counters.custom_vision.images_per_call.values()),
        seconds=round(seconds, 1),
    )


async def _taken(cloud: LocalCloud, *queues: str) -> list[QueueMessage]:
    """Take everything out of the queues; what is invisible will be visible when its lease ends."""
    messages: list[QueueMessage] = []
    for queue in queues:
        while await cloud.count(queue):
            messages += await cloud.drain(queue)
            await asyncio.sleep(POLL_SECONDS)
    return messages


def _by_metadata(images: Mapping[UUID, Metadata]) -> list[tuple[Metadata, list[UUID]]]:
    alike: dict[frozenset[tuple[str, str]], list[UUID]] = defaultdict(list)
    for image_id, metadata in images.items():
        alike[frozenset(metadata.items())].append(image_id)
    return [(dict(pairs), image_ids) for pairs, image_ids in alike.items()]
