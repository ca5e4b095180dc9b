"""What Custom Vision is asked, and what each of its answers means for the images of the call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.batching.outcome_types import APPLIED, ImageOutcome, Refused, Retry
from shared.errors import (
    AccessDenied,
    ApiError,
    CallRefused,
    RateLimited,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedResponse,
)
from shared.messages.update import BatchKey
from shared.services.api_errors import custom_vision_error_class
from shared.services.custom_vision import MAX_IMAGES_PER_CALL, read_response, update_image_metadata
from tests.unit.shared.answers import ENDPOINT, HTML, answer, api_answering, gateway_error
from tests.unit.shared.conftest import image, images

if TYPE_CHECKING:
    import httpx

ACCESS = "THE_KEY and THE_ENDPOINT"
WHOLE = images(3, first=1)


def read(response: httpx.Response, image_ids: list[str] | None = None) -> dict[str, ImageOutcome]:
    """Read an answer to a call of images 1, 2 and 3."""
    return dict(read_response(response, image_ids or WHOLE, ACCESS))


PROJECT = "c0ffee00-0000-4000-8000-000000000001"


def error(code: str, message: str = "why") -> dict[str, str]:
    return {"code": code, "message": message}


def summary(*entries: dict[str, Any], successful: bool = False) -> dict[str, Any]:
    return {"isBatchSuccessful": successful, "images": list(entries)}


def entry(number: int, status: Any = "OK", **more: Any) -> dict[str, Any]:
    return {"imageId": str(image(number)), "status": status, **more}


class TestRequest:
    async def test_it_is_the_documented_one(self) -> None:
        body = summary(*(entry(number) for number in range(64)), successful=True)
        api, sent = api_answering(answer(200, body))
        key = BatchKey(PROJECT, frozenset({"place": "Zürich ⛰", "a": "1"}.items()))
        outcomes = await update_image_metadata(api, key, images(64))
        assert MAX_IMAGES_PER_CALL == 64

        (request,) = sent
        ids = ",".join(images(64))
        path = f"/customvision/v3.3/Training/projects/{PROJECT}/images/metadata"
        assert (request.method, str(request.url)) == ("POST", f"{ENDPOINT}{path}?imageIds={ids}")
        assert json.loads(request.content or b"") == {"a": "1", "place": "Zürich ⛰"}
        assert request.headers["Content-Type"] == "application/json"
        assert outcomes == dict.fromkeys(images(64), APPLIED)


NOT_FOUND = Refused("ErrorImageNotFound")
UNKNOWN = Retry("status ErrorUnknown")


class TestSummary:
    @pytest.mark.parametrize("status", [200, 201, 202, 207, 299])
    @pytest.mark.parametrize(
        ("entries", "outcomes"),
        [
            ([entry(1)], {1: APPLIED}),
            ([entry(1, metadata={"k": "v"})], {1: APPLIED}),
            ([entry(1, metadata=None)], {1: APPLIED}),
            ([entry(1, "ErrorImageNotFound")], {1: NOT_FOUND}),
            ([entry(1, "ErrorLimitExceed")], {1: Refused("ErrorLimitExceed")}),
            ([entry(3), entry(1, "ErrorUnknown")], {3: APPLIED, 1: UNKNOWN}),
            ([entry(3), entry(1, "ErrorOfNextYear")], {3: APPLIED, 1: Retry("status ErrorOfNextYear")}),
            ([entry(3), entry(1, "ok")], {3: APPLIED, 1: Retry("status ok")}),
            ([entry(3), entry(1, None)], {3: APPLIED, 1: Retry("status None")}),
            ([entry(3), entry(1, ["OK"])], {3: APPLIED, 1: Retry("status ['OK']")}),
            ([entry(3), {"imageId": image(1)}], {3: APPLIED, 1: Retry("status None")}),
            ([entry(3), entry(1, "a\nb")], {3: APPLIED, 1: Retry("status a\\nb")}),
            (
                [entry(2, "ErrorUnknown"), entry(3), entry(1, "ErrorImageNotFound")],
                {1: NOT_FOUND, 2: UNKNOWN, 3: APPLIED},
            ),
            ([entry(2)], {2: APPLIED}),
            ([entry(2), entry(99)], {2: APPLIED, 99: APPLIED}),
        ],
        ids=[
            "OK",
            "with its metadata",
            "metadata null",
            "not found",
            "limit",
            "unknown",
            "a new word",
            "another case",
            "no word",
            "no text",
            "no status",
            "a line break",
            "another order",
            "an image missing",
            "an image that was not asked for",
        ],
    )
    def test_each_image_has_the_outcome_that_its_status_says(
        self, status: int, entries: list[dict[str, Any]], outcomes: dict[int, ImageOutcome]
    ) -> None:
        assert read(answer(status, summary(*entries))) == {image(number): it for number, it in outcomes.items()}

    @pytest.mark.parametrize(("length", "end"), [(60, ""), (61, "…")])
    def test_a_new_status_is_told_up_to_60_characters(self, length: int, end: str) -> None:
        outcomes = read(answer(207, summary(entry(1), entry(2, "x" * length))))
        assert outcomes[image(2)] == Retry(f"status {'x' * 60}{end}")

    @pytest.mark.parametrize("notation", ["{}", "{{{}}}", "urn:uuid:{}", " {} "])
    @pytest.mark.parametrize("dashes", ["-", ""])
    def test_an_id_is_the_same_in_another_notation(self, notation: str, dashes: str) -> None:
        for text in (image(1), image(1).upper()):
            written = {"imageId": notation.format(text.replace("-", dashes)), "status": "OK"}
            assert read(answer(200, summary(written))) == {image(1): APPLIED}

    @pytest.mark.parametrize(
        ("statuses", "outcome"),
        [
            (("OK", "ErrorUnknown"), Retry("status ErrorUnknown")),
            (("OK", "ErrorImageNotFound"), Refused("ErrorImageNotFound")),
            (("ErrorUnknown", "ErrorLimitExceed"), Refused("ErrorLimitExceed")),
            (("OK", "OK"), APPLIED),
        ],
    )
    def test_of_an_image_that_is_named_twice_the_worse_status_counts(
        self, statuses: tuple[str, str], outcome: ImageOutcome
    ) -> None:
        for order in (statuses, statuses[::-1]):
            told = read(answer(207, summary(entry(1), entry(2, order[0]), entry(2, order[1]))))
            assert told[image(2)] == outcome

    @pytest.mark.parametrize(
        "odd",
        [None, 7, "x", [], {}, {"imageId": None, "status": "OK"}, {"imageId": 1, "status": "OK"}, {"status": "OK"}]
        + [{"imageId": text, "status": "OK"} for text in ("", "x", "not-an-id", image(1)[:-1])],
        ids=str,
    )
    def test_an_odd_entry_does_not_make_the_others_unreadable(self, odd: Any) -> None:
        body = {"isBatchSuccessful": True, "images": [entry(2), odd, entry(3, "ErrorImageNotFound")]}
        assert read(answer(200, body)) == {image(2): APPLIED, image(3): NOT_FOUND}

    @pytest.mark.parametrize(
        "body",
        [b"", HTML, json.dumps(summary(entry(1), entry(2))).encode()[:-9], b"[" * 100_000, None, [], {}, "images"],
        ids=str,
    )
    def test_one_that_cannot_be_read_is_the_services_trouble(self, body: Any) -> None:
        with pytest.raises(Unavailable, match="responded with 207 with a body that cannot be read"):
            read(answer(207, body))

    @pytest.mark.parametrize(
        ("images_told", "told"),
        [
            ([entry(number, "ErrorUnknown") for number in (1, 2, 3)], "status ErrorUnknown"),
            ([entry(number, "ErrorOfNextYear") for number in (1, 2, 3)], "status ErrorOfNextYear"),
            ([entry(1, "ErrorUnknown")], "status ErrorUnknown"),
            ([], "none is named"),
            (None, "none is named"),
            ("none", "none is named"),
            ({"imageId": image(1), "status": "OK"}, "none is named"),
            ([None], "none is named"),
            ([entry(98), entry(99)], "none is named"),
        ],
        ids=["unknown", "new", "the rest missing", "none", "null", "text", "object", "odd", "others"],
    )
    def test_a_whole_answer_without_an_outcome_is_an_outage(self, images_told: Any, told: str) -> None:
        with pytest.raises(
            Unavailable, match=f"responded with 207 without an outcome for any image .{told}.$"
        ) as caught:
            read(answer(207, {"isBatchSuccessful": True, "images": images_told}, retry_after="7"))
        assert caught.value.retry_after_seconds == 7


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([image(1), "OK"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["images", "imageId", "status", "error"]), inner),
)


@settings(deadline=None, derandomize=True)
@given(st.sampled_from([200, 207, 302, 400, 401, 404, 409, 500]), JSON | st.binary())
def test_whatever_an_answer_is_it_is_an_outcome_or_an_error_of_the_api(status: int, body: Any) -> None:
    try:
        told = str(read(answer(status, body)))
    except ApiError as error:
        told = str(error)
    assert told.isprintable()


ROWS: list[tuple[int, Any, type[ApiError]]] = [
    # what all messages of the batch have in common
    (404, error("NotFoundProject"), SharedFieldsRefused),
    (400, error("BadRequestImageMetadataKey"), SharedFieldsRefused),
    (400, error("BadRequestImageMetadataValue"), SharedFieldsRefused),
    (500, error("NotFoundProject"), SharedFieldsRefused),  # the documentation lists all codes under 500
    (500, error("BadRequestImageMetadataValue"), SharedFieldsRefused),
    (418, error("NotFoundProject"), SharedFieldsRefused),
    # perhaps one image's fault
    (400, error("BadRequest"), CallRefused),
    (400, error("BadRequestInvalidIds"), CallRefused),
    (400, error("BadRequestOfNextYear"), CallRefused),
    (404, error("NotFound"), CallRefused),
    (404, error("NotFoundImage"), CallRefused),
    (500, error("NotFoundImage"), CallRefused),
    (500, error("BadRequestInvalidIds"), CallRefused),
    # the configuration's, or the key was just rotated
    (401, gateway_error(401), AccessDenied),
    (401, b"", AccessDenied),
    (401, HTML, AccessDenied),
    (403, gateway_error(403), AccessDenied),
    (403, error("ForbiddenUser"), AccessDenied),
    (403, error("BadRequestInvalidIds"), AccessDenied),
    (400, error("ForbiddenDRMode"), AccessDenied),
    (500, error("Forbidden"), AccessDenied),
    (404, error("NotFoundApimSubscription"), AccessDenied),
    (400, error("BadRequestCustomerManagedKeyRevoked"), AccessDenied),
    (400, error("BadRequestSubscriptionApi"), AccessDenied),
    (400, error("BadRequestExceededQuota"), AccessDenied),
    (500, error("BadRequestExceededQuota"), AccessDenied),
    (415, error("UnsupportedMediaType"), AccessDenied),
    (400, gateway_error(400, "Please provide a custom subdomain for token authentication."), AccessDenied),
    (400, {"error": {"code": "BadRequest", "message": "Please provide a custom subdomain."}}, AccessDenied),
    (400, {"error": {"code": "BadRequestInvalidIds", "message": "a word of the gateway's own"}}, AccessDenied),
    (400, {"error": "invalid"}, AccessDenied),
    (400, {"statusCode": 400, "message": "Invalid host"}, AccessDenied),
    (404, gateway_error(404), AccessDenied),
    (404, {"code": "404", "message": "Resource not found"}, AccessDenied),
    (404, b"", AccessDenied),
    (404, HTML, AccessDenied),
    # the service's
    (408, b"", Unavailable),
    (429, gateway_error(429), RateLimited),
    (429, b"", RateLimited),
    (500, error("ErrorUnknown"), Unavailable),
    (500, b"", Unavailable),
    (500, {}, Unavailable),
    (502, HTML, Unavailable),
    (503, HTML, Unavailable),
    (503, b"", Unavailable),
    (504, HTML, Unavailable),
    (504, b"", Unavailable),
    (599, error("UnheardOf"), Unavailable),
    (400, error("ErrorExporterInvalidPlatform"), Unavailable),
    (400, error("BadRequestTrainingAlreadyInProgress"), Unavailable),
    (500, error("NoError"), Unavailable),
    (409, error("Conflict"), Unavailable),
    (409, error("ConflictInvalid"), Unavailable),
    (400, error("Conflict"), Unavailable),
    (400, HTML, Unavailable),
    (400, b'{"code": "BadRequ', Unavailable),
    (302, b"", Unavailable),
    (204, b"", Unavailable),
    # nobody foresaw it
    (400, {}, UnexpectedResponse),
    (400, {"type": "about:blank", "title": "One or more validation errors occurred."}, UnexpectedResponse),
    (400, [], UnexpectedResponse),
    (400, {"code": 1, "message": 2}, UnexpectedResponse),
    (409, {}, UnexpectedResponse),
    (418, error("Teapot"), UnexpectedResponse),
    (302, {}, UnexpectedResponse),
]


class TestErrors:
    @pytest.mark.parametrize(("status", "body", "expected"), ROWS)
    def test_an_answer_tells_whose_fault_it_is(self, status: int, body: Any, expected: type[ApiError]) -> None:
        with pytest.raises(ApiError) as caught:
            read(answer(status, body))
        assert type(caught.value) is expected

    @pytest.mark.parametrize(("status", "body"), [row[:2] for row in ROWS if row[2] is AccessDenied])
    def test_who_is_not_let_in_is_told_the_settings(self, status: int, body: Any) -> None:
        with pytest.raises(AccessDenied, match=f"responded with {status}.*; look at {ACCESS}(; it says: .+)?$"):
            read(answer(status, body))

    @pytest.mark.parametrize("code", ["NotFoundProject", "BadRequestInvalidIds"])
    def test_a_refusal_carries_code_and_message(self, code: str) -> None:
        with pytest.raises((SharedFieldsRefused, CallRefused)) as caught:
            read(answer(400, error(code, "line 1\nline 2")))
        assert isinstance(caught.value, SharedFieldsRefused | CallRefused)
        assert (caught.value.code, caught.value.message) == (code, "line 1\\nline 2")
        assert str(caught.value) == f"{code}: line 1\\nline 2"

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    @pytest.mark.parametrize(("header", "at_least"), [("5", 5), ("Fri, 31 Dec 9999 23:59:59 GMT", 600)])
    def test_retry_after_is_taken_in_both_forms(self, status: int, header: str, at_least: float) -> None:
        with pytest.raises((Unavailable, RateLimited)) as caught:
            read(answer(status, HTML, retry_after=header))
        assert isinstance(caught.value, Unavailable | RateLimited)
        assert caught.value.retry_after_seconds == at_least

    def test_without_retry_after_none_is_made_up(self) -> None:
        with pytest.raises(Unavailable) as caught:
            read(answer(503))
        assert caught.value.retry_after_seconds is None


# All codes of the operation's page, in its order, and those that only the official Python library has.
_DOCUMENTED = """
    NoError BadRequest BadRequestExceededBatchSize BadRequestNotSupported BadRequestInvalidIds BadRequestProjectName
    BadRequestProjectNameNotUnique BadRequestProjectDescription BadRequestProjectUnknownDomain
    BadRequestProjectUnknownClassification BadRequestProjectUnsupportedDomainTypeChange
    BadRequestProjectUnsupportedExportPlatform BadRequestProjectImagePreprocessingSettings
    BadRequestProjectDuplicated BadRequestIterationName BadRequestIterationNameNotUnique
    BadRequestIterationDescription BadRequestIterationIsNotTrained BadRequestIterationValidationFailed
    BadRequestWorkspaceCannotBeModified BadRequestWorkspaceNotDeletable BadRequestTagName BadRequestTagNameNotUnique
    BadRequestTagDescription BadRequestTagType BadRequestMultipleNegativeTag BadRequestMultipleGeneralProductTag
    BadRequestImageTags BadRequestImageRegions BadRequestNegativeAndRegularTagOnSameImage
    BadRequestUnsupportedDomain BadRequestRequiredParamIsNull BadRequestIterationIsPublished
    BadRequestInvalidPublishName BadRequestInvalidPublishTarget BadRequestUnpublishFailed
    BadRequestIterationNotPublished BadRequestSubscriptionApi BadRequestExceedProjectLimit
    BadRequestExceedIterationPerProjectLimit BadRequestExceedTagPerProjectLimit BadRequestExceedTagPerImageLimit
    BadRequestExceededQuota BadRequestCannotMigrateProjectWithName BadRequestNotLimitedTrial BadRequestImageBatch
    BadRequestImageStream BadRequestImageUrl BadRequestImageFormat BadRequestImageSizeBytes
    BadRequestImageDimensions BadRequestImageExceededCount BadRequestTrainingNotNeeded
    BadRequestTrainingNotNeededButTrainingPipelineUpdated BadRequestTrainingValidationFailed
    BadRequestClassificationTrainingValidationFailed BadRequestMultiClassClassificationTrainingValidationFailed
    BadRequestMultiLabelClassificationTrainingValidationFailed BadRequestDetectionTrainingValidationFailed
    BadRequestTrainingAlreadyInProgress BadRequestDetectionTrainingNotAllowNegativeTag BadRequestInvalidEmailAddress
    BadRequestDomainNotSupportedForAdvancedTraining BadRequestExportPlatformNotSupportedForAdvancedTraining
    BadRequestReservedBudgetInHoursNotEnoughForAdvancedTraining BadRequestExportValidationFailed
    BadRequestExportAlreadyInProgress BadRequestPredictionIdsMissing BadRequestPredictionIdsExceededCount
    BadRequestPredictionTagsExceededCount BadRequestPredictionResultsExceededCount
    BadRequestPredictionInvalidApplicationName BadRequestPredictionInvalidQueryParameters
    BadRequestInvalidImportToken BadRequestExportWhileTraining BadRequestImageMetadataKey
    BadRequestImageMetadataValue BadRequestOperationNotSupported BadRequestInvalidArtifactUri BadRequestInvalid
    UnsupportedMediaType Forbidden ForbiddenUser ForbiddenUserResource ForbiddenUserSignupDisabled
    ForbiddenUserSignupAllowanceExceeded ForbiddenUserDoesNotExist ForbiddenUserDisabled
    ForbiddenUserInsufficientCapability ForbiddenDRModeEnabled ForbiddenInvalid NotFound NotFoundProject
    NotFoundProjectDefaultIteration NotFoundIteration NotFoundIterationPerformance NotFoundTag NotFoundImage
    NotFoundDomain NotFoundApimSubscription NotFoundInvalid Conflict ConflictInvalid ErrorUnknown
    ErrorIterationCopyFailed ErrorPreparePerformanceMigrationFailed ErrorProjectInvalidWorkspace
    ErrorProjectInvalidPipelineConfiguration ErrorProjectInvalidDomain ErrorProjectTrainingRequestFailed
    ErrorProjectImportRequestFailed ErrorProjectExportRequestFailed ErrorFeaturizationServiceUnavailable
    ErrorFeaturizationQueueTimeout ErrorFeaturizationInvalidFeaturizer ErrorFeaturizationAugmentationUnavailable
    ErrorFeaturizationUnrecognizedJob ErrorFeaturizationAugmentationError ErrorExporterInvalidPlatform
    ErrorExporterInvalidFeaturizer ErrorExporterInvalidClassifier ErrorPredictionServiceUnavailable
    ErrorPredictionModelNotFound ErrorPredictionModelNotCached ErrorPrediction ErrorPredictionStorage
    ErrorRegionProposal ErrorInvalid BadRequestImageAspectRatio BadRequestInvalidUri
    BadRequestCustomBaseModelArchitectureRetired BadRequestCustomBaseModelDomainNotCompatible
    BadRequestCustomBaseModelIterationStatusNotCompleted BadRequestRetiredDomainNotSupportedForTraining
    BadRequestCustomerManagedKeyRevoked ErrorServerTimeOut ErrorUnknownBaseModel
"""
DOCUMENTED = _DOCUMENTED.split()

_MEANINGS: dict[type[ApiError], str] = {
    CallRefused: """
        BadRequest BadRequestInvalid BadRequestExceededBatchSize BadRequestInvalidIds BadRequestRequiredParamIsNull
        BadRequestInvalidUri BadRequestInvalidArtifactUri BadRequestInvalidEmailAddress BadRequestInvalidImportToken

        BadRequestImageAspectRatio BadRequestImageBatch BadRequestImageDimensions BadRequestImageExceededCount
        BadRequestImageFormat BadRequestImageRegions BadRequestImageSizeBytes BadRequestImageStream BadRequestImageTags
        BadRequestImageUrl BadRequestExceedTagPerImageLimit BadRequestNegativeAndRegularTagOnSameImage

        BadRequestTagDescription BadRequestTagName BadRequestTagNameNotUnique BadRequestTagType
        BadRequestMultipleGeneralProductTag BadRequestMultipleNegativeTag

        BadRequestProjectDescription BadRequestProjectDuplicated BadRequestProjectImagePreprocessingSettings
        BadRequestProjectName BadRequestProjectNameNotUnique BadRequestProjectUnknownClassification
        BadRequestProjectUnknownDomain BadRequestProjectUnsupportedDomainTypeChange
        BadRequestProjectUnsupportedExportPlatform BadRequestCannotMigrateProjectWithName BadRequestUnsupportedDomain

        BadRequestIterationDescription BadRequestIterationIsNotTrained BadRequestIterationIsPublished
        BadRequestIterationName BadRequestIterationNameNotUnique BadRequestIterationNotPublished
        BadRequestIterationValidationFailed BadRequestInvalidPublishName BadRequestInvalidPublishTarget
        BadRequestUnpublishFailed

        BadRequestClassificationTrainingValidationFailed BadRequestCustomBaseModelArchitectureRetired
        BadRequestCustomBaseModelDomainNotCompatible BadRequestCustomBaseModelIterationStatusNotCompleted
        BadRequestDetectionTrainingNotAllowNegativeTag BadRequestDetectionTrainingValidationFailed
        BadRequestDomainNotSupportedForAdvancedTraining BadRequestExportPlatformNotSupportedForAdvancedTraining
        BadRequestExportValidationFailed BadRequestMultiClassClassificationTrainingValidationFailed
        BadRequestMultiLabelClassificationTrainingValidationFailed BadRequestRetiredDomainNotSupportedForTraining
        BadRequestTrainingNotNeeded BadRequestTrainingNotNeededButTrainingPipelineUpdated
        BadRequestTrainingValidationFailed

        BadRequestPredictionIdsExceededCount BadRequestPredictionIdsMissing BadRequestPredictionInvalidApplicationName
        BadRequestPredictionInvalidQueryParameters BadRequestPredictionResultsExceededCount
        BadRequestPredictionTagsExceededCount

        NotFound NotFoundDomain NotFoundImage NotFoundInvalid NotFoundIteration NotFoundIterationPerformance
        NotFoundProjectDefaultIteration NotFoundTag
    """,
    SharedFieldsRefused: """
        NotFoundProject BadRequestImageMetadataKey BadRequestImageMetadataValue
    """,
    AccessDenied: """
        BadRequestCustomerManagedKeyRevoked BadRequestExceededQuota BadRequestExceedIterationPerProjectLimit
        BadRequestExceedProjectLimit BadRequestExceedTagPerProjectLimit BadRequestNotLimitedTrial
        BadRequestNotSupported BadRequestOperationNotSupported
        BadRequestReservedBudgetInHoursNotEnoughForAdvancedTraining BadRequestSubscriptionApi
        BadRequestWorkspaceCannotBeModified BadRequestWorkspaceNotDeletable

        Forbidden ForbiddenDRModeEnabled ForbiddenInvalid ForbiddenUser ForbiddenUserDisabled ForbiddenUserDoesNotExist
        ForbiddenUserInsufficientCapability ForbiddenUserResource ForbiddenUserSignupAllowanceExceeded
        ForbiddenUserSignupDisabled

        NotFoundApimSubscription UnsupportedMediaType
    """,
    Unavailable: """
        NoError BadRequestExportAlreadyInProgress BadRequestExportWhileTraining BadRequestTrainingAlreadyInProgress

        Conflict ConflictInvalid

        ErrorExporterInvalidClassifier ErrorExporterInvalidFeaturizer ErrorExporterInvalidPlatform
        ErrorFeaturizationAugmentationError ErrorFeaturizationAugmentationUnavailable
        ErrorFeaturizationInvalidFeaturizer ErrorFeaturizationQueueTimeout ErrorFeaturizationServiceUnavailable
        ErrorFeaturizationUnrecognizedJob ErrorInvalid ErrorIterationCopyFailed ErrorPrediction
        ErrorPredictionModelNotCached ErrorPredictionModelNotFound ErrorPredictionServiceUnavailable
        ErrorPredictionStorage ErrorPreparePerformanceMigrationFailed ErrorProjectExportRequestFailed
        ErrorProjectImportRequestFailed ErrorProjectInvalidDomain ErrorProjectInvalidPipelineConfiguration
        ErrorProjectInvalidWorkspace ErrorProjectTrainingRequestFailed ErrorRegionProposal ErrorServerTimeOut
        ErrorUnknown ErrorUnknownBaseModel
    """,
}
MEANINGS = {code: error for error, codes in _MEANINGS.items() for code in codes.split()}


class TestCodes:
    def test_every_documented_code_is_sorted(self) -> None:
        assert len(set(DOCUMENTED)) == 137
        assert set(DOCUMENTED) == set(MEANINGS)

    @pytest.mark.parametrize("code", DOCUMENTED)
    def test_it_means_what_is_known_of_it(self, code: str) -> None:
        assert custom_vision_error_class(code) is MEANINGS[code]

    @pytest.mark.parametrize("code", DOCUMENTED)
    @pytest.mark.parametrize("status", [400, 500])
    def test_a_code_means_the_same_whatever_its_status(self, code: str, status: int) -> None:
        with pytest.raises(MEANINGS[code]):
            read(answer(status, error(code)))

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("BadRequestOfNextYear", CallRefused),
            ("NotFoundOfNextYear", CallRefused),
            ("ForbiddenOfNextYear", AccessDenied),
            ("ConflictOfNextYear", Unavailable),
            ("ErrorOfNextYear", Unavailable),
            ("Teapot", None),
            ("badrequest", None),
            ("", None),
        ],
    )
    def test_a_new_code_is_sorted_by_how_it_begins(self, code: str, kind: type[ApiError] | None) -> None:
        assert custom_vision_error_class(code) is kind


@pytest.mark.parametrize(("length", "end"), [(60, "x"), (61, "…")])
def test_a_new_status_is_told_up_to_60_characters(length: int, end: str) -> None:
    entries = [{"imageId": image(0), "status": "OK"}, {"imageId": image(1), "status": "x" * length}]
    outcomes = read_response(answer(200, {"images": entries}), [image(0), image(1)], "KEY")
    assert outcomes[image(1)] == Retry(f"status {'x' * 60}{end * (length > 60)}")
