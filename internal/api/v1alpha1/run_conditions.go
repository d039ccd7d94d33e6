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
	// ConditionImagesResolved: the registries have answered about the images of the stack, or did not in time.
	ConditionImagesResolved = "ImagesResolved"
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

// Reasons of conditions. A reason is one of these and never free text, so that scripts can rely on it.
const (
	// ReasonPending: the stage waits for something else, which its message names.
	ReasonPending = "Pending"
	// ReasonInProgress: the stage has begun and is not done.
	ReasonInProgress = "InProgress"
	// ReasonDone: the stage did what it is for.
	ReasonDone = "Done"
	// ReasonNothingToDo: the repository asks for nothing of what the stage does.
	ReasonNothingToDo = "NothingToDo"
	// ReasonSkipped: an earlier stage failed, so that this one was not finished.
	ReasonSkipped = "Skipped"
	// ReasonCanceled: the Run was canceled, by a comment, the command line or its spec.
	ReasonCanceled = "Canceled"
	// ReasonInvalidConfig: .conductor.yaml, or what it names, cannot be used.
	ReasonInvalidConfig = "InvalidConfig"
	// ReasonInvalidCompose: the compose files cannot be converted.
	ReasonInvalidCompose = "InvalidCompose"
	// ReasonRefused: the operator's limits, Conductor's bounds or Pod Security do not allow it.
	ReasonRefused = "Refused"
	// ReasonNotFound: a file, an image, a commit or an artifact is not there.
	ReasonNotFound = "NotFound"
	// ReasonBuildFailed: the build of an image ended with an error of its own.
	ReasonBuildFailed = "BuildFailed"
	// ReasonImageUnavailable: an image cannot be pulled or read.
	ReasonImageUnavailable = "ImageUnavailable"
	// ReasonUnhealthy: a service did not become ready in stack.ready.timeout.
	ReasonUnhealthy = "Unhealthy"
	// ReasonCrashed: a container ended by itself where it should not have.
	ReasonCrashed = "Crashed"
	// ReasonUnschedulable: no node takes a pod.
	ReasonUnschedulable = "Unschedulable"
	// ReasonTimeout: a limit of time was reached; the message names the setting.
	ReasonTimeout = "Timeout"
	// ReasonTestsFailed: a suite ended with an exit code other than 0.
	ReasonTestsFailed = "TestsFailed"
	// ReasonUnavailable: GitHub, the registry, the API server or the stack's agent did not answer for as long as it was tried.
	ReasonUnavailable = "Unavailable"
	// ReasonExpired: the stack's time (keep) is up.
	ReasonExpired = "Expired"
	// ReasonDeleted: something that the Run needs, or its stack, was deleted from outside.
	ReasonDeleted = "Deleted"
	// ReasonStuck: a test reached its time limit and could not be ended.
	ReasonStuck = "Stuck"
	// ReasonOutOfMemory: the kernel ended a container for its memory limit.
	ReasonOutOfMemory = "OutOfMemory"
	// ReasonEvicted: the kubelet evicted a pod, for the node's memory or disk or the pod's own limit.
	ReasonEvicted = "Evicted"
	// ReasonNodeLost: the node of a pod is gone or does not answer.
	ReasonNodeLost = "NodeLost"
	// ReasonQuotaExceeded: a ResourceQuota does not allow what the Run needs.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonDiskFull: a disk is full, of a node or Conductor's own.
	ReasonDiskFull = "DiskFull"
	// ReasonDegraded: a service of a kept stack that was ready is not ready any more.
	ReasonDegraded = "Degraded"
	// ReasonProcessEnded: Conductor's own process ended again and again while it worked on the Run.
	ReasonProcessEnded = "ProcessEnded"
)
