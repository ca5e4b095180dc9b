"""`python -m local demo`, `run` or `chaos`: Ctrl-C ends it in one line, also while its libraries load."""

from __future__ import annotations

import os
import sys
from importlib import import_module

INTERRUPTED = 130
MODULES = {"demo": "local.demo", "run": "local.run", "chaos": "local.chaos.__main__"}


def main() -> None:
    """Run what the first argument names, with the others."""
    try:
        if len(sys.argv) < 2 or sys.argv[1] not in MODULES:
            sys.exit(f"usage: python -m local {'|'.join(MODULES)} [--help]")
        module = import_module(MODULES[sys.argv.pop(1)])
        sys.exit(module.main())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        os._exit(INTERRUPTED)  # where the signal struck amid an `eval`, `sys.exit` would end as killed by it


if __name__ == "__main__":
    main()
