"""What the deployment's files say, read with real parsers."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pycep
import pytest

from infra.check.files import read_json, read_yaml

ROOT = Path(__file__).parents[3]
INFRA = ROOT / "infra"

Bicep = dict[str, Any]


NOT_OURS = {"node_modules", "build", "htmlcov"}


def project_files() -> Iterator[Path]:
    """All files, without what commands have made or installed."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and (name[0] != "." or name == ".github")]
        yield from (Path(folder) / name for name in names)


def read_bicep(path: Path) -> Bicep:
    return cast("Bicep", pycep.BicepParser().parse(text=path.read_text()))


@pytest.fixture(scope="session")
def bicep() -> dict[str, Bicep]:
    """Every Bicep file, by its path from infra/."""
    return {str(path.relative_to(INFRA)): read_bicep(path) for path in sorted(INFRA.rglob("*.bicep"))}


@pytest.fixture(scope="session")
def parameters() -> dict[str, Any]:
    """The values in main.parameters.json, by parameter."""
    given = read_json(INFRA / "main.parameters.json")["parameters"]
    return {name: parameter["value"] for name, parameter in given.items()}


@pytest.fixture(scope="session")
def choices(parameters: dict[str, Any]) -> dict[str, str]:
    """The app settings in main.parameters.json with the defaults that azd takes: `${NAME=default}`."""
    found = {}
    for name, value in parameters["settings"].items():
        match = re.fullmatch(r"\$\{(\w+)=(.*)\}", value)
        assert match, f"{name}: {value} has no default"
        assert match[1] == name, f"{name} is read from {match[1]}"
        found[name] = match[2]
    return found


@pytest.fixture(scope="session")
def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object."""
    return [each for path in sorted((INFRA / "kubernetes").glob("*.yaml")) for each in read_yaml(path)]


@pytest.fixture(scope="session")
def host() -> dict[str, Any]:
    config: dict[str, Any] = read_json(ROOT / "host.json")
    return config
