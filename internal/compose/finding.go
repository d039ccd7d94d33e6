package compose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Level is the severity of a finding.
type Level string

// The levels.
const (
	// LevelInfo is for differences that a test cannot observe.
	LevelInfo Level = "info"
	// LevelNote is for behavior that differs from compose.
	LevelNote Level = "note"
	// LevelRefused is for what prevents the conversion.
	LevelRefused Level = "refused"
)

// Outcome is what became of a field.
type Outcome string

// The outcomes.
const (
	Converted    Outcome = "converted"
	Approximated Outcome = "approximated"
	Dropped      Outcome = "dropped"
	Refused      Outcome = "refused"
)

// Finding is one result of a conversion that its user should know.
type Finding struct {
	// File is relative to the directory that was loaded; Line is 0 where it is not known.
	File  string `json:"file"`
	Line  int    `json:"line,omitempty"`
	Level Level  `json:"level"`
	// Service is empty for what is not part of one.
	Service string `json:"service,omitempty"`
	// Field is the path below the service, or from the top.
	Field   string  `json:"field,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Reason is a sentence for the author of the file.
	Reason string `json:"reason"`
	// Summary is the sentence that replaces the reasons of many findings with the same summary; empty if each has a line.
	Summary string `json:"summary,omitempty"`
}

// String is `file:line: level: service.field: reason`.
func (f Finding) String() string {
	where := f.File
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	what := strings.Trim(f.Service+"."+f.Field, ".")
	if what != "" {
		what += ": "
	}
	return fmt.Sprintf("%s: %s: %s%s", where, f.Level, what, f.Reason)
}

// Errors explains why a project cannot be loaded or converted.
type Errors struct {
	// Findings are all that were made; at least one is refused.
	Findings []Finding
}

// Error lists what was refused, one line for each cause, and then the notes about the same fields, which may be the cause.
func (e *Errors) Error() string {
	var refused []Finding
	for _, f := range e.Findings {
		if f.Level == LevelRefused {
			refused = append(refused, f)
		}
	}
	lines, notes := Lines(refused), Lines(related(e.Findings))
	lines = append(lines, notes[:min(len(notes), maxRelated)]...)
	if n := len(notes) - maxRelated; n > 0 {
		lines = append(lines, fmt.Sprintf("and %s about the same fields", text.Plural(n, "more note")))
	}
	return strings.Join(lines, "\n")
}

// Bounds of what is reported.
const (
	// maxFindings is how many findings of each level are kept.
	maxFindings = 1000
	// maxReason is the size of a finding's reason, in bytes; some quote texts of the file.
	maxReason = 2000
)

// findings are those of a load or a conversion, each once. The first maxFindings of each level are kept and the others counted.
type findings struct {
	list       []Finding
	seen       map[Finding]bool
	kept, more map[Level]int
}

// isFull reports whether no more findings of a level are kept, and then counts one. Callers ask before they search the place of a finding.
func (f *findings) isFull(l Level) bool {
	if f.kept[l] < maxFindings {
		return false
	}
	f.more[l]++
	return true
}

func (f *findings) add(x Finding) {
	if len(x.Reason) > maxReason {
		x.Reason = strings.ToValidUTF8(x.Reason[:maxReason], "") + "..."
	}
	if f.seen == nil {
		f.seen, f.kept, f.more = map[Finding]bool{}, map[Level]int{}, map[Level]int{}
	}
	if f.seen[x] || f.isFull(x.Level) {
		return
	}
	f.list, f.seen[x] = append(f.list, x), true
	f.kept[x.Level]++
}

// since removes and returns the findings from index n on.
func (f *findings) since(n int) []Finding {
	taken := slices.Clone(f.list[n:])
	for _, x := range taken {
		delete(f.seen, x)
		f.kept[x.Level]--
	}
	f.list = f.list[:n]
	return taken
}

// refused is how many refusals there were.
func (f *findings) refused() int { return f.kept[LevelRefused] + f.more[LevelRefused] }

// all are the findings, sorted, with the number of those not kept.
func (f *findings) all() []Finding {
	out := slices.Clone(f.list)
	for _, l := range []Level{LevelInfo, LevelNote, LevelRefused} {
		if f.more[l] == 0 {
			continue
		}
		x := Finding{Level: l, Outcome: Approximated, Reason: fmt.Sprintf("%d more findings of this level are not listed", f.more[l])}
		for _, o := range f.list {
			if o.Level == l {
				x.File, x.Outcome = o.File, o.Outcome
			}
		}
		out = append(out, x)
	}
	return tidy(out)
}

// err is nil unless something was refused.
func (f *findings) err() error {
	if f.refused() == 0 {
		return nil
	}
	return &Errors{Findings: f.all()}
}

// errorOf is nil unless a finding is a refusal.
func errorOf(findings []Finding) error {
	if slices.ContainsFunc(findings, func(f Finding) bool { return f.Level == LevelRefused }) {
		return &Errors{Findings: tidy(findings)}
	}
	return nil
}

// tidy sorts findings by place and drops repetitions.
func tidy(findings []Finding) []Finding {
	out := slices.Clone(findings)
	for i, f := range out {
		out[i].Reason, out[i].Field, out[i].Summary = readable(f.Reason), readable(f.Field), readable(f.Summary)
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(out)
}
