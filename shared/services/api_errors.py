"""Which error a response is that is no success: who is to blame for it, and whether it passes by itself.

Every status and code is sorted here and nowhere else, in this order:

1. The statuses 401, 403, 408 and 429 mean the same whatever the body says.
2. The service's own code counts before any other status: Custom Vision's codes come with various statuses (the
   documentation lists all of them under 500). A code of the gateway is none of them: the
   service never saw the call.
3. Without a known code the status decides. Paths are made of settings and of validated ids: if a path as such is
   refused, the settings are wrong.

All codes of UpdateImageMetadata's page (Custom Vision Training 3.3) and of the official Python library are here. Both
lists are open: a new code is sorted by how it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.errors import (
    AccessDenied,
    ApiError,
    CallRefused,
    NotFound,
    RateLimited,
    SharedFieldsRefused,
    Unavailable,
    UnexpectedResponse,
)
from shared.messages.watch import Api, codes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.services.http import Response

REFUSED_IMAGE_STATUSES = frozenset({"ErrorImageNotFound", "ErrorLimitExceed"})
"""Statuses of one image that are that image's fault. Any other but OK, known or new, is trouble of the service."""

FACE_NOT_FOUND = codes_of(Api.FACE, "not_found") | codes_of(Api.FACE, "not_trained")
FACE_ARGUMENT = "BadArgument"
"""The one code of Face's 400 that is about what was asked; the others are about the resource."""

_CUSTOM_VISION_CODES: Final[Mapping[type[ApiError], str]] = {
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

CUSTOM_VISION_ERRORS: Final = {code: error for error, codes in _CUSTOM_VISION_CODES.items() for code in codes.split()}

_BEGINNINGS: Final[Mapping[str, type[ApiError]]] = {
    "BadRequest": CallRefused,
    "NotFound": CallRefused,
    "Forbidden": AccessDenied,
    "Conflict": Unavailable,
    "Error": Unavailable,
}


def custom_vision_error_class(code: str) -> type[ApiError] | None:
    """What a code of Custom Vision means; None for a word that is none of its codes."""
    beginnings = (error for beginning, error in _BEGINNINGS.items() if code.startswith(beginning))
    return CUSTOM_VISION_ERRORS.get(code) or next(beginnings, None)


def custom_vision_error(response: Response, access: str) -> ApiError:
    """What a response of Custom Vision means, whatever was asked. `access` names the settings that let a call in."""
    if (by_status := error_by_status(response, Api.CUSTOM_VISION, access)) is not None:
        return by_status
    error = response.error()
    described = f"{Api.CUSTOM_VISION} answered {response.status} {error.code}".rstrip()
    kind = None if error.of_gateway else custom_vision_error_class(error.code)
    if kind is SharedFieldsRefused or kind is CallRefused:
        return kind(error.code, error.message)
    if kind is Unavailable or (kind is None and response.status >= 500):
        return Unavailable(described, retry_after_seconds=response.retry_after_seconds)
    if kind is AccessDenied or response.status == 404 or (response.status == 400 and error.of_gateway):
        return _access_denied(response, Api.CUSTOM_VISION, access)
    if not response.is_json:
        return Unavailable(f"{described} with a body that is not JSON")
    return UnexpectedResponse(described)


def face_error(response: Response, access: str) -> ApiError:
    """What a response of Face means. Its error bodies look like the gateway's: only their codes tell them apart."""
    if (by_status := error_by_status(response, Api.FACE, access)) is not None:
        return by_status
    error = response.error()
    described = f"{Api.FACE} answered {response.status} {error.code}".rstrip()
    if error.code in FACE_NOT_FOUND:
        return NotFound(error.code, error.message)
    if response.status >= 500 or response.status == 409:
        return Unavailable(described, retry_after_seconds=response.retry_after_seconds)
    if not response.is_json:
        return Unavailable(f"{described} with a body that is not JSON")
    if response.status == 404 or (response.status == 400 and error.message and error.code != FACE_ARGUMENT):
        return _access_denied(response, Api.FACE, access)
    return UnexpectedResponse(f"{described}: {error.message}".rstrip(": "))


def error_by_status(response: Response, service: str, access: str) -> ApiError | None:
    """What the statuses mean that are the same for every service and its gateway; None for all others."""
    match response.status:
        case 401 | 403:
            return _access_denied(response, service, access)
        case 429:
            return RateLimited(f"{service} answered 429", retry_after_seconds=response.retry_after_seconds)
        case 408:
            return Unavailable(f"{service} answered 408", retry_after_seconds=response.retry_after_seconds)
    return None


def _access_denied(response: Response, service: str, access: str) -> AccessDenied:
    """A wrong key, a missing approval, a used-up quota and a firewall look alike: only the service's sentence tells."""
    error = response.error()
    code = error.code if error.code != str(response.status) else ""
    described = f"{service} answered {response.status} {code}".rstrip()
    said = f"; it says: {error.message}" if error.message else ""
    return AccessDenied(f"{described}; look at {access}{said}")
