"""An app that cannot start says why, once, on stderr: the host shows nothing else."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from functions.start import starting
from shared.redaction import hide
from tests.unit.shared.test_app import SETTINGS

PROJECT = Path(__file__).parents[3]


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "functions"]
    environment = {**os.environ, **SETTINGS, **settings}
    return subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_wrong_setting_is_said_in_one_line_without_a_traceback() -> None:
    ended = start(LINGER_SECONDS="soon", METADATA_UPDATES_QUEUE="")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("Vision Relay cannot start: SettingsError: the app settings cannot be used: ")
    assert "METADATA_UPDATES_QUEUE: is missing; LINGER_SECONDS: " in line
    assert not ended.stdout


def test_packages_that_were_installed_for_another_python_are_said_too(tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "core.cpython-399-x86_64-linux-gnu.so").touch()
    [line] = start(LINGER_SECONDS="soon", PYTHONPATH=str(packages)).stderr.splitlines()
    assert line.endswith("such as core for Python 3.99: install the packages for {}.{})".format(*sys.version_info))


def test_right_settings_are_said_to_be_so() -> None:
    ended = start()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "The app can start with these settings.\n"


def test_a_missing_package_is_said_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    hide("marked-secret")
    with pytest.raises(ModuleNotFoundError), starting():
        raise ModuleNotFoundError("No module named 'pydantic' for\nmarked-secret")
    assert capsys.readouterr().err == (
        "Vision Relay cannot start: ModuleNotFoundError: No module named 'pydantic' for [secret] "
        f"(Python {sys.version_info.major}.{sys.version_info.minor})\n"
    )
