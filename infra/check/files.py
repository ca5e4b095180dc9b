"""YAML and JSON, read so that a key which stands twice in one object is an error.

kubectl refuses such a file; azd, json and PyYAML take the last one and say nothing.
"""

import json
from pathlib import Path
from typing import Any

import yaml


class DuplicateKeyError(ValueError):
    """A key stands twice in one object."""


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)


def read_yaml(path: Path) -> list[Any]:
    """All documents of a YAML file."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), _Loader))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_duplicates([key for key, _ in pairs])
    return dict(pairs)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_duplicates([key.value for key, _ in node.value])
        return super().construct_mapping(node, deep)


def _refuse_duplicates(keys: list[Any]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise DuplicateKeyError(f"the key {key!r} stands twice")
