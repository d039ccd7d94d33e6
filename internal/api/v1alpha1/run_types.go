package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Run is one integration-test run of one commit.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.repository.owner`
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.repository.name`
// +kubebuilder:printcolumn:name="Ref",type=string,JSONPath=`.spec.ref`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.status.outcome`
// +kubebuilder:printcolumn:name="Issue",type=integer,JSONPath=`.status.issue`
// +kubebuilder:printcolumn:name="Stack",type=string,JSONPath=`.status.namespace`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="SHA",type=string,priority=1,JSONPath=`.spec.sha`
// +kubebuilder:printcolumn:name="Trust",type=string,priority=1,JSONPath=`.spec.trust`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
type Run struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RunSpec `json:"spec"`
	// +optional
	Status RunStatus `json:"status,omitempty"`
}

// TrustLevel is how far a Run's code is trusted. It is decided once, by the origin of the code.
//
// +kubebuilder:validation:Enum=protected;unprotected;fork
type TrustLevel string

// The trust levels, from most to least.
const (
	TrustProtected   TrustLevel = "protected"
	TrustUnprotected TrustLevel = "unprotected"
	TrustFork        TrustLevel = "fork"
)

// RunSpec describes what to run. It is immutable, except that Cancel can be set once and that Extension and ActiveAt can change.
//
// +kubebuilder:validation:XValidation:rule="self.repository == oldSelf.repository && self.installationID == oldSelf.installationID && self.actor == oldSelf.actor && self.sha == oldSelf.sha && self.ref == oldSelf.ref && self.trust == oldSelf.trust && self.trigger == oldSelf.trigger && self.ceilings == oldSelf.ceilings && has(self.object) == has(oldSelf.object) && (!has(self.object) || self.object == oldSelf.object) && has(self.issue) == has(oldSelf.issue) && (!has(self.issue) || self.issue == oldSelf.issue) && has(self.suites) == has(oldSelf.suites) && (!has(self.suites) || self.suites == oldSelf.suites) && has(self.environment) == has(oldSelf.environment) && (!has(self.environment) || self.environment == oldSelf.environment) && has(self.profiles) == has(oldSelf.profiles) && (!has(self.profiles) || self.profiles == oldSelf.profiles) && has(self.keep) == has(oldSelf.keep) && (!has(self.keep) || self.keep == oldSelf.keep) && has(self.rerunOf) == has(oldSelf.rerunOf) && (!has(self.rerunOf) || self.rerunOf == oldSelf.rerunOf) && has(self.onlyFailed) == has(oldSelf.onlyFailed) && (!has(self.onlyFailed) || self.onlyFailed == oldSelf.onlyFailed) && has(self.on) == has(oldSelf.on) && (!has(self.on) || self.on == oldSelf.on) && has(self.configSHA) == has(oldSelf.configSHA) && (!has(self.configSHA) || self.configSHA == oldSelf.configSHA)",message="the spec of a run is immutable except for cancel, extension and activeAt; start another run"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.cancel) || has(self.cancel)",message="a canceled run cannot be resumed; start another run"
type RunSpec struct {
	Repository     Repository `json:"repository"`
	InstallationID int64      `json:"installationID"`
	// Ref is the full ref that was pushed or that the SHA was resolved from.
	// +kubebuilder:validation:MaxLength=512
	Ref string `json:"ref"`
	// SHA is the commit to test. It never changes.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}([0-9a-f]{24})?$`
	SHA string `json:"sha"`
	// Object is the object that the ref pointed to: the tag object of an annotated tag, else the SHA.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Object string     `json:"object,omitempty"`
	Trust  TrustLevel `json:"trust"`
	// Trigger is what started the Run.
	Trigger Trigger `json:"trigger"`
	// Actor is who started it.
	Actor Actor `json:"actor"`
	// Issue is the issue that requested the Run. If it is 0, the reporter searches the ref and the commit for one.
	// +optional
	Issue int `json:"issue,omitempty"`
	// Suites are the suites to run; empty means all.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Suites []string `json:"suites,omitempty"`
	// Environment is the operator's environment that the Run uses; empty means that the operator has not configured any.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Environment string `json:"environment,omitempty"`
	// ConfigSHA is the commit that .conductor.yaml is read from, if it is not SHA: for the code of a fork, the head of the base branch.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}([0-9a-f]{24})?$`
	// +kubebuilder:validation:MaxLength=64
	ConfigSHA string `json:"configSHA,omitempty"`
	// Profiles are compose profiles that are active besides those of .conductor.yaml.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=63
	Profiles []string `json:"profiles,omitempty"`
	// Keep is how long the stack was asked to be kept, used or not: a duration or forever; empty means as the file and the ceilings have it.
	// +optional
	// +kubebuilder:validation:Pattern=`^(forever|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)?$`
	// +kubebuilder:validation:MaxLength=32
	Keep string `json:"keep,omitempty"`
	// RerunOf is the Run that this one repeats. OnlyFailed means that it runs only the suites that did not pass there.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RerunOf string `json:"rerunOf,omitempty"`
	// +optional
	OnlyFailed bool `json:"onlyFailed,omitempty"`
	// On is the Run whose kept stack this one uses; empty means a stack of its own.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	On string `json:"on,omitempty"`
	// Ceilings are the operator's limits at the start of the Run.
	Ceilings Ceilings `json:"ceilings"`
	// Cancel requests the end of the Run.
	// +optional
	Cancel *Cancel `json:"cancel,omitempty"`
	// Extension keeps the stack longer than Status.Keep.
	// +optional
	Extension *Extension `json:"extension,omitempty"`
	// ActiveAt is when the kept stack was last used, as far as Conductor knows. It is kept up to date only if Status.Idle is set.
	// +optional
	ActiveAt *metav1.Time `json:"activeAt,omitempty"`
}

// TriggerKind is what can start a Run.
//
// +kubebuilder:validation:Enum=tag;comment;poll;api
type TriggerKind string

// The kinds of trigger.
const (
	TriggerTag     TriggerKind = "tag"
	TriggerComment TriggerKind = "comment"
	// TriggerPoll: comparing refs found a matching tag whose push did not create an event.
	TriggerPoll TriggerKind = "poll"
	TriggerAPI  TriggerKind = "api"
)

// Trigger is what started a Run.
type Trigger struct {
	Kind TriggerKind `json:"kind"`
	// Delivery is the GUID of the delivery. For a poll it is an id made of the tag that it found.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Delivery string `json:"delivery,omitempty"`
	// Comment is the id of the comment, if there was one.
	// +optional
	Comment int64 `json:"comment,omitempty"`
	// ReceivedAt is when Conductor received it, to the microsecond.
	// +optional
	ReceivedAt *metav1.MicroTime `json:"receivedAt,omitempty"`
}

// TraceOf returns the trace id of a Run, which is in every log line about it: the GUID of the delivery that started it, or the poll's id.
// The trace id of a Run that was created by hand is its name.
func TraceOf(run *Run) string {
	if id := run.Spec.Trigger.Delivery; id != "" {
		return id
	}
	return run.Name
}

// Cancel names who canceled a Run, and why.
type Cancel struct {
	// +kubebuilder:validation:MaxLength=100
	By string `json:"by"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string      `json:"reason,omitempty"`
	At     metav1.Time `json:"at"`
}

// Extension names who asked for a stack to be kept longer, and until when.
type Extension struct {
	// +kubebuilder:validation:MaxLength=100
	By string `json:"by"`
	// Until is within the ceilings; unset means forever.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// Ceilings are the operator's limits. A repository's file can only tighten them.
type Ceilings struct {
	// RunTimeout is the longest time until a Run's outcome is known.
	RunTimeout metav1.Duration `json:"runTimeout"`
	// Keep is how long a stack is kept if the repository does not specify it.
	Keep metav1.Duration `json:"keep"`
	// KeepMax is the longest time a stack can be kept.
	KeepMax metav1.Duration `json:"keepMax"`
	// KeepForever allows `keep: forever`; without it, forever means KeepMax.
	// +optional
	KeepForever bool `json:"keepForever,omitempty"`
	// KeepIdle is the time after which a stack that is not used is deleted if the repository does not specify it; 0 means never.
	// +optional
	KeepIdle metav1.Duration `json:"keepIdle,omitempty"`
	// Registries are the host or host/path prefixes that images may come from; empty means any. They have at most 4,096 characters in
	// total.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.map(r, size(r)).sum() <= 4096",message="the registries have more than 4,096 characters in total"
	Registries []string `json:"registries,omitempty"`
	// Allow lists the permitted exceptions from Pod Security's baseline level; empty means none.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	Allow []Allowance `json:"allow,omitempty"`
	// Pods, CPU and Memory limit the stack's namespace (ResourceQuota); CPU and Memory are Kubernetes quantities.
	// +optional
	Pods int32 `json:"pods,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=32
	CPU string `json:"cpu,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Memory string `json:"memory,omitempty"`
	// Files limits the repository's files that are mounted in all pods of the stack, besides those in ConfigMaps. It is a Kubernetes
	// quantity; empty means none.
	// +optional
	Files string `json:"files,omitempty"`
}

// FileBytes returns Files in bytes.
func (c Ceilings) FileBytes() int64 {
	q, err := resource.ParseQuantity(c.Files)
	if err != nil {
		return 0
	}
	return q.Value()
}

// RunPhase summarizes the progress of a Run in one word.
//
// +kubebuilder:validation:Enum=Pending;Preparing;Building;Starting;Testing;Reporting;Finished;Deleting
type RunPhase string

// The phases.
const (
	PhasePending   RunPhase = "Pending"
	PhasePreparing RunPhase = "Preparing"
	PhaseBuilding  RunPhase = "Building"
	PhaseStarting  RunPhase = "Starting"
	PhaseTesting   RunPhase = "Testing"
	PhaseReporting RunPhase = "Reporting"
	PhaseFinished  RunPhase = "Finished"
	PhaseDeleting  RunPhase = "Deleting"
)

// Outcome is the result of a Run or a suite.
//
// +kubebuilder:validation:Enum=passed;failed;error;canceled
type Outcome string

// The outcomes: failed means that tests failed, error that they could not be run.
const (
	OutcomePassed   Outcome = "passed"
	OutcomeFailed   Outcome = "failed"
	OutcomeError    Outcome = "error"
	OutcomeCanceled Outcome = "canceled"
)

// RunStatus is the observed state of a Run. Its lists except the conditions are atomic: one writer replaces them as a whole, and
// managed fields do not grow with their entries.
type RunStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	Phase RunPhase `json:"phase,omitempty"`
	// Outcome is set once, when the result is known.
	// +optional
	Outcome Outcome `json:"outcome,omitempty"`
	// Message explains the phase or the outcome.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Stages are the times of the stages, for the timeline.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Stages []StageTime `json:"stages,omitempty"`
	// Issue is the issue that the result is posted to; 0 if there is none. Only the reporter writes it.
	// +optional
	Issue int `json:"issue,omitempty"`
	// IssueSource names where the issue number was found.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	IssueSource string `json:"issueSource,omitempty"`
	// Branch is the short name of the commit's branch, if known. Suites are compared with earlier runs on the same branch. Only the
	// reporter writes it.
	// +optional
	Branch string `json:"branch,omitempty"`
	// Namespace is the stack's namespace.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// BuildsNamespace is the namespace of the build Jobs.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	BuildsNamespace string `json:"buildsNamespace,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Images []ImageStatus `json:"images,omitempty"`
	// StackImages are the images that the stack runs, as resolved in the registry, once per Run.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	StackImages []StackImage `json:"stackImages,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Services []ServiceStatus `json:"services,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Suites []SuiteStatus `json:"suites,omitempty"`
	// Report is what was posted to GitHub. Only the reporter writes it.
	// +optional
	Report *ReportStatus `json:"report,omitempty"`
	// StartedAt is when the first stage started, FinishedAt when the outcome was known.
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// Keep is how long the stack is kept, according to the file and the ceilings: a duration, or forever.
	// +optional
	Keep string `json:"keep,omitempty"`
	// Idle is the time after which a stack that is not used is deleted although Keep has not passed; unset means never.
	// +optional
	Idle *metav1.Duration `json:"idle,omitempty"`
	// KeptAfterClose means that the stack stays when the issue or pull request is closed.
	// +optional
	KeptAfterClose bool `json:"keptAfterClose,omitempty"`
	// ExpiresAt is when the stack will be deleted; unset if it is kept forever or deleted already.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// Step is the current operation of Conductor for the Run that may need much memory; unset most of the time.
	// +optional
	Step *StepStatus `json:"step,omitempty"`
	// Record is the artifact that outlives the Run.
	// +optional
	Record *RecordStatus `json:"record,omitempty"`
	// Source is the artifact with the files of the commit; it is deleted with the stack.
	// +optional
	Source *SourceStatus `json:"source,omitempty"`
	// Notes are the conversion's approximations and other information for readers, at most 20.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Notes []string `json:"notes,omitempty"`
}

// StepStatus is a step of a Run that may need more memory than Conductor has. It is stored before the step begins, so that the next
// process can detect a step that made its predecessor exit.
type StepStatus struct {
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// Suspect means that a process exited while the Run was in this step, Alone that no other Run is in a step at the same time.
	// +optional
	Suspect bool `json:"suspect,omitempty"`
	// +optional
	Alone bool `json:"alone,omitempty"`
	// Deaths is how many processes exited while the Run was alone in this step; the second one ends the Run.
	// +optional
	Deaths int32 `json:"deaths,omitempty"`
}

// StageTime holds the start and end of a stage.
type StageTime struct {
	Name string `json:"name"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// FailingSince is when a transient error first kept the stage from continuing; unset if there is none.
	// +optional
	FailingSince *metav1.MicroTime `json:"failingSince,omitempty"`
}

// ImageStatus is an image that the Run builds.
type ImageStatus struct {
	// Name is the key in build.images or the compose service.
	Name string `json:"name"`
	// Repository is where it is pushed, without a tag or digest.
	// +optional
	Repository string `json:"repository,omitempty"`
	// Digest is the digest of the pushed image, which identifies it from then on.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Job is the build Job, in BuildsNamespace.
	// +optional
	Job string `json:"job,omitempty"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// Log is the end of the build's log if it failed, at most 30 lines and 4 KiB, until the record holds it.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Log string `json:"log,omitempty"`
}

// Reference returns repository@digest, or "" while the digest is unknown.
func (i ImageStatus) Reference() string {
	if i.Digest == "" {
		return ""
	}
	return i.Repository + "@" + i.Digest
}

// StackImage is an image that the stack runs. Its digest is fixed for the whole Run, even if the tag is moved.
type StackImage struct {
	// Name is the reference in the compose files, or that of the built image.
	Name string `json:"name"`
	// Digest is the digest that the name resolved to; empty if the name contains it, or if the registry did not return one.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Problem explains why the image's configuration could not be read; empty if it was.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Problem string `json:"problem,omitempty"`
}

// Reference returns the name with the resolved digest.
func (i StackImage) Reference() string {
	if i.Digest == "" {
		return i.Name
	}
	return i.Name + "@" + i.Digest
}

// ServiceState is the state of a service of the stack.
//
// +kubebuilder:validation:Enum=Waiting;Starting;Ready;Completed;Failed
type ServiceState string

// The states of a service.
const (
	ServiceWaiting   ServiceState = "Waiting"
	ServiceStarting  ServiceState = "Starting"
	ServiceReady     ServiceState = "Ready"
	ServiceCompleted ServiceState = "Completed"
	ServiceFailed    ServiceState = "Failed"
)

// ServiceStatus is one service of the stack.
type ServiceStatus struct {
	Name  string       `json:"name"`
	State ServiceState `json:"state"`
	// Message explains what it waits for or why it failed. The end of its log may follow in further lines, until the record holds it.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// URL is the public address, if it has one.
	// +optional
	URL string `json:"url,omitempty"`
	// URLProblem explains why the address does not work, if the cluster reports it.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URLProblem string `json:"urlProblem,omitempty"`
	// PortForward is the command to reach the service without a public address.
	// +optional
	PortForward string `json:"portForward,omitempty"`
}

// SuiteStatus is one suite of tests.
type SuiteStatus struct {
	Name string `json:"name"`
	// +optional
	Outcome Outcome `json:"outcome,omitempty"`
	// ExitCode is the test process's exit code; unset while it runs or if it was never started.
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
	// Message explains an outcome that the tests themselves did not cause.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// Log is the end of the tests' output, at most 8 KiB. Log and Failures are removed once the record holds them.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Log string `json:"log,omitempty"`
	// StartedAt is when the first test process was started or, if it had to wait for the stack, was allowed to start.
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// Shards is the number of shards; each has at most one running attempt.
	// +optional
	Shards int32 `json:"shards,omitempty"`
	// Attempts are the executions: one for each shard, and one for each retry. If the Run would become too large, only the last attempt of
	// each shard is listed, and none of a completed suite.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Attempts []AttemptStatus `json:"attempts,omitempty"`
	// Tries are the numbers of attempts of each shard; set once attempts were removed. The last number applies to all further shards.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tries []int32 `json:"tries,omitempty"`
	// Reason is one of the conditions' reasons, if the tests themselves did not cause the outcome.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// Totals count the test cases of the test reports; unset if there were none.
	// +optional
	Totals *TestTotals `json:"totals,omitempty"`
	// Failures are the first failing test cases, at most 10; the record holds all of them.
	// +optional
	// +kubebuilder:validation:MaxItems=10
	Failures []TestFailure `json:"failures,omitempty"`
	// NewlyFailing and NewlyFixed compare the suite with its last run on the branch; unset if there was none.
	// +optional
	NewlyFailing *int32 `json:"newlyFailing,omitempty"`
	// +optional
	NewlyFixed *int32 `json:"newlyFixed,omitempty"`
	// Problems are other problems of the suite, such as a pattern of test reports that matched nothing.
	// +optional
	// +kubebuilder:validation:MaxItems=10
	Problems []string `json:"problems,omitempty"`
}

// AttemptStatus is one execution of one shard of a suite.
type AttemptStatus struct {
	// Shard counts from 0, Number from 1.
	Shard  int32 `json:"shard"`
	Number int32 `json:"number"`
	// +optional
	Outcome Outcome `json:"outcome,omitempty"`
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
	// Reason is one of the conditions' reasons, if the test itself did not cause the outcome.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message explains such an outcome.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// CreatedAt is when its Job was created, StartedAt when its test was allowed to start.
	// +optional
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
}

// TestTotals counts test cases. Tests is the sum of the others except Flaky; flaky cases count as passed.
type TestTotals struct {
	Tests   int32 `json:"tests"`
	Passed  int32 `json:"passed"`
	Failed  int32 `json:"failed"`
	Errors  int32 `json:"errors"`
	Skipped int32 `json:"skipped"`
	Flaky   int32 `json:"flaky"`
}

// TestFailure is one failing test case.
type TestFailure struct {
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name"`
	// +optional
	// +kubebuilder:validation:MaxLength=512
	File string `json:"file,omitempty"`
	// +optional
	Line int32 `json:"line,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// RecordStatus locates the record of a Run.
type RecordStatus struct {
	// Reference is repository:tag, Digest that of its manifest.
	// +optional
	Reference string `json:"reference,omitempty"`
	// +optional
	Digest string `json:"digest,omitempty"`
	// Size is the total size of its layers, in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`
	// Folded means that only the record holds the ends of logs and the failures.
	// +optional
	Folded bool `json:"folded,omitempty"`
}

// SourceStatus locates the files of a Run's commit.
type SourceStatus struct {
	// Reference is repository:tag, Digest that of its manifest.
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	// Size is the total compressed size of its layers, in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`
}

// Pinned returns the reference with the digest, which a push cannot move.
func (s SourceStatus) Pinned() string { return s.Reference + "@" + s.Digest }

// ReportStatus is what was last posted to GitHub, and where.
type ReportStatus struct {
	// CommentID is the issue comment that is kept up to date; 0 without an issue.
	// +optional
	CommentID int64 `json:"commentID,omitempty"`
	// CheckRuns are the ids of the check runs by external id; 0 means that the check run is about to be created.
	// +optional
	// +mapType=atomic
	CheckRuns map[string]int64 `json:"checkRuns,omitempty"`
	// Digest is a hash of what was posted last.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Final means that the outcome was posted.
	// +optional
	Final bool `json:"final,omitempty"`
	// Expected is how long the Run usually takes; it is set once the suites are known.
	// +optional
	Expected *ExpectedTimes `json:"expected,omitempty"`
	// Message explains why the report could not be posted to GitHub.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// ExpectedTimes is how long the parts of a Run usually take, in seconds.
type ExpectedTimes struct {
	// Setup is the time from the end of the checkout to the first suite; 0 means that it is not known.
	// +optional
	Setup int32 `json:"setup,omitempty"`
	// Suites are the times of the suites that are known.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Suites map[string]int32 `json:"suites,omitempty"`
}

// RunList is a list of Runs.
//
// +kubebuilder:object:root=true
type RunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Run `json:"items"`
}
