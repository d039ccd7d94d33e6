package evidence

import (
	"errors"
	"fmt"
	"net/url"
)

// AgentPort is the port of a stack's agent.
const AgentPort = 7070

// ErrAbsent is in the chain of an error when the agent has no such attempt, file or log.
var ErrAbsent = errors.New("the agent does not have it")

// AgentTokens are what the agent of a stack takes requests with. Conductor's is good for everything but the source, the wrapper's for what
// the wrapper of a test sends, and Source for reading the files of the commit and for nothing else.
type AgentTokens struct{ Conductor, Wrapper, Source string }

// SourcePath is the path of the commit's files at the agent, or of those at or below a path of the repository; "." is all.
func SourcePath(path string) string { return "/v1/source?" + url.Values{"path": {path}}.Encode() }

// AgentState is what the agent of a stack knows.
type AgentState struct {
	// Version differs from an earlier one when an attempt changed, or a log began or ended. Growing logs do not change it. It is
	// good for nothing but to be handed back: a restarted agent counts from another beginning.
	Version  int64          `json:"version"`
	Attempts []AttemptState `json:"attempts"`
	Logs     []LogFile      `json:"logs"`
}

// AttemptState is one attempt, as far as the agent knows it.
type AttemptState struct {
	Key AttemptKey `json:"key"`
	// Ready says that its wrapper has asked for leave to start, Allowed that it has it.
	Ready   bool `json:"ready,omitempty"`
	Allowed bool `json:"allowed,omitempty"`
	// Ended says that the test process is gone and Attempt tells how; JUnit is there. Complete says that nothing more comes.
	Ended    bool `json:"ended,omitempty"`
	Complete bool `json:"complete,omitempty"`
	// JUnitSize and ArtifactsSize are the bytes of the blobs at JUnitPath and ArtifactsPath; 0 where there is none.
	JUnitSize     int64 `json:"junitSize,omitempty"`
	ArtifactsSize int64 `json:"artifactsSize,omitempty"`
	// Attempt is set from Ended on. Its paths and sentences are masked; the content of its artifacts is not, since they are binary.
	Attempt *Attempt `json:"attempt,omitempty"`
}

// LogFile is the log of one container, over its restarts. What it belongs to is taken from its pod's labels.
type LogFile struct {
	Pod       string `json:"pod"`
	Container string `json:"container"`
	// Init says that the container is an init container.
	Init bool `json:"init,omitempty"`
	// Service and Suite are values of labels: a name that is too long for one stands in its short form.
	Service string `json:"service,omitempty"`
	Suite   string `json:"suite,omitempty"`
	Shard   int    `json:"shard,omitempty"`
	Number  int    `json:"number,omitempty"`
	// Bytes are of text that was read, masked and before compression; it counts what was dropped, too.
	Bytes int64 `json:"bytes"`
	// Dropped are the bytes that were left out of the middle.
	Dropped int64 `json:"dropped,omitempty"`
	// Ended says that its container is gone for good and the log is all there.
	Ended bool `json:"ended,omitempty"`
}

// AttemptCases are the test cases of one attempt, parsed from its JUnit files and masked. They are written and read one by one.
type AttemptCases struct {
	Cases    []Case   `json:"cases"`
	Problems []string `json:"problems,omitempty"`
}

// AttemptPath is the path of an attempt at the agent; of is the last element, such as go or cases.
func AttemptPath(key AttemptKey, of string) string {
	return fmt.Sprintf("/v1/attempts/%s/%d/%d/%s", url.PathEscape(key.Suite), key.Shard, key.Number, of)
}

// JUnitPath is the path of an attempt's JUnit files, a tar compressed by gzip.
func JUnitPath(key AttemptKey) string { return AttemptPath(key, "junit.tar.gz") }

// ArtifactsPath is the path of an attempt's artifacts, a tar compressed by gzip.
func ArtifactsPath(key AttemptKey) string { return AttemptPath(key, "artifacts.tar.gz") }

// LogPath is the path of a container's log, compressed by gzip.
func LogPath(pod, container string) string { return TailPath(pod, container) + ".gz" }

// TailPath is the path of the end of a container's log, as text.
func TailPath(pod, container string) string {
	return "/v1/logs/" + url.PathEscape(pod) + "/" + url.PathEscape(container)
}
