// Package trigger decides what a GitHub event asks for: a run, its end, help, or nothing; and always why. It reads slash-commands, names
// runs by what they mean, so that the same push or comment, delivered twice, is the same run, and finds the issue that
// a run's result belongs to. It is pure: no clock, no network, no cluster.
package trigger

import (
	"fmt"
	"path"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Action is what an event asks for.
type Action string

// The actions.
const (
	// Start asks for a run.
	Start Action = "Start"
	// Cancel asks for the runs of an issue to end.
	Cancel Action = "Cancel"
	// Help asks for words: the help, or what was wrong with a command.
	Help Action = "Help"
	// Ignore asks for nothing.
	Ignore Action = "Ignore"
)

// Rules say what starts a run.
type Rules struct {
	// Tags are patterns of short tag names as path.Match reads them: a * stops at a slash. A pattern that cannot be read
	// matches nothing.
	Tags []string
}

// Decision is what an event asks for, and why.
type Decision struct {
	Action Action
	// Reason is a sentence, for the log and for the Delivery.
	Reason string
	// Suites are the suites to run; none means all.
	Suites []string
	// Unknown is a sentence for the one who commented, when the command cannot be followed.
	Unknown string
}

// Decide says what an event asks for. Whether its sender may is for the caller to find out. A Start for a push may lack
// HeadSHA: then the caller has to ask GitHub which commit After is.
func Decide(e v1alpha1.Event, rules Rules) Decision {
	switch {
	case e.Name == "push" && e.Push != nil:
		return rules.push(*e.Push)
	case e.Name == "issue_comment" && e.Comment != nil:
		return decideComment(e)
	}
	return ignore("The event %q asks for nothing", e.Name)
}

func ignore(format string, args ...any) Decision {
	return Decision{Action: Ignore, Reason: fmt.Sprintf(format, args...)}
}

func (r Rules) push(p v1alpha1.PushEvent) Decision {
	tag, ok := strings.CutPrefix(p.Ref, tagPrefix)
	switch {
	case !ok:
		return ignore("%s is not a tag", p.Ref)
	case !r.matches(tag):
		return ignore("The tag %s starts no run", tag)
	case p.Deleted || zero(p.After):
		return ignore("The tag %s was deleted", tag)
	}
	how := "moved"
	switch {
	case p.Created || zero(p.Before):
		how = "pushed"
	case p.Before == p.After:
		how = "pushed again"
	}
	return Decision{Action: Start, Reason: fmt.Sprintf("The tag %s was %s", tag, how)}
}

const tagPrefix = "refs/tags/"

// Tag is the short name of a full ref and whether the rules let it start a run.
func (r Rules) Tag(ref string) (string, bool) {
	tag, ok := strings.CutPrefix(ref, tagPrefix)
	return tag, ok && r.matches(tag)
}

func (r Rules) matches(tag string) bool {
	for _, pattern := range r.Tags {
		if ok, err := path.Match(pattern, tag); ok && err == nil {
			return true
		}
	}
	return false
}

// zero reports whether an object id is none: GitHub writes as many zeros as an id has digits.
func zero(object string) bool { return strings.Trim(object, "0") == "" }

func decideComment(e v1alpha1.Event) Decision {
	switch {
	case e.Action != "created":
		return ignore("A comment was %s; only new ones are read", e.Action)
	case e.Sender.Type == "Bot":
		return ignore("%s is a bot; the comments of bots are not read", e.Sender.Login)
	}
	c, ok := First(e.Comment.Body)
	if !ok {
		return ignore("The comment holds no command")
	}
	who := fmt.Sprintf("%s commented on #%d", e.Sender.Login, e.Comment.Issue)
	if c.Problem != "" {
		return Decision{Action: Help, Reason: who + " with a command that cannot be followed", Unknown: c.Problem}
	}
	return Decision{Action: c.Action, Reason: who + ": " + c.Name, Suites: c.Args}
}
