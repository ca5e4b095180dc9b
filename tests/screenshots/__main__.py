"""`python -m tests.screenshots`: type commands into a terminal, on the local cloud, and draw what it shows.

The terminal is a real one (a pseudo-terminal that `pyte` reads), so bars and colours are those that people see.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

from local.cloud import LocalCloud
from local.host.process import HostProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyte.screens import Char

PROJECT = Path(__file__).parents[2]
SCREENSHOTS = PROJECT / "docs" / "screenshots"
COLUMNS, ROWS = 92, 60
CATALOGUE_ROWS = 20_000
NOT_UPLOADED = 17
PROJECT_ID = UUID("7d1c3f0a-6a3e-4a52-9f1d-0b9f6b1f2a10")
COLLECTIONS = ("Harbour", "Railways", "Markets", "Glass plates")


async def main() -> None:
    """Draw all of them."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as scratch:
        folder = Path(scratch)
        async with LocalCloud() as cloud:
            (folder / "local.settings.json").write_text(json.dumps({"Values": cloud.settings}))
            images = [UUID(int=(row * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128) for row in range(CATALOGUE_ROWS)]
            (folder / "catalogue.csv").write_text("".join(_lines(images)))
            not_uploaded = set(images[7 :: CATALOGUE_ROWS // NOT_UPLOADED][:NOT_UPLOADED])
            await cloud.control.add_images(PROJECT_ID, (image for image in images if image not in not_uploaded))
            async with HostProcess(PROJECT, cloud.settings, folder / "host.log"):
                draw("send", folder)
                draw("verify", folder)
                draw("status", folder)
    print(f"Written: {SCREENSHOTS.relative_to(PROJECT)}/")


def _lines(images: list[UUID]) -> Iterator[str]:
    yield "image_id,project_id,collection,decade\n"
    for row, image in enumerate(images):
        yield f"{image},{PROJECT_ID},{COLLECTIONS[row % len(COLLECTIONS)]},{1900 + 10 * (row % 3)}s\n"


COMMANDS = {
    "send": ("send", "catalogue.csv", "--yes"),
    "verify": ("verify", "catalogue.csv", "--wait"),
    "status": ("status",),
}


def draw(name: str, folder: Path) -> None:
    """Type a command and write what the terminal shows at its end."""
    arguments = COMMANDS[name]
    screen = type_into_terminal(arguments, folder)
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123 - as long as we run
    console.print(Text.assemble(("$ ", "bold green"), f"vision-relay {' '.join(arguments).removesuffix(' --yes')}"))
    for line in shown(screen):
        console.print(line, no_wrap=True)
    svg = console.export_svg(title=f"vision-relay {name}", theme=MONOKAI, unique_id=f"vision-relay-{name}")
    (SCREENSHOTS / f"{name}.svg").write_text(_sized(_without_fonts(svg)))


def type_into_terminal(arguments: tuple[str, ...], folder: Path) -> pyte.Screen:
    """Run a command in a terminal until it ends."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "ops", *arguments],
        cwd=folder,
        env=_environment(folder),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ):
        os.close(theirs)
        while piece := _read(ours):
            stream.feed(piece)
    os.close(ours)
    return screen


def _environment(folder: Path) -> Mapping[str, str]:
    more = {"PYTHONPATH": str(PROJECT), "VISION_RELAY_STATE": str(folder / "state"), "TERM": "xterm-256color"}
    return {**os.environ, **more, "COLORTERM": "truecolor"}


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # what Linux says when nobody has the other end any more
        return b""


def shown(screen: pyte.Screen) -> list[Text]:
    """The lines of a screen, up to the last that is not empty."""
    lines = [_line([screen.buffer[row][column] for column in range(COLUMNS)]) for row in range(ROWS)]
    for line in lines:
        line.rstrip()
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _line(cells: list[Char]) -> Text:
    return Text.assemble(*(("".join(cell.data for cell in run), style) for style, run in groupby(cells, key=_style)))


_NAMES = {"brown": "yellow", "brightblack": "bright_black"}


def _style(char: Char) -> Style:
    """A cell's colours, which `pyte` tells by name or as six hexadecimal digits."""
    colour = None if char.fg == "default" else _NAMES.get(char.fg, char.fg.replace("bright", "bright_"))
    if colour is not None and re.fullmatch("[0-9a-f]{6}", colour):
        colour = f"#{colour}"
    return Style(color=colour, bold=char.bold, italic=char.italics, underline=char.underscore, reverse=char.reverse)


def _without_fonts(svg: str) -> str:
    """Leave out the fonts that would be fetched from elsewhere."""
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def _sized(svg: str) -> str:
    """Say how large the picture is: without a width and a height, some pages draw it as a thumbnail."""
    return re.sub(
        r'viewBox="0 0 ([\d.]+) ([\d.]+)"',
        lambda box: f'width="{float(box[1]):.0f}" height="{float(box[2]):.0f}" {box[0]}',
        svg,
        count=1,
    )


if __name__ == "__main__":
    asyncio.run(main())
