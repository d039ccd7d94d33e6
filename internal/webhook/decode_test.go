package webhook

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
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
		Comment: &v1alpha1.CommentEvent{ID: 5, Issue: 12, PullRequest: true, Body: "/conductor test"},
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

func TestDecodePush(t *testing.T) {
	cases := map[string]struct {
		replace, with string
		check         func(v1alpha1.Event) bool
	}{
		"pushed_at as a date": {`1700000000`, `"2023-11-14T22:13:20Z"`, func(e v1alpha1.Event) bool { return e.Push.PushedAt == 1700000000 }},
		"pushed_at null":      {`1700000000`, `null`, func(e v1alpha1.Event) bool { return e.Push.PushedAt == 0 }},
		"deleted": {`"head_commit":{"id":"` + sha + `","message":"fix #12"}`, `"head_commit":null,"deleted":true`,
			func(e v1alpha1.Event) bool { return e.Push.Deleted && e.Push.HeadSHA == "" && e.Push.HeadMessage == "" }},
		"annotated": {`"after":"` + sha, `"after":"` + strings.Repeat("a", 40),
			func(e v1alpha1.Event) bool { return e.Push.After == strings.Repeat("a", 40) && e.Push.HeadSHA == sha }},
		"owner by name":  {`{"login":"acme","name":"acme"}`, `{"name":"acme"}`, func(e v1alpha1.Event) bool { return e.Repository.Owner == "acme" }},
		"base_ref":       {`"base_ref":null`, `"base_ref":"refs/heads/main"`, func(e v1alpha1.Event) bool { return e.Push.BaseRef == "refs/heads/main" }},
		"SHA-256 object": {`"after":"` + sha, `"after":"` + strings.Repeat("b", 64), func(e v1alpha1.Event) bool { return len(e.Push.After) == 64 }},
		"message cut whole": {`fix #12`, strings.Repeat("€", maxMessage), func(e v1alpha1.Event) bool {
			return len(e.Push.HeadMessage) == maxMessage-1 && utf8.ValidString(e.Push.HeadMessage)
		}},
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

func TestEventsAreBounded(t *testing.T) {
	long, err := json.Marshal(strings.Repeat(strings.Repeat("\x01", 99)+"\n", 3*maxComment/100))
	if err != nil {
		t.Fatal(err)
	}
	e, err := decode("issue_comment", []byte(strings.Replace(comment, `"/conductor test"`, string(long), 1)))
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := json.Marshal(e); len(data) > maxEvent || len(data) < maxEvent/2 {
		t.Errorf("the event has %d bytes", len(data))
	}
	if last := e.Comment.Body[strings.LastIndexByte(e.Comment.Body, '\n')+1:]; len(last) != 99 {
		t.Errorf("the last line was cut to %d bytes", len(last))
	}
	e, err = decode("issue_comment", []byte(strings.Replace(comment, "/conductor test", "/conductor test "+strings.Repeat("x", maxComment), 1)))
	if err != nil || e.Comment.Body != "" {
		t.Errorf("half of a command is kept: %.40q, %v", e.Comment.Body, err)
	}
	if _, err := decode("push", []byte(strings.Replace(push, "refs/tags/", "refs/tags/"+strings.Repeat("x", maxName), 1))); err == nil {
		t.Error("a ref of more than 2 KiB was accepted")
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range []string{push, comment, `{}`, `[]`, `null`, `{"repository":{"pushed_at":"x"}}`, strings.Repeat(`{"a":`, 200)} {
		f.Add("push", []byte(body))
		f.Add("issue_comment", []byte(body))
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if name != "push" && name != "issue_comment" {
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
		if (e.Push == nil) == (e.Comment == nil) || e.InstallationID <= 0 || e.Repository.ID <= 0 || e.Repository.Owner == "" || e.Repository.Name == "" {
			t.Errorf("an event without names: %+v", e)
		}
		again, err := decode(name, body)
		if err != nil || !cmp.Equal(e, again) {
			t.Errorf("decoding twice differs: %v", err)
		}
	})
}
