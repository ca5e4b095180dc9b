"""What stands around a message: how it is encoded, what it is not, and the dead letters that it has been."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.messages.encoding import MAX_MESSAGE_BYTES, Encoding, encode, readable
from shared.messages.envelope import CUT_MARK, unwrap
from shared.settings import Settings

FIELDS = {"kind": "personGroup", "id": "employees"}
PLAIN = json.dumps(FIELDS).encode()
BASE64 = base64.b64encode(PLAIN)


class TestEncode:
    def test_base64_is_of_utf_8(self) -> None:
        assert base64.b64decode(encode('{"name":"Jürg"}', "base64")).decode() == '{"name":"Jürg"}'

    def test_none_is_the_text_itself(self) -> None:
        assert encode('{"name":"Jürg"}', "none") == '{"name":"Jürg"}'

    @pytest.mark.parametrize(
        ("length", "is_base64"), [(MAX_MESSAGE_BYTES * 3 // 4, True), (MAX_MESSAGE_BYTES * 3 // 4 + 1, False)]
    )
    def test_what_fits_only_as_it_is_goes_as_it_is(self, length: int, is_base64: bool) -> None:
        text = json.dumps("x" * (length - 2))
        encoded = encode(text, "base64")
        assert len(encoded) <= MAX_MESSAGE_BYTES
        assert (encoded != text) is is_base64

    @settings(derandomize=True, max_examples=100, deadline=None)
    @given(st.dictionaries(st.text(), st.text(max_size=200), max_size=5), st.sampled_from(get_args(Encoding)))
    def test_what_is_written_is_read(self, fields: dict[str, str], encoding: Encoding) -> None:
        unwrapped = {f"x{name}": text for name, text in fields.items()}
        assert read_envelope(encode(json.dumps(unwrapped), encoding).encode()) == unwrapped

    def test_the_setting_takes_these_encodings(self) -> None:
        annotation: Any = Settings.model_fields["message_encoding"].annotation
        assert set(get_args(annotation)) == set(get_args(Encoding))


def read_envelope(raw: bytes) -> dict[str, Any]:
    fields = unwrap(raw).fields
    assert isinstance(fields, dict), fields
    return fields


def origin_of(raw: bytes) -> tuple[str, int]:
    """The message as it was first sent, and how often it was moved back, valid or not."""
    unwrapped = unwrap(raw)
    return readable(unwrapped.document), unwrapped.redrives


def why_not(raw: bytes) -> str:
    fields = unwrap(raw).fields
    assert isinstance(fields, str), fields
    return fields


FORMS = {
    "UTF-16, little endian": (PLAIN.decode().encode("utf-16-le"), "UTF-16"),
    "UTF-16, big endian": (PLAIN.decode().encode("utf-16-be"), "UTF-16"),
    "UTF-16 with a byte order mark": (PLAIN.decode().encode("utf-16"), "UTF-16"),
    "UTF-32": (PLAIN.decode().encode("utf-32"), "UTF-32"),
    "gzip": (gzip.compress(PLAIN), "gzip"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(8), "zstd"),
    "ZIP": (b"PK\x03\x04" + bytes(8), "a ZIP archive"),
    "an array": (b" [" + PLAIN + b"]", "a JSON array"),
    "JSON in JSON": (json.dumps(PLAIN.decode()).encode(), "JSON in JSON"),
    "XML": (b"<QueueMessage/>", "XML or HTML"),
}


class TestOtherForms:
    @pytest.mark.parametrize(("raw", "name"), FORMS.values(), ids=FORMS)
    def test_each_is_told_by_its_name_plain_and_in_base64(self, raw: bytes, name: str) -> None:
        assert why_not(raw).startswith(f"{name}: ")
        assert why_not(base64.b64encode(raw)).startswith(f"Base64 of {name}: ")

    @pytest.mark.parametrize(("raw", "name"), FORMS.values(), ids=FORMS)
    def test_and_in_an_envelope(self, raw: bytes, name: str) -> None:
        event = {"specversion": "1.0", "data_base64": base64.b64encode(raw).decode()}
        assert why_not(json.dumps(event).encode()).startswith(f"data_base64: Base64 of {name}: ")

    def test_base64_of_base64_is_told(self) -> None:
        assert why_not(base64.b64encode(BASE64)).startswith("Base64 of Base64: ")

    @pytest.mark.parametrize("text", ['{"k": "???>>>"}', '{"k": 1}', '{"k": 123}'])
    def test_base64_of_another_alphabet_or_without_padding_is_told(self, text: str) -> None:
        encoded = base64.urlsafe_b64encode(text.encode()).rstrip(b"=")
        assert why_not(encoded).startswith("Base64 for URLs or without its padding: ")

    @pytest.mark.parametrize("raw", [b"scan finished", b"\x00\x01\x02\x03", b"abcd", b"\xff\xfe\x00\xd8", b"-"])
    def test_what_is_nothing_of_the_kind_is_told_what_is_wanted(self, raw: bytes) -> None:
        assert why_not(raw) == "neither a JSON object nor Base64 of one"

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(st.binary(max_size=300), st.sampled_from([b"", b"{", b"[", b"\x1f\x8b", b"\xff\xfe", b"\x00{"]))
    def test_any_bytes_are_read_or_refused(self, raw: bytes, start: bytes) -> None:
        for body in (start + raw, base64.b64encode(start + raw), base64.b64encode(base64.b64encode(start + raw))):
            assert origin_of(body)[1] == 0


def letter(body: Any = None, failure: Any = None, **fields: Any) -> bytes:
    """A dead letter: of a body, or of these fields."""
    stands = fields if body is None else {"body": body, **fields}
    return json.dumps({**stands, "failure": {} if failure is None else failure}).encode()


class TestOrigin:
    @pytest.mark.parametrize("raw", [PLAIN, b"", b"{", b'{"specversion": "1.0", "data": 1}', "{…".encode()])
    def test_what_was_never_a_dead_letter_is_its_own(self, raw: bytes) -> None:
        assert origin_of(raw) == (raw.decode(), 0)

    @pytest.mark.parametrize(
        "raw",
        [
            BASE64,
            b"\xef\xbb\xbf" + PLAIN,
            base64.b64encode(b"\xef\xbb\xbf" + PLAIN),
            base64.encodebytes(PLAIN),
            base64.b64encode(BASE64),
            base64.urlsafe_b64encode(PLAIN).rstrip(b"="),
            PLAIN.decode().encode("utf-16"),
            base64.b64encode(PLAIN.decode().encode("utf-16-le")),
            letter(BASE64.decode()),
        ],
    )
    def test_its_text_is_readable_whatever_it_is_encoded_in(self, raw: bytes) -> None:
        assert origin_of(raw)[0] == PLAIN.decode()

    @pytest.mark.parametrize("text", ["[1]", '"x"', "<a/>", '{"a": ', '{"a": NaN}', '{"käse": 1, "käse": 2}'])
    def test_so_is_one_that_is_no_message(self, text: str) -> None:
        assert origin_of(base64.b64encode(text.encode())) == (text, 0)

    @pytest.mark.parametrize("raw", [gzip.compress(PLAIN), b"PK\x03\x04"])
    def test_what_is_no_text_stays_in_base64(self, raw: bytes) -> None:
        encoded = base64.b64encode(raw)
        assert origin_of(encoded) == (encoded.decode(), 0)

    @pytest.mark.parametrize("raw", [b"\xff", b"a\xffb", b"\xff\xfe\x00\xd8", b"\x00\x01\x02\x03"])
    def test_what_is_no_text_is_escaped(self, raw: bytes) -> None:
        assert origin_of(raw) == (raw.decode("utf-8", "backslashreplace"), 0)

    def test_a_dead_letter_of_an_update_is_the_update(self) -> None:
        moved = letter(**FIELDS)
        assert origin_of(moved) == (moved.decode(), 1)
        assert read_envelope(moved) == FIELDS

    def test_a_dead_letter_of_a_body_is_the_body(self) -> None:
        assert origin_of(letter(PLAIN.decode())) == (PLAIN.decode(), 1)
        assert origin_of(letter(letter("junk").decode())) == ("junk", 1)

    def test_each_redrive_is_counted(self) -> None:
        assert origin_of(letter("junk", {"redrives": 2})) == ("junk", 3)
        assert origin_of(base64.b64encode(letter("junk", {"redrives": 2}))) == ("junk", 3)
        assert origin_of(letter(letter("junk", {"redrives": 7}).decode(), {"redrives": 2})) == ("junk", 3)

    @pytest.mark.parametrize("said", [None, [], "2", {"redrives": "2"}, {"redrives": -1}, {"redrives": True}])
    @pytest.mark.parametrize("huge", [1_000_000, 10**4000, 1e300])
    def test_a_count_that_cannot_be_is_not_believed(self, said: Any, huge: float) -> None:
        assert origin_of(letter("junk", said or {}))[1] == 1
        assert origin_of(letter("junk", {"redrives": huge}))[1] == 1

    def test_the_greatest_count_that_is_believed_is_a_million_less_one(self) -> None:
        assert origin_of(letter("junk", {"redrives": 999_999}))[1] == 1_000_000

    @pytest.mark.parametrize("body", [1, {}, ["x"]])
    def test_a_body_that_is_no_text_is_none_of_ours(self, body: Any) -> None:
        raw = json.dumps({"body": body, "failure": {}}).encode()
        assert read_envelope(raw) == {"body": body}
        assert origin_of(raw) == (raw.decode(), 1)

    def test_null_is_absent_in_a_dead_letter_that_a_class_has_written_again(self) -> None:
        nulls = {"projectId": None, "imageIds": None, "metadata": None, "traceparent": None}
        assert read_envelope(letter(PLAIN.decode(), kind=None, **nulls)) == FIELDS
        assert (
            read_envelope(json.dumps({**FIELDS, "body": None, **nulls, "failure": {"redrives": 1}}).encode()) == FIELDS
        )
        assert read_envelope(json.dumps({**FIELDS, "body": None, "failure": None}).encode()) == FIELDS
        assert origin_of(json.dumps({**FIELDS, "failure": None}).encode())[1] == 0

    @pytest.mark.parametrize("other", ["data_base64", "specversion", "eventType", "traceparent", "subject"])
    def test_null_is_absent_in_an_envelope(self, other: str) -> None:
        assert (
            read_envelope(json.dumps({"specversion": "1.0", "eventType": "t", "data": FIELDS, other: None}).encode())
            == FIELDS
        )

    def test_a_body_beside_other_fields_is_a_field(self) -> None:
        assert read_envelope(b'{"kind": "x", "body": "y", "failure": {}}') == {"kind": "x", "body": "y"}

    def test_one_that_was_cut_is_told(self) -> None:
        assert why_not(letter('{"kind": ' + CUT_MARK)).startswith("body: it was cut")
