"""The documents: what they link to and what they name is there."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from ops.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FOLDERS = ("shared", "functions", "ops", "local", "tests", "infra", "docs", "benchmarks", "contracts", "requirements")
_LAYERS = ("services", "batching", "limits", "messages")
_MADE = re.compile(r"^(build|\.local)/")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made on the sites that show them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def inline(page: Path) -> list[str]:
    """What stands in a page as code within a sentence, on one line."""
    text = _BLOCK.sub("", page.read_text())
    return [" ".join(code.split()) for code in _CODE.findall(text)]


def commands(page: Path) -> list[str]:
    """The commands that a page shows, each on one line and without what explains it."""
    lines = []
    for language, block in _BLOCK.findall(page.read_text()):
        if language == "sh":
            lines += block.replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#\s.*", "", line).strip() for line in [*lines, *inline(page)]]


@cache
def code_of(*folders: str) -> str:
    return "".join(path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


@each_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@each_page
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for name in inline(page):
        if re.fullmatch(r"test_\w+", name):
            assert re.search(rf"def {name}\(", code_of("tests")), name


@each_page
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    for name in inline(page):
        if not re.fullmatch(r"[\w.\-]+(/[\w.\-]+)*/?(\.\w+)?", name) or _MADE.match(name):
            continue
        first = name.split("/", maxsplit=1)[0]
        if "/" in name and first in _FOLDERS:
            assert (ROOT / name).exists(), name
        elif "/" in name and first in _LAYERS:
            assert (ROOT / "shared" / name).exists(), name
        elif name.endswith(".py"):
            assert (ROOT / name).exists() or (ROOT / "shared" / name).exists(), name


@each_page
def test_every_function_that_a_page_places_in_a_file_is_there(page: Path) -> None:
    for name, path in re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", page.read_text()):
        assert re.search(rf"^\s*(async def|def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE), name


@each_page
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(page):
        for target in re.findall(r"(?:^|&& )make ([a-z][\w-]*)", command):
            assert target in targets, command


@each_page
def test_every_command_of_the_command_line_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    for command in commands(page):
        if command.startswith("vision-relay"):
            problems = list(_problems(command))
            assert not problems, f"{command}: {problems}"


def _problems(command: str) -> Iterator[str]:
    """What of a `vision-relay …` does not exist."""
    words = shlex.split(re.split(r" [|>&;] ", command, maxsplit=1)[0])[1:]
    known = typer.main.get_command(app)
    while words and isinstance(known, typer.core.TyperGroup) and not words[0].startswith("-"):
        if words[0] not in known.commands:
            yield f"no command {words[0]}"
            return
        known = known.commands[words.pop(0)]
    options = {option for parameter in known.params for option in parameter.opts} | {"--help", "-h"}
    yield from (f"no option {word}" for word in words if word.startswith("-") and word != "-" and word not in options)


def _first_column(page: Path, heading: str) -> list[str]:
    """The first column of the page's one table whose first heading is this."""
    [rows] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)
    return [row.split("|")[1].strip() for row in rows.splitlines()]


def test_each_alert_has_its_line_in_the_runbook() -> None:
    titles = re.findall(r"title: 'Vision Relay: (.+)'", (ROOT / "infra/app/alerts.bicep").read_text())
    assert _first_column(DOCS / "operations.md", "alert") == titles


def test_what_the_runbook_quotes_of_a_start_that_fails_is_what_is_said() -> None:
    quoted = [phrase.strip("`") for phrase in _first_column(DOCS / "operations.md", "the line says")]
    code = "".join(
        (ROOT / f"shared/{name}.py").read_text()
        for name in ("settings", "setting_types", "schedule", "installed_python")
    )
    assert len(quoted) > 10
    for phrase in quoted:
        assert phrase in code, phrase


def test_what_the_runbook_quotes_of_the_log_is_what_is_said() -> None:
    quoted = re.findall(r'"([^"\n]+)"', (DOCS / "operations.md").read_text())
    of_others = re.compile("denied|custom subdomain|nothing runs|no job functions", re.IGNORECASE)
    ours = [phrase for phrase in quoted if not of_others.search(phrase)]
    said = re.sub(r"\{[^{}]*\}|%\w", "…", code_of("shared", "functions"))
    assert len(ours) > 5
    for phrase in ours:
        for part in re.split("…|, ", phrase):
            assert part.strip(" :") in said, phrase


def test_the_index_names_every_page() -> None:
    listed = {(DOCS / link).resolve() for link in _LINK.findall((DOCS / "README.md").read_text())}
    assert listed >= {page for page in PAGES if DOCS in page.parents} - {DOCS / "README.md"}


def test_the_readmes_listing_is_as_the_tree_is() -> None:
    [listing] = [block for language, block in _BLOCK.findall((ROOT / "README.md").read_text()) if language == "text"]
    words = set(re.findall(r"[\w.]+/?", listing))
    modules = {path for path in (ROOT / "shared").rglob("*.py") if path.name != "__init__.py"}
    names = words | {f"{word}.py" for word in words}
    assert {path.name for path in modules} - names == set()
    python = {word for word in words if word.endswith(".py")}
    assert python <= {path.name for path in ROOT.glob("*.py")} | {
        path.name for folder in ("shared", "functions", "ops", "local") for path in (ROOT / folder).rglob("*.py")
    }
    folders = {line.split("/")[0] for line in listing.splitlines() if re.match(r"\w+/", line)}
    assert folders == {path.name for path in ROOT.iterdir() if path.name in _FOLDERS}
