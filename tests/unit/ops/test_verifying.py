"""When an image is as it is to be, and when nothing is to be waited for any more."""

import httpx
import pytest

from ops.apis import read_response
from ops.verifying import QUIET_SECONDS, Deviation, Fate, _Activity, is_as_wanted
from shared.errors import Unavailable

IMAGE = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"


@pytest.mark.parametrize(
    ("found", "is_right"),
    [
        ({"a": "1"}, True),
        ({"a": "1", "besides": "x"}, True),
        ({"a": "2"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_image_is_right_if_it_has_all_pairs(found: dict[str, str] | None, *, is_right: bool) -> None:
    assert is_as_wanted({"a": "1"}, found) is is_right


def test_what_differs_is_told_pair_by_pair() -> None:
    wanted, found = {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x"}
    deviation = Deviation(2, "project", IMAGE, wanted, found, Fate.NOWHERE, "")
    assert deviation.difference == "b is 'x', not '2'; c is missing"


class TestActivity:
    def test_a_queue_where_the_number_changes_is_active(self) -> None:
        activity = _Activity(0.0)
        activity.note(5, is_anything_visible=False, now=0.0)
        activity.note(4, is_anything_visible=False, now=QUIET_SECONDS)
        assert not activity.has_ceased(QUIET_SECONDS + 1)

    def test_so_is_one_that_has_something_to_receive(self) -> None:
        activity = _Activity(0.0)
        for now in (0.0, QUIET_SECONDS, 2 * QUIET_SECONDS):
            activity.note(5, is_anything_visible=True, now=now)
        assert not activity.has_ceased(2 * QUIET_SECONDS + 1)

    def test_places_that_nobody_fills_are_not_waited_for(self) -> None:
        activity = _Activity(0.0)
        for now in (0.0, QUIET_SECONDS / 2, QUIET_SECONDS + 1):
            activity.note(3, is_anything_visible=False, now=now)
        assert activity.has_ceased(QUIET_SECONDS + 1)


class TestAnswer:
    def test_ids_are_read_in_the_notation_of_the_catalogue(self) -> None:
        body = f'[{{"id": "{IMAGE.upper()}", "metadata": {{"a": "b"}}}}]'.encode()
        assert read_response(httpx.Response(200, content=body)) == {IMAGE: {"a": "b"}}

    def test_an_image_without_metadata_has_none(self) -> None:
        body = f'[{{"id": "{IMAGE}", "metadata": null}}]'.encode()
        assert read_response(httpx.Response(200, content=body)) == {IMAGE: {}}

    @pytest.mark.parametrize("body", [b"", b"<html>", b"{}3", b"[3]", b'[{"metadata": {}}]', b'[{"id": 7}]', b"7"])
    def test_anything_else_is_the_services_trouble(self, body: bytes) -> None:
        with pytest.raises(Unavailable):
            read_response(httpx.Response(200, content=body))
