package nearest

import (
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	known := []string{"version", "build", "stack", "tests", "keep"}
	for word, want := range map[string]string{
		"verison": "version", "test": "tests", "Tests": "tests", "stak": "stack", "kepe": "keep", "buidl": "build",
		"secrets": "", "x": "", "": "", "triggers": "", strings.Repeat("a", 1000): "", "kéep": "keep",
	} {
		if got := Word(word, known); got != want {
			t.Errorf("Word(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Word("tset", []string{"cancel", "help", "test"}); got != "test" {
		t.Errorf("a swap of neighbours is one slip: got %q", got)
	}
}
