package compose

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	at := func(line int, level Level, service, field, reason string) Finding {
		return Finding{File: "a.yaml", Line: line, Level: level, Service: service, Field: field, Reason: reason}
	}
	var many []Finding
	for i := range 48 {
		many = append(many, at(4, LevelInfo, fmt.Sprintf("s%02d", i), "pull_policy", "why"))
	}
	var alike, byService []Finding
	for i := range 5 {
		f := at(i+1, LevelNote, "web", "ports", fmt.Sprintf("p%d", i))
		f.Summary = "ports"
		alike = append(alike, f)
		f = at(i+1, LevelNote, fmt.Sprintf("s%d", i), "", fmt.Sprintf("n%d", i))
		f.Summary = "names"
		byService = append(byService, f)
	}
	other := at(1, LevelNote, "web", "image", "why")
	other.File = "b.yaml"
	for name, tt := range map[string]struct {
		findings []Finding
		want     []string
	}{
		"one":           {[]Finding{at(3, LevelNote, "web", "image", "why")}, []string{"a.yaml:3: note: web.image: why"}},
		"many services": {many, []string{"a.yaml:4: info: pull_policy (48 services: s00, s01, s02 and 45 more): why"}},
		"four services": {many[:4], []string{"a.yaml:4: info: pull_policy (4 services: s00, s01, s02, s03): why"}},
		"services by themselves": {
			[]Finding{at(1, LevelNote, "a", "", "why"), at(2, LevelNote, "b", "", "why")},
			[]string{"a.yaml:1: note: (2 services: a, b): why"},
		},
		"places": {
			[]Finding{at(1, LevelNote, "a", "x", "why"), at(2, LevelNote, "a", "x", "why"), at(2, LevelNote, "b", "x", "why"), at(9, LevelNote, "b", "y", "why"), other},
			[]string{"a.yaml:1: note: a.x: why (also in lines 2, 9, b.yaml:1)"},
		},
		"subjects": {
			[]Finding{
				at(1, LevelNote, "a", "x", "A_B is empty: set A_B"), at(2, LevelNote, "a", "x", "C is empty: set C"), at(2, LevelNote, "a", "x", "D is empty: set D"),
				at(3, LevelNote, "b", "x", "A_B is empty: set A_B"), at(4, LevelNote, "b", "x", "E is full"),
			},
			[]string{"a.yaml:1: note: a.x: A_B is empty: set A_B (also C, D, in lines 2, 3)", "a.yaml:4: note: b.x: E is full"},
		},
		"subjects of refusals": {
			[]Finding{at(1, LevelRefused, "a", "x", "/a is wrong"), at(2, LevelRefused, "a", "x", "/b is wrong")},
			[]string{"a.yaml:1: refused: a.x: /a is wrong", "a.yaml:2: refused: a.x: /b is wrong"},
		},
		"subjects of one line": {
			[]Finding{at(1, LevelNote, "a", "x", "variable A is empty"), at(1, LevelNote, "b", "x", "variable B is empty")},
			[]string{"a.yaml:1: note: a.x: variable A is empty (also B)"},
		},
		"subjects of services": {
			[]Finding{at(1, LevelNote, "a", "x", "/a is a copy"), at(2, LevelNote, "b", "x", `/b is a copy`), at(3, LevelNote, "b", "x", `copies of /b`)},
			[]string{"a.yaml:1: note: a.x: /a is a copy (also /b, in line 2)", "a.yaml:3: note: b.x: copies of /b"},
		},
		"the same place": {
			[]Finding{at(1, LevelNote, "a", "x", "why"), at(1, LevelNote, "a", "y", "why")}, []string{"a.yaml:1: note: a.x: why"},
		},
		"a summary of few":      {alike[:4], []string{"a.yaml:1: note: web.ports: p0", "a.yaml:2: note: web.ports: p1", "a.yaml:3: note: web.ports: p2", "a.yaml:4: note: web.ports: p3"}},
		"a summary of many":     {alike, []string{"a.yaml:1: note: web.ports: ports (also in lines 2, 3, 4, 5)"}},
		"a summary of services": {byService, []string{"a.yaml:1: note: (5 services: s0, s1, s2 and 2 more): names"}},
		"levels": {
			[]Finding{at(1, LevelInfo, "a", "x", "why"), at(2, LevelNote, "a", "x", "why"), at(3, LevelRefused, "a", "x", "why"), at(4, LevelRefused, "a", "x", "other")},
			[]string{"a.yaml:3: refused: a.x: why", "a.yaml:4: refused: a.x: other", "a.yaml:2: note: a.x: why", "a.yaml:1: info: a.x: why"},
		},
	} {
		if diff := cmp.Diff(tt.want, Lines(tt.findings)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSummary(t *testing.T) {
	notes := []Finding{{Level: LevelNote}, {Level: LevelInfo}, {Level: LevelNote}, {Level: LevelRefused}}
	if got := Summary(notes); got != "2 notes, 1 info" {
		t.Errorf("got %q", got)
	}
	if got := Summary(notes[3:]); got != "" {
		t.Errorf("got %q", got)
	}
}

// TestErrorsHaveNotesAboutTheSameFields has refusals first, and not the notes about other fields.
func TestErrorsHaveNotesAboutTheSameFields(t *testing.T) {
	e := &Errors{Findings: []Finding{
		{File: "f", Line: 1, Level: LevelNote, Service: "web", Field: "image", Reason: "cause"},
		{File: "f", Line: 1, Level: LevelNote, Service: "db", Field: "image", Reason: "another service"},
		{File: "f", Line: 2, Level: LevelNote, Service: "web", Field: "imagery", Reason: "another field"},
		{File: "f", Line: 2, Level: LevelInfo, Service: "web", Field: "image", Reason: "an info"},
		{File: "f", Line: 3, Level: LevelRefused, Service: "web", Field: "image", Reason: "effect"},
	}}
	if want := "f:3: refused: web.image: effect\nf:1: note: web.image: cause"; e.Error() != want {
		t.Errorf("got  %s\nwant %s", e, want)
	}
	for i := range 14 {
		e.Findings = append(e.Findings, Finding{File: "f", Level: LevelNote, Service: "web", Field: "image.x", Reason: fmt.Sprint("cause ", i)})
	}
	if lines := strings.Split(e.Error(), "\n"); len(lines) != 12 || lines[11] != "and 5 more notes about the same fields" {
		t.Errorf("got %s", e)
	}
}
