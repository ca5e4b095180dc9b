"""What stays the same from run to run of the local cloud."""

from pathlib import Path

import pytest

from local import kept
from local.host.errors import HostStartError
from local.kept import Kept


def test_what_was_kept_is_there_again_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = Kept("key", 10001, 7080)
    kept.write(tmp_path, first)
    assert kept.read(tmp_path) == first
    assert (tmp_path / kept.FILE).stat().st_mode & 0o777 == 0o600


def test_the_first_run_makes_a_key_of_its_own(tmp_path: Path) -> None:
    assert kept.read(tmp_path).storage_key != kept.read(tmp_path).storage_key


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"storage_key": "k", "storage_port": "x", "simulation_port": null}'])
def test_a_broken_file_is_told_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / kept.FILE).write_text(text)
    with pytest.raises(HostStartError, match=r"cloud\.json cannot be read; delete it"):
        kept.read(tmp_path)


def test_a_data_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    with kept.sole_user(tmp_path), pytest.raises(HostStartError, match="stop it first"), kept.sole_user(tmp_path):
        pass
    with kept.sole_user(tmp_path):
        pass
