"""Packing: messages that fit in either encoding, as few as possible."""

import base64
import json
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.catalogue.database import Group
from ops.catalogue.packing import capacity, pack
from shared.messages.encoding import MAX_MESSAGE_BYTES
from shared.messages.update import parse_update
from shared.text import to_json

PROJECT = str(uuid4())


def group(images: int, metadata: dict[str, str] | None = None, correlation_id: str | None = None) -> Group:
    return Group(PROJECT, metadata or {"a": "b"}, correlation_id, iter([str(UUID(int=n)) for n in range(images)]))


@given(st.integers(1, 4000), st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=256), max_size=10))
def test_every_message_is_valid_and_fits_in_either_encoding(images: int, metadata: dict[str, str]) -> None:
    sent: Counter[str] = Counter()
    for message in pack([group(images, metadata)]):
        assert len(base64.b64encode(message.body.encode())) <= MAX_MESSAGE_BYTES
        update = parse_update(message.body.encode())
        assert message.images == len(update.image_ids)
        sent.update(update.image_ids)
    assert sent == Counter(str(UUID(int=n)) for n in range(images))


def test_a_full_message_is_full_calls() -> None:
    assert capacity({"projectId": PROJECT, "metadata": {"a": "b"}}) == 1216  # 19 * 64


@pytest.mark.parametrize(
    ("fits", "images"), [(0, 1), (1, 1), (2, 2), (63, 63), (64, 64), (65, 64), (127, 64), (128, 128)]
)
def test_a_message_has_whole_calls_or_less_than_one(fits: int, images: int) -> None:
    fields: dict[str, Any] = {"projectId": PROJECT, "metadata": {"a": ""}}
    space = 48 * 1024 - len(to_json({**fields, "imageIds": []}))
    fields["metadata"] = {"a": "x" * (space - 39 * fits)}
    assert capacity(fields) == images


def test_messages_are_as_few_as_possible_and_numbered_from_one_on() -> None:
    found = [(message.number, message.images) for message in pack([group(3000), group(1)])]
    assert found == [(1, 1216), (2, 1216), (3, 568), (4, 1)]


def test_a_group_without_a_correlation_id_gets_the_sends() -> None:
    messages = pack([group(1), group(1, correlation_id="own")], "send")
    assert [json.loads(message.body)["correlationId"] for message in messages] == ["send", "own"]
