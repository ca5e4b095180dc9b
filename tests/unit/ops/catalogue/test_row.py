"""What a row may be: as much as fits a message, however its ids are written."""

import base64

import pytest

from ops.catalogue.row import CatalogueError, Problem, content_bytes, id_bytes, id_text, is_uuid, problem_of, validated
from shared.errors import InvalidMessage
from shared.messages.encoding import MAX_MESSAGE_BYTES
from shared.messages.update import MetadataLimits
from shared.text import to_json

PROJECT = "7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10"
IMAGE = "0f2b8b4e-8f0e-4b7e-9a53-2d6c1a3b4c5d"
WIDE = MetadataLimits(value_characters=60_000)


def fields(content: int, images: int = 1) -> dict[str, object]:
    """An update that has `content` bytes with one image."""
    update: dict[str, object] = {"projectId": PROJECT, "imageIds": [IMAGE], "metadata": {"a": ""}}
    update["metadata"] = {"a": "x" * (content - len(to_json(update)))}
    return update | {"imageIds": [f"{IMAGE[:-3]}{number:03x}" for number in range(images)]}


class TestEdgeOfAMessage:
    EDGE = 48 * 1024

    def test_a_row_that_just_fits_a_message_is_valid(self) -> None:
        update = validated(fields(self.EDGE), WIDE)
        assert len(base64.b64encode(to_json(update.to_dict()).encode())) == MAX_MESSAGE_BYTES

    def test_one_byte_more_is_refused(self) -> None:
        with pytest.raises(InvalidMessage, match="metadata: does not fit a message, which has 49,152 bytes"):
            validated(fields(self.EDGE + 1), WIDE)

    def test_many_images_are_no_reason_since_they_can_be_split(self) -> None:
        assert len(validated(fields(self.EDGE - 1, images=64), WIDE).image_ids) == 64
        assert len(validated(fields(300, images=1500), WIDE).image_ids) == 1500


def test_a_row_without_pairs_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="no metadata"):
        validated({"projectId": PROJECT, "imageIds": [IMAGE], "metadata": {}}, MetadataLimits())


def test_a_key_can_be_checked_alone() -> None:
    assert problem_of(MetadataLimits(), {"a": "b"}) is None
    assert "must have at most 128 characters" in (problem_of(MetadataLimits(), {"x" * 129: "b"}) or "")
    assert problem_of(MetadataLimits()) is None
    assert "correlationId" in (problem_of(MetadataLimits(), correlationId="x" * 10_000) or "")


def test_an_id_is_16_bytes_and_36_characters() -> None:
    assert len(id_bytes(IMAGE)) == 16
    assert id_text(id_bytes(IMAGE.upper())) == IMAGE
    assert is_uuid(IMAGE)
    assert is_uuid(IMAGE.upper())
    assert not is_uuid(IMAGE.replace("-", ""))
    assert not is_uuid(f"{IMAGE}0")


def test_content_is_counted_in_bytes() -> None:
    assert content_bytes({"a": "ш"}) == len(b'{"a":"..."}') - 1


@pytest.mark.parametrize(("last_line", "where"), [(3, "3"), (5, "3-5")])
def test_a_problem_names_its_lines(last_line: int, where: str) -> None:
    problem = Problem(3, last_line, "wrong")
    assert problem.where == where
    assert problem.to_dict() == {"line": 3, "lastLine": last_line, "problem": "wrong"}
    assert (problem.is_warning, problem.rows) == (False, 1)


def test_an_error_says_what_helps_unless_its_reader_knows_better() -> None:
    assert str(CatalogueError("no header", "add one")) == "no header; add one"
    assert CatalogueError("no header", "add one").text == str(CatalogueError("no header")) == "no header"
