"""Settings, sample, Bicep, Kubernetes and documentation name the same settings with the same defaults.

`shared/settings.py` is what they are compared with. Each is loaded by the app's own code, too.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from infra.check.files import read_json
from ops.settings import load_ops_settings
from shared.settings import STORAGE, Settings, poison_of
from tests.unit.infra.conftest import ROOT, Bicep

NOT_OURS = {
    "FUNCTIONS_WORKER_RUNTIME",
    f"{STORAGE}__blobServiceUri",
    f"{STORAGE}__credential",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "AZURE_CLIENT_ID",
}
"""Names in the deployment that only the Functions host and Azure's libraries read."""

UNNEEDED = {STORAGE, f"{STORAGE}__accountName", "EVENT_GRID_TOPIC_KEY"}
"""Settings that a deployment with an identity has no use for: other ways to say the same."""

FROM_RESOURCES = {
    f"{STORAGE}__queueServiceUri",
    f"{STORAGE}__clientId",
    "CUSTOM_VISION_ENDPOINT",
    "FACE_ENDPOINT",
    "EVENT_GRID_TOPIC_ENDPOINT",
    "CUSTOM_VISION_TRAINING_KEY",
    "FACE_KEY",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
}
"""Settings that Bicep takes from the resources it makes, and Kubernetes' first block asks for."""

CONNECTION_STRING = "AccountName=devstoreaccount1;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1"


def name_of(field: str, info: FieldInfo) -> str:
    """A setting's name; where it has older ones too, the first."""
    alias = info.validation_alias
    return str(alias.choices[0] if isinstance(alias, AliasChoices) else alias or field.upper())


FIELDS = {name_of(field, info): (field, info) for field, info in Settings.model_fields.items()}
OURS = set(FIELDS)
CHOICES = OURS - UNNEEDED - FROM_RESOURCES


@pytest.fixture
def sample() -> dict[str, str]:
    values: dict[str, str] = read_json(ROOT / "local.settings.sample.json")["Values"]
    return values


@pytest.fixture
def config_map(manifests: list[dict[str, Any]]) -> dict[str, str]:
    [found] = [each["data"] for each in manifests if each["kind"] == "ConfigMap"]
    return dict(found)


def loaded(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> Settings:
    """What the app makes of these, and of no other settings of the environment."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def differing(settings: Settings, names: set[str]) -> dict[str, object]:
    """The named settings that have a default and are set to something else."""
    given = {name: (getattr(settings, FIELDS[name][0]), FIELDS[name][1]) for name in names & OURS}
    return {
        name: value
        for name, (value, info) in given.items()
        if not info.is_required() and info.default is not None and value != info.default
    }


def test_what_is_ours_is_not_called_foreign() -> None:
    assert set() == OURS & NOT_OURS


def test_bicep_names_every_setting_once(choices: dict[str, str], bicep: dict[str, Bicep]) -> None:
    from_resources = set(re.findall(r"^\s+(?:.*\{ )?(\w+): .*", _settings_of_function_bicep(), flags=re.MULTILINE))
    assert set(choices) == CHOICES
    assert from_resources - NOT_OURS == FROM_RESOURCES
    assert "settings" in bicep["app/function.bicep"]["parameters"]


def _settings_of_function_bicep() -> str:
    """The variables `…Settings`, without what stands around them."""
    text = (ROOT / "infra/app/function.bicep").read_text()
    return text[text.index("var ownSettings") : text.index("resource plan")].replace("var ", " ")


def test_azd_takes_the_defaults_of_the_app(monkeypatch: pytest.MonkeyPatch, choices: dict[str, str]) -> None:
    given = {
        f"{STORAGE}__queueServiceUri": "https://stabc.queue.core.windows.net/",
        "CUSTOM_VISION_ENDPOINT": "https://cv-abc.cognitiveservices.azure.com/",
        "FACE_ENDPOINT": "https://face-abc.cognitiveservices.azure.com/",
    }
    settings = loaded(monkeypatch, choices | given)
    assert differing(settings, CHOICES) == {}


def test_kubernetes_names_the_same_settings_as_bicep(config_map: dict[str, str], choices: dict[str, str]) -> None:
    keys = {name for name, (_, info) in FIELDS.items() if "SecretStr" in str(info.annotation)}
    assert set(config_map) - NOT_OURS == set(choices) | FROM_RESOURCES - keys
    assert {name: config_map[name] for name in choices} == choices


def test_a_pod_is_told_all_that_the_function_app_is_told(config_map: dict[str, str]) -> None:
    """Telemetry with a key is refused, so a connection string alone would send nothing."""
    told = set(re.findall(r"^  (\w+): ", _settings_of_function_bicep(), flags=re.MULTILINE))
    assert told - {"AZURE_CLIENT_ID"} <= set(config_map)  # that one comes with the service account
    assert config_map["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"].endswith(";Authorization=AAD")


def test_what_kubernetes_asks_for_is_put_out_by_the_deployment(bicep: dict[str, Bicep]) -> None:
    put_out = set(bicep["main.bicep"]["outputs"])
    lines = [line for path in (ROOT / "infra/kubernetes").glob("*.yaml") for line in path.read_text().splitlines()]
    asked = {name: line for line in lines for name in re.findall(r"#.*?\b((?:[A-Z]+_|Azure)\w+)", line)}
    assert set(asked) >= {"AZURE_APP_CLIENT_ID", "APPLICATIONINSIGHTS_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"}
    assert set(asked) <= put_out
    commands = (ROOT / "docs/deploying.md").read_text()
    used = set(re.findall(r"azd env get-value (\w+)", commands)) - {"AZURE_ENV_NAME"}
    assert used <= put_out
    assert used >= {"AZURE_IDENTITY_NAME", "AZURE_RESOURCE_GROUP"}


def test_one_command_puts_the_deployments_settings_where_the_command_line_reads_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bicep: dict[str, Bicep]
) -> None:
    values = {
        **dict.fromkeys(bicep["main.bicep"]["outputs"], "made"),
        f"{STORAGE}__blobServiceUri": "https://made.blob.core.windows.net/",
        f"{STORAGE}__queueServiceUri": "https://made.queue.core.windows.net/",
        "CUSTOM_VISION_ENDPOINT": "https://cv-made.cognitiveservices.azure.com/",
        "FACE_ENDPOINT": "https://face-made.cognitiveservices.azure.com/",
        "EVENT_GRID_TOPIC_ENDPOINT": "",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=made;IngestionEndpoint=https://made.example/",
        "METADATA_UPDATES_QUEUE": "chosen-updates",
        "TRAINING_POLL_SCHEDULE": "0 * * * * *",
    }
    (tmp_path / ".azure").mkdir()
    (tmp_path / "azd").write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(values, indent=2)}\nEND\n")
    (tmp_path / "azd").chmod(0o755)
    [command] = re.findall(r"^printf .*$", (ROOT / "docs/how-to/deploy.md").read_text(), re.MULTILINE)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", {})
        settings = load_ops_settings(tmp_path / ".azure/settings.json")
    assert settings.storage_endpoint == "https://made.queue.core.windows.net"
    assert settings.metadata_updates_queue == "chosen-updates"
    assert settings.storage_client_id is None, "the app's identity is not that of whoever types"
    assert settings.custom_vision_training_key is None


def test_a_consumer_with_a_trigger_may_release_a_message_and_write_its_poison_queue() -> None:
    page = (ROOT / "docs/deploying.md").read_text()
    given = re.findall(r'--assignee "\$CONSUMER" --role "(.+?)" --scope "\$QUEUES/(.+?)"', page)
    assert set(given) == {
        ("Storage Queue Data Message Processor", "training-events"),
        ("Storage Queue Data Contributor", "training-events"),
        ("Storage Queue Data Contributor", poison_of("training-events")),
    }


def test_the_page_says_which_settings_azd_does_not_take() -> None:
    [row] = [line for line in (ROOT / "docs/deploying.md").read_text().splitlines() if "not `azd env set`" in line]
    named = set(re.findall(r"`(\w+)`", row))
    older = {name for _, info in FIELDS.values() for name in _older(info)}
    assert older == {"HOLD_SECONDS"}
    ours_elsewhere = OURS - CHOICES - {name for name in OURS if name.startswith(STORAGE)}
    assert named >= ours_elsewhere - {"APPLICATIONINSIGHTS_CONNECTION_STRING"} | older


def _older(info: FieldInfo) -> list[str]:
    alias = info.validation_alias
    return [str(each) for each in alias.choices[1:]] if isinstance(alias, AliasChoices) else []


def test_the_app_starts_with_the_settings_of_kubernetes(
    monkeypatch: pytest.MonkeyPatch, config_map: dict[str, str]
) -> None:
    loaded(monkeypatch, config_map)


def test_the_sample_has_what_must_be_set_and_the_defaults(
    monkeypatch: pytest.MonkeyPatch, sample: dict[str, str], choices: dict[str, str]
) -> None:
    assert sample["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"  # `make run` puts Azurite's own in its place
    settings = loaded(monkeypatch, sample | {STORAGE: CONNECTION_STRING})
    required = {name for name, (_, info) in FIELDS.items() if info.is_required()}
    assert required <= set(sample) <= OURS | NOT_OURS
    assert differing(settings, set(sample)) == {}
    both = set(sample) & set(choices)
    assert {name: sample[name] for name in both} == {name: choices[name] for name in both}


def test_the_documentation_has_every_setting_with_its_default(
    monkeypatch: pytest.MonkeyPatch, choices: dict[str, str]
) -> None:
    rows = [row for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")) for row in _rows(path.read_text())]
    documented = {name: default for names, defaults, _ in rows for name, default in zip(names, defaults, strict=True)}
    mentioned = {name for _, _, text in rows for name in re.findall(r"`(\w+)`", text)}
    assert mentioned >= OURS, "some settings are not documented"
    assert set(documented) <= OURS | NOT_OURS, "some documented settings do not exist"
    for name, default in documented.items():
        _, info = FIELDS.get(name, (None, None))
        if info is None:
            continue
        if info.is_required() or info.default is None:
            assert default in ("", "identity", "none", "by endpoint"), f"{name} has no default"
        else:
            assert default.strip("`") == choices[name], name


def _rows(text: str) -> list[tuple[list[str], list[str], str]]:
    """Names, defaults and whole text of each row of the tables `| setting | default | meaning |`."""
    rows = []
    for table in re.findall(r"^\| setting \| default \| meaning \|\n\|[-|: ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        for line in table.splitlines():
            names = re.findall(r"`(\w+)`", line.split("|")[1])
            rows.append((names, [each.strip() for each in line.split("|")[2].split(",")], line))
    return rows


def test_keys_are_secrets_and_never_stand_in_a_file_of_the_deployment(config_map: dict[str, str]) -> None:
    secrets = {name for name, (_, info) in FIELDS.items() if "SecretStr" in str(info.annotation)}
    assert {"CUSTOM_VISION_TRAINING_KEY", "FACE_KEY"} <= secrets
    assert secrets & set(config_map) == set()
    for name in secrets - UNNEEDED:
        assert f"{name}: '@Microsoft.KeyVault(" in _settings_of_function_bicep()
