"""The pictures drawn by hand: everything is in them, and can be read."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FLOW = DOCS / "flow.svg"
PICTURES = [FLOW, *sorted((DOCS / "pictures").glob("*.svg"))]
SVG = "{http://www.w3.org/2000/svg}"
# Of the size. Wider and taller than the letters of the fonts that are named, and of those that stand in for them.
NARROW = set(" ijltfr,.:'-")
NARROW_SHARE, WIDE_SHARE, BOLD_FACTOR = 0.42, 0.65, 1.1
ASCENT_SHARE, DESCENT_SHARE = 0.8, 0.2


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def is_within(self, other: Box) -> bool:
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )

    def has(self, x: float, y: float) -> bool:
        return self.left <= x <= self.right and self.top <= y <= self.bottom


def _rectangles(picture: Path) -> list[Box]:
    found = []
    for rect in ET.parse(picture).iter(f"{SVG}rect"):
        x, y = float(rect.get("x", 0)), float(rect.get("y", 0))
        found.append(Box(x, y, x + float(rect.get("width", 0)), y + float(rect.get("height", 0))))
    return found


def _texts(picture: Path) -> dict[str, tuple[Box, float, float]]:
    """Each text's box and anchor; texts of the same words are told apart by their place."""
    found = {}

    def walk(element: ET.Element, inherited: dict[str, str]) -> None:
        style = inherited | dict(element.attrib)
        if element.tag == f"{SVG}text":
            x, y, size = float(style["x"]), float(style["y"]), float(style["font-size"])
            width = size * sum(NARROW_SHARE if letter in NARROW else WIDE_SHARE for letter in element.text or "")
            width *= BOLD_FACTOR if style.get("font-weight") == "bold" else 1
            left = x - width / 2 if style.get("text-anchor") == "middle" else x
            box = Box(left, y - size * ASCENT_SHARE, left + width, y + size * DESCENT_SHARE)
            found[f"{element.text} ({x:g}, {y:g})"] = (box, x, y)
        for child in element:
            walk(child, style)

    walk(ET.parse(picture).getroot(), {})
    return found


each_picture = pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)


def test_the_consumer_the_dead_letters_of_both_queues_and_the_way_back_are_there() -> None:
    words = [text.rpartition(" (")[0] for text in _texts(FLOW)]
    for word in ("Consumers", "image-metadata-updates-poison", "training-watches-poison", "training-events"):
        assert words.count(word) == 1
    assert words.count("redrive") == 2


def test_there_is_one_picture_per_promise_and_the_page_shows_each() -> None:
    page = (DOCS / "architecture.md").read_text()
    promises = re.findall(r"^### \d\. ", page, re.MULTILINE)
    shown = re.findall(r"^!\[[^\]]+\]\((pictures/[^)]+)\)$", page, re.MULTILINE)
    assert len(promises) == len(shown) == 5
    assert {DOCS / path for path in shown} == set(PICTURES) - {FLOW}


@each_picture
def test_no_two_texts_overlap(picture: Path) -> None:
    for (one, (first, *_)), (other, (second, *_)) in itertools.combinations(_texts(picture).items(), 2):
        assert not first.overlaps(second), f"{one} and {other}"


@each_picture
def test_a_text_stays_within_the_box_in_which_it_stands(picture: Path) -> None:
    for text, (box, x, y) in _texts(picture).items():
        around = min((r for r in _rectangles(picture) if r.has(x, y)), key=lambda r: r.right - r.left)
        assert box.is_within(around), text


@each_picture
def test_it_says_in_words_what_it_shows(picture: Path) -> None:
    root = ET.parse(picture).getroot()
    assert all(root.findtext(f"{SVG}{name}") for name in ("title", "desc"))


@each_picture
def test_a_background_of_its_own_keeps_it_readable_on_a_dark_page(picture: Path) -> None:
    root = ET.parse(picture).getroot()
    background = next(root.iter(f"{SVG}rect"))
    assert (background.get("width"), background.get("height")) == (root.get("width"), root.get("height"))
    assert background.get("fill") == "#ffffff"
