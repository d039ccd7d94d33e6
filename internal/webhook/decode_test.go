package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

const comment = `{"action":"created","issue":{"number":12,"pull_request":{"url":"x"}},"comment":{"id":5,"body":"/conductor test"},
"repository":{"id":7,"name":"shop","owner":{"login":"acme"},"pushed_at":"2023-11-14T22:13:20Z"},"sender":{"login":"ada"},"installation":{"id":99}}`

func TestDecodeComment(t *testing.T) {
	e, err := decode("issue_comment", []byte(comment))
	if err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.Event{
		Name: "issue_comment", Action: "created", InstallationID: 99,
		Repository: v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop"}, Sender: v1alpha1.Actor{Login: "ada"},
		Comment: &v1alpha1.CommentEvent{ID: 5, Issue: 12, PullRequest: true, Commands: []v1alpha1.Command{{Verb: "test"}}},
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	for _, none := range []string{`"pull_request":null`, `"x":0`} {
		e, err := decode("issue_comment", []byte(strings.Replace(comment, `"pull_request":{"url":"x"}`, none, 1)))
		if err != nil || e.Comment.PullRequest {
			t.Errorf("%s: %+v, %v", none, e.Comment, err)
		}
	}
}

func TestDecodeWhatWasClosed(t *testing.T) {
	const issue = `{"action":"closed","issue":{"number":12},"repository":{"id":7,"name":"shop","owner":{"login":"acme"}},"sender":{"login":"ada"},"installation":{"id":99}}`
	pull := strings.Replace(issue, `"issue":{"number":12}`, `"number":12,"pull_request":{"number":12,"merged":true}`, 1)
	for _, tc := range []struct {
		name, event, body string
		want              *v1alpha1.ClosedEvent
	}{
		{"an issue", "issues", issue, &v1alpha1.ClosedEvent{Issue: 12}},
		{"a pull request", "pull_request", strings.Replace(pull, "true", "false", 1), &v1alpha1.ClosedEvent{Issue: 12}},
		{"a merged one", "pull_request", pull, &v1alpha1.ClosedEvent{Issue: 12, Merged: true}},
		{"a label", "issues", strings.Replace(issue, "closed", "labeled", 1), nil},
		{"a push to a pull request", "pull_request", strings.Replace(pull, "closed", "synchronize", 1), nil},
	} {
		e, err := decode(tc.event, []byte(tc.body))
		if diff := cmp.Diff(tc.want, e.Closed); err != nil || diff != "" || e.Comment != nil || e.Push != nil {
			t.Errorf("%s: %v, (-want +got):\n%s", tc.name, err, diff)
		}
	}
	if _, err := decode("issues", []byte(strings.Replace(issue, "12", "0", 1))); err == nil {
		t.Error("an issue without a number was accepted")
	}
}

func TestDecodePush(t *testing.T) {
	cases := map[string]struct {
		replace, with string
		check         func(v1alpha1.Event) bool
	}{
		"pushed_at as a date": {`1700000000`, `"2023-11-14T22:13:20Z"`, func(e v1alpha1.Event) bool { return e.Push.PushedAt == 1700000000 }},
		"pushed_at null":      {`1700000000`, `null`, func(e v1alpha1.Event) bool { return e.Push.PushedAt == 0 }},
		"deleted": {`"head_commit":{"id":"` + sha + `","message":"fix #12"}`, `"head_commit":null,"deleted":true`,
			func(e v1alpha1.Event) bool { return e.Push.Deleted && e.Push.HeadSHA == "" }},
		"annotated": {`"after":"` + sha, `"after":"` + strings.Repeat("a", 40),
			func(e v1alpha1.Event) bool { return e.Push.After == strings.Repeat("a", 40) && e.Push.HeadSHA == sha }},
		"owner by name":  {`{"login":"acme","name":"acme"}`, `{"name":"acme"}`, func(e v1alpha1.Event) bool { return e.Repository.Owner == "acme" }},
		"SHA-256 object": {`"after":"` + sha, `"after":"` + strings.Repeat("b", 64), func(e v1alpha1.Event) bool { return len(e.Push.After) == 64 }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(push, c.replace, c.with, 1)
			if body == push {
				t.Fatal("the case changes nothing")
			}
			e, err := decode("push", []byte(body))
			if err != nil || !c.check(e) {
				t.Errorf("%+v, %v", e.Push, err)
			}
		})
	}
	if _, err := decode("push", []byte(strings.Replace(push, "1700000000", `"yesterday"`, 1))); err == nil {
		t.Error("a pushed_at that is not a time was accepted")
	}
}

// commented returns the body of a delivery with a comment of this text.
func commented(t testing.TB, text string) []byte {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.Replace(comment, `"/conductor test"`, string(quoted), 1))
}

// Of a comment only the commands are kept, and of these only what fits. Their order and number stay.
func TestEventsAreBounded(t *testing.T) {
	const secret = "hunter2"
	e, err := decode("issue_comment", commented(t, strings.Repeat(secret+"\n", 8000)+"/conductor help\n"))
	if err != nil || len(e.Comment.Commands) != 1 {
		t.Fatalf("%+v, %v", e.Comment, err)
	}
	if data, _ := json.Marshal(e); strings.Contains(string(data), secret) || len(data) > 512 {
		t.Errorf("the comment's text is kept: %d bytes", len(data))
	}
	long := "/conductor test"
	for i := range trigger.MaxArgs {
		long += fmt.Sprintf(" %s-%02d", strings.Repeat("s", 60), i)
	}
	e, err = decode("issue_comment", commented(t, "/conductor cancel --reason <"+strings.Repeat("&", 200)+">\n"+long+"\n/conductor test a\n"+strings.Repeat(long+"\n", 3)))
	if err != nil {
		t.Fatal(err)
	}
	data, _ := json.Marshal(e)
	if c := e.Comment.Commands; len(data) > maxEvent || len(c) != trigger.MaxCommands || e.Comment.More != 1 || c[0].Problem != "" || c[2].Problem != "" ||
		!strings.Contains(c[1].Problem, "too long") {
		t.Errorf("%d bytes: %s", len(data), data)
	}
	if _, err := decode("push", []byte(strings.Replace(push, "refs/tags/", "refs/tags/"+strings.Repeat("x", maxRef), 1))); err == nil {
		t.Error("a ref of more than 512 bytes was accepted")
	}
}

func FuzzDecode(f *testing.F) {
	closed := strings.Replace(comment, "created", "closed", 1)
	for _, body := range []string{push, comment, closed, `{}`, `[]`, `null`, `{"repository":{"pushed_at":"x"}}`, strings.Repeat(`{"a":`, 200)} {
		f.Add("push", []byte(body))
		f.Add("issue_comment", []byte(body))
		f.Add("issues", []byte(body))
		f.Add("pull_request", []byte(body))
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if !isHandled(name) {
			return
		}
		e, err := decode(name, body)
		if err != nil {
			return
		}
		data, err := json.Marshal(e)
		if err != nil || len(data) > maxEvent {
			t.Errorf("%d bytes, %v", len(data), err)
		}
		contents := map[string]bool{"push": e.Push != nil, "issue_comment": e.Comment != nil, "issues": e.Closed != nil, "pull_request": e.Closed != nil}
		if (e.Push != nil && name != "push") || (e.Comment != nil && name != "issue_comment") || !contents[name] && (e.Closed != nil || e.Action == "closed" || name == "push" || name == "issue_comment") || e.InstallationID <= 0 || e.Repository.ID <= 0 || e.Repository.Owner == "" || e.Repository.Name == "" {
			t.Errorf("an event without names: %+v", e)
		}
		again, err := decode(name, body)
		if err != nil || !cmp.Equal(e, again) {
			t.Errorf("decoding twice differs: %v", err)
		}
	})
}
