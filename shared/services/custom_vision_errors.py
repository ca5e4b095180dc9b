"""Custom Vision's error codes and the statuses of single images, sorted by whom each accuses: here and nowhere else.

All codes of the operation's page (Custom Vision Training 3.3, UpdateImageMetadata) and of the official Python library
are here. Both lists are open: whom a new code accuses is told by how it begins.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

REFUSED_STATUSES = frozenset({"ErrorImageNotFound", "ErrorLimitExceed"})
"""Statuses of one image that speak of this image. Any other but OK, known or new, is trouble of the service."""


class Accused(Enum):
    """Who has to do something about an error, or whether it passes by itself."""

    MESSAGE = auto()
    """Something in the call, and perhaps in one of its messages only."""

    SHARED_FIELDS = auto()
    """What all messages of the call have in common: their project or their metadata."""

    CONFIGURATION = auto()
    """The resource or the project: what it may, what it has left, how it is set up. No message can help it."""

    SERVICE = auto()
    """The service, or a state of the project that ends."""


_CODES: Final = {
    Accused.MESSAGE: """
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
    Accused.SHARED_FIELDS: """
        NotFoundProject BadRequestImageMetadataKey BadRequestImageMetadataValue
    """,
    Accused.CONFIGURATION: """
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
    Accused.SERVICE: """
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

ACCUSED: Final = {code: accused for accused, codes in _CODES.items() for code in codes.split()}

_BEGINNINGS: Final = {
    "BadRequest": Accused.MESSAGE,
    "NotFound": Accused.MESSAGE,
    "Forbidden": Accused.CONFIGURATION,
    "Conflict": Accused.SERVICE,
    "Error": Accused.SERVICE,
}


def accused_by(code: str) -> Accused | None:
    """Whom a code accuses; None for a word that is none of the service's."""
    beginnings = (accused for beginning, accused in _BEGINNINGS.items() if code.startswith(beginning))
    return ACCUSED.get(code) or next(beginnings, None)
