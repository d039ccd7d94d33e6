package v1alpha1

import "time"

// CheckRun is what Conductor says in one GitHub check run. It is not stored: report writes it, the GitHub adapter sends it.
//
// +kubebuilder:object:generate=false
type CheckRun struct {
	// Name is shown in GitHub's list, such as "conductor / integration".
	Name string
	// ExternalID marks the check run as ours: it is looked for before one is created.
	ExternalID string
	// HeadSHA is the commit it is about.
	HeadSHA string
	// Status is queued, in_progress or completed.
	Status string
	// Conclusion is success, failure, cancelled, timed_out, neutral or action_required; only when completed.
	Conclusion string
	// Title is one line; Summary and Text are Markdown of at most 65,535 characters.
	Title, Summary, Text string
	// DetailsURL is where "Details" leads; empty for GitHub's own page.
	DetailsURL string
	// StartedAt and CompletedAt are zero when unknown.
	StartedAt, CompletedAt time.Time
	// Annotations are shown beside the lines that they are about. The adapter sends them in batches of 50, each once.
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

// Permission is a user's right on a repository, as GitHub's role names: read, triage, write, maintain, admin or none.
type Permission string

// CanWrite reports whether the permission includes pushing.
func (p Permission) CanWrite() bool { return p == "write" || p == "maintain" || p == "admin" }

// CommitHints are texts around a commit that may name the issue it belongs to.
//
// +kubebuilder:object:generate=false
type CommitHints struct {
	// TagMessage is the message of the annotated tag; empty for a lightweight one.
	TagMessage string
	// Branches are the short names of branches whose head the commit is.
	Branches []string
	// Protected says that one of them is a protected branch.
	Protected bool
	// Message is the commit's own message.
	Message string
	// PullRequests are the numbers of pull requests that hold the commit, open ones first.
	PullRequests []int
}

// Head is what an issue's or pull request's run is made of.
//
// +kubebuilder:object:generate=false
type Head struct {
	// Ref is the full ref, SHA the commit it points to now.
	Ref, SHA string
	// Fork says that the commit comes from another repository.
	Fork bool
}
