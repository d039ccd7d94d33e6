package authority

import (
	"fmt"
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// cell decides for one subject; nil means allowed.
type cell func(Subject) *Refusal

// row holds the cells of one action and one kind of actor, one for each trust level in the order of trusts.
type row struct {
	action Action
	kind   Kind
	cells  [3]cell
}

// trusts are the columns of the table.
var trusts = []v1alpha1.TrustLevel{v1alpha1.TrustProtected, v1alpha1.TrustUnprotected, v1alpha1.TrustFork}

// table is the authority table. What it does not list is denied.
var table = []row{
	// action, kind of actor, {protected, unprotected, fork}
	{StartByTag, Person, [3]cell{write, write, writeNoFork}},
	{StartByTag, Bot, [3]cell{allowed, allowed, noFork}},
	{StartByTag, Poll, [3]cell{allowed, allowed, noFork}},
	{StartByTag, Operator, [3]cell{never, never, never}},
	{StartByComment, Person, [3]cell{write, write, write}},
	{StartByComment, Bot, [3]cell{listed, listed, listedNoFork}},
	{StartByComment, Poll, [3]cell{never, never, never}},
	{StartByComment, Operator, [3]cell{never, never, never}},
	{Cancel, Person, [3]cell{write, write, write}},
	{Cancel, Bot, [3]cell{listed, listed, listed}},
	{Cancel, Poll, [3]cell{never, never, never}},
	{Cancel, Operator, [3]cell{allowed, allowed, allowed}},
	{Rerun, Person, [3]cell{write, write, writeNoFork}},
	{Rerun, Bot, [3]cell{listed, listed, listedNoFork}},
	{Rerun, Poll, [3]cell{never, never, never}},
	{Rerun, Operator, [3]cell{never, never, never}},
	{Extend, Person, [3]cell{write, write, write}},
	{Extend, Bot, [3]cell{listed, listed, listed}},
	{Extend, Poll, [3]cell{never, never, never}},
	{Extend, Operator, [3]cell{allowed, allowed, allowed}},
	{Down, Person, [3]cell{write, write, write}},
	{Down, Bot, [3]cell{listed, listed, listed}},
	{Down, Poll, [3]cell{never, never, never}},
	{Down, Operator, [3]cell{allowed, allowed, allowed}},
	{Close, Person, [3]cell{allowed, allowed, allowed}},
	{Close, Bot, [3]cell{allowed, allowed, allowed}},
	{Close, Poll, [3]cell{never, never, never}},
	{Close, Operator, [3]cell{never, never, never}},
	{Status, Person, [3]cell{write, write, write}},
	{Status, Bot, [3]cell{listed, listed, listed}},
	{Status, Poll, [3]cell{never, never, never}},
	{Status, Operator, [3]cell{allowed, allowed, allowed}},
	{Logs, Person, [3]cell{write, write, write}},
	{Logs, Bot, [3]cell{listed, listed, listed}},
	{Logs, Poll, [3]cell{never, never, never}},
	{Logs, Operator, [3]cell{allowed, allowed, allowed}},
	{Help, Person, [3]cell{write, write, write}},
	{Help, Bot, [3]cell{listed, listed, listed}},
	{Help, Poll, [3]cell{never, never, never}},
	{Help, Operator, [3]cell{never, never, never}},
}

// permissions are GitHub's repository roles from the least to the most.
var permissions = []v1alpha1.Permission{"none", "read", "triage", "write", "maintain", "admin"}

func allowed(Subject) *Refusal { return nil }

// write allows people with at least write permission.
func write(s Subject) *Refusal {
	if slices.Index(permissions, s.Permission) >= slices.Index(permissions, "write") {
		return nil
	}
	has := s.Permission
	if has == "" {
		has = "unknown"
	}
	return &Refusal{
		Reason: fmt.Sprintf("%s has %s permission; commands need write", s.Actor.Login, has),
		Answer: fmt.Sprintf("Commands need write permission on this repository; yours is %s. Ask someone who has it to comment.", has),
	}
}

// noFork denies code from forks to everyone.
func noFork(Subject) *Refusal {
	return &Refusal{
		Trust:  v1alpha1.TrustFork,
		Reason: "The pull request comes from a fork",
		Answer: "This pull request comes from a fork, and code from forks is not run yet. Push the commit to a branch of this repository to test it.",
	}
}

// writeNoFork denies code from forks too, but a missing permission is reported first.
func writeNoFork(s Subject) *Refusal {
	if r := write(s); r != nil {
		return r
	}
	return noFork(s)
}

// listed allows the bots that the operator's list grants what a person would need. The others get no answer: two bots that answer each other
// never stop.
func listed(s Subject) *Refusal {
	refusal := write(s)
	switch {
	case refusal == nil:
		return nil
	case s.Permission == "":
		refusal.Reason = fmt.Sprintf("%s is a bot; commands from bots are ignored unless the operator's list (bots) has them", s.Actor.Login)
	}
	refusal.Answer = ""
	return refusal
}

// listedNoFork denies code from forks too: a bot has not read it.
func listedNoFork(s Subject) *Refusal {
	if r := listed(s); r != nil {
		return r
	}
	refusal := noFork(s)
	refusal.Answer = ""
	return refusal
}

// never denies what cannot be asked for today. A new way to ask needs a decision here.
func never(s Subject) *Refusal {
	return &Refusal{Reason: fmt.Sprintf("This is not available to an actor of kind %q", s.Kind)}
}
