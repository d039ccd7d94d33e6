package compose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// maxNamed is how many further places or services a line names.
	maxNamed = 3
	// maxSubjects is how many further subjects of one sentence a line names.
	maxSubjects = 20
	// maxRelated is how many notes follow the refusals of an error.
	maxRelated = 10
	// maxAlike is how many findings with the same summary have a line each.
	maxAlike = 4
)

// Lines are findings for people: refusals, then notes, then infos, each by place. Findings with the same reason, or with reasons that differ only
// in their subject, are one line, which names the first place and lists the others. Refusals with different subjects are lines of their own. More
// than maxAlike findings with the same summary are one line, too.
func Lines(findings []Finding) []string {
	findings = summarized(findings)
	type cause struct {
		level  Level
		reason string
	}
	groups := map[cause][]Finding{}
	var order []cause
	for _, level := range []Level{LevelRefused, LevelNote, LevelInfo} {
		for _, f := range findings {
			if f.Level != level {
				continue
			}
			key := cause{f.Level, f.Reason}
			if level != LevelRefused {
				key.reason = withoutSubject(f.Reason)
			}
			if groups[key] == nil {
				order = append(order, key)
			}
			groups[key] = append(groups[key], f)
		}
	}
	out := make([]string, 0, len(order))
	for _, key := range order {
		out = append(out, line(groups[key]))
	}
	return out
}

// summarized are findings of which those with a summary that many share have it as their reason.
func summarized(findings []Finding) []Finding {
	type kind struct {
		level   Level
		summary string
	}
	alike := map[kind]int{}
	for _, f := range findings {
		alike[kind{f.Level, f.Summary}]++
	}
	out := slices.Clone(findings)
	for i, f := range out {
		if f.Summary != "" && alike[kind{f.Level, f.Summary}] > maxAlike {
			out[i].Reason = f.Summary
		}
	}
	return out
}

// line is one line for findings with the same reason.
func line(group []Finding) string {
	first := group[0]
	if len(group) == 1 {
		return first.String()
	}
	services := map[string]bool{}
	var names []string
	for _, f := range group {
		if f.Service != "" && f.Field == first.Field && !services[f.Service] {
			names = append(names, f.Service)
		}
		services[f.Service] = true
	}
	others := otherSubjects(group)
	if len(names) == len(group) && others == "" {
		first.Service, first.Field = "", strings.TrimSpace(fmt.Sprintf("%s (%d services: %s)", first.Field, len(names), listed(names)))
		return first.String()
	}
	switch also := elsewhereIn(group); {
	case others != "" && also != "":
		first.Reason += " (also " + others + ", in " + also + ")"
	case others != "":
		first.Reason += " (also " + others + ")"
	case also != "":
		first.Reason += " (also in " + also + ")"
	}
	return first.String()
}

// subjectOf is the word that a reason begins with if it is a name: a path, a variable or a text in quotes.
func subjectOf(reason string) string {
	word, _, _ := strings.Cut(strings.TrimPrefix(reason, "variable "), " ")
	if strings.ContainsAny(word, "/._\"") || word == strings.ToUpper(word) {
		return word
	}
	return ""
}

// withoutSubject is a reason with a placeholder for its subject.
func withoutSubject(reason string) string {
	subject := subjectOf(reason)
	if subject == "" {
		return reason
	}
	return strings.ReplaceAll(reason, subject, "\x00")
}

// otherSubjects lists the subjects that differ from that of the first finding.
func otherSubjects(group []Finding) string {
	first := subjectOf(group[0].Reason)
	var out []string
	for _, f := range group[1:] {
		if s := subjectOf(f.Reason); s != first && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) <= maxSubjects {
		return strings.Join(out, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(out[:maxSubjects], ", "), len(out)-maxSubjects)
}

// elsewhereIn are the places of findings that differ from that of the first.
func elsewhereIn(group []Finding) string {
	first, what := group[0], "line "
	var lines, places []string
	for _, f := range group[1:] {
		switch {
		case f.File == first.File && f.Line == first.Line:
		case f.File == first.File && f.Line > 0:
			lines = append(lines, strconv.Itoa(f.Line))
		case f.Line == 0:
			places = append(places, f.File)
		default:
			places = append(places, fmt.Sprintf("%s:%d", f.File, f.Line))
		}
	}
	if lines = slices.Compact(lines); len(lines) == 0 {
		return listed(slices.Compact(places))
	}
	if len(lines) > 1 {
		what = "lines "
	}
	return listed(append([]string{what + listed(lines)}, slices.Compact(places)...))
}

// listed joins the first of some names and counts the others.
func listed(names []string) string {
	if len(names) <= maxNamed+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

// Summary counts the notes and infos among findings; it is empty if there are none.
func Summary(findings []Finding) string {
	var parts []string
	for _, level := range []Level{LevelNote, LevelInfo} {
		n := 0
		for _, f := range findings {
			if f.Level == level {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, text.Plural(n, string(level)))
		}
	}
	return strings.Join(parts, ", ")
}

// related are the notes about the fields that are refused, which may be their cause.
func related(findings []Finding) []Finding {
	refused := map[string][]string{}
	for _, f := range findings {
		if f.Level == LevelRefused {
			refused[f.Service] = append(refused[f.Service], f.Field)
		}
	}
	var out []Finding
	for _, f := range findings {
		if f.Level == LevelNote && slices.ContainsFunc(refused[f.Service], func(field string) bool {
			return field != "" && (strings.HasPrefix(f.Field+".", field+".") || strings.HasPrefix(field+".", f.Field+"."))
		}) {
			out = append(out, f)
		}
	}
	return out
}
