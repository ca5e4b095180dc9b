"""Packages that were installed for another Python are told of where a start fails."""

import sys
from pathlib import Path

import pytest

from shared.installed_python import describe, python_and_packages

LINUX = "x86_64-linux-gnu.so"


def test_packages_for_the_python_that_runs_are_not_worth_a_word() -> None:
    files = [f"a/b.cpython-313-{LINUX}", "a/c.abi3.so", "a/libssl.so.3", "a/d.py", "a/e.cp313-win_amd64.pyd"]
    assert describe((3, 13), map(Path, files)) == "Python 3.13"


@pytest.mark.parametrize(
    "name",
    [
        f"_pydantic_core.cpython-311-{LINUX}",
        "_pydantic_core.cpython-311-darwin.so",
        "_pydantic_core.cp311-win_amd64.pyd",
    ],
)
def test_packages_for_another_python_are_named(name: str) -> None:
    assert describe((3, 13), [Path("site-packages/core", name), Path(f"x/y.cpython-311-{LINUX}")]) == (
        "Python 3.13, but 2 of the installed modules are compiled for another, such as _pydantic_core for Python 3.11: "
        "install the packages for 3.13"
    )


def test_a_module_that_is_compiled_for_several_is_right_if_one_is_ours() -> None:
    files = [f"a/b.cpython-311-{LINUX}", f"a/b.cpython-313-{LINUX}", f"a/c.cpython-313t-{LINUX}"]
    assert describe((3, 13), map(Path, files)) == "Python 3.13"


def test_it_looks_where_packages_are_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = tmp_path / "lib/site-packages"
    (packages / "core").mkdir(parents=True)
    (packages / f"core/module.cpython-399-{LINUX}").touch()
    (tmp_path / f"elsewhere.cpython-399-{LINUX}").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(packages), str(tmp_path / "missing/site-packages"), ""])
    assert "but 1 of the installed modules are compiled for another, such as module for Python 3.99" in (
        python_and_packages()
    )
