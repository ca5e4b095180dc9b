"""A container that is stopped lets the Functions host drain, in a process tree of the same shape as the image's."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.infra.conftest import ROOT

STARTUP = "/opt/startup"
HOST = "/azure-functions-host/Microsoft.Azure.WebJobs.Script.WebHost"
DRAIN_SECONDS = 10
"""What the host gives to what runs, after SIGTERM; no setting of the app."""

AS_THE_IMAGE_DOES = ["/bin/bash", "-c", f"source {STARTUP}/install_ca_certificates.sh\n{HOST}\ntrue"]
"""The official image's start script: bash stays."""


def command() -> list[str]:
    """How the container starts."""
    [found] = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return list(json.loads(found))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What the image has, with a host that says when it is up, when it is told to stop, and which process it is."""
    startup, host = tmp_path / "startup", tmp_path / "host"
    startup.mkdir()
    (startup / "install_ca_certificates.sh").write_text("echo WEBSITES_INCLUDE_CLOUD_CERTS is not set to true.\n")
    host.write_text(
        f"#!{sys.executable}\n"
        "import os, signal\n"
        "def drain(*_): print('drained', flush=True); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, drain)\n"
        "print(os.getpid(), flush=True)\n"
        "while True: signal.pause()\n"
    )
    host.chmod(0o755)
    return tmp_path


def started(command: list[str], image: Path) -> tuple[subprocess.Popen[str], int]:
    """The container's process, and the host's."""
    here = [text.replace(STARTUP, str(image / "startup")).replace(HOST, str(image / "host")) for text in command]
    process = subprocess.Popen(here, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "WEBSITES" in process.stdout.readline()
    return process, int(process.stdout.readline())


def test_the_host_is_the_process_that_gets_the_signal_and_drains(image: Path) -> None:
    process, host = started(command(), image)
    assert host == process.pid
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=10)
    assert said == "drained\n"
    assert process.returncode == 0


def test_the_images_own_script_would_keep_the_signal_to_itself(image: Path) -> None:
    process, host = started(AS_THE_IMAGE_DOES, image)
    assert host != process.pid
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    os.kill(host, signal.SIGKILL)  # it still runs
    assert process.communicate(timeout=10)[0] == ""


def test_a_pod_is_not_killed_before_its_host_has_drained(manifests: list[dict[str, Any]]) -> None:
    pods = [each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "Deployment"]
    assert pods
    assert all(pod["terminationGracePeriodSeconds"] > DRAIN_SECONDS + 5 for pod in pods)
    assert not any("command" in container or "args" in container for pod in pods for container in pod["containers"])
