"""The documents as they stand in docs/contracts."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from contracts.asyncapi import asyncapi
from contracts.schemas import DIALECT, Contract, contracts

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "docs" / "contracts"
ASYNCAPI = "asyncapi.json"


def documents() -> dict[str, str]:
    """Each document's text by the name of its file."""
    found = contracts()
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    schemas = {file_of(contract): _text(_standalone(contract)) for contract in found}
    return {**schemas, ASYNCAPI: _text(asyncapi(found, version))}


def file_of(contract: Contract) -> str:
    """The name of the file that has this schema."""
    return f"{contract.file}.schema.json"


def _standalone(contract: Contract) -> dict[str, Any]:
    about = {"$schema": DIALECT, "$id": f"urn:vision-relay:{contract.file}", "title": contract.title}
    return {**about, **contract.schema}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
