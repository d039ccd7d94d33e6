package trigger

import (
	"regexp"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// label is a DNS label that begins with a letter, RFC 1035.
var label = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

func TestRunNameTellsApartWhatMeansSomethingElse(t *testing.T) {
	base := v1alpha1.PushEvent{Ref: "refs/tags/run-integration-tests", After: commit, PushedAt: 1000}
	first := RunName(push(base))
	again := base
	again.Before, again.Created, again.Forced = other, true, true
	if got := RunName(push(again)); got != first {
		t.Errorf("a redelivery is another run: %s and %s", first, got)
	}
	names := map[string]string{first: "the push itself"}
	for what, change := range map[string]func(*v1alpha1.Event){
		"pushed again later": func(e *v1alpha1.Event) { e.Push.PushedAt++ },
		"another object":     func(e *v1alpha1.Event) { e.Push.After = other },
		"another tag":        func(e *v1alpha1.Event) { e.Push.Ref += "/1" },
		"another repository": func(e *v1alpha1.Event) { e.Repository.ID++ },
		"a comment":          func(e *v1alpha1.Event) { *e = comment("x") },
		"another comment":    func(e *v1alpha1.Event) { *e = comment("x"); e.Comment.ID++ },
	} {
		p := base
		e := push(p)
		change(&e)
		if have, ok := names[RunName(e)]; ok {
			t.Errorf("%s is the same run as %s", what, have)
		}
		names[RunName(e)] = what
	}
	edited := comment("x")
	edited.Comment.Commands = []v1alpha1.Command{{Verb: "help"}}
	if RunName(edited) != RunName(comment("x")) {
		t.Error("a comment's run depends on more than its id")
	}
	if !strings.HasPrefix(first, "shop-") {
		t.Errorf("%s does not show the repository", first)
	}
}

func TestEachCommandOfACommentNamesARunOfItsOwn(t *testing.T) {
	e := comment("x")
	names := map[string]int{}
	for i := range MaxCommands {
		n := CommandRunName(e, i)
		if have, ok := names[n]; ok {
			t.Errorf("commands %d and %d both name %s", have, i, n)
		}
		if names[n] = i; len(n) > maxName || !label.MatchString(n) || n != CommandRunName(comment("y"), i) {
			t.Errorf("name %s", n)
		}
	}
	// Deliveries from before a comment could have several commands are the same Runs.
	if first := CommandRunName(e, 0); first != RunName(e) || first != "shop-f70778da32" {
		t.Errorf("the first command names %s", first)
	}
	e.Comment.ID++
	if _, ok := names[CommandRunName(e, 1)]; ok {
		t.Error("two comments name one run")
	}
}

func TestPollName(t *testing.T) {
	a := PollName("acme/shop", "refs/tags/run-integration-tests", commit, other)
	if a != PollName("acme/shop", "refs/tags/run-integration-tests", commit, other) {
		t.Error("the name is not stable")
	}
	if !strings.HasPrefix(a, "shop-") || !label.MatchString(a) {
		t.Errorf("name %s", a)
	}
	for _, b := range []string{
		PollName("acme/shop", "refs/tags/run-integration-tests", commit, ""),
		PollName("acme/shop", "refs/tags/run-integration-tests", other, commit),
		PollName("beta/shop", "refs/tags/run-integration-tests", commit, other),
	} {
		if a == b {
			t.Errorf("%s twice", a)
		}
	}
}

// TestSlug writes names in the letters of a label, at the edges of what is allowed.
func TestSlug(t *testing.T) {
	for text, want := range map[string]string{
		"shop": "shop", "az": "az", "a09z": "a09z", "AZ": "az", "-a-": "a", "..a..b..": "a-b", "a_b.c": "a-b-c", "a`{/:b": "a-b",
		"0a": "run-0a", "9a": "run-9a", "9": "run-9", "": "run", "---": "run", "é": "run",
	} {
		if got := slug(text); got != want {
			t.Errorf("slug(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzRunName(f *testing.F) {
	for _, s := range []string{"shop", "A_very.long-Repository_name.with-everything-in-it", "", "...", "123", "é", "-a-"} {
		f.Add(s, int64(1))
	}
	f.Fuzz(func(t *testing.T, repo string, id int64) {
		e := push(v1alpha1.PushEvent{Ref: "refs/tags/x", After: commit, PushedAt: id})
		e.Repository.Name, e.Repository.ID = repo, id
		for _, got := range []string{RunName(e), PollName("o/"+repo, "refs/tags/x", commit, "")} {
			if len(got) > 40 || !label.MatchString(got) {
				t.Errorf("%q names %q, which is not a label", repo, got)
			}
		}
	})
}
