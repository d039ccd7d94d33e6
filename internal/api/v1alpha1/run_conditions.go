package v1alpha1

// Conditions of a Run, one for each stage, in the order of the stages. Each is Unknown while the stage is under way, True
// when it is done and False when it failed; its message is a sentence for the person who reads the issue.
const (
	// ConditionCheckedOut: the repository's files were read at the Run's SHA and make sense.
	ConditionCheckedOut = "CheckedOut"
	// ConditionSecretsSynced: the declared secrets are in the stack's namespace, or none is declared.
	ConditionSecretsSynced = "SecretsSynced"
	// ConditionImagesBuilt: every image is in the registry and known by digest.
	ConditionImagesBuilt = "ImagesBuilt"
	// ConditionStackReady: every service of the stack is up behind the health gate.
	ConditionStackReady = "StackReady"
	// ConditionTestsPassed: every suite ended with exit code 0.
	ConditionTestsPassed = "TestsPassed"
	// ConditionReported: the check run and the comment say how it ended.
	ConditionReported = "Reported"
	// ConditionRecorded: the result, the JUnit files and the logs are in the registry.
	ConditionRecorded = "Recorded"
	// ConditionStackHealthy: the services of a kept stack are still up; set once the outcome is known.
	ConditionStackHealthy = "StackHealthy"
	// ConditionStackKept: the stack is still there; False with ReasonExpired or ReasonDeleted once it is gone.
	ConditionStackKept = "StackKept"
)

// StageConditions are the conditions in the order of the stages.
var StageConditions = []string{
	ConditionCheckedOut, ConditionSecretsSynced, ConditionImagesBuilt, ConditionStackReady,
	ConditionTestsPassed, ConditionRecorded, ConditionReported, ConditionStackKept,
}

// Reasons of conditions. A reason is one of these and never free text, so that scripts can rely on it.
const (
	ReasonPending          = "Pending"
	ReasonInProgress       = "InProgress"
	ReasonDone             = "Done"
	ReasonNothingToDo      = "NothingToDo"
	ReasonSkipped          = "Skipped"
	ReasonCanceled         = "Canceled"
	ReasonInvalidConfig    = "InvalidConfig"
	ReasonInvalidCompose   = "InvalidCompose"
	ReasonRefused          = "Refused"
	ReasonNotFound         = "NotFound"
	ReasonBuildFailed      = "BuildFailed"
	ReasonImageUnavailable = "ImageUnavailable"
	ReasonUnhealthy        = "Unhealthy"
	ReasonCrashed          = "Crashed"
	ReasonUnschedulable    = "Unschedulable"
	ReasonTimeout          = "Timeout"
	ReasonTestsFailed      = "TestsFailed"
	ReasonUnavailable      = "Unavailable"
	ReasonExpired          = "Expired"
	ReasonDeleted          = "Deleted"
	ReasonStuck            = "Stuck"
	ReasonOutOfMemory      = "OutOfMemory"
	ReasonEvicted          = "Evicted"
	ReasonNodeLost         = "NodeLost"
	ReasonQuotaExceeded    = "QuotaExceeded"
	ReasonDiskFull         = "DiskFull"
	ReasonDegraded         = "Degraded"
	// ReasonProcessEnded: Conductor's own process ended again and again while it worked on the Run.
	ReasonProcessEnded = "ProcessEnded"
)
