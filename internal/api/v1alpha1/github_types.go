package v1alpha1

import (
	"context"
	"time"
)

// CheckRun is the content of one GitHub check run. It is not stored: package report writes it and the GitHub adapter sends it.
//
// +kubebuilder:object:generate=false
type CheckRun struct {
	// Name is shown in GitHub's list, such as "conductor / integration".
	Name string
	// ExternalID identifies the check run, so that it is found before another is created.
	ExternalID string
	// HeadSHA is the commit that it belongs to.
	HeadSHA string
	// Status is queued, in_progress or completed.
	Status string
	// Conclusion is success, failure, cancelled, timed_out, neutral or action_required; set only if completed.
	Conclusion string
	// Title is one line; Summary and Text are Markdown of at most 65,535 characters.
	Title, Summary, Text string
	// DetailsURL is the target of "Details"; empty means GitHub's own page.
	DetailsURL string
	// StartedAt and CompletedAt are zero if unknown.
	StartedAt, CompletedAt time.Time
	// Annotations are shown beside the lines that they refer to. The adapter sends each once, in batches of 50.
	Annotations []Annotation
}

// Annotation is a note on lines of a file in a check run.
//
// +kubebuilder:object:generate=false
type Annotation struct {
	// Path is relative to the repository's root.
	Path string
	// StartLine and EndLine count from 1.
	StartLine, EndLine int
	// Level is notice, warning or failure.
	Level string
	// Title has at most 255 characters, Message and RawDetails at most 64 KiB each.
	Title, Message, RawDetails string
}

// HookDelivery is one attempt of GitHub to deliver an event to the App's webhook, as GitHub's log of deliveries lists it.
//
// +kubebuilder:object:generate=false
type HookDelivery struct {
	// ID identifies the attempt, GUID the event: a redelivery has another id and the same GUID.
	ID   int64
	GUID string
	// Event and Action are the name of the event and the payload's action, such as issue_comment and created.
	Event, Action string
	// DeliveredAt is when GitHub made the attempt, in whole seconds.
	DeliveredAt time.Time
	// Redelivery means that the attempt was requested.
	Redelivery bool
	// StatusCode is that of the response; 0 if there was none.
	StatusCode int
	// InstallationID and RepositoryID are 0 for an event without them.
	InstallationID, RepositoryID int64
}

// Permission is a user's right on a repository, as GitHub's role names: read, triage, write, maintain, admin or none.
type Permission string

// CommitHints are texts related to a commit that may name its issue.
//
// +kubebuilder:object:generate=false
type CommitHints struct {
	// TagMessage is the message of the annotated tag; empty for a lightweight one.
	TagMessage string
	// Branches are the short names of branches whose head the commit is.
	Branches []string
	// Protected means that one of them is a protected branch.
	Protected bool
	// Message is the commit's own message.
	Message string
	// PullRequests are the numbers of pull requests that contain the commit, open ones first.
	PullRequests []int
}

// Head is the commit that a run started from an issue or a pull request tests.
//
// +kubebuilder:object:generate=false
type Head struct {
	// Ref is the full ref, SHA the commit it points to now.
	Ref, SHA string
	// Fork means that the commit comes from another repository.
	Fork bool
}

// WritePriority orders writes to GitHub when its limits do not leave room for all of them. Those with the lowest number come first.
//
// +kubebuilder:object:generate=false
type WritePriority int

const (
	// WriteConclusion is the conclusion of a check run, which merges wait for.
	WriteConclusion WritePriority = iota
	// WriteResult is the comment on a finished run, or a reply.
	WriteResult
	// WriteProgress is an update of a run in progress. It may be dropped: the next one has everything.
	WriteProgress
	// WriteReaction only shows that a comment was read.
	WriteReaction
)

type progressKey struct{}

// WithProgress marks the comments that are written with the context as WriteProgress.
func WithProgress(ctx context.Context) context.Context {
	return context.WithValue(ctx, progressKey{}, true)
}

// IsProgress reports whether a context is marked by WithProgress.
func IsProgress(ctx context.Context) bool { return ctx.Value(progressKey{}) != nil }
