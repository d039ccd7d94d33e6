package v1alpha1

// Event is the part of a GitHub webhook that Conductor uses, never the whole body. Exactly one of Push and Comment is set.
type Event struct {
	// Name is the X-GitHub-Event header, such as push or issue_comment.
	Name string `json:"name"`
	// Action is the payload's action, such as created; empty for push.
	// +optional
	Action string `json:"action,omitempty"`
	// InstallationID is the App installation that the delivery belongs to.
	InstallationID int64 `json:"installationID"`
	// Repository is the repository that the event happened in.
	Repository Repository `json:"repository"`
	// Sender is the account that caused the event.
	Sender Actor `json:"sender"`
	// Push is set for a push of a ref.
	// +optional
	Push *PushEvent `json:"push,omitempty"`
	// Comment is set for a new comment on an issue or a pull request.
	// +optional
	Comment *CommentEvent `json:"comment,omitempty"`
}

// Repository names one GitHub repository.
type Repository struct {
	// ID is GitHub's numeric id, which survives a rename.
	ID int64 `json:"id"`
	// Owner is the login of the owning user or organization.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	Owner string `json:"owner"`
	// Name is the repository's name without its owner.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	Name string `json:"name"`
	// DefaultBranch is the short name of the default branch.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DefaultBranch string `json:"defaultBranch,omitempty"`
	// Private reports whether the repository is private or internal.
	// +optional
	Private bool `json:"private,omitempty"`
	// CloneURL is the HTTPS URL for git fetch.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	CloneURL string `json:"cloneURL,omitempty"`
	// HTMLURL is the repository's page.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	HTMLURL string `json:"htmlURL,omitempty"`
}

// FullName returns owner/name.
func (r Repository) FullName() string { return r.Owner + "/" + r.Name }

// Actor is a GitHub account.
type Actor struct {
	// Login is the account's name.
	// +kubebuilder:validation:MaxLength=100
	Login string `json:"login"`
	// ID is GitHub's numeric id.
	// +optional
	ID int64 `json:"id,omitempty"`
	// Type is User, Bot or Organization.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Type string `json:"type,omitempty"`
}

// PushEvent is a push of one ref.
type PushEvent struct {
	// Ref is the full ref, such as refs/tags/run-integration-tests.
	Ref string `json:"ref"`
	// Before is the object that the ref pointed to before; zeros if it was created.
	Before string `json:"before"`
	// After is the object that the ref points to now; zeros if it was deleted. For an annotated tag it is the tag object.
	After string `json:"after"`
	// +optional
	Created bool `json:"created,omitempty"`
	// +optional
	Deleted bool `json:"deleted,omitempty"`
	// +optional
	Forced bool `json:"forced,omitempty"`
	// BaseRef is the branch that the pushed ref was made from, according to GitHub; often empty.
	// +optional
	BaseRef string `json:"baseRef,omitempty"`
	// PushedAt is repository.pushed_at as a Unix time. It distinguishes two pushes of one ref at one SHA.
	// +optional
	PushedAt int64 `json:"pushedAt,omitempty"`
	// HeadSHA is the commit that the ref points to; empty if the ref was deleted.
	// +optional
	HeadSHA string `json:"headSHA,omitempty"`
	// HeadMessage is that commit's message, truncated to 16 KiB.
	// +optional
	HeadMessage string `json:"headMessage,omitempty"`
}

// CommentEvent is a comment on an issue or a pull request.
type CommentEvent struct {
	// ID is the comment's id.
	ID int64 `json:"id"`
	// Issue is the number of the issue or pull request.
	Issue int `json:"issue"`
	// PullRequest reports whether the issue is a pull request.
	// +optional
	PullRequest bool `json:"pullRequest,omitempty"`
	// Body is the text of the comment, truncated to whole lines of at most 64 KiB together.
	Body string `json:"body"`
}
