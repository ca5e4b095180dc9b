"""docs/flow.svg: everything is in it, and can be read."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

PICTURE = Path(__file__).parents[3] / "docs" / "flow.svg"
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


def _rectangles() -> list[Box]:
    found = []
    for rect in ET.parse(PICTURE).iter(f"{SVG}rect"):
        x, y = float(rect.get("x", 0)), float(rect.get("y", 0))
        found.append(Box(x, y, x + float(rect.get("width", 0)), y + float(rect.get("height", 0))))
    return found


def _texts() -> dict[str, tuple[Box, float, float]]:
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

    walk(ET.parse(PICTURE).getroot(), {})
    return found


def test_the_consumer_the_dead_letters_of_both_queues_and_the_way_back_are_there() -> None:
    words = [text.rpartition(" (")[0] for text in _texts()]
    for word in ("Consumers", "image-metadata-updates-poison", "training-watches-poison", "training-events"):
        assert words.count(word) == 1
    assert words.count("redrive") == 2


def test_no_two_texts_overlap() -> None:
    for (one, (first, *_)), (other, (second, *_)) in itertools.combinations(_texts().items(), 2):
        assert not first.overlaps(second), f"{one} and {other}"


@pytest.mark.parametrize("text", _texts())
def test_a_text_stays_within_the_box_in_which_it_stands(text: str) -> None:
    box, x, y = _texts()[text]
    around = min((r for r in _rectangles() if r.has(x, y)), key=lambda r: r.right - r.left)
    assert box.is_within(around)


def test_a_background_of_its_own_keeps_it_readable_on_a_dark_page() -> None:
    root = ET.parse(PICTURE).getroot()
    background = next(root.iter(f"{SVG}rect"))
    assert (background.get("width"), background.get("height")) == (root.get("width"), root.get("height"))
    assert background.get("fill") == "#ffffff"
