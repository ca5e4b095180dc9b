"""Which Python the worker's library is run on."""

from pathlib import Path

import pytest

from local.worker.interpreter import VARIABLE, find

BROKEN = "/nonexistent/python"


def install(file: Path, script: str) -> str:
    file.parent.mkdir(parents=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine without any Python 3.13."""
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}


@pytest.mark.parametrize(
    "place",
    [
        "bin/python3.13",
        "home/.pyenv/versions/3.13.7/bin/python3.13",
        "home/.local/share/uv/python/cpython-3.13.7-linux-x86_64-gnu/bin/python3.13",
    ],
)
def test_it_is_found_on_the_path_and_where_pyenv_and_uv_put_it(
    tmp_path: Path, environment: dict[str, str], place: str
) -> None:
    installed = install(tmp_path / place, "echo 3.13")
    assert find(environment, BROKEN) == installed


def test_the_one_that_runs_this_is_taken_if_it_is_new_enough(tmp_path: Path, environment: dict[str, str]) -> None:
    own = install(tmp_path / "own/python", "echo 3.13")
    assert find(environment, own) == own


def test_a_shim_that_leads_nowhere_is_passed_over(tmp_path: Path, environment: dict[str, str]) -> None:
    install(tmp_path / "bin/python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    installed = install(tmp_path / "home/.pyenv/versions/3.13.0/bin/python3.13", "echo 3.13")
    assert find(environment, BROKEN) == installed


def test_one_without_what_an_environment_needs_is_passed_over(tmp_path: Path, environment: dict[str, str]) -> None:
    install(tmp_path / "bin/python3.13", "echo \"No module named 'ensurepip'\" >&2; exit 1")
    assert find(environment, BROKEN) is None


def test_a_newer_one_will_do(tmp_path: Path, environment: dict[str, str]) -> None:
    installed = install(tmp_path / "bin/python3.14", "echo 3.14")
    assert find(environment, BROKEN) == installed


def test_the_one_that_is_named_is_the_only_one_asked(tmp_path: Path, environment: dict[str, str]) -> None:
    named = install(tmp_path / "named/python", "echo 3.13")
    install(tmp_path / "bin/python3.13", "echo 3.13")
    assert find(environment | {VARIABLE: named}, BROKEN) == named
    assert find(environment | {VARIABLE: BROKEN}, BROKEN) is None
