package natural

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVerdictsAreValid(t *testing.T) {
	all, err := ReadVerdicts("verdicts")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Error("there are no verdicts")
	}
}

func TestParseMount(t *testing.T) {
	for text, want := range map[string]Mount{
		"files . held":       {Kind: "files", Path: ".", Held: true},
		"files web/a ro":     {Kind: "files", Path: "web/a", RO: true},
		"volume":             {Kind: "volume"},
		"volume data filled": {Kind: "volume", Path: "data", Filled: true},
		"tmpfs":              {Kind: "tmpfs"},
		"host /dev/shm":      {Kind: "host", Path: "/dev/shm"},
	} {
		var got Mount
		if err := got.UnmarshalText([]byte(text)); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "files", "tmpfs x", "image .", "files a b", "empty", "volume a held"} {
		if err := new(Mount).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a mount", text)
		}
	}
}

func TestParseVerdictRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown outcome":             "outcome: perhaps",
		"an unknown key":                 "outcome: runs\nsurely: true",
		"a refused project without why":  "outcome: refused",
		"a running one that must refuse": "outcome: runs\nrefusals: [{at: ['a:1'], words: [x]}]",
		"a note without words":           "outcome: runs\nnotes: [{at: ['a:1']}]",
		"an unknown kind":                "outcome: runs\nservices: {a: {is: daemon, image: x}}",
		"image and build":                "outcome: runs\nservices: {a: {is: server, image: x, build: {context: .}}}",
		"an unknown dependency":          "outcome: runs\nservices: {a: {is: server, image: x, after: {b: started}}}",
		"a relative target":              "outcome: runs\nservices: {a: {is: server, image: x, mounts: {app: files .}}}",
		"a suite of a server":            "outcome: runs\nservices: {a: {is: server, image: x}}\nsuites: {t: {service: a}}",
		"a text without a line":          "outcome: runs\ntexts: [{at: a.yml, of: a.command, name: x}]",
	} {
		if _, err := ParseVerdict([]byte(text)); err == nil {
			t.Errorf("%s is a verdict", name)
		}
	}
}
