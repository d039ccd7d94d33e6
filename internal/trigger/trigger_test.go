package trigger

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

var (
	none   = strings.Repeat("0", 40)
	commit = strings.Repeat("a1", 20)
	other  = strings.Repeat("b2", 20)
	object = strings.Repeat("c3", 20)
)

var rules = Rules{
	Tags: []string{"[", "run-integration-tests", "run-integration-tests/*"},
}

func push(p v1alpha1.PushEvent) v1alpha1.Event {
	return v1alpha1.Event{
		Name: "push", Repository: v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop"},
		Sender: v1alpha1.Actor{Login: "ann", Type: "User"}, Push: &p,
	}
}

func comment(body string) v1alpha1.Event {
	commands, more := Parse(body)
	return v1alpha1.Event{
		Name: "issue_comment", Action: "created", Repository: v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop"},
		Sender: v1alpha1.Actor{Login: "ann", Type: "User"}, Comment: &v1alpha1.CommentEvent{ID: 99, Issue: 12, Commands: commands, More: more},
	}
}

func TestDecidePush(t *testing.T) {
	const tag = "refs/tags/run-integration-tests"
	for _, tc := range []struct {
		name   string
		push   v1alpha1.PushEvent
		tag    string
		reason string
	}{
		{"pushed", v1alpha1.PushEvent{Ref: tag, Before: none, After: commit, Created: true, HeadSHA: commit}, "run-integration-tests", "was pushed"},
		{"moved by force", v1alpha1.PushEvent{Ref: tag, Before: other, After: commit, Forced: true, HeadSHA: commit}, "run-integration-tests", "was moved"},
		{"pushed again", v1alpha1.PushEvent{Ref: tag, Before: commit, After: commit, HeadSHA: commit}, "run-integration-tests", "was pushed again"},
		{"annotated", v1alpha1.PushEvent{Ref: tag, Before: none, After: object, Created: true, HeadSHA: commit}, "run-integration-tests", "was pushed"},
		{"without a head commit", v1alpha1.PushEvent{Ref: tag, Before: none, After: object}, "run-integration-tests", "was pushed"},
		{"with an issue", v1alpha1.PushEvent{Ref: tag + "/123", Before: none, After: commit}, "run-integration-tests/123", "run-integration-tests/123 was pushed"},
		{"deleted", v1alpha1.PushEvent{Ref: tag, Before: commit, After: none, Deleted: true}, "", "was deleted"},
		{"deleted, as the zeros show", v1alpha1.PushEvent{Ref: tag, Before: commit, After: strings.Repeat("0", 64)}, "", "was deleted"},
		{"another tag", v1alpha1.PushEvent{Ref: "refs/tags/v1.0", After: commit}, "", "does not start runs"},
		{"a longer tag", v1alpha1.PushEvent{Ref: tag + "-now", After: commit}, "", "does not start runs"},
		{"too deep a tag", v1alpha1.PushEvent{Ref: tag + "/1/2", After: commit}, "", "does not start runs"},
		{"a branch", v1alpha1.PushEvent{Ref: "refs/heads/main", After: commit}, "", "is not a tag"},
		{"a branch called so", v1alpha1.PushEvent{Ref: "refs/heads/run-integration-tests", After: commit}, "", "is not a tag"},
	} {
		got := Decide(push(tc.push), rules)
		if got.Tag != tc.tag || got.IsIgnored() != (tc.tag == "") || !strings.Contains(got.Reason, tc.reason) {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

func TestDecideWhatWasClosed(t *testing.T) {
	for _, tc := range []struct {
		closed *v1alpha1.ClosedEvent
		ends   int
		reason string
	}{
		{&v1alpha1.ClosedEvent{Issue: 12}, 12, "#12 was closed"}, {&v1alpha1.ClosedEvent{Issue: 12, Merged: true}, 12, "#12 was merged"},
		{nil, 0, `The event "pull_request" asks for nothing`},
	} {
		got := Decide(v1alpha1.Event{Name: "pull_request", Closed: tc.closed}, rules)
		if got.Ends != tc.ends || got.IsIgnored() != (tc.ends == 0) || got.Reason != tc.reason {
			t.Errorf("%+v: %+v", tc.closed, got)
		}
	}
}

func TestDecideComment(t *testing.T) {
	with := func(change func(*v1alpha1.Event)) v1alpha1.Event {
		e := comment("/conductor test")
		change(&e)
		return e
	}
	for _, tc := range []struct {
		name  string
		event v1alpha1.Event
		want  Decision
	}{
		{"test", comment("/conductor test"), Decision{Reason: "ann commented on #12: test", Commands: []Command{test()}}},
		{"suites", comment("/conductor test a b"), Decision{Reason: "ann commented on #12: test", Commands: []Command{test("a", "b")}}},
		{"cancel", comment("/conductor cancel"), Decision{Reason: "ann commented on #12: cancel", Commands: []Command{cancel("")}}},
		{"help", comment("/conductor help"), Decision{Reason: "ann commented on #12: help", Commands: []Command{help()}}},
		{"an unknown command and another", comment("/conductor dance\n/conductor cancel"), Decision{
			Reason:   "ann commented on #12: an invalid command, cancel",
			Commands: []Command{problem("", "Unknown command `dance`."), cancel("")},
		}},
		{"too many", comment(strings.Repeat("/conductor help\n", 7)), Decision{
			Reason: "ann commented on #12: help, help, help, help, help", Commands: []Command{help(), help(), help(), help(), help()}, More: 2,
		}},
		{"talk", comment("nice"), Decision{Reason: "The comment does not have a command"}},
		{"edited", with(func(e *v1alpha1.Event) { e.Action = "edited" }), Decision{Reason: "A comment was edited; only new ones are read"}},
		{"deleted", with(func(e *v1alpha1.Event) { e.Action = "deleted" }), Decision{Reason: "A comment was deleted; only new ones are read"}},
		{"another event", with(func(e *v1alpha1.Event) { e.Name = "pull_request_review_comment" }),
			Decision{Reason: `The event "pull_request_review_comment" asks for nothing`}},
		{"nothing inside", v1alpha1.Event{Name: "issue_comment", Action: "created"}, Decision{Reason: `The event "issue_comment" asks for nothing`}},
		{"a push with nothing inside", v1alpha1.Event{Name: "push"}, Decision{Reason: `The event "push" asks for nothing`}},
	} {
		if diff := cmp.Diff(tc.want, Decide(tc.event, rules)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestTag(t *testing.T) {
	for ref, want := range map[string]bool{
		"refs/tags/run-integration-tests": true, "refs/tags/run-integration-tests/9": true, "refs/tags/v1": false, "refs/heads/run-integration-tests": false,
	} {
		if _, got := rules.Tag(ref); got != want {
			t.Errorf("Tag(%s) = %t", ref, got)
		}
	}
}

func FuzzDecide(f *testing.F) {
	f.Add("push", "", "refs/tags/run-integration-tests", commit, "ann", "User", "")
	f.Add("issue_comment", "created", "", "", "ann", "User", "/conductor test a")
	f.Fuzz(func(t *testing.T, event, action, ref, after, login, kind, body string) {
		e := v1alpha1.Event{Name: event, Action: action, Sender: v1alpha1.Actor{Login: login, Type: kind}}
		if ref != "" {
			e.Push = &v1alpha1.PushEvent{Ref: ref, After: after}
		} else {
			commands, more := Parse(body)
			e.Comment = &v1alpha1.CommentEvent{Commands: commands, More: more}
		}
		d := Decide(e, rules)
		if d.Reason == "" {
			t.Errorf("no reason for %+v", d)
		}
		if !d.IsIgnored() && e.Comment != nil && action != "created" {
			t.Errorf("%+v was not ignored", e)
		}
		if !d.IsIgnored() && e.Push != nil && !strings.HasPrefix(ref, "refs/tags/run-integration-tests") {
			t.Errorf("%s was not ignored", ref)
		}
	})
}
