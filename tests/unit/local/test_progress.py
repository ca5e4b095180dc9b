"""Set-up shows that it goes on, and how much disk it takes."""

import io
import re
import sys
from pathlib import Path

import pytest

from local import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(out: io.StringIO, folder: Path, code: str) -> int:
    return progress.run("installing", folder, [sys.executable, "-c", code], out)


def test_the_last_line_says_what_the_folder_takes(tmp_path: Path) -> None:
    out = io.StringIO()
    assert run(out, tmp_path, f"open({str(tmp_path / 'big')!r}, 'wb').write(b'x' * 3_000_000)") == 0
    assert out.getvalue().endswith("s, 3 MB\n")


def test_what_a_command_says_is_shown_only_if_it_fails(tmp_path: Path) -> None:
    out = io.StringIO()
    assert run(out, tmp_path, "print('fine')") == 0
    assert "fine" not in out.getvalue()
    assert run(out, tmp_path, "print('no room'); raise SystemExit(3)") == 3
    assert "installing: failed with code 3\nno room" in out.getvalue()


@pytest.mark.parametrize(("out", "separator"), [(Terminal(), "\r"), (io.StringIO(), "\n")], ids=["terminal", "file"])
def test_a_command_that_takes_its_time_is_told_of_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: io.StringIO, separator: str
) -> None:
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0.05)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    assert run(out, tmp_path, "import time; time.sleep(0.5)") == 0
    assert out.getvalue().count("installing: 0 s, 0 MB") > 1
    assert separator in out.getvalue()


def test_a_folder_that_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert progress.disk_bytes(tmp_path / "none") == 0


def test_every_installation_of_make_shows_that_it_goes_on() -> None:
    lines = (Path(__file__).parents[3] / "Makefile").read_text().splitlines()
    installing = [
        line for line in lines if line.startswith("\t") and re.search(r"\$\((INSTALL|PIP)\)|local\.npm", line)
    ]
    assert len(installing) >= 5
    assert [line for line in installing if not line.startswith("\t@$(PROGRESS) ")] == []
    assert [line for line in lines if "pip install" in line and not re.match(r"PIP |LOCK_CHECK ", line)] == []


def test_set_up_says_beforehand_what_it_takes_on_the_disk() -> None:
    makefile = (Path(__file__).parents[3] / "Makefile").read_text()
    assert re.search(r'echo "setting up .*\$\(VENV_MB\) MB on the disk\)"', makefile)
    assert re.search(r'echo "installing Azurite .*\$\(AZURITE_MB\) MB\)"', makefile)
