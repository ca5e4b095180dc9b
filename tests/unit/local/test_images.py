"""Which images a catalogue names, for the simulation."""

from pathlib import Path
from uuid import UUID

import pytest

from local.images import images_of, main, read_rows

IMAGE, PROJECT = UUID(int=1), UUID(int=2)


def test_rows_with_an_image_and_a_project_are_taken_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    file.write_text(f"image_id,project_id\n{IMAGE},{PROJECT}\nscan-7,{PROJECT}\n{IMAGE}\n", encoding="utf-8-sig")
    assert images_of(read_rows(file), "image_id", "project_id", None) == {PROJECT: {IMAGE}}


def test_a_project_of_all_rows_needs_no_column() -> None:
    rows = iter([("Scan id",), (str(IMAGE),)])
    assert images_of(rows, "Scan id", "project_id", PROJECT) == {PROJECT: {IMAGE}}


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no column 'image_id' among 'id'"):
        images_of(iter([("id",)]), "image_id", "project_id", PROJECT)


@pytest.mark.parametrize(
    ("row", "told"), [(f"{IMAGE},{PROJECT}", "is `make run` still up?"), ("scan-7,harbour", "no row of catalogue.csv")]
)
def test_what_hinders_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], row: str, told: str
) -> None:
    file = tmp_path / "catalogue.csv"
    file.write_text(f"image_id,project_id\n{row}\n")
    monkeypatch.setattr("sys.argv", ["add_images", "--simulation", "http://127.0.0.1:9", str(file)])
    assert main() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert told in line
