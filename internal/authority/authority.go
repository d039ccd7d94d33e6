// Package authority decides who may do what: one table of actions, kinds of actors and the trust of the code. It is pure; looking up an
// actor's permission and the trust of a commit is up to its callers.
package authority

import (
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// Action is something that an actor may want Conductor to do.
type Action string

// The actions. Each needs a row in the table for every kind of actor.
const (
	// StartByTag starts a Run because a tag was pushed.
	StartByTag Action = "start by tag"
	// StartByComment starts a Run because a comment asks for it.
	StartByComment Action = "start by comment"
	// Cancel ends a Run.
	Cancel Action = "cancel"
	// Rerun starts a Run that repeats another one.
	Rerun Action = "rerun"
	// Extend keeps a stack longer.
	Extend Action = "extend"
	// Down deletes a kept stack.
	Down Action = "down"
	// Close ends the Runs and stacks of an issue or pull request that was closed. Who may close it is decided by GitHub.
	Close Action = "close"
	// Status gets the state of the Runs of an issue.
	Status Action = "status"
	// Logs gets the end of a service's log.
	Logs Action = "logs"
	// Help gets an answer in words: the help, or what is wrong with a command.
	Help Action = "help"
)

// Kind is a kind of actor.
type Kind string

// The kinds of actors.
const (
	// Person is a GitHub user; what they may do depends on their permission on the repository.
	Person Kind = "person"
	// Bot is a GitHub App or a machine account that GitHub marks as a bot.
	Bot Kind = "bot"
	// Poll is Conductor's own comparison of tags.
	Poll Kind = "poll"
	// Operator has access to Conductor's namespace; the API server has authorized what they do.
	Operator Kind = "operator"
)

// Subject is who asks. The zero value may do nothing.
type Subject struct {
	Kind  Kind
	Actor v1alpha1.Actor
	// Permission is a person's permission on the repository, or what the operator's list grants a bot; empty while it is unknown.
	Permission v1alpha1.Permission
}

// Pusher returns the subject for the sender of a push. GitHub accepts pushes only from accounts with write permission.
func Pusher(sender v1alpha1.Actor) Subject { return Commenter(sender, "write") }

// Commenter returns the subject for the author of a comment.
func Commenter(author v1alpha1.Actor, permission v1alpha1.Permission) Subject {
	if author.Type == "Bot" {
		return Subject{Kind: Bot, Actor: author}
	}
	return Subject{Kind: Person, Actor: author, Permission: permission}
}

// ListedBot returns the subject for a bot with the permission that the operator's list grants it for commands; empty if it is not listed.
func ListedBot(author v1alpha1.Actor, granted v1alpha1.Permission) Subject {
	return Subject{Kind: Bot, Actor: author, Permission: granted}
}

// TagPoll returns the subject for tags found by polling: who pushed them is unknown.
func TagPoll() Subject { return Subject{Kind: Poll, Actor: v1alpha1.Actor{Login: "unknown"}} }

// OperatorNamed returns the subject for someone with access to the cluster.
func OperatorNamed(name string) Subject {
	return Subject{Kind: Operator, Actor: v1alpha1.Actor{Login: name}}
}

// Refusal is the error for an action that the table denies. Retrying does not help: it is a terminal failure.
type Refusal struct {
	// Trust is the trust of the code; empty if it was unknown.
	Trust v1alpha1.TrustLevel
	// Reason is a sentence for the log and the Delivery.
	Reason string
	// Answer is a sentence for the actor; empty if the actor gets no answer.
	Answer string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

// Unwrap makes a refusal a terminal failure for callers that do not handle refusals.
func (r *Refusal) Unwrap() error {
	return failure.Terminalf(v1alpha1.ReasonRefused, nil, "%s", r.Reason)
}

// Check returns nil if the subject may take the action on code of this trust, else a *Refusal. An empty trust means that it is not
// known yet: then only what is denied at every trust is refused.
func Check(s Subject, action Action, trust v1alpha1.TrustLevel) error {
	columns := trusts
	if trust != "" {
		columns = []v1alpha1.TrustLevel{trust}
	}
	var first *Refusal
	for _, t := range columns {
		refusal := lookup(s, action, t)
		if refusal == nil {
			return nil
		}
		if first == nil {
			first = refusal
		}
	}
	first.Trust = trust
	return first
}

// lookup returns what the table holds for one trust level; what it does not list is denied.
func lookup(s Subject, action Action, trust v1alpha1.TrustLevel) *Refusal {
	column := slices.Index(trusts, trust)
	for _, r := range table {
		if column >= 0 && r.action == action && r.kind == s.Kind {
			return r.cells[column](s)
		}
	}
	return never(s)
}
