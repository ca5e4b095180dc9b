"""The messages of a run: repeatable, and with a result that no order can change."""

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING

import pytest

from local.account.messages import INVALID_IDS, REFUSALS, Update, Workload
from local.chaos.workload import chaos_workload

if TYPE_CHECKING:
    from uuid import UUID


@pytest.fixture(scope="module")
def workload() -> Workload:
    return chaos_workload(2000, seed=7)


def test_the_seed_alone_decides(workload: Workload) -> None:
    assert chaos_workload(2000, seed=7) == workload
    assert chaos_workload(2000, seed=8) != workload


def test_one_message_in_twenty_is_malformed_or_refused_and_each_way_occurs(workload: Workload) -> None:
    refused = [update for update in workload.updates if update.refused]

    assert len(workload.texts) == 2000
    assert len(refused) + len(workload.malformed) == ceil(2000 * 0.05)
    assert {code for update in refused for code in update.refused.values()} == set(REFUSALS)
    assert len(set(workload.malformed)) == len(workload.malformed)


def test_updates_of_one_image_give_the_same_result_in_any_order(workload: Workload) -> None:
    by_image: dict[UUID, list[Update]] = defaultdict(list)
    for update in workload.updates:
        for image_id in update.image_ids:
            by_image[image_id].append(update)
    shared = [updates for updates in by_image.values() if len(updates) > 1]

    assert shared
    for updates in shared:
        values: dict[str, set[str]] = defaultdict(set)
        for update in updates:
            for key, value in update.metadata.items():
                values[key].add(value)
        assert all(len(found) == 1 for found in values.values())
        assert not any(update.refused for update in updates)


def test_an_image_that_has_its_call_refused_is_alone_in_its_message(workload: Workload) -> None:
    refusing = [update for update in workload.updates if INVALID_IDS in update.refused.values()]

    assert [update.image_ids for update in refusing] == [(image_id,) for image_id in workload.refusing_images]


def test_images_that_nobody_names_stay_as_they_are(workload: Workload) -> None:
    named = {image_id for update in workload.updates for image_id in update.image_ids}
    for project_id, images in workload.archive.items():
        untouched = [image_id for image_id in images if image_id not in named]
        assert all(workload.images[project_id][image_id] == images[image_id] for image_id in untouched)
        assert project_id not in {update.project_id for update in workload.updates} or untouched


def test_trainings_end_both_ways_and_every_watch_has_its_event(workload: Workload) -> None:
    assert {training.failure is None for training in workload.trainings} == {True, False}
    assert len({watch.event for watch in workload.watches}) == 4
    assert len({watch.correlation_id for watch in workload.watches}) == len(workload.watches)
