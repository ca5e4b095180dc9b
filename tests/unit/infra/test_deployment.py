"""The deployment's files fit each other and the code."""

import re
import tomllib
from typing import Any

import pytest

from infra.check.files import read_json, read_yaml
from shared.errors import Unavailable
from shared.limits.circuit_breaker import REMIND_SECONDS, CircuitBreakers
from shared.settings import poison_of
from tests.unit.infra.conftest import INFRA, ROOT, Bicep

FUNCTIONS = {path.stem for path in (ROOT / "functions").glob("*.py") if "func.Blueprint()" in path.read_text()}


def code() -> str:
    """All that can write a log line."""
    return "\n".join(path.read_text() for folder in ("shared", "functions") for path in (ROOT / folder).rglob("*.py"))


def test_modules_are_given_the_parameters_that_they_take(bicep: dict[str, Bicep]) -> None:
    for name, module in bicep["main.bicep"]["modules"].items():
        config = module["config"].get("config", module["config"])
        takes = bicep[module["detail"]["path"]]["parameters"]
        needs = {parameter for parameter, declared in takes.items() if declared["default"] is None}
        assert needs <= set(config["params"]) <= set(takes), name


def test_outputs_that_are_used_exist(bicep: dict[str, Bicep]) -> None:
    main = bicep["main.bicep"]
    used = re.findall(r"\b(\w+)!?\.outputs\.(\w+)", (INFRA / "main.bicep").read_text())
    assert used
    for module, output in used:
        assert output in bicep[main["modules"][module]["detail"]["path"]]["outputs"], f"{module}.outputs.{output}"


def test_azd_gives_the_parameters_that_main_takes(bicep: dict[str, Bicep], parameters: dict[str, Any]) -> None:
    takes = bicep["main.bicep"]["parameters"]
    needs = {name for name, declared in takes.items() if declared["default"] is None}
    assert needs <= set(parameters) == set(takes)


def test_parameters_have_one_default(bicep: dict[str, Bicep], parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        declared = bicep["main.bicep"]["parameters"][name]["default"]
        if isinstance(value, str) and "=" in value:
            assert value.partition("=")[2].removesuffix("}").lower() == str(declared).lower(), name


def test_what_checkov_leaves_out_has_no_resource_but_the_group(bicep: dict[str, Bicep]) -> None:
    assert set(bicep["main.bicep"]["resources"]) == {"group"}


def test_no_module_comes_from_a_registry(bicep: dict[str, Bicep]) -> None:
    for path, parsed in bicep.items():
        assert all(module["type"] == "local" for module in parsed.get("modules", {}).values()), path


def test_roles_are_assigned_in_one_file_and_each_has_its_reason(bicep: dict[str, Bicep]) -> None:
    assigning = {path for path in bicep if "roleAssignments@" in (INFRA / path).read_text()}
    assert assigning == {"app/roles.bicep"}
    text = (INFRA / "app/roles.bicep").read_text()
    for line in re.findall(r"(.*)\nresource \w+ 'Microsoft.Authorization/roleAssignments", text):
        assert line.startswith("// ")


def test_flex_consumption_is_given_nothing_that_it_refuses(bicep: dict[str, Bicep]) -> None:
    """Azure answers 51021 to some properties that other plans have, and ignores or trips over some app settings."""
    site = bicep["app/function.bicep"]["resources"]["app"]["config"]["properties"]
    refused = {
        *("alwaysOn", "ftpsState", "functionAppScaleLimit", "functionsRuntimeScaleMonitoringEnabled", "linuxFxVersion"),
        *("netFrameworkVersion", "preWarmedInstanceCount", "use32BitWorkerProcess", "windowsFxVersion"),
    }
    assert set(site["siteConfig"]) & refused == set()
    text = (INFRA / "app/function.bicep").read_text()
    for prefix in ("FUNCTIONS_", "WEBSITE_", "SCM_", "ENABLE_ORYX_BUILD"):
        assert prefix not in text


def test_storage_takes_no_keys(bicep: dict[str, Bicep]) -> None:
    assert bicep["app/storage.bicep"]["resources"]["account"]["config"]["properties"]["allowSharedKeyAccess"] is False


def test_every_queue_is_made_but_that_of_permits_which_the_app_makes_with_its_permits(choices: dict[str, str]) -> None:
    text = (INFRA / "main.bicep").read_text()
    made = text[text.index("queueNames:") : text.index("], name =>")]
    for name in (name for name in choices if name.endswith("_QUEUE") and name != "PERMITS_QUEUE"):
        assert f"settings.{name}\n" in made, name
    for name in ("METADATA_UPDATES_QUEUE", "TRAINING_WATCHES_QUEUE"):
        assert poison_of(f"'${{settings.{name}}}") + "'" in made
    assert "PERMITS_QUEUE" not in made


@pytest.fixture
def rules(bicep: dict[str, Bicep]) -> dict[str, dict[str, Any]]:
    return {rule["name"]: rule for rule in bicep["app/alerts.bicep"]["variables"]["rules"]["value"]}


def test_alert_rules_look_for_what_is_really_said(rules: dict[str, dict[str, Any]]) -> None:
    assert set(rules) == {"dead-letters", "calls-suspended", "oldest-message", "host-poison", "silence"}
    said = {name: re.findall(r"(?:contains|startswith) '([^']+)'", rule["query"]) for name, rule in rules.items()}
    assert said.pop("host-poison") == ["Message has reached MaxDequeueCount"]  # the host's own words, in its source
    for name, phrases in said.items():
        assert phrases or name == "silence"
        for phrase in phrases:
            assert phrase in code(), f"{name}: nobody says {phrase!r}"


def test_the_age_in_the_log_is_read_by_its_rule(rules: dict[str, dict[str, Any]]) -> None:
    [said] = re.findall(r'log.warning\("(a message has waited .*?)"', code())
    [pattern] = re.findall(r"extract\(@'(.*?)'", rules["oldest-message"]["query"])
    match = re.search(pattern, said % 7200)
    assert match
    assert match[1] == "7200"


def test_the_rule_of_suspended_calls_knows_whose_they_are(
    rules: dict[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """A project whose calls are resumed says nothing of another whose calls are not."""
    [pattern] = re.findall(r"extract\(@'(.*?)', 1", rules["calls-suspended"]["query"])

    def scope(text: str) -> str:
        match = re.search(pattern, text)
        return match[1] if match else ""

    for whose in (None, "project c0ffee00-0000-4000-8000-000000000001"):
        caplog.clear()
        breakers = CircuitBreakers("Custom Vision")
        breakers.report(breakers.admit(0, whose), Unavailable("503 for X: after 1.0 s"), 0)
        at = breakers.ready_at(whose)
        breakers.report(breakers.admit(at, whose), None, at)
        suspended, resumed = (record.getMessage() for record in caplog.records)
        assert scope(suspended) == scope(resumed) == (whose or "")


def test_the_rule_of_silence_looks_for_a_line_of_the_timer_that_the_host_writes(
    rules: dict[str, dict[str, Any]], host: dict[str, Any]
) -> None:
    [name] = re.findall(r"\"Executed 'Functions\.(\w+)'", rules["silence"]["query"])
    assert name in FUNCTIONS
    assert f"Function.{name}" not in host["logging"]["logLevel"]
    assert host["logging"]["logLevel"]["default"] == "Information"


def test_calls_that_are_still_suspended_are_told_again_before_the_rule_forgets_them(
    rules: dict[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    breakers = CircuitBreakers("Custom Vision")
    breakers.report(breakers.admit(0), Unavailable("503"), 0)
    breakers.remind(REMIND_SECONDS)
    first, again = (record.getMessage() for record in caplog.records)
    assert again == first
    assert rules["calls-suspended"]["range"] == "PT2H"
    assert REMIND_SECONDS == 3600.0  # an hour is left for a line that comes late


def test_an_hourly_schedule_is_no_silence(rules: dict[str, dict[str, Any]]) -> None:
    assert rules["silence"]["range"] == rules["silence"]["windowSize"] == "PT2H"


def test_what_a_rule_looks_back_at_is_a_time_that_azure_takes(rules: dict[str, dict[str, Any]]) -> None:
    takes = {"PT5M", "PT10M", "PT15M", "PT30M", "PT45M", "PT1H", "PT2H", "PT3H", "PT4H", "PT5H", "PT6H", "P1D", "P2D"}
    assert {rule[of] for rule in rules.values() for of in ("range", "windowSize")} <= takes


def test_the_workbook_looks_for_what_is_really_said() -> None:
    workbook = read_json(INFRA / "app/workbook.json")
    queries = [item["content"]["query"] for item in workbook["items"] if item["type"] == 3]
    phrases = {phrase for query in queries for phrase in re.findall(r"(?:contains|startswith) '([^']+)'", query)}
    assert phrases
    assert not any(query.startswith("requests") for query in queries), "host.json leaves requests out"
    for phrase in phrases - {"Message has reached MaxDequeueCount", "Message has reached"}:
        assert phrase in code(), phrase


def test_dead_letters_are_not_sampled_away_and_messages_that_go_well_write_no_line(host: dict[str, Any]) -> None:
    levels = host["logging"]["logLevel"]
    sampling = host["logging"]["applicationInsights"]["samplingSettings"]
    assert {"Exception", "Trace"} <= set(sampling["excludedTypes"].split(";"))
    assert levels["Function.update_image_metadata"] == "None"
    assert levels["Function.update_image_metadata.User"] == "Information"
    assert levels["Host.Results"] == "None", "no request for each message, and no stack trace for one that comes back"
    assert {name.split(".")[1] for name in levels if name.startswith("Function.")} <= FUNCTIONS


def test_a_secret_that_two_settings_name_gets_its_role_once_and_one_without_a_vault_stops_the_deployment(
    bicep: dict[str, Bicep],
) -> None:
    """ARM refuses the same role assignment twice, and takes a reference to a vault that has no name."""
    main = bicep["main.bicep"]
    assert main["variables"]["keySecretNames"]["value"]["function"]["type"] == "union"
    assert main["modules"]["vaultRoles"]["config"]["config"]["params"]["keyVaultSecretNames"] == "keySecretNames"
    assert "empty(keySecretNames) ? '${accountPrefix}/none' : fail(noVault)" in (INFRA / "main.bicep").read_text()
    assert "KEY_VAULT_RESOURCE_ID is missing" in main["variables"]["noVault"]["value"]


def deployments(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == "Deployment"}


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_each_function_runs_in_one_kubernetes_deployment(manifests: list[dict[str, Any]]) -> None:
    run = [environment(each)["AzureFunctionsJobHost__functions__0"] for each in deployments(manifests).values()]
    assert sorted(run) == sorted(FUNCTIONS)
    host_ids = [environment(each)["AzureFunctionsWebHost__hostid"] for each in deployments(manifests).values()]
    assert len(set(host_ids)) == len(host_ids)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", host_id) for host_id in host_ids)


def test_keda_scales_the_queue_function_as_the_host_takes_messages(
    manifests: list[dict[str, Any]], host: dict[str, Any], choices: dict[str, str], bicep: dict[str, Bicep]
) -> None:
    [scaled] = [each["spec"] for each in manifests if each["kind"] == "ScaledObject"]
    [authentication] = [each for each in manifests if each["kind"] == "TriggerAuthentication"]
    [trigger] = scaled["triggers"]
    target = deployments(manifests)[scaled["scaleTargetRef"]["name"]]
    assert environment(target)["AzureFunctionsJobHost__functions__0"] == "update_image_metadata"
    assert "replicas" not in target["spec"]
    assert trigger["metadata"]["queueName"] == choices["METADATA_UPDATES_QUEUE"]
    queues = host["extensions"]["queues"]
    assert int(trigger["metadata"]["queueLength"]) == queues["batchSize"] + queues["newBatchThreshold"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert authentication["spec"]["podIdentity"]["provider"] == "azure-workload"
    assert scaled["maxReplicaCount"] == bicep["main.bicep"]["parameters"]["maximumInstanceCount"]["default"]
    assert scaled["cooldownPeriod"] >= float(choices["MAX_WAIT_SECONDS"])


def test_pods_are_the_identity_that_has_the_roles(manifests: list[dict[str, Any]]) -> None:
    [account] = [each for each in manifests if each["kind"] == "ServiceAccount"]
    assert "azure.workload.identity/client-id" in account["metadata"]["annotations"]
    for deployment in deployments(manifests).values():
        template = deployment["spec"]["template"]
        assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"
        assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]


def test_all_manifests_are_applied() -> None:
    [kustomization] = read_yaml(INFRA / "kubernetes/kustomization.yaml")
    files = {path.name for path in (INFRA / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files


def test_the_image_has_what_the_function_app_has() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = {
        name.rstrip("/") for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    }
    let_through = {
        line[1:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)
    assert "ASPNETCORE_URLS=http://+:8080" in dockerfile


def test_every_place_has_the_same_python(bicep: dict[str, Bicep]) -> None:
    runtime = bicep["app/function.bicep"]["resources"]["app"]["config"]["properties"]["functionAppConfig"]["runtime"]
    assert runtime["name"] == "python"
    assert f"azure-functions/python:4-python{runtime['version']}\n" in (ROOT / "Dockerfile").read_text()
    [workflow] = read_yaml(ROOT / ".github/workflows/tests.yml")
    tested = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={tested[0]}"
    assert runtime["version"] in tested
    assert [int(version.split(".")[1]) for version in tested] == list(range(11, 11 + len(tested)))


def test_the_service_of_azd_is_the_one_that_bicep_tags(bicep: dict[str, Bicep]) -> None:
    [project] = read_yaml(ROOT / "azure.yaml")
    [(name, service)] = project["services"].items()
    assert service == {"project": ".", "language": "python", "host": "function"}
    assert f"'azd-service-name': '{name}'" in (INFRA / "app/function.bicep").read_text()


def test_a_commit_is_checked_by_what_make_check_runs() -> None:
    [config] = read_yaml(ROOT / ".pre-commit-config.yaml")
    [repository] = config["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == ["make check"]
