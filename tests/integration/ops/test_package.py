"""What `uv tool install .` and `pipx install .` install, and what its help says."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.integration.ops.conftest import PROJECT_ROOT, Bench

PACKAGES = ("shared", "ops")
COMMANDS = (
    (),
    ("send",),
    ("verify",),
    ("watch",),
    ("status",),
    ("dead-letters",),
    ("dead-letters", "list"),
    ("dead-letters", "show"),
    ("dead-letters", "redrive"),
    ("dead-letters", "drop"),
    ("events",),
    ("events", "tail"),
    ("doctor",),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from a copy of what it is made of."""
    folder = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, "requirements"):
        shutil.copytree(PROJECT_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT_ROOT / name, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", "dist", "."], cwd=folder, check=True, timeout=120)
    [built] = (folder / "dist").glob("*.whl")
    return built


def read(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        [found] = [entry for entry in archive.namelist() if entry.endswith(f".dist-info/{name}")]
        return archive.read(found).decode()


def test_it_has_the_command_line_and_what_that_imports_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {entry.split("/")[0] for entry in archive.namelist() if ".dist-info/" not in entry}
        modules = {entry for entry in archive.namelist() if entry.endswith(".py")}
    assert top == set(PACKAGES)
    written = {str(path.relative_to(PROJECT_ROOT)) for name in PACKAGES for path in (PROJECT_ROOT / name).rglob("*.py")}
    assert modules == written


def test_the_command_is_named_as_the_help_says(wheel: Path) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(read(wheel, "entry_points.txt"))
    assert dict(entry_points["console_scripts"]) == {"vision-relay": "ops.__main__:main"}


def test_it_needs_what_the_requirement_files_name(wheel: Path) -> None:
    needed = Parser().parsestr(read(wheel, "METADATA")).get_all("Requires-Dist") or []
    lines = [
        line.split("#")[0].strip()
        for name in ("app.in", "ops.in")
        for line in (PROJECT_ROOT / "requirements" / name).read_text().splitlines()
    ]
    assert sorted(needed) == sorted(filter(None, lines))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_teaches_in_80_columns_without_colour(bench: Bench, command: tuple[str, ...]) -> None:
    result = bench.run(*command, "--help")
    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 80
    assert "\x1b" not in result.out
    if len(command) and command[-1] not in ("dead-letters", "events"):
        assert re.search(rf"^ +vision-relay {' '.join(command)}\b", result.out, re.MULTILINE), "there is an example"


def test_without_a_command_the_help_is_shown(bench: Bench) -> None:
    assert "Commands" in bench.run().out + bench.run().err


def test_the_codes_are_said(bench: Bench) -> None:
    assert "3 a setting is wrong or missing" in " ".join(bench.run("send", "--help").out.split())
