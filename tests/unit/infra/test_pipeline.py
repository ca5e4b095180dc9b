"""A deployment from GitHub is the same deployment as one from somebody's desk."""

import re
from typing import Any

import pytest

from infra.check.files import read_yaml
from tests.unit.infra.conftest import INFRA, ROOT, Bicep, project_files

OF_AZD = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "AZURE_LOCATION"}
"""What `azd pipeline config` hands over by itself. Who deploys (`AZURE_PRINCIPAL_ID`) azd finds out anew."""


@pytest.fixture(scope="session")
def deploy() -> dict[str, Any]:
    [workflow] = read_yaml(ROOT / ".github/workflows/deploy.yml")
    job: dict[str, Any] = workflow["jobs"]["deploy"]
    return job


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    [found] = read_yaml(ROOT / "azure.yaml")
    return dict(found)


@pytest.fixture(scope="session")
def read_by_azd() -> set[str]:
    """Every variable in main.parameters.json."""
    return set(re.findall(r"\$\{(\w+)", (INFRA / "main.parameters.json").read_text()))


def test_github_passes_every_variable_that_the_deployment_reads(deploy: dict[str, Any], read_by_azd: set[str]) -> None:
    """What is not passed has its default on a runner, and the deployment is reset to it."""
    passed = dict(deploy["env"])
    assert passed.pop("AZURE_PRINCIPAL_TYPE") == "ServicePrincipal"
    assert set(passed) == (read_by_azd | OF_AZD) - {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}
    assert passed == {name: f"${{{{ vars.{name} }}}}" for name in passed}


def test_azd_hands_over_every_variable_that_github_passes(project: dict[str, Any], deploy: dict[str, Any]) -> None:
    handed_over = project["pipeline"]["variables"]
    assert len(set(handed_over)) == len(handed_over)
    assert set(handed_over) | OF_AZD | {"AZURE_PRINCIPAL_TYPE"} == set(deploy["env"])


def test_the_documented_credential_is_that_of_the_workflows_environment(deploy: dict[str, Any]) -> None:
    """azd makes credentials for branches only; a job with an environment comes as that environment."""
    page = (ROOT / "docs/deploying.md").read_text()
    [subject] = re.findall(r"repo:OWNER/REPO:environment:(\w+)", page)
    assert subject == deploy["environment"]
    assert "az ad app federated-credential create" in page


def test_a_pipeline_gets_no_operators_roles(bicep: dict[str, Bicep]) -> None:
    text = (INFRA / "main.bicep").read_text()
    assert "var operatorPrincipalId = principalType == 'ServicePrincipal' ? '' : principalId\n" in text
    given = {
        module["config"].get("config", module["config"])["params"].get("operatorPrincipalId")
        for module in bicep["main.bicep"]["modules"].values()
    }
    assert given == {None, "operatorPrincipalId"}


def test_an_azd_that_deletes_other_groups_is_refused(project: dict[str, Any]) -> None:
    """Since 1.24.1 `azd down` deletes those groups only that the deployment made (azure-dev#2916, #7698)."""
    assert project["requiredVersions"] == {"azd": ">= 1.24.1"}


def test_dependabot_looks_at_every_lock_file() -> None:
    [config] = read_yaml(ROOT / ".github/dependabot.yml")
    watched = {update["package-ecosystem"]: update for update in config["updates"]}
    files = list(project_files())
    folders = {"/" + str(path.parent.relative_to(ROOT)) for path in files if path.name == "package-lock.json"}
    assert folders
    assert set(watched["npm"]["directories"]) == folders
    pins = {"/" + str(path.parent.relative_to(ROOT)).removeprefix(".") for path in files if path.suffix == ".in"} | {
        "/"
    }
    assert set(watched["pip"]["directories"]) == pins
