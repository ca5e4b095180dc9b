"""Dead letters: what they say, that they fit a message, and that they can be redriven."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidMessage
from shared.messages.dead_letter import Failure, Reason, of_text, of_update
from shared.messages.encoding import MAX_MESSAGE_BYTES, encode
from shared.messages.envelope import CUT_MARK
from shared.messages.update import MetadataLimits, MetadataUpdate, parse_update
from shared.redaction import hide
from shared.text import to_json
from tests.unit.shared.conftest import images
from tests.unit.shared.messages.test_update_and_watch import updates

if TYPE_CHECKING:
    from shared.messages.custom_vision_ids import ImageId

MAX_BASE64_BYTES = 48 * 1024
MAX_LETTERS = 8
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PROJECT = "c0ffee00-0000-4000-8000-000000000001"
LONG_CODE = "BadRequest" + "x" * 70
NOT_XML = "\ufffe"
MOST_IMAGES = 1678


def failure(message: str = "why", refused: list[ImageId] | None = None, code: str = "ErrorImageNotFound") -> Failure:
    return Failure(Reason.REFUSED, code, message, NOON, 3, dict.fromkeys(refused or [], code))


def update(ids: list[ImageId], metadata: dict[str, str] | None = None) -> MetadataUpdate:
    written = {"projectId": PROJECT, "imageIds": [str(one) for one in ids], "metadata": metadata or {}}
    body = to_json(written).encode()
    assert len(body) <= MAX_MESSAGE_BYTES, "a message that could not have been sent"
    return parse_update(body)


def letters_of(original: MetadataUpdate, why: Failure) -> list[dict[str, Any]]:
    """The dead letters as a reader gets them."""
    texts = of_update(original, why)
    assert all(len(text.encode()) <= MAX_MESSAGE_BYTES for text in texts)
    return [json.loads(text) for text in texts]


def redriven(letter: dict[str, Any]) -> MetadataUpdate:
    """The letter moved back as it is, which must be the same as without its failure."""
    moved = parse_update(json.dumps(letter).encode())
    bare = {name: value for name, value in letter.items() if name != "failure"}
    assert moved == parse_update(json.dumps(bare).encode())
    return moved


class TestOfAnUpdate:
    def test_it_has_the_refused_images_and_says_why(self) -> None:
        refused = images(2, first=1)
        (letter,) = letters_of(update(images(4), {"k": "v"}), failure(refused=refused))
        assert letter == {
            "projectId": PROJECT,
            "imageIds": [str(one) for one in refused],
            "metadata": {"k": "v"},
            "failure": {
                "reason": "refused",
                "code": "ErrorImageNotFound",
                "message": "why",
                "images": {str(one): "ErrorImageNotFound" for one in refused},
                "at": "2026-01-31T12:00:00+00:00",
                "deliveries": 3,
                "redrives": 0,
            },
        }

    def test_it_has_all_images_where_the_failure_names_none(self) -> None:
        original = update(images(4))
        (letter,) = letters_of(original, failure())
        assert redriven(letter) == original

    @pytest.mark.parametrize(
        ("original", "why"),
        [
            pytest.param(
                update(images(1600)),
                failure("m" * 500, images(1600), LONG_CODE),
                id="1,600 ids refused with long codes",
            ),
            pytest.param(
                update(images(1000), {f"{n}{'鍵' * 127}": "値" * 256 for n in range(10)}),
                failure("理" * 500, images(1000), LONG_CODE),
                id="CJK metadata",
            ),
            pytest.param(
                update(images(700), {f"{n}{'&' * 127}": "<>&\x01" * 64 for n in range(10)}),
                failure("\x02&<>" * 100, images(700), LONG_CODE),
                id="markup and control characters",
            ),
            pytest.param(
                update(images(1030), {NOT_XML * 127 + str(n): "\x01" * 256 for n in range(10)}),
                failure("\x01" * 500),
                id="nothing but escapes",
            ),
            pytest.param(update(images(MOST_IMAGES)), failure("m" * 500), id="as many ids as a message holds"),
            pytest.param(
                update(images(MOST_IMAGES)),
                failure("\x01" * 500, images(MOST_IMAGES), LONG_CODE),
                id="as many ids as a message holds, all refused",
            ),
        ],
    )
    def test_it_fits_and_keeps_ids_and_metadata_whatever_it_takes(self, original: MetadataUpdate, why: Failure) -> None:
        letters = letters_of(original, why)
        assert [one for letter in letters for one in letter["imageIds"]] == list(original.image_ids)
        for letter in letters:
            assert letter["failure"]["truncated"] is True
            assert letter["failure"]["code"] == why.code
            assert redriven(letter).key == original.key

    def test_only_an_update_that_its_base64_has_no_room_for_is_divided(self) -> None:
        assert len(letters_of(update(images(1200)), failure("m" * 500, images(1200)))) == 1
        assert len(letters_of(update(images(MOST_IMAGES)), failure("m" * 200))) == 2

    def test_what_is_needed_least_is_cut_first(self) -> None:
        (letter,) = letters_of(update(images(1000)), failure("m" * 500, images(1000), LONG_CODE))
        assert letter["failure"]["images"] == {}
        assert letter["failure"]["message"] == "m" * 500
        (letter,) = letters_of(update(images(1247)), failure("m" * 500))
        assert letter["failure"]["message"] == "m" * 200 + CUT_MARK

    @pytest.mark.parametrize("count", [1, 100, 1200, MOST_IMAGES])
    def test_with_the_default_limits_each_can_be_written_in_base64(self, count: int) -> None:
        metadata = {str(n) + "\x01" * 127: "\x01" * 256 for n in range(10)}
        room = (MAX_MESSAGE_BYTES - len(to_json({"metadata": metadata}).encode()) - 200) // 39
        original = update(images(min(count, room)), metadata)
        for letter in letters_of(original, failure("\x01" * 500, list(original.image_ids), LONG_CODE)):
            assert encode(to_json(letter), "base64")[0] != "{"

    def test_what_fits_is_not_marked(self) -> None:
        (letter,) = letters_of(update(images(10)), failure("m" * 500, images(10)))
        assert "truncated" not in letter["failure"]

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(updates, st.text(st.characters(), max_size=600), st.integers(0, 1600), st.data())
    def test_moved_back_any_is_a_valid_update_again(
        self, original: MetadataUpdate, message: str, more: int, data: st.DataObject
    ) -> None:
        room = (MAX_MESSAGE_BYTES - len(to_json(original.to_dict()).encode())) // 39
        document = original.to_dict()
        document["imageIds"] += [str(one) for one in images(min(more, room))]
        whole = parse_update(json.dumps(document).encode())
        refused = list(whole.image_ids) if data.draw(st.booleans()) else []
        letters = letters_of(whole, failure(message, refused, LONG_CODE))
        assert {one for letter in letters for one in redriven(letter).image_ids} == set(whole.image_ids)
        assert all(redriven(letter).metadata == whole.metadata for letter in letters)
        assert all(redriven(letter).correlation_id == whole.correlation_id for letter in letters)


NASTY = st.sampled_from(["a", "é", "€", "🌋", "\x01", "\uffff", '"', "\x7f", "\u202e"])


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    limits=st.builds(MetadataLimits, st.integers(1, 50), st.integers(2, 256), st.integers(1, 512)),
    characters=st.tuples(NASTY, NASTY),
    count=st.integers(1, MOST_IMAGES),
    refused=st.booleans(),
    words=st.tuples(NASTY, st.integers(0, 3000), st.integers(0, 3000)),
    in_base64=st.booleans(),
)
def test_the_dead_letters_of_any_valid_update_fit_under_any_permitted_setting(
    limits: MetadataLimits,
    characters: tuple[str, str],
    count: int,
    refused: bool,
    words: tuple[str, int, int],
    in_base64: bool,
) -> None:
    """As much metadata as the settings permit and a message holds, and as many images as there is room for then."""
    key, value = characters
    size = MAX_BASE64_BYTES if in_base64 else MAX_MESSAGE_BYTES

    def raw(pairs: int, ids: list[ImageId]) -> bytes:
        metadata = {
            f"{n:02}"[-limits.key_characters :] + key * (limits.key_characters - 2): value * limits.value_characters
            for n in range(pairs)
        }
        document = {"projectId": PROJECT, "imageIds": ids, "metadata": metadata}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    pairs = next(n for n in range(limits.pairs, -1, -1) if len(raw(n, images(1))) <= size)
    count = min(count, 1 + (size - len(raw(pairs, images(1)))) // 39)
    original = parse_update(raw(pairs, images(count)), limits)
    word, code_length, sentence_length = words
    why = failure(word * sentence_length, list(original.image_ids) if refused else None, word * code_length)
    texts = of_update(original, why)
    assert len(texts) <= MAX_LETTERS
    for text in texts:
        assert len(encode(text, "none").encode()) <= MAX_MESSAGE_BYTES
        assert len(encode(text, "base64").encode()) <= MAX_MESSAGE_BYTES
    letters = [json.loads(text) for text in texts]
    if "body" in letters[0]:
        assert limits.pairs > 10 or limits.key_characters > 128 or limits.value_characters > 256
        assert letters[0]["body"].endswith(CUT_MARK)
        return
    moved = [parse_update(text.encode(), limits) for text in texts]
    assert [one for update in moved for one in update.image_ids] == list(original.image_ids)
    assert all(update.metadata == original.metadata for update in moved)


def of_body(body: bytes, why: Failure) -> str:
    """The dead letter of this body, for this reason."""
    with pytest.raises(InvalidMessage) as caught:
        parse_update(body)
    assert caught.value.text is not None
    return of_text(caught.value.text, why)


@pytest.mark.parametrize(("extra", "letters"), [(0, 1), (1, 2)])
def test_an_update_is_divided_from_48_kib_on(extra: int, letters: int) -> None:
    ids = images(1200)
    room = MAX_BASE64_BYTES - len(of_update(update(ids, {"k": ""}), failure(""))[0].encode())
    original = parse_update(update_with(ids, "x" * (room + extra)), MetadataLimits(value_characters=10_000))
    found = of_update(original, failure(""))
    assert len(found) == letters
    assert all(len(text.encode()) <= MAX_BASE64_BYTES for text in found)
    assert letters == 2 or len(found[0].encode()) == MAX_BASE64_BYTES


@pytest.mark.parametrize(
    ("size", "count", "letters"),
    [(MAX_BASE64_BYTES, 8, [1] * 8), (MAX_BASE64_BYTES, 9, [9]), (MAX_MESSAGE_BYTES, 8, [1] * 8),
     (MAX_MESSAGE_BYTES, 9, [0])],
)  # fmt: skip
def test_eight_dead_letters_are_made_of_one_at_most_if_need_be_too_long_for_base64_and_else_it_is_cut(
    size: int, count: int, letters: list[int]
) -> None:
    """The metadata leaves a dead letter of this size room for one image."""
    why, limits = failure("m" * 200), MetadataLimits(value_characters=100_000)
    smallest = json.loads(of_update(parse_update(update_with(images(1), "")), why)[0])
    smallest["failure"]["truncated"] = True
    value = "x" * (size - len(to_json(smallest).encode()) - len(","))
    raw = update_with(images(count), value)
    assert len(raw) <= MAX_MESSAGE_BYTES
    texts = of_update(parse_update(raw, limits), why)
    assert [len(json.loads(text).get("imageIds", ())) for text in texts] == letters
    assert all(len(text.encode()) <= (size if letters == [1] * 8 else MAX_MESSAGE_BYTES) for text in texts)


def test_metadata_that_leaves_no_room_for_a_reason_is_cut_as_a_body() -> None:
    """Only raised limits permit it."""
    raw = update_with(images(1), "x" * 65_300)
    (text,) = of_update(parse_update(raw, MetadataLimits(value_characters=100_000)), failure())
    assert len(text.encode()) <= MAX_MESSAGE_BYTES
    letter = json.loads(text)
    assert letter["failure"]["code"] == "ErrorImageNotFound"
    assert letter["body"].endswith(CUT_MARK)
    assert raw.decode().startswith(letter["body"].removesuffix(CUT_MARK))


def update_with(ids: list[ImageId], value: str) -> bytes:
    return to_json({"projectId": PROJECT, "imageIds": ids, "metadata": {"k": value}}).encode()


@pytest.mark.parametrize(("length", "end"), [(200, "m"), (201, CUT_MARK)])
def test_a_sentence_is_cut_to_200_characters_where_it_does_not_fit(length: int, end: str) -> None:
    text = of_text("x" * MAX_MESSAGE_BYTES, failure("m" * length))
    assert json.loads(text)["failure"]["message"] == "m" * 200 + (end if length > 200 else "")


class TestOfABody:
    def test_the_body_stands_as_it_came(self) -> None:
        letter = json.loads(of_body('{"imageIDs": ["ü"]}\n'.encode(), failure("imageIDs: unknown field")))
        assert letter["body"] == '{"imageIDs": ["ü"]}\n'
        assert letter["failure"]["message"] == "imageIDs: unknown field"
        assert "truncated" not in letter["failure"]

    def test_one_that_fills_a_message_to_the_last_byte_is_not_cut(self) -> None:
        room = MAX_MESSAGE_BYTES - len(of_text("", failure()).encode())
        assert json.loads(of_text("x" * room, failure()))["body"] == "x" * room
        assert json.loads(of_text("x" * (room + 1), failure()))["body"].endswith(CUT_MARK)

    @pytest.mark.parametrize("longer", [1, 5_000, 10_000, 100_000])
    def test_one_that_is_cut_fills_seven_eighths_of_the_message_at_least(self, longer: int) -> None:
        text = of_text("x" * (MAX_MESSAGE_BYTES + longer), failure())
        assert MAX_MESSAGE_BYTES * 7 / 8 <= len(text.encode()) <= MAX_MESSAGE_BYTES

    def test_moved_back_as_it_is_it_is_not_wrapped_once_more(self) -> None:
        letter = of_body(b'{"imageIDs": []}', failure())
        again = of_body(base64.b64encode(letter.encode()), failure("still wrong"))
        assert json.loads(again)["body"] == '{"imageIDs": []}'
        assert json.loads(again)["failure"]["message"] == "still wrong"

    def test_one_that_was_cut_and_moved_back_keeps_what_is_left_and_says_that_it_was_cut(self) -> None:
        letter = of_body(b'{"x": "' + b"y" * MAX_MESSAGE_BYTES, failure())
        with pytest.raises(InvalidMessage, match="it was cut when it was dead-lettered"):
            parse_update(letter.encode())
        assert json.loads(of_body(letter.encode(), failure()))["body"] == json.loads(letter)["body"]

    def test_a_secret_in_it_is_not_cut_in_two(self) -> None:
        hide("marked-secret")
        assert "marked" not in of_text("marked-secret" * MAX_MESSAGE_BYTES, failure())

    def test_bytes_that_are_no_text_are_escaped(self) -> None:
        assert json.loads(of_body(b"a\xffb", failure()))["body"] == "a\\xffb"

    @pytest.mark.parametrize(
        "body",
        [
            b"x" * MAX_MESSAGE_BYTES,
            b'"' * MAX_MESSAGE_BYTES,
            b"\x01" * MAX_MESSAGE_BYTES,
            b"\xff" * MAX_MESSAGE_BYTES,
            "東".encode() * (MAX_MESSAGE_BYTES // 3),
            NOT_XML.encode() * (MAX_MESSAGE_BYTES // 3),
            b"&<>" * (MAX_MESSAGE_BYTES // 3),
        ],
        ids=["plain", "quotes", "control", "not UTF-8", "CJK", "not XML", "markup"],
    )
    def test_64_kib_of_junk_are_cut_with_a_mark(self, body: bytes) -> None:
        text = of_body(body, failure("m" * 3000))
        assert MAX_MESSAGE_BYTES * 0.7 < len(text.encode()) <= MAX_MESSAGE_BYTES
        letter = json.loads(text)
        cut = len(letter["body"]) < len(body.decode("utf-8", "backslashreplace"))
        assert letter["body"].endswith(CUT_MARK) is cut
        assert letter["body"].count(CUT_MARK) <= 1
        assert letter["failure"]["truncated"] is True

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(st.binary(max_size=200), st.integers(0, 1000), st.text(st.characters(), max_size=3000))
    def test_any_body_fits(self, part: bytes, times: int, message: str) -> None:
        text = of_body((part * times)[:MAX_MESSAGE_BYTES], failure(message))
        assert len(text.encode()) <= MAX_MESSAGE_BYTES
        assert json.loads(text)["failure"]["reason"] == "refused"
