package v1alpha1

// Labels and annotations that Conductor sets. It never changes or deletes an object without LabelManaged.
const (
	// LabelManaged marks every object that Conductor created; its value is ManagedValue.
	LabelManaged = "conductor.digitalservic.es/managed"
	// ManagedValue is the value of LabelManaged.
	ManagedValue = "true"
	// LabelRun is the name of the Run that an object belongs to.
	LabelRun = "conductor.digitalservic.es/run"
	// LabelRunUID is the UID of that Run. It identifies a namespace's Run, because a namespace cannot have an owner reference.
	LabelRunUID = "conductor.digitalservic.es/run-uid"
	// LabelConductor is the namespace of the Conductor that created an object, so that two in one cluster do not touch each other's
	// objects.
	LabelConductor = "conductor.digitalservic.es/conductor"
	// LabelStage is the stage that created an object: build, stack or test.
	LabelStage = "conductor.digitalservic.es/stage"
	// LabelService is the compose service that an object was converted from.
	LabelService = "conductor.digitalservic.es/service"
	// LabelSuite is the test suite of a test Job.
	LabelSuite = "conductor.digitalservic.es/suite"
	// LabelShard is the index of a test Job's shard, from 0.
	LabelShard = "conductor.digitalservic.es/shard"
	// LabelAttempt is the number of a test Job's attempt, from 1.
	LabelAttempt = "conductor.digitalservic.es/attempt"
	// LabelImage is the image (key of build.images or compose service) of a build Job.
	LabelImage = "conductor.digitalservic.es/image"
	// LabelRepository is the repository's numeric id, which survives renames.
	LabelRepository = "conductor.digitalservic.es/repository-id"
	// LabelNetworks marks pods whose egress is limited to what the policies of the stack's own networks allow.
	LabelNetworks = "conductor.digitalservic.es/networks"
	// Finalizer keeps a Run until its namespace and build Jobs are deleted or its deadline has passed.
	Finalizer = "conductor.digitalservic.es/run"
)

// AnnotationReceivedAt is when the first byte of a delivery was read, as RFC 3339 with nanoseconds.
const AnnotationReceivedAt = "conductor.digitalservic.es/received-at"

// AnnotationDockerfile holds the Dockerfile of a build that defines it inline in the compose file; the build's pod mounts it as a file.
const AnnotationDockerfile = "conductor.digitalservic.es/dockerfile"

// AnnotationMayEnd lists the containers of a service's pod, separated by commas, that may end with exit code 0: under compose they would not
// be restarted.
const AnnotationMayEnd = "conductor.digitalservic.es/may-end"
