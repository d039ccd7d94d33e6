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

// TrustLevel says how far a Run's code is trusted. It is decided once, from where the code comes.
//
// +kubebuilder:validation:Enum=protected;unprotected;fork
type TrustLevel string

// The trust levels, from most to least.
const (
	TrustProtected   TrustLevel = "protected"
	TrustUnprotected TrustLevel = "unprotected"
	TrustFork        TrustLevel = "fork"
)

// RunSpec says what is to be run. Only Cancel may be set later, once.
//
// +kubebuilder:validation:XValidation:rule="self.repository == oldSelf.repository && self.installationID == oldSelf.installationID && self.actor == oldSelf.actor && has(self.object) == has(oldSelf.object) && (!has(self.object) || self.object == oldSelf.object) && has(self.issue) == has(oldSelf.issue) && (!has(self.issue) || self.issue == oldSelf.issue) && has(self.suites) == has(oldSelf.suites) && (!has(self.suites) || self.suites == oldSelf.suites) && self.sha == oldSelf.sha && self.ref == oldSelf.ref && self.trust == oldSelf.trust && self.trigger == oldSelf.trigger && self.ceilings == oldSelf.ceilings",message="what a run runs cannot be changed; start another run"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.cancel) || has(self.cancel)",message="a cancel cannot be taken back; start another run"
type RunSpec struct {
	Repository     Repository `json:"repository"`
	InstallationID int64      `json:"installationID"`
	// Ref is the full ref that was pushed or that the SHA was taken from.
	// +kubebuilder:validation:MaxLength=512
	Ref string `json:"ref"`
	// SHA is the commit that is run, from first to last.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}([0-9a-f]{24})?$`
	SHA string `json:"sha"`
	// Object is what the ref pointed to: the tag object of an annotated tag, else the SHA.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Object string     `json:"object,omitempty"`
	Trust  TrustLevel `json:"trust"`
	// Trigger says what started the Run.
	Trigger Trigger `json:"trigger"`
	// Actor is who started it.
	Actor Actor `json:"actor"`
	// Issue is the issue that asked; where it is 0, the reporter looks for one in the ref and the commit.
	// +optional
	Issue int `json:"issue,omitempty"`
	// Suites are the suites to run; none means all.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Suites []string `json:"suites,omitempty"`
	// Ceilings are the operator's limits when the Run began.
	Ceilings Ceilings `json:"ceilings"`
	// Cancel asks for the Run to end.
	// +optional
	Cancel *Cancel `json:"cancel,omitempty"`
}

// TriggerKind is what can start a Run.
//
// +kubebuilder:validation:Enum=tag;comment;poll;api
type TriggerKind string

// The kinds of trigger.
const (
	TriggerTag     TriggerKind = "tag"
	TriggerComment TriggerKind = "comment"
	// TriggerPoll: a matching tag was found by comparing refs, because its push made no event.
	TriggerPoll TriggerKind = "poll"
	TriggerAPI  TriggerKind = "api"
)

// Trigger is what started a Run.
type Trigger struct {
	Kind TriggerKind `json:"kind"`
	// Delivery is the GUID of the delivery, where there was one.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Delivery string `json:"delivery,omitempty"`
	// Comment is the id of the comment, where there was one.
	// +optional
	Comment int64 `json:"comment,omitempty"`
	// ReceivedAt is when Conductor heard of it, to the microsecond.
	// +optional
	ReceivedAt *metav1.MicroTime `json:"receivedAt,omitempty"`
}

// Cancel says who wants a Run to end, and why.
type Cancel struct {
	// +kubebuilder:validation:MaxLength=100
	By string `json:"by"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string      `json:"reason,omitempty"`
	At     metav1.Time `json:"at"`
}

// Ceilings are what the operator allows; a repository's file may only tighten them.
type Ceilings struct {
	// RunTimeout is the longest a Run may take until its result is known.
	RunTimeout metav1.Duration `json:"runTimeout"`
	// Keep is how long a stack stays when the repository does not say.
	Keep metav1.Duration `json:"keep"`
	// KeepMax is the longest a stack may stay.
	KeepMax metav1.Duration `json:"keepMax"`
	// KeepForever allows `keep: forever`; without it forever means KeepMax.
	// +optional
	KeepForever bool `json:"keepForever,omitempty"`
	// Registries are host or host/path prefixes that images may come from; none means any. Together they have at most 4,096 characters.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.map(r, size(r)).sum() <= 4096",message="the registries have more than 4,096 characters together"
	Registries []string `json:"registries,omitempty"`
	// Allow is what pods of the stack may have beyond Pod Security's baseline; none means nothing.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	Allow []Allowance `json:"allow,omitempty"`
	// Pods, CPU and Memory bound the stack's namespace (ResourceQuota); CPU and Memory are Kubernetes quantities.
	// +optional
	Pods int32 `json:"pods,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=32
	CPU string `json:"cpu,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Memory string `json:"memory,omitempty"`
	// Files is how much of the repository's files all pods of the stack are given besides what ConfigMaps hold, a Kubernetes quantity;
	// empty means nothing.
	// +optional
	Files string `json:"files,omitempty"`
}

// FileBytes is Files in bytes.
func (c Ceilings) FileBytes() int64 {
	q, err := resource.ParseQuantity(c.Files)
	if err != nil {
		return 0
	}
	return q.Value()
}

// RunPhase is where a Run stands, in one word.
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

// Outcome is how a Run or a suite ended.
//
// +kubebuilder:validation:Enum=passed;failed;error;canceled
type Outcome string

// The outcomes: failed means that tests failed; error that they could not be run.
const (
	OutcomePassed   Outcome = "passed"
	OutcomeFailed   Outcome = "failed"
	OutcomeError    Outcome = "error"
	OutcomeCanceled Outcome = "canceled"
)

// RunStatus is what is known of a Run. Its lists are atomic but for the conditions: one writer replaces them whole, and the API server
// keeps no field of ownership for each of their entries.
type RunStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	Phase RunPhase `json:"phase,omitempty"`
	// Outcome is set once, when the result is known.
	// +optional
	Outcome Outcome `json:"outcome,omitempty"`
	// Message is the sentence that explains the phase or the outcome.
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
	// Issue is the issue that the result goes to; 0 when there is none. The reporter alone writes it.
	// +optional
	Issue int `json:"issue,omitempty"`
	// IssueSource says where the number was found.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	IssueSource string `json:"issueSource,omitempty"`
	// Branch is the short name of the branch that the commit is on, as far as that is known; suites are compared with earlier runs of
	// the same one. The reporter alone writes it.
	// +optional
	Branch string `json:"branch,omitempty"`
	// Namespace is the stack's namespace.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// BuildsNamespace is where the build Jobs of Images are.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	BuildsNamespace string `json:"buildsNamespace,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Images []ImageStatus `json:"images,omitempty"`
	// StackImages are the images that the stack runs, as the registry knew them when they were looked up, once.
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
	// Report is what was told on GitHub. The reporter alone writes it.
	// +optional
	Report *ReportStatus `json:"report,omitempty"`
	// StartedAt is when the first stage began, FinishedAt when the outcome was known.
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// Keep is how long the stack stays, after the file and the ceilings: a duration, or forever.
	// +optional
	Keep string `json:"keep,omitempty"`
	// ExpiresAt is when the stack is taken down; unset when it is kept forever or is gone.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// Step is what Conductor does for the Run at the moment that may need much memory; unset most of the time.
	// +optional
	Step *StepStatus `json:"step,omitempty"`
	// Record is the artifact that outlives the Run.
	// +optional
	Record *RecordStatus `json:"record,omitempty"`
	// Source is the artifact with the files of the commit; it goes with the stack.
	// +optional
	Source *SourceStatus `json:"source,omitempty"`
	// Notes are the conversion's approximations and what else a reader should know, at most 20.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Notes []string `json:"notes,omitempty"`
}

// StepStatus is a step of a Run that may need more memory than Conductor has. It is written before the step begins, so that a step that
// ends Conductor's process is known to the next one.
type StepStatus struct {
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// Suspect means that a process ended while the Run was in this step; Alone that no other Run is in a step meanwhile.
	// +optional
	Suspect bool `json:"suspect,omitempty"`
	// +optional
	Alone bool `json:"alone,omitempty"`
	// Deaths is how many processes ended while the Run was alone in this step; the second ends the Run.
	// +optional
	Deaths int32 `json:"deaths,omitempty"`
}

// StageTime is when a stage began and ended.
type StageTime struct {
	Name string `json:"name"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// FailingSince is when something that may pass began to keep the stage from going on; unset when nothing does.
	// +optional
	FailingSince *metav1.MicroTime `json:"failingSince,omitempty"`
}

// ImageStatus is an image that the Run builds.
type ImageStatus struct {
	// Name is the key in build.images or the compose service.
	Name string `json:"name"`
	// Repository is where it is pushed, without tag or digest.
	// +optional
	Repository string `json:"repository,omitempty"`
	// Digest is what was pushed; from here on the image has no other name.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Job is the build Job, in BuildsNamespace.
	// +optional
	Job string `json:"job,omitempty"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// Log is the end of the build's log when it failed, at most 30 lines and 4 KiB, until the record holds it.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Log string `json:"log,omitempty"`
}

// Reference is repository@digest, or empty while the digest is not known.
func (i ImageStatus) Reference() string {
	if i.Digest == "" {
		return ""
	}
	return i.Repository + "@" + i.Digest
}

// StackImage is an image that the stack runs. What was found holds until the Run's end, whatever becomes of its tag.
type StackImage struct {
	// Name is the reference in the compose files, or that of what was built.
	Name string `json:"name"`
	// Digest is what the name stood for; empty where that is known from the name, or the registry could not say.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Problem explains why the image's configuration could not be read; empty when it was.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Problem string `json:"problem,omitempty"`
}

// Reference is the name with the digest that it stood for.
func (i StackImage) Reference() string {
	if i.Digest == "" {
		return i.Name
	}
	return i.Name + "@" + i.Digest
}

// ServiceState is where a service of the stack stands.
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
	// Message says what it waits for or why it failed; the end of its log may follow in further lines, until the record holds it.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// URL is the public address, or empty.
	// +optional
	URL string `json:"url,omitempty"`
	// URLProblem explains why the address does not work, where the cluster says so.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URLProblem string `json:"urlProblem,omitempty"`
	// PortForward is the command that reaches the service without a public address.
	// +optional
	PortForward string `json:"portForward,omitempty"`
}

// SuiteStatus is one suite of tests.
type SuiteStatus struct {
	Name string `json:"name"`
	// +optional
	Outcome Outcome `json:"outcome,omitempty"`
	// ExitCode is the test process's own; unset while it runs or when it was never started.
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
	// Message explains an outcome that is not the test's own.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// Log is the end of what the tests printed, at most 8 KiB. It leaves the Run with Failures once the record holds them.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Log string `json:"log,omitempty"`
	// StartedAt is when the first test process was started, or let go where it waited for the stack.
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// Shards is how many shards the suite has; each is an attempt of its own at a time.
	// +optional
	Shards int32 `json:"shards,omitempty"`
	// Attempts are the executions: one for each shard, and one more for each that was tried again. Where a Run would become too large,
	// they are folded: of a shard only the last one is here, and of a suite that has ended none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Attempts []AttemptStatus `json:"attempts,omitempty"`
	// Tries are how many attempts each shard had, by shard; set once attempts were folded. The last one holds for further shards.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tries []int32 `json:"tries,omitempty"`
	// Reason is one of the conditions' reasons, where the outcome is not the tests' own.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// Totals count the test cases of the JUnit files; unset where there were none.
	// +optional
	Totals *TestTotals `json:"totals,omitempty"`
	// Failures are the first failing test cases, at most 10; the record holds them all.
	// +optional
	// +kubebuilder:validation:MaxItems=10
	Failures []TestFailure `json:"failures,omitempty"`
	// NewlyFailing and NewlyFixed count against the last run of the suite on the branch; unset where there was none.
	// +optional
	NewlyFailing *int32 `json:"newlyFailing,omitempty"`
	// +optional
	NewlyFixed *int32 `json:"newlyFixed,omitempty"`
	// Problems are what went wrong around the tests, such as a JUnit pattern that matched nothing.
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
	// Reason is one of the conditions' reasons, where the outcome is not the test's own.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message explains such an outcome.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// CreatedAt is when its Job was made, StartedAt when its test was let go.
	// +optional
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
}

// TestTotals count test cases. Tests is the sum of the others but Flaky, which are among the passed.
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

// RecordStatus is where the record of a Run is.
type RecordStatus struct {
	// Reference is repository:tag, Digest that of its manifest.
	// +optional
	Reference string `json:"reference,omitempty"`
	// +optional
	Digest string `json:"digest,omitempty"`
	// Size is the sum of its layers, in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`
	// Folded means that ends of logs and failures have left the Run: the record alone holds them.
	// +optional
	Folded bool `json:"folded,omitempty"`
}

// SourceStatus is where the files of a Run's commit are.
type SourceStatus struct {
	// Reference is repository:tag, Digest that of its manifest.
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	// Size is the sum of its layers, compressed, in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`
}

// Pinned is the reference with the digest, which no push moves.
func (s SourceStatus) Pinned() string { return s.Reference + "@" + s.Digest }

// ReportStatus says what was last told on GitHub, and where.
type ReportStatus struct {
	// CommentID is the issue comment that is kept up to date; 0 where there is no issue.
	// +optional
	CommentID int64 `json:"commentID,omitempty"`
	// CheckRuns are the ids of the check runs by their external ids; 0 is one that is about to be made.
	// +optional
	// +mapType=atomic
	CheckRuns map[string]int64 `json:"checkRuns,omitempty"`
	// Digest is a hash of what was told last.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Final says that the outcome was told.
	// +optional
	Final bool `json:"final,omitempty"`
	// Message explains why the report could not be brought to GitHub.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// RunList is a list of Runs.
//
// +kubebuilder:object:root=true
type RunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Run `json:"items"`
}
