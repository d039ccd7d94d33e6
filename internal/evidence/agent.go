package evidence

import (
	"errors"
	"fmt"
	"net/url"
)

// AgentPort is the port of a stack's agent.
const AgentPort = 7070

// ErrAbsent means that the agent does not have the attempt, file or log.
var ErrAbsent = errors.New("the agent does not have it")

// AgentTokens are the tokens that a stack's agent accepts. Wrapper authorizes the requests of test wrappers, Source reads of the
// commit's files, and Conductor everything except those reads.
type AgentTokens struct{ Conductor, Wrapper, Source string }

// SourcePath returns the path, at the agent, of the files at or below a path of the repository; "." means all.
func SourcePath(path string) string { return "/v1/source?" + url.Values{"path": {path}}.Encode() }

// AgentState is the state of a stack's agent.
type AgentState struct {
	// Version changes when an attempt changes or a log starts or ends, but not when a log grows. It is only meant to be passed back to the
	// agent: a restarted agent starts from another value.
	Version  int64          `json:"version"`
	Attempts []AttemptState `json:"attempts"`
	Logs     []LogFile      `json:"logs"`
}

// AttemptState is the agent's state of one attempt.
type AttemptState struct {
	Key AttemptKey `json:"key"`
	// Ready means that its wrapper asked for permission to start, Allowed that it has permission.
	Ready   bool `json:"ready,omitempty"`
	Allowed bool `json:"allowed,omitempty"`
	// Ended means that the test process has exited; Attempt and the JUnit files are then available. Complete means that the wrapper is
	// finished.
	Ended    bool `json:"ended,omitempty"`
	Complete bool `json:"complete,omitempty"`
	// JUnitSize and ArtifactsSize are the sizes of the blobs at JUnitPath and ArtifactsPath; 0 if there are none.
	JUnitSize     int64 `json:"junitSize,omitempty"`
	ArtifactsSize int64 `json:"artifactsSize,omitempty"`
	// Attempt is set once Ended is. Its paths and problems are masked; the content of artifacts is not, because they are binary.
	Attempt *Attempt `json:"attempt,omitempty"`
}

// LogFile is the log of one container across its restarts. Its pod's labels name what it belongs to.
type LogFile struct {
	Pod       string `json:"pod"`
	Container string `json:"container"`
	// Init is set for init containers.
	Init bool `json:"init,omitempty"`
	// Service and Suite are label values: long names are shortened.
	Service string `json:"service,omitempty"`
	Suite   string `json:"suite,omitempty"`
	Shard   int    `json:"shard,omitempty"`
	Number  int    `json:"number,omitempty"`
	// Bytes is the length of the text that was read, masked and uncompressed, including dropped text.
	Bytes int64 `json:"bytes"`
	// Dropped is the length of the text that was dropped from the middle.
	Dropped int64 `json:"dropped,omitempty"`
	// Ended means that the container will not run again and the log is complete.
	Ended bool `json:"ended,omitempty"`
}

// AttemptCases holds the test cases of one attempt, parsed from its JUnit files and masked. They are written and read one by one.
type AttemptCases struct {
	Cases    []Case   `json:"cases"`
	Problems []string `json:"problems,omitempty"`
}

// AttemptPath returns the path of an attempt at the agent; of is the last element, such as go or cases.
func AttemptPath(key AttemptKey, of string) string {
	return fmt.Sprintf("/v1/attempts/%s/%d/%d/%s", url.PathEscape(key.Suite), key.Shard, key.Number, of)
}

// JUnitPath returns the path of an attempt's JUnit files, a tar.gz.
func JUnitPath(key AttemptKey) string { return AttemptPath(key, "junit.tar.gz") }

// ArtifactsPath returns the path of an attempt's artifacts, a tar.gz.
func ArtifactsPath(key AttemptKey) string { return AttemptPath(key, "artifacts.tar.gz") }

// LogPath returns the path of a container's log, compressed with gzip.
func LogPath(pod, container string) string { return TailPath(pod, container) + ".gz" }

// Tail selects the end of a container's log.
type Tail struct {
	Pod, Container string
	// Lines is how many lines are wanted.
	Lines int
	// Restarts is the container's number of restarts; Ended means that it has ended since the last one. The agent waits a moment until it has
	// read that far.
	Restarts int32
	Ended    bool
}

// TailPath returns the path of the end of a container's log, as text.
func TailPath(pod, container string) string {
	return "/v1/logs/" + url.PathEscape(pod) + "/" + url.PathEscape(container)
}
