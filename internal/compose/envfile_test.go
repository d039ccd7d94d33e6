package compose

import (
	"maps"
	"strings"
	"testing"
)

func TestRawEnvFile(t *testing.T) {
	lookup := func(name string) (string, bool) { return "found", name == "KNOWN" }
	for _, tc := range []struct {
		text, refused string
		want          map[string]string
	}{
		{text: "\ufeffA=1\r\n  # a comment\n\n\tB=a=b '$C' # stays \nKNOWN\nUNKNOWN\nEMPTY=", want: map[string]string{
			"A": "1", "B": "a=b '$C' # stays ", "KNOWN": "found", "EMPTY": "",
		}},
		{text: "A=1\n=x", refused: "line 2: no variable name before ="},
		{text: "A B=1", refused: `line 1: the variable name "A B" has white space`},
		{text: "A=" + strings.Repeat("x", maxFile), refused: "token too long"},
	} {
		vars := map[string]string{}
		err := rawEnvFile(strings.NewReader(tc.text), "", vars, lookup)
		if tc.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%.40q: %v, want %q", tc.text, err, tc.refused)
			}
			continue
		}
		if err != nil || !maps.Equal(vars, tc.want) {
			t.Errorf("%q: %q, %v", tc.text, vars, err)
		}
	}
}
