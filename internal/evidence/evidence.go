// Package evidence holds the words for what a run's tests showed. The wrapper and the agent gather it in the stack's namespace,
// the controllers judge it, the report tells it and the record keeps it; result.json in a record is a Result.
package evidence

import (
	"crypto/sha256"
	"time"
)

// SchemaVersion is the version of result.json. It grows when a reader of the old one would misread the new one.
const SchemaVersion = 1

// Limits of one case, in bytes; what is longer is cut at a character's boundary. They bound the memory of a report.
const (
	MaxMessage = 4 << 10
	MaxDetail  = 16 << 10
	MaxOutput  = 8 << 10
)

// MaxTexts is how many bad cases of a suite keep their whole text; the others keep MaxBrief bytes of their message.
const (
	MaxTexts = 100
	MaxBrief = 256
)

// Status is how one test case ended.
type Status string

// The states of a test case. Failed is a check that did not hold, Error anything else that ended it (JUnit tells them apart).
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Error   Status = "error"
	Skipped Status = "skipped"
)

// Bad reports whether the case counts against the suite.
func (s Status) Bad() bool { return s == Failed || s == Error }

// Case is one test case of a suite, over all attempts.
type Case struct {
	// Class is JUnit's classname or, without one, the name of its testsuite; Name is the case's own.
	Class string `json:"class,omitempty"`
	Name  string `json:"name"`
	// File is relative to the repository's root where that is known; Line counts from 1, 0 is unknown.
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Status Status `json:"status"`
	// Flaky says that an earlier attempt failed and the last one passed.
	Flaky bool `json:"flaky,omitempty"`
	// Seconds is how long its last attempt took.
	Seconds float64 `json:"seconds"`
	// Message is the failure in a line or a few, Detail its stack trace, Output the case's part of the log.
	Message string `json:"message,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Output  string `json:"output,omitempty"`
	// Cut reports whether texts of the case were left out since others of the suite come first.
	Cut bool `json:"cut,omitempty"`
	// Shard is the index of the shard that ran it.
	Shard int `json:"shard,omitempty"`
}

// ID names the case over runs, attempts and shards.
func (c Case) ID() string {
	if c.Class == "" {
		return c.Name
	}
	return c.Class + " › " + c.Name
}

// Identity is a hash of a case's ID, which may be long.
type Identity [16]byte

// Identity is that of the case's ID.
func (c Case) Identity() Identity {
	sum := sha256.Sum256([]byte(c.ID()))
	return Identity(sum[:16])
}

// Totals count test cases. Tests is the sum of Passed, Failed, Errors and Skipped; Flaky ones are among the passed.
type Totals struct {
	Tests   int `json:"tests"`
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Errors  int `json:"errors"`
	Skipped int `json:"skipped"`
	Flaky   int `json:"flaky"`
}

// Usage is what a container used. Zero is unknown.
type Usage struct {
	// CPUSeconds is the whole, CPUPeak the most in one sample, in cores.
	CPUSeconds float64 `json:"cpuSeconds,omitempty"`
	CPUPeak    float64 `json:"cpuPeak,omitempty"`
	// MemoryPeak is in bytes.
	MemoryPeak int64 `json:"memoryPeak,omitempty"`
	// Source is cgroup for exact values, metrics for sampled ones.
	Source string `json:"source,omitempty"`
}

// AttemptKey names one execution of one shard of a suite. Shard counts from 0, Number from 1.
type AttemptKey struct {
	Suite  string `json:"suite"`
	Shard  int    `json:"shard"`
	Number int    `json:"number"`
}

// Attempt is one execution of one shard, as the wrapper saw it.
type Attempt struct {
	AttemptKey
	// ExitCode is the test process's own; 128+n when signal n ended it. -1 when it could not be started.
	ExitCode int `json:"exitCode"`
	// Signal is the name of the signal that ended it, such as SIGKILL.
	Signal string `json:"signal,omitempty"`
	// TimedOut says that the wrapper ended it, because its time was up.
	TimedOut   bool      `json:"timedOut,omitempty"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	Usage      *Usage    `json:"usage,omitempty"`
	// JUnit and Artifacts are the files that were found, by their paths relative to the working directory. Where those are only the
	// first of many, JUnitFiles and ArtifactFiles are how many there are.
	JUnit         []File `json:"junit,omitempty"`
	Artifacts     []File `json:"artifacts,omitempty"`
	JUnitFiles    int    `json:"junitFiles,omitempty"`
	ArtifactFiles int    `json:"artifactFiles,omitempty"`
	// Problems are sentences for people: a pattern that matched nothing, a file that is no JUnit, artifacts left out for their size.
	Problems []string `json:"problems,omitempty"`
}

// File is one file that a test left behind. Size is in bytes.
type File struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// Suite is the result of one suite over its shards and attempts.
type Suite struct {
	Name string `json:"name"`
	// Outcome is passed, failed, error or canceled.
	Outcome    string     `json:"outcome"`
	ExitCode   *int32     `json:"exitCode,omitempty"`
	Message    string     `json:"message,omitempty"`
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
	Shards     int        `json:"shards,omitempty"`
	Attempts   []Attempt  `json:"attempts,omitempty"`
	Totals     *Totals    `json:"totals,omitempty"`
	// Cases are the test cases, bad ones first, then flaky ones, then in the order of JUnit.
	Cases []Case `json:"cases,omitempty"`
	// Compared is set when an earlier run of the suite on the same branch is known.
	Compared *Comparison `json:"compared,omitempty"`
	Usage    *Usage      `json:"usage,omitempty"`
	// Log is the end of what the tests printed, masked, at most 8 KiB; the whole is a layer of the record.
	Log string `json:"log,omitempty"`
}

// Comparison is against the last run of the suite on the branch. The cases are named by ID.
type Comparison struct {
	Run          string   `json:"run"`
	SHA          string   `json:"sha,omitempty"`
	NewlyFailing []string `json:"newlyFailing,omitempty"`
	NewlyFixed   []string `json:"newlyFixed,omitempty"`
}

// Result is result.json: what a run was, and how it ended.
type Result struct {
	SchemaVersion int    `json:"schemaVersion"`
	Run           string `json:"run"`
	// Repository is owner/name.
	Repository string     `json:"repository"`
	SHA        string     `json:"sha"`
	Ref        string     `json:"ref"`
	Branch     string     `json:"branch,omitempty"`
	Trust      string     `json:"trust"`
	Trigger    string     `json:"trigger"`
	Actor      string     `json:"actor,omitempty"`
	Issue      int        `json:"issue,omitempty"`
	Outcome    string     `json:"outcome"`
	Message    string     `json:"message,omitempty"`
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
	Stages     []Stage    `json:"stages,omitempty"`
	Images     []Image    `json:"images,omitempty"`
	Services   []Service  `json:"services,omitempty"`
	Suites     []Suite    `json:"suites,omitempty"`
	Notes      []string   `json:"notes,omitempty"`
}

// Stage is one stage of the run: its condition's status, reason and message.
type Stage struct {
	Name       string     `json:"name"`
	Status     string     `json:"status"`
	Reason     string     `json:"reason,omitempty"`
	Message    string     `json:"message,omitempty"`
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
}

// Image is an image that the run built, by digest.
type Image struct {
	Name      string `json:"name"`
	Reference string `json:"reference,omitempty"`
	// Log is the end of the build's log where it failed, masked, at most 8 KiB.
	Log string `json:"log,omitempty"`
}

// Service is a service of the stack when the outcome was known.
type Service struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
	// Image is what its containers ran, by digest, where a kubelet said so.
	Image string `json:"image,omitempty"`
	Usage *Usage `json:"usage,omitempty"`
}

// HistoryLength is how many runs a History holds.
const HistoryLength = 50

// History is what the last runs of one suite on one branch showed, the one that was recorded last first.
type History struct {
	SchemaVersion int     `json:"schemaVersion"`
	Repository    string  `json:"repository"`
	Branch        string  `json:"branch"`
	Suite         string  `json:"suite"`
	Runs          []Entry `json:"runs"`
}

// Entry is one run in a History.
type Entry struct {
	Run        string    `json:"run"`
	SHA        string    `json:"sha"`
	Outcome    string    `json:"outcome"`
	FinishedAt time.Time `json:"finishedAt"`
	Seconds    float64   `json:"seconds"`
	Totals     *Totals   `json:"totals,omitempty"`
	// Cases maps a case's ID to how it ended; flaky is the word for a flaky one.
	Cases map[string]string `json:"cases,omitempty"`
}
