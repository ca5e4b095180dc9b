"""The encoding of a file: what its bytes show goes before what is said, and no byte is lost."""

import pytest

from ops.catalogue.encodings import KEEP, choose_encoding, hint_of_encoding, name_of
from ops.catalogue.row import CatalogueError

CYRILLIC = "Коллекция"  # without a zero byte in UTF-16, so nothing shows what it is


@pytest.mark.parametrize(
    ("head", "chosen", "encoding"),
    [
        (b"id,a\n", None, "utf-8"),
        (b"\xef\xbb\xbfid,a\n", None, "utf-8-sig"),
        ("id,a\n".encode("utf-16"), None, "utf-16"),
        ("id,a\n".encode("utf-16-be"), None, "utf-16-be"),
        (b"id,a\n", "cp1252", "cp1252"),
        (b"id,a\n", "UTF8", "UTF8"),
        (b"\xef\xbb\xbfid,a\n", "utf-8", "utf-8-sig"),
        ("id,a\n".encode("utf-16-le"), "utf-16", "utf-16-le"),
        ("id,a\n".encode("utf-16"), "UTF_16", "utf-16"),
        (CYRILLIC.encode("utf-16-le"), "utf-16", "utf-16-le"),
        (CYRILLIC.encode("utf-16-le"), "utf-16-le", "utf-16-le"),
    ],
)
def test_the_encoding_is_the_one_that_the_bytes_show_or_else_the_one_that_is_said(
    head: bytes, chosen: str | None, encoding: str
) -> None:
    assert choose_encoding(head, chosen) == encoding


@pytest.mark.parametrize("chosen", ["cp1252", "utf-8", "utf-32"])
def test_another_one_than_the_bytes_show_is_refused(chosen: str) -> None:
    with pytest.raises(CatalogueError, match=f"--encoding {chosen}: the file is UTF-16; leave the option out"):
        choose_encoding("id,a\n".encode("utf-16"), chosen)


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-8-sig", "UTF-8"), ("utf-16-le", "UTF-16-LE"), ("cp1252", "cp1252")]
)
def test_an_encoding_has_the_name_that_people_know(encoding: str, name: str) -> None:
    assert name_of(encoding) == name


@pytest.mark.parametrize(
    ("text", "encoding", "hint"),
    [
        ("K\udcf6ln", "utf-8", " (not UTF-8? name the encoding, such as --encoding cp1252)"),
        ("\udc00", "cp1252", " (not cp1252? name the encoding, such as --encoding latin-1)"),
        ("\udcff", "utf-8-sig", " (not UTF-8? name the encoding, such as --encoding cp1252)"),
        ("Köln", "utf-8", ""),
    ],
)
def test_a_text_whose_bytes_are_no_characters_has_a_hint(text: str, encoding: str, hint: str) -> None:
    assert hint_of_encoding(text, encoding) == hint


@pytest.mark.parametrize(
    ("data", "encoding"),
    [(b"K\xf6ln \xff\x80", "utf-8"), (b"\xe2\x82", "utf-8"), (b"a\x81\x8d", "cp1252"), (bytes(range(256)), "ascii")],
)
def test_bytes_that_are_no_characters_are_the_same_when_they_are_written_again(data: bytes, encoding: str) -> None:
    assert data.decode(encoding, KEEP).encode(encoding, KEEP) == data


def test_every_byte_can_be_kept() -> None:
    assert "".join(chr(0xDC00 | byte) for byte in range(256)).encode("ascii", KEEP) == bytes(range(256))


def test_one_wrong_byte_does_not_take_the_next_along() -> None:
    assert b"\xe2\x82,x".decode("utf-8", KEEP) == "\udce2\udc82,x"


def test_half_a_character_of_utf_16_does_not_shift_the_rest() -> None:
    data = b"\x00\xd8" + "x,y".encode("utf-16-le")
    assert data.decode("utf-16-le", KEEP).endswith("x,y")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("char", ["ш", "\udbff"])
def test_what_an_encoding_lacks_becomes_a_question_mark(encoding: str, char: str) -> None:
    assert f"a{char}b".encode(encoding, KEEP) == b"a?b"


def test_a_byte_cannot_be_kept_in_utf_16() -> None:
    assert "a\udcf6b".encode("utf-16-le", KEEP) == "a?b".encode("utf-16-le")
