package delivery

import (
	"slices"
	"testing"
)

func TestPrefixesAskForEachTagOnce(t *testing.T) {
	for _, tc := range []struct{ patterns, want []string }{
		{[]string{"run-integration-tests", "run-integration-tests/*"}, []string{"run-integration-tests"}},
		{[]string{"qa-?", "nightly"}, []string{"nightly", "qa-"}},
		{[]string{"*"}, []string{""}},
	} {
		if got := prefixes(tc.patterns); !slices.Equal(got, tc.want) {
			t.Errorf("prefixes(%q) = %q, want %q", tc.patterns, got, tc.want)
		}
	}
}
