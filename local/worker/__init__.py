"""The worker of Azure Functions for Python 3.13 and newer, with Microsoft's own library in it, and the host's end.

`process` is what runs the app, `host` what starts it and calls it, `shapes` how the host puts a message or a tick into
an invocation. It needs the packages of requirements/dev.txt on Python 3.13.
"""

import os

# Child processes are forked and execute another program at once: nothing of gRPC has to survive that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
