"""What `azd deploy` sends to the function app, and that the app starts from it alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from tests.unit.infra.conftest import ROOT

NEVER = {".azure", ".funcignore", "local.settings.json"}
"""What azd leaves out by itself. Where there is a `.funcignore`, it leaves out nothing else that is not in it."""

MADE = [  # by the project's commands, or by hand
    ".env",
    ".venv/pyvenv.cfg",
    ".venv-infra/pyvenv.cfg",
    ".azure/production/.env",
    ".local/terminal.sh",
    ".pytest_cache/README",
    ".coverage.host",
    "__pycache__/function_app.cpython-311.pyc",
    "shared/limits/__pycache__/permits.cpython-311.pyc",
    "functions/__pycache__/__init__.cpython-311.pyc",
    "build/kubernetes.yaml",
    "htmlcov/index.html",
    "local.settings.json",
    "local.settings.production.json",
    "local/azurite/node_modules/azurite/package.json",
    "node_modules/azurite/package.json",
    "vision_relay.egg-info/PKG-INFO",
    "contracts/__main__.py",
    "infra/main.bicep",
    "ops/commands/send.py",
    "tests/npm/package.json",
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files, as azd chooses them, out of the project after some work in it."""
    project, package = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("package")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, project)
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, project / name)
    for name in MADE:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    ignored = GitIgnoreSpec.from_lines((project / ".funcignore").read_text().splitlines())
    for folder, folders, names in os.walk(project):
        inside = Path(folder).relative_to(project)
        folders[:] = [name for name in folders if name not in NEVER and not ignored.match_file(f"{inside / name}/")]
        for name in names:
            if name not in NEVER and not ignored.match_file(inside / name):
                (package / inside).mkdir(parents=True, exist_ok=True)
                shutil.copy(project / inside / name, package / inside / name)
    return package


def listing(package: Path) -> set[str]:
    return {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}


def test_the_package_is_the_app_and_what_it_needs(package: Path) -> None:
    sources = {str(path.relative_to(ROOT)) for name in ("functions", "shared") for path in (ROOT / name).rglob("*.py")}
    assert listing(package) == sources | {"function_app.py", "host.json", "requirements.txt"}


def test_the_app_starts_from_the_package_alone(package: Path) -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    program = (
        "import sys, function_app\n"
        "print(sorted(each.get_function_name() for each in function_app.app.get_functions()))\n"
        "from pathlib import Path\n"
        "ours = [module for name, module in sys.modules.items() if name.split('.')[0] in ('shared', 'functions')]\n"
        "assert all(Path(module.__file__).is_relative_to(Path.cwd()) for module in ours), ours\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('ops', 'local', 'tests', 'infra')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=package,
        env={**sample, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['poll_training_status', 'update_image_metadata']\n"
