package v1alpha1

// Event is the part of a GitHub webhook that Conductor uses, never the whole body. At most one of Push, Comment and Closed is set.
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
	// Closed is set when an issue or a pull request was closed.
	// +optional
	Closed *ClosedEvent `json:"closed,omitempty"`
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
	// PushedAt is repository.pushed_at as a Unix time. It distinguishes two pushes of one ref at one SHA.
	// +optional
	PushedAt int64 `json:"pushedAt,omitempty"`
	// HeadSHA is the commit that the ref points to; empty if the ref was deleted.
	// +optional
	HeadSHA string `json:"headSHA,omitempty"`
}

// ClosedEvent is the end of an issue or a pull request.
type ClosedEvent struct {
	// Issue is the number of the issue or pull request.
	Issue int `json:"issue"`
	// Merged reports whether it is a pull request that was merged.
	// +optional
	Merged bool `json:"merged,omitempty"`
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
	// Commands are the first commands of the comment, in order. Its text is not kept.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	Commands []Command `json:"commands,omitempty"`
	// More is how many commands the comment has after these; they are not acted on.
	// +optional
	More int `json:"more,omitempty"`
}

// Command is one slash-command of a comment as it was parsed: a verb with its arguments and flags, or a problem.
type Command struct {
	// Verb is the name of the command; empty if there is no command of the name that was given.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Verb string `json:"verb,omitempty"`
	// Args are the arguments.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	Args []string `json:"args,omitempty"`
	// Flags are the values of the flags, in order.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Flags []CommandFlag `json:"flags,omitempty"`
	// Problem is a sentence about what is wrong with the command. It quotes at most 40 characters of a word.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Problem string `json:"problem,omitempty"`
}

// CommandFlag is one value of a flag.
type CommandFlag struct {
	// Name does not include the dashes.
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name"`
	// Value is the value as it was parsed.
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}
