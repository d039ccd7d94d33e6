package compose

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// hints are what refusals need to name causes and remedies.
type hints struct {
	// isFlags is LoadOptions.Flags.
	isFlags bool
	// empty are the variables without a value, by the place and the last key of the fields that use them.
	empty map[string][]string
}

func (h *hints) key(f Finding) string {
	return fmt.Sprintf("%s:%d:%s", f.File, f.Line, f.Field[strings.LastIndexByte(f.Field, '.')+1:])
}

// note records that a field uses a variable without a value.
func (h *hints) note(f Finding, variable string) {
	if key := h.key(f); !slices.Contains(h.empty[key], variable) {
		h.empty[key] = append(h.empty[key], variable)
	}
}

// explain adds the variables without a value to a refusal of the field that uses them.
func (h *hints) explain(f Finding) Finding {
	if f.Level != LevelRefused || len(h.empty) == 0 || strings.Contains(f.Reason, "has no value") {
		return f
	}
	names := h.empty[h.key(f)]
	switch len(names) {
	case 0:
	case 1:
		f.Reason += fmt.Sprintf(". %s has no value: set it with %s", names[0], h.setting(names...))
	default:
		f.Reason += fmt.Sprintf(". %s and %s have no value: set them with %s",
			strings.Join(names[:len(names)-1], ", "), names[len(names)-1], h.setting(names...))
	}
	return f
}

// setting is how users give variables their values.
func (h *hints) setting(names ...string) string {
	if h.isFlags {
		return "--env " + strings.Join(names, "=... --env ") + "=..."
	}
	return fmt.Sprintf("stack: {env: {%s: ...}}", strings.Join(names, ": ..., "))
}

// giver is what gives variables their values.
func (h *hints) giver() string {
	if h.isFlags {
		return "--env"
	}
	return "stack.env"
}

// places are where variables get their values.
func (h *hints) places() string {
	return h.giver() + ", or .env"
}

// adding is how users add a compose file.
func (h *hints) adding(file string) string {
	if h.isFlags {
		return "add it with -f " + file
	}
	return "add it to stack.compose"
}

// enabling is how users enable a profile.
func (h *hints) enabling(profile string) string {
	if h.isFlags {
		return "--profile " + profile
	}
	return fmt.Sprintf("stack: {profiles: [%s]}", profile)
}

// refusal returns the error of a load that the reader or compose-go refused, with everything else that is wrong. Cause is compose-go's
// error, and load loads once more.
func (r *reader) refusal(cause error, load func(isChecked bool) (*types.Project, error)) error {
	if err := r.absences.err(); err != nil {
		return err
	}
	if errors.As(cause, new(boundError)) {
		r.refuseError(cause)
		return r.err()
	}
	before := r.findings.refused()
	if !r.bill.refused && !r.isFull {
		r.checkFiles()
	}
	if cause != nil && r.findings.refused() == before {
		if project, err := load(false); err == nil {
			r.checkReferences(project)
		}
	}
	if cause != nil {
		if f := r.locate(cause); !r.covers(f) {
			r.findings.add(r.hints.explain(f))
		}
	}
	users := r.sources.users(r.sources.services())
	for _, g := range r.gaps {
		if user, ok := users[serviceKey(g.File, g.Service)]; ok || g.Service == "" {
			g.Service = user
			r.findings.add(g.Finding)
		}
	}
	return r.err()
}

// covers reports whether a refusal is about the same place as f.
func (r *reader) covers(f Finding) bool {
	field := listIndex.ReplaceAllString(f.Field, "")
	return slices.ContainsFunc(r.findings.list, func(o Finding) bool {
		switch {
		case o.Level != LevelRefused:
			return false
		case f.Line == 0 || f.Service == "" && f.Field == "":
			return true // It cannot be located, and so is likely to be one of those that were found.
		case f.File == o.File && f.Line == o.Line:
			return true
		}
		return f.Service == o.Service && (f.Service != "" || field == o.Field) &&
			(strings.HasPrefix(field, o.Field) || strings.HasPrefix(o.Field, field))
	})
}

var (
	yamlLine = regexp.MustCompile(`(?s)^.*\bline (\d+): `)
	// listIndex matches the numbers of items of lists in compose-go's paths. Findings name lists alone.
	listIndex = regexp.MustCompile(`\.\d+\b`)
	noField   = regexp.MustCompile(`^\S+ false schema$`)
	yamlPath  = regexp.MustCompile(`\b(?:services|volumes|networks|secrets|configs|jobs|models)[.\[][A-Za-z0-9_.\[\]-]+`)
	inQuotes  = regexp.MustCompile(`service "([^"]+)"`)
)

// lineOf is the last line that a message of the YAML library begins with; 0 when it names none.
func lineOf(message string) int {
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

// refuseError refuses with an error of compose-go.
func (r *reader) refuseError(err error) {
	r.findings.add(r.hints.explain(r.locate(err)))
}

// locate turns an error of compose-go into a refusal at the place that its text names.
func (r *reader) locate(err error) Finding {
	text := strings.ReplaceAll(err.Error(), r.dir+string(filepath.Separator), "")
	text = strings.ReplaceAll(text, r.dir, ".")
	for _, s := range r.sources.files {
		text = strings.TrimPrefix(text, "validating "+s.name+": ")
	}
	at, service, field := r.sources.find(""), "", ""
	if m := yamlPath.FindString(text); m != "" {
		path := strings.FieldsFunc(m, func(c rune) bool { return strings.ContainsRune(".[]", c) })
		at = r.sources.find("", path...)
		text = strings.TrimPrefix(text, m+": ")
		text = strings.ReplaceAll(strings.TrimPrefix(text, "decoding failed due to the following error(s):"), "'"+m+"' ", "")
		if field = strings.Join(path, "."); path[0] == "services" && len(path) > 1 {
			service, field = path[1], strings.Join(path[2:], ".")
		}
	} else if m := inQuotes.FindStringSubmatch(text); m != nil {
		service, at = m[1], r.sources.find("", "services", m[1])
	}
	if n := lineOf(text); n > 0 {
		at.line = n
		text = yamlLine.ReplaceAllString(text, "")
	}
	if noField.MatchString(text) {
		text = "compose has no such field"
	}
	if text == "empty compose file" {
		text = "the compose file is empty: it needs services"
	}
	return Finding{
		File: at.file, Line: at.line, Level: LevelRefused, Service: service, Field: field, Outcome: Refused, Reason: strings.Join(strings.Fields(text), " "),
	}
}
