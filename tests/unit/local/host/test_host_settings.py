"""The app settings and host.json as the local host reads them."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from local.host.errors import HostStartError, one_line
from local.host.host_config import MessageEncoding, QueuesConfig, parse_host_config, read_host_config
from local.host.settings import LocalOptions, is_disabled, load_settings, local_options, resolve
from local.host.time_span import parse_time_span


def settings_file(folder: Path, document: object) -> Path:
    file = folder / "local.settings.json"
    file.write_text(json.dumps(document))
    return file


def test_the_environment_wins_over_the_settings_file(tmp_path: Path) -> None:
    settings_file(tmp_path, {"Values": {"A": "file", "B": "file"}})
    assert load_settings(tmp_path, None, {"A": "environment"}) == {"A": "environment", "B": "file"}


def test_without_a_settings_file_the_environment_is_enough(tmp_path: Path) -> None:
    assert load_settings(tmp_path, None, {"A": "1"}) == {"A": "1"}


def test_a_settings_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(HostStartError, match=r"other\.json cannot be read"):
        load_settings(tmp_path, tmp_path / "other.json", {})


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "must be an object"),
        ({"Values": []}, "must be an object"),
        ({"IsEncrypted": True, "Values": {}}, "is encrypted"),
        ({"Values": {"A": 1}}, "the value of A must be a string"),
    ],
)
def test_a_settings_file_of_another_form_is_told(tmp_path: Path, document: object, problem: str) -> None:
    with pytest.raises(HostStartError, match=problem):
        load_settings(tmp_path, settings_file(tmp_path, document), {})


def test_percent_names_are_replaced_by_settings() -> None:
    assert resolve("%A%-%B%", {"A": "x", "B": "y"}) == "x-y"
    assert resolve("plain", {}) == "plain"


@pytest.mark.parametrize("settings", [{}, {"QUEUE": ""}])
def test_a_percent_name_without_setting_is_told_by_name(settings: dict[str, str]) -> None:
    with pytest.raises(HostStartError, match="the setting QUEUE"):
        resolve("%QUEUE%", settings)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("True", True), ("0", False), ("", False)]
)
def test_a_function_can_be_disabled_by_a_setting(value: str, expected: bool) -> None:
    assert is_disabled("f", {"AzureWebJobs.f.Disabled": value}) is expected


def test_the_local_options_have_the_azure_hosts_lease_by_default() -> None:
    assert local_options({}) == LocalOptions(lease_seconds=600, drain_seconds=10)
    short = {"LOCAL_HOST_LEASE_SECONDS": "5", "LOCAL_HOST_DRAIN_SECONDS": "0"}
    assert local_options(short) == LocalOptions(lease_seconds=5, drain_seconds=0)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", "²"])
def test_a_lease_that_is_no_whole_number_is_told(value: str) -> None:
    with pytest.raises(HostStartError, match="LOCAL_HOST_LEASE_SECONDS must be a whole number"):
        local_options({"LOCAL_HOST_LEASE_SECONDS": value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:10:00", timedelta(minutes=10)),
        ("00:00:02", timedelta(seconds=2)),
        ("00:00:00.5", timedelta(milliseconds=500)),
        ("1.02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("01:30", timedelta(hours=1, minutes=30)),
    ],
)
def test_time_spans_are_read_as_dotnet_writes_them(text: str, expected: timedelta) -> None:
    assert parse_time_span(text) == expected


@pytest.mark.parametrize("text", ["", "10", "24:00:00", "00:60:00", "00:00:60", "-00:00:01", "1:2:3"])
def test_other_time_spans_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time span|more than"):
        parse_time_span(text)


def test_the_defaults_are_those_of_the_azure_host() -> None:
    config = parse_host_config({"version": "2.0"}, {})
    assert config.function_timeout == timedelta(minutes=30)
    assert config.queues == QueuesConfig(
        batchSize=16,
        newBatchThreshold=8,
        maxDequeueCount=5,
        visibilityTimeout="00:00:00",
        maxPollingInterval="00:01:00",
        messageEncoding="base64",
    )


def test_host_json_is_read_and_what_this_host_does_not_know_is_left_alone(tmp_path: Path) -> None:
    queues = {"batchSize": 32, "newBatchThreshold": 992, "visibilityTimeout": "00:01:00", "messageEncoding": "none"}
    document = {
        "version": "2.0",
        "logging": {"applicationInsights": {}},
        "functionTimeout": "00:10:00",
        "extensions": {"queues": queues, "http": {}},
    }
    (tmp_path / "host.json").write_text(json.dumps(document))
    config = read_host_config(tmp_path, {})
    assert config.function_timeout == timedelta(minutes=10)
    assert config.queues.new_batch_threshold == 992
    assert config.queues.message_encoding is MessageEncoding.NONE


def test_a_function_timeout_of_minus_one_is_no_limit() -> None:
    assert parse_host_config({"version": "2.0", "functionTimeout": "-1"}, {}).function_timeout is None


def test_an_app_setting_overrides_host_json() -> None:
    document = {"version": "2.0", "extensions": {"queues": {"batchSize": 32}}}
    settings = {
        "AzureFunctionsJobHost__extensions__queues__batchSize": "8",
        "AzureFunctionsJobHost__functionTimeout": "00:00:05",
    }
    config = parse_host_config(document, settings)
    assert config.queues.batch_size == 8
    assert config.function_timeout == timedelta(seconds=5)
    assert document["extensions"] == {"queues": {"batchSize": 32}}


@pytest.mark.parametrize(
    ("queues", "problem"),
    [
        ({"batchSize": 33}, "batchSize"),
        ({"batchSize": 0}, "batchSize"),
        ({"maxDequeueCount": 0}, "maxDequeueCount"),
        ({"visibilityTimeout": 60}, "visibilityTimeout.*time span"),
        ({"maxPollingInterval": "2 s"}, "maxPollingInterval.*time span"),
        ({"messageEncoding": "utf-16"}, "messageEncoding"),
    ],
)
def test_a_wrong_value_in_host_json_is_told_by_name(queues: dict[str, object], problem: str) -> None:
    with pytest.raises(HostStartError, match=problem):
        parse_host_config({"version": "2.0", "extensions": {"queues": queues}}, {})


def test_a_missing_or_broken_host_json_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostStartError, match=r"host\.json cannot be read"):
        read_host_config(tmp_path, {})
    (tmp_path / "host.json").write_text("{")
    with pytest.raises(HostStartError, match=r"host\.json is not valid JSON"):
        read_host_config(tmp_path, {})


def test_an_exception_becomes_one_line_whatever_is_in_its_text() -> None:
    assert one_line(ValueError("a\nb\x1b[31m")) == "ValueError: a b\\x1b[31m"
    assert one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("x" * 10_000))) < 600
