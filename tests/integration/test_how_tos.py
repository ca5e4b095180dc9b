"""Each command in a how-to is typed as it is printed there, beside a `make run`; those of the quick start elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from openpyxl import Workbook

from local.instructions import IMAGES, PROJECT
from tests.integration.test_run import FOLDER, NOT_THERE, QUICK_START, Running, examples, running
from tests.integration.waiting import becomes_true

if TYPE_CHECKING:
    from pathlib import Path

HOW_TOS = sorted(f"docs/how-to/{page.name}" for page in (FOLDER / "docs/how-to").glob("*.md"))

NEEDS_AZURE = "it needs a subscription"
LEFT_OUT = {
    "azd ": NEEDS_AZURE,
    "az login": NEEDS_AZURE,
    'printf \'{"Values": %s}\' "$(azd ': NEEDS_AZURE,
    "export VISION_RELAY_SETTINGS=.azure/": "it names what the command before it writes, from a subscription",
    "make run": "`running` does it",
    "cp local.settings.sample.json": "it would replace the developer's own settings; test_run.py tries other ones",
    "python3 -m venv": "it takes minutes; `make setup` installs the same file",
    "func start": "it needs Core Tools; tests/functions_host starts the app on them",
}
"""What a left-out command begins with, and why it is."""

ENDLESS = ("vision-relay events tail", "vision-relay watch largePersonGroup visitors --after now --repeat")
ASKS = "vision-relay dead-letters drop"
"""It asks before it drops, and here is nobody to ask."""


def commands(page: str) -> list[str]:
    """What a page says to type, block by block; then what stands in its tables, in order."""
    blocks = [line for block in examples(page, "sh") for line in _lines(block)]
    tables = re.findall(r"^\|.*\|$", (FOLDER / page).read_text(), re.MULTILINE)
    inline = [code for row in tables for code in re.findall(r"`((?:vision-relay|simulation) [^`]+)`", row)]
    return [*blocks, *(code for code in inline if not code.startswith(tuple(LEFT_OUT)))]


def _lines(block: str) -> list[str]:
    """The commands of a block, without those left out. A here-document is one with its command."""
    found = re.findall(r"(?:.*<<'END'\n(?:.*\n)*?END|(?:.*\\\n)*.+)\n", block)
    return [line.rstrip() for line in found if not line.startswith(tuple(LEFT_OUT))]


async def type_page(run: Running, page: str, folder: Path, **replaced: str) -> str:
    """Type all that a page says, in a folder of the test's own; returns what is printed."""
    printed = ""
    for command in commands(page):
        for old, new in replaced.items():
            command = command.replace(old.removeprefix("_"), new)
        if command in ENDLESS:
            command = f"timeout -s INT 5 {command} || test $? = 124"
        if command.startswith(ASKS):
            command += " --yes"
        printed += await run.type(f"cd {folder}\n{command}")
    return printed


def test_every_page_is_typed_by_a_test() -> None:
    assert {page for page in HOW_TOS if commands(page)} == {*TYPED, *TYPED_ALONE, QUICK_START}


def test_nothing_is_left_out_in_vain() -> None:
    lines = [line for page in HOW_TOS for block in examples(page, "sh") for line in block.splitlines()]
    assert all(any(line.startswith(left) for line in lines) for left in LEFT_OUT)


TYPED = (
    "docs/how-to/deploy.md",
    "docs/how-to/raise-a-limit-or-change-the-rate.md",
    "docs/how-to/react-to-events.md",
    "docs/how-to/run-without-keys.md",
)
TYPED_ALONE = {
    "docs/how-to/redrive-dead-letters.md",
    "docs/how-to/run-it-locally.md",
    "docs/how-to/send-a-catalogue.md",
    "docs/how-to/watch-a-training.md",
}


async def test_what_needs_nothing_first(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for page in TYPED:
            await type_page(run, page, tmp_path)


@pytest.fixture
def scans(tmp_path: Path) -> None:
    """The workbook that the pages speak of."""
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(["Scan id", "collection", "notes"])
    for number, collection in enumerate(("Harbour", "Markets")):
        sheet.append([f"33333333-8f0e-4b7e-9a53-{number:012d}", collection, f"box {number}"])
    book.save(tmp_path / "scans.xlsx")


@pytest.mark.usefixtures("scans")
async def test_a_catalogue_of_ones_own_is_sent_and_proven_from_end_to_end(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        printed = await type_page(run, "docs/how-to/run-it-locally.md", tmp_path)
        assert '"error"' not in printed, "the simulation has understood everything"
        assert '"images_updated":2' in printed
        await type_page(run, "docs/how-to/send-a-catalogue.md", tmp_path)
        assert '"collection": "Markets"' in await run.type("images | python -m json.tool")


async def logs(run: Running, told: str, times: int) -> bool:
    """Whether the app logs something so many times, within a minute."""
    return await becomes_true(lambda: " ".join(run.shown.split()).count(told) >= times, 60)


async def test_the_simulation_misbehaves_as_the_page_says(tmp_path: Path) -> None:
    outage, end_outage, key, end_key, *_ = (
        command for command in commands("docs/how-to/run-it-locally.md") if command.startswith("simulation")
    )
    update = f"vision-relay put --project-id {PROJECT} --image-id {IMAGES[0]} a=b"
    async with running(tmp_path) as run:
        for times, (begin, end) in enumerate(((outage, end_outage), (key, end_key)), start=1):
            await run.type(f"{begin}\n{update}")
            assert await logs(run, "calls are suspended", times)
            await run.type(end)
            assert await logs(run, "images applied", times)


async def test_dead_letters_are_redriven(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.type(f"vision-relay put --project-id {PROJECT} --image-id {NOT_THERE} a=b")
        assert await becomes_true(lambda: "dead-lettered" in run.shown)
        [id_] = re.findall(r'"id": "(.{8})', await run.type("vision-relay dead-letters list --json"))
        printed = await type_page(run, "docs/how-to/redrive-dead-letters.md", tmp_path, _6c0b3b1e=id_)
        assert "1 letter moved back" in printed


async def test_a_training_is_watched(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for command in commands("docs/how-to/watch-a-training.md"):
            assert command.startswith("vision-relay watch"), command
        assert await type_page(run, "docs/how-to/watch-a-training.md", tmp_path)
