package names

import "testing"

func TestSlug(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web", "My_API.v2": "my-api-v2", "--x--": "x", "a__b": "a-b", "a--b": "a--b", "7up": "7up", "日本": "", "größe": "gr-e", "": "",
	} {
		if got := Slug(in); got != want {
			t.Errorf("Slug(%q) = %q, want %q", in, got, want)
		}
	}
}
