package names

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestSlug(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web", "My_API.v2": "my-api-v2", "--x--": "x", "a__b": "a-b", "a--b": "a--b", "7up": "7up", "日本": "", "größe": "gr-e", "": "",
	} {
		if got := Slug(in); got != want {
			t.Errorf("Slug(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLabelValuesAreValidAndDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"web", "My_Service.1", "_db", "db", "db_", "-db", strings.Repeat("long-name-", 7) + "a", strings.Repeat("long-name-", 7) + "b", "日本", "x"} {
		v := LabelValue(name)
		if errs := validation.IsValidLabelValue(v); len(errs) > 0 || v == "" {
			t.Errorf("%q becomes %q: %v", name, v, errs)
		}
		if other, ok := seen[v]; ok {
			t.Errorf("%q and %q both become %q", name, other, v)
		}
		seen[v] = name
	}
	if got := LabelValue("My_Service.1"); got != "My_Service.1" {
		t.Errorf("a valid name becomes %q", got)
	}
}
