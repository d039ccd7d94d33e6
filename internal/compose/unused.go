package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

// noteUnused notes profiles that no service has, and given variables that no file names.
func (p *Project) noteUnused(r *reader, profiles []string, env map[string]string) {
	at := p.sources.main().name
	note := func(field, format string, args ...any) {
		p.findings.add(Finding{File: at, Level: LevelNote, Field: field, Outcome: Approximated, Reason: fmt.Sprintf(format, args...)})
	}
	known := map[string]bool{}
	for _, s := range p.compose.AllServices() {
		for _, profile := range s.Profiles {
			known[profile] = true
		}
	}
	for _, profile := range profiles {
		if !known[profile] && profile != "" && profile != "*" {
			note("profiles", "no service has the profile %s%s", profile, meant(profile, slices.Sorted(maps.Keys(known))))
		}
	}
	if len(env) == 0 {
		return
	}
	named := r.identifiers()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !named[name] && !strings.HasPrefix(name, "COMPOSE_") && !strings.HasPrefix(name, "DOCKER_") {
			note("", "%s is set by %s, and no file uses it", text.Truncate(name, 100), r.giver())
		}
	}
}

// identifiers are the words in the files that were read that can be names of variables.
func (r *reader) identifiers() map[string]bool {
	out := map[string]bool{}
	for _, data := range r.data {
		for word := range strings.FieldsFuncSeq(string(data), func(c rune) bool {
			return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
		}) {
			out[word] = true
		}
	}
	return out
}
