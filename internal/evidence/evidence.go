// Package evidence defines the results of a run's tests. The wrapper and the agent collect them in the stack's namespace, the
// controllers evaluate them, the report shows them and the record stores them; result.json in a record is a Result.
package evidence

import (
	"crypto/sha256"
	"time"
)

// SchemaVersion is the version of result.json. It is increased when older readers would misread the new format.
const SchemaVersion = 1

// Limits on the texts of one case, in bytes; longer texts are truncated at a character boundary. They limit the memory of a report.
const (
	MaxMessage = 4 << 10
	MaxDetail  = 16 << 10
	MaxOutput  = 8 << 10
)

// MaxTexts is how many failed cases of a suite keep their full text; the others keep MaxBrief bytes of their message.
const (
	MaxTexts = 100
	MaxBrief = 256
)

// RootDir is the first element of the names of files outside the test's working directory: rootfs/out/a.xml is /out/a.xml.
const RootDir = "rootfs"

// Status is the result of one test case.
type Status string

// The states of a test case. As in JUnit, Failed means that an assertion failed, Error that anything else ended the case.
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
	// Class is the class, package or group of the case, such as JUnit's classname; Name is the case's own.
	Class string `json:"class,omitempty"`
	Name  string `json:"name"`
	// File is relative to the repository's root if that is known; Line counts from 1, 0 means unknown.
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Status Status `json:"status"`
	// Flaky means that an earlier attempt failed and the last one passed.
	Flaky bool `json:"flaky,omitempty"`
	// Seconds is the duration of its last attempt.
	Seconds float64 `json:"seconds"`
	// Message is the failure in a few lines, Detail its stack trace, Output the case's part of the log.
	Message string `json:"message,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Output  string `json:"output,omitempty"`
	// Cut means that texts of the case were left out because the suite has too many failed cases.
	Cut bool `json:"cut,omitempty"`
	// Shard is the index of the shard that ran it.
	Shard int `json:"shard,omitempty"`
}

// ID returns the case's name, which is the same in all runs, attempts and shards.
func (c Case) ID() string {
	if c.Class == "" {
		return c.Name
	}
	return c.Class + " › " + c.Name
}

// Identity is a hash of a case's ID, which may be long.
type Identity [16]byte

// Identity returns the hash of the case's ID.
func (c Case) Identity() Identity {
	sum := sha256.Sum256([]byte(c.ID()))
	return Identity(sum[:16])
}

// Totals counts test cases. Tests is the sum of Passed, Failed, Errors and Skipped; flaky cases count as passed.
type Totals struct {
	Tests   int `json:"tests"`
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Errors  int `json:"errors"`
	Skipped int `json:"skipped"`
	Flaky   int `json:"flaky"`
}

// Usage is the resource usage of a container. Zero means unknown.
type Usage struct {
	// CPUSeconds is the total, CPUPeak the maximum of one sample, in cores.
	CPUSeconds float64 `json:"cpuSeconds,omitempty"`
	CPUPeak    float64 `json:"cpuPeak,omitempty"`
	// MemoryPeak is in bytes.
	MemoryPeak int64 `json:"memoryPeak,omitempty"`
	// Source is cgroup for exact values, metrics for sampled ones.
	Source string `json:"source,omitempty"`
}

// AttemptKey identifies one execution of one shard of a suite. Shard counts from 0, Number from 1.
type AttemptKey struct {
	Suite  string `json:"suite"`
	Shard  int    `json:"shard"`
	Number int    `json:"number"`
}

// Attempt is one execution of one shard, as reported by the wrapper.
type Attempt struct {
	AttemptKey
	// ExitCode is the test process's exit code; 128+n if signal n ended it, -1 if it could not be started.
	ExitCode int `json:"exitCode"`
	// Signal is the name of the signal that ended it, such as SIGKILL.
	Signal string `json:"signal,omitempty"`
	// TimedOut means that the wrapper ended it at its time limit.
	TimedOut   bool      `json:"timedOut,omitempty"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	Usage      *Usage    `json:"usage,omitempty"`
	// JUnit and Artifacts list the test reports and the artifacts that were found, by path relative to the working directory, or below
	// rootfs for files outside it. If a list is incomplete, JUnitFiles or ArtifactFiles is the total number.
	JUnit         []File `json:"junit,omitempty"`
	Artifacts     []File `json:"artifacts,omitempty"`
	JUnitFiles    int    `json:"junitFiles,omitempty"`
	ArtifactFiles int    `json:"artifactFiles,omitempty"`
	// Problems are sentences for people: a pattern that matched nothing, a file that is not a test report, artifacts that were too large.
	Problems []string `json:"problems,omitempty"`
}

// File is one file that a test wrote. Size is in bytes.
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
	// Cases are the test cases: failed ones first, then flaky ones, then the others in the order of JUnit.
	Cases []Case `json:"cases,omitempty"`
	// Compared is set if an earlier run of the suite on the same branch is known.
	Compared *Comparison `json:"compared,omitempty"`
	Usage    *Usage      `json:"usage,omitempty"`
	// Log is the end of the tests' output, masked, at most 8 KiB; the record has the full log.
	Log string `json:"log,omitempty"`
}

// Comparison compares the suite with its last run on the branch. Cases are named by ID.
type Comparison struct {
	Run          string   `json:"run"`
	SHA          string   `json:"sha,omitempty"`
	NewlyFailing []string `json:"newlyFailing,omitempty"`
	NewlyFixed   []string `json:"newlyFixed,omitempty"`
}

// Result is result.json: the description and the result of a run.
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
	// Log is the end of the build's log if it failed, masked, at most 8 KiB.
	Log string `json:"log,omitempty"`
}

// Service is a service of the stack at the time when the outcome was known.
type Service struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
	// Image is the image of its containers, by digest, if the kubelet reported it.
	Image string `json:"image,omitempty"`
	Usage *Usage `json:"usage,omitempty"`
}

// HistoryLength is the number of runs in a History.
const HistoryLength = 50

// History holds the results of one suite's last runs on one branch, the most recently recorded first.
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
	// Setup is the time from the end of the run's checkout to its first suite, in seconds; 0 means that it is not known.
	Setup  float64 `json:"setup,omitempty"`
	Totals *Totals `json:"totals,omitempty"`
	// Cases maps a case's ID to its status, or to flaky.
	Cases map[string]string `json:"cases,omitempty"`
}
