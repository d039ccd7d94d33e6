package v1alpha1

// Conditions of a Run: one for each stage, and StackHealthy. A condition is Unknown while its stage is in progress, True when
// the stage is done and False when it failed. Its message is a sentence for people who read the issue.
const (
	// ConditionCheckedOut: the repository's files were read at the Run's SHA and are valid.
	ConditionCheckedOut = "CheckedOut"
	// ConditionSecretsSynced: the declared secrets, if any, are in the stack's namespace.
	ConditionSecretsSynced = "SecretsSynced"
	// ConditionImagesBuilt: every image is in the registry and its digest is known.
	ConditionImagesBuilt = "ImagesBuilt"
	// ConditionImagesResolved: the registries have answered about the images of the stack, or did not in time.
	ConditionImagesResolved = "ImagesResolved"
	// ConditionStackReady: every service of the stack is up and passed the health gate.
	ConditionStackReady = "StackReady"
	// ConditionTestsPassed: every suite ended with exit code 0.
	ConditionTestsPassed = "TestsPassed"
	// ConditionReported: the check run and the comment show the outcome.
	ConditionReported = "Reported"
	// ConditionRecorded: the result, the test reports and the logs are in the registry.
	ConditionRecorded = "Recorded"
	// ConditionStackHealthy: the services of a kept stack are still up; set once the outcome is known.
	ConditionStackHealthy = "StackHealthy"
	// ConditionStackKept: the stack still exists; False with ReasonExpired, ReasonIdle, ReasonCanceled or ReasonDeleted once it is deleted.
	ConditionStackKept = "StackKept"
)

// Reasons of conditions. Scripts can rely on them: a reason is always one of these, never free text.
const (
	// ReasonPending: the stage waits for something else, which its message names.
	ReasonPending = "Pending"
	// ReasonInProgress: the stage has started and is not done.
	ReasonInProgress = "InProgress"
	// ReasonDone: the stage succeeded.
	ReasonDone = "Done"
	// ReasonNothingToDo: the repository does not use the stage.
	ReasonNothingToDo = "NothingToDo"
	// ReasonSkipped: an earlier stage failed, so this one was not completed.
	ReasonSkipped = "Skipped"
	// ReasonCanceled: the Run was canceled, by a comment, the command line or its spec.
	ReasonCanceled = "Canceled"
	// ReasonInvalidConfig: .conductor.yaml, or a file that it names, is invalid.
	ReasonInvalidConfig = "InvalidConfig"
	// ReasonInvalidCompose: the compose files cannot be converted.
	ReasonInvalidCompose = "InvalidCompose"
	// ReasonRefused: the operator's limits, Conductor's limits or Pod Security do not allow it.
	ReasonRefused = "Refused"
	// ReasonNotFound: a file, an image, a commit or an artifact does not exist.
	ReasonNotFound = "NotFound"
	// ReasonBuildFailed: the build of an image failed.
	ReasonBuildFailed = "BuildFailed"
	// ReasonImageUnavailable: an image cannot be pulled or read.
	ReasonImageUnavailable = "ImageUnavailable"
	// ReasonUnhealthy: a service did not become ready within stack.ready.timeout.
	ReasonUnhealthy = "Unhealthy"
	// ReasonCrashed: a container exited unexpectedly.
	ReasonCrashed = "Crashed"
	// ReasonUnschedulable: a pod does not fit on any node.
	ReasonUnschedulable = "Unschedulable"
	// ReasonTimeout: a time limit was reached; the message names the setting.
	ReasonTimeout = "Timeout"
	// ReasonTestsFailed: a suite ended with an exit code other than 0.
	ReasonTestsFailed = "TestsFailed"
	// ReasonUnavailable: GitHub, the registry, the API server or the stack's agent did not answer, despite retries.
	ReasonUnavailable = "Unavailable"
	// ReasonExpired: the stack was kept for its configured time (keep).
	ReasonExpired = "Expired"
	// ReasonExpiring: the stack will be deleted within the hour.
	ReasonExpiring = "Expiring"
	// ReasonIdle: the stack was not used for its configured time (keep.idle).
	ReasonIdle = "Idle"
	// ReasonDeleted: something that the Run needs, or its stack, was deleted from outside.
	ReasonDeleted = "Deleted"
	// ReasonStuck: a test reached its time limit and could not be terminated.
	ReasonStuck = "Stuck"
	// ReasonOutOfMemory: the kernel killed a container that exceeded its memory limit.
	ReasonOutOfMemory = "OutOfMemory"
	// ReasonEvicted: the kubelet evicted a pod because of the node's memory or disk or the pod's own limit.
	ReasonEvicted = "Evicted"
	// ReasonNodeLost: the node of a pod is gone or does not respond.
	ReasonNodeLost = "NodeLost"
	// ReasonQuotaExceeded: a ResourceQuota does not allow what the Run needs.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonDiskFull: a node's disk or Conductor's own is full.
	ReasonDiskFull = "DiskFull"
	// ReasonDegraded: a service of a kept stack was ready and has become unready.
	ReasonDegraded = "Degraded"
	// ReasonProcessEnded: Conductor's process repeatedly exited while it worked on the Run.
	ReasonProcessEnded = "ProcessEnded"
)
