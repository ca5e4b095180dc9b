"""Every YAML and JSON file of the repository can be read, and no key stands twice in one object."""

from pathlib import Path

import pytest

from infra.check.files import DuplicateKeyError, read_json, read_yaml
from tests.unit.infra.conftest import ROOT, project_files

READERS = {".json": read_json, ".yaml": read_yaml, ".yml": read_yaml}


def test_no_key_of_a_file_stands_twice() -> None:
    found = [path for path in project_files() if path.suffix in READERS]
    assert {path.name for path in found} >= {"settings.yaml", "main.parameters.json", "deploy.yml", "host.json"}
    for path in found:
        try:
            READERS[path.suffix](path)
        except DuplicateKeyError as error:
            pytest.fail(f"{path.relative_to(ROOT)}: {error}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"a": {"b": 1, "c": 2, "b": 1}}'),
        ("a.yaml", "a:\n  b: 1\n  c: 2\n  b: 1\n"),
        ("a.yml", "c: 1\n---\n- {b: 1, 'b': 2}\n"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DuplicateKeyError, match="the key 'b' stands twice"):
        READERS[path.suffix](path)


def test_the_same_key_of_two_objects_is_no_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {b: 1}\nc:\n  <<: *a\n  b: 2\n")
    assert read_yaml(path) == [{"a": {"b": 1}, "c": {"b": 2}}]
