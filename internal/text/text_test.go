package text

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestShortened(t *testing.T) {
	for _, tc := range []struct {
		in                   string
		limit                int
		head, tail, truncate string
	}{
		{"abc", 3, "abc", "abc", "abc"},
		{"abcdef", 4, "abcd", "cdef", "a…"},
		{"grüße", 4, "grü", "ße", "g…"},
		{"grüße", 3, "gr", "ße", "…"},
		{"日本語", 5, "日", "語", "…"},
		{"日本語", 6, "日本", "本語", "日…"},
		{"", 3, "", "", ""},
	} {
		for what, got := range map[string][2]string{
			"Head": {Head(tc.in, tc.limit), tc.head}, "Tail": {Tail(tc.in, tc.limit), tc.tail}, "Truncate": {Truncate(tc.in, tc.limit), tc.truncate},
		} {
			if got[0] != got[1] {
				t.Errorf("%s(%q, %d) = %q, want %q", what, tc.in, tc.limit, got[0], got[1])
			}
		}
	}
}

func FuzzShortened(f *testing.F) {
	f.Add("grüße an die 日本語", 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < len(Ellipsis) || !utf8.ValidString(s) {
			t.Skip()
		}
		for what, got := range map[string]string{"Head": Head(s, limit), "Tail": Tail(s, limit), "Truncate": Truncate(s, limit)} {
			if len(got) > limit || !utf8.ValidString(got) || len(s) <= limit && got != s {
				t.Errorf("%s(%q, %d) = %q", what, s, limit, got)
			}
		}
		if !strings.HasPrefix(s, Head(s, limit)) || !strings.HasSuffix(s, Tail(s, limit)) {
			t.Errorf("%q, %d: %q, %q", s, limit, Head(s, limit), Tail(s, limit))
		}
	})
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 images", 1: "1 image", 2: "2 images"} {
		if got := Plural(n, "image"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		30 * time.Minute: "30m", 10 * time.Second: "10s", 2 * time.Hour: "2h", 90 * time.Second: "1m30s", 20 * time.Minute: "20m", 500 * time.Millisecond: "500ms",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
