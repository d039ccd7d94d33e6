// Package trigger decides what a GitHub event asks for, and why. It reads slash-commands, names runs by what they mean, so that a push
// or comment that is delivered twice is the same run, and finds the issue that a run's result belongs to. Who may ask is decided by
// package authority. It is pure: no clock, no network, no cluster.
package trigger

import (
	"fmt"
	"path"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Rules select what starts a run, and which bots are heard.
type Rules struct {
	// Tags are patterns of short tag names in the syntax of path.Match: a * does not match a slash. An invalid pattern
	// matches nothing.
	Tags []string
	// Bots grants the commands of bots a permission by login, as GitHub writes it: name[bot]. The comments of others are ignored.
	Bots map[string]v1alpha1.Permission
}

// Decision is what an event asks for: the run of a tag, commands, the end of an issue's runs, or nothing.
type Decision struct {
	// Reason is a sentence for the log and the Delivery.
	Reason string
	// Tag is the short name of the pushed tag whose run is asked for.
	Tag string
	// Commands are the commands of a comment, in order.
	Commands []Command
	// Ends is the number of the issue or pull request that was closed: its runs and stacks end.
	Ends int
	// More is how many commands the comment has beyond those; they are not acted on.
	More int
}

// IsIgnored reports whether the event asks for nothing.
func (d Decision) IsIgnored() bool { return d.Tag == "" && len(d.Commands) == 0 && d.Ends == 0 }

// Decide returns what an event asks for. The HeadSHA of a push may be missing: then the caller has to ask GitHub which
// commit After is.
func Decide(e v1alpha1.Event, rules Rules) Decision {
	switch {
	case e.Name == "push" && e.Push != nil:
		return rules.push(*e.Push)
	case e.Name == "issue_comment" && e.Comment != nil:
		return decideComment(e)
	case e.Closed != nil:
		return Decision{Ends: e.Closed.Issue, Reason: fmt.Sprintf("#%d was %s", e.Closed.Issue, map[bool]string{true: "merged", false: "closed"}[e.Closed.Merged])}
	}
	return ignore("The event %q asks for nothing", e.Name)
}

func ignore(format string, args ...any) Decision {
	return Decision{Reason: fmt.Sprintf(format, args...)}
}

func (r Rules) push(p v1alpha1.PushEvent) Decision {
	tag, ok := strings.CutPrefix(p.Ref, tagPrefix)
	switch {
	case !ok:
		return ignore("%s is not a tag", p.Ref)
	case !r.matches(tag):
		return ignore("The tag %s does not start runs", tag)
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
	return Decision{Tag: tag, Reason: fmt.Sprintf("The tag %s was %s", tag, how)}
}

const tagPrefix = "refs/tags/"

// Tag returns the short name of a tag's full ref and whether the tag starts runs.
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

// zero reports whether an object id is GitHub's way to write none: zeros, as many as an id has digits.
func zero(object string) bool { return strings.Trim(object, "0") == "" }

func decideComment(e v1alpha1.Event) Decision {
	if e.Action != "created" {
		return ignore("A comment was %s; only new ones are read", e.Action)
	}
	var commands []Command
	for _, c := range e.Comment.Commands {
		commands = append(commands, Resolve(c))
	}
	if len(commands) == 0 {
		return ignore("The comment does not have a command")
	}
	return Decision{Reason: Asked(e, commands...), Commands: commands, More: e.Comment.More}
}

// Asked returns the sentence that a comment asked for these commands.
func Asked(e v1alpha1.Event, commands ...Command) string {
	var names []string
	for _, c := range commands {
		names = append(names, c.String())
	}
	return fmt.Sprintf("%s commented on #%d: %s", e.Sender.Login, e.Comment.Issue, strings.Join(names, ", "))
}
