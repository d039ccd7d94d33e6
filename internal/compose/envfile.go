package compose

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
)

// rawEnvFile reads files with format: raw, whose values are literal. compose-go leaves the format to its users; Docker Compose uses that of
// `docker run --env-file`: https://docs.docker.com/reference/compose-file/services/#format
func rawEnvFile(file io.Reader, _ string, vars map[string]string, lookup func(key string) (string, bool)) error {
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxFile)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeftFunc(strings.TrimPrefix(lines.Text(), "\ufeff"), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, given := strings.Cut(line, "=")
		switch {
		case key == "":
			return fmt.Errorf("line %d: no variable name before =", n)
		case strings.ContainsFunc(key, unicode.IsSpace):
			return fmt.Errorf("line %d: the variable name %q has white space", n, key)
		case !given:
			if value, given = lookup(key); !given {
				continue // As with Docker, a name alone inherits the variable.
			}
		}
		vars[key] = value
	}
	return lines.Err()
}

// projectName is the name set by variables, else by the last main file that has one. compose-go would parse all files once more for it.
func (s *sources) projectName(env map[string]string) string {
	name := ""
	for _, f := range s.files {
		for _, doc := range f.docs {
			if n := scalar(child(doc, "name")); n != "" && !f.included && !f.extended {
				name = n
			}
		}
	}
	name, _ = template.Substitute(name, lookupIn(env)) // compose-go reports the error.
	return cmp.Or(loader.NormalizeProjectName(env[consts.ComposeProjectName]), loader.NormalizeProjectName(name), defaultName)
}

// maxNear is how many files with usual names are suggested.
const maxNear = 20

// FilesIn are the names of the files in a directory that are named like compose files, sorted.
func FilesIn(dir string) []string {
	var out []string
	for _, pattern := range []string{"docker-compose*.y*ml", "compose*.y*ml"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern)) // The patterns are valid.
		for _, f := range found {
			out = append(out, filepath.Base(f))
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxNear)]
}

// FilesOf are the compose files that COMPOSE_FILE among the variables names, which docker compose takes when it is given none:
// https://docs.docker.com/compose/how-tos/environment-variables/envvars/
func FilesOf(dir string, o LoadOptions) []string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	r := newReader(abs, o.Absent)
	env := r.environment(abs, o)
	if env["COMPOSE_FILE"] == "" {
		return nil
	}
	return strings.Split(env["COMPOSE_FILE"], cmp.Or(env["COMPOSE_PATH_SEPARATOR"], ":"))
}

// variables adds the variables of a file to vars, or refuses the file. Lookup resolves all others.
func (r *reader) variables(file, service, field, format string, data []byte, vars map[string]string, lookup dotenv.LookupFn) {
	r.gapsIn(file, service, field, data, format == "raw", func(name string) bool {
		_, own := vars[name]
		_, other := lookup(name)
		return own || other
	})
	if !r.mayExpand(file, service, field, data) {
		return
	}
	if err := dotenv.ParseWithFormat(bytes.NewReader(data), file, vars, r.metered(vars, lookup), format); err != nil {
		text := strings.TrimPrefix(err.Error(), "failed to read "+file+": ")
		r.refuse(place{file: file, line: lineOf(text)}, service, field, "%s", yamlLine.ReplaceAllString(text, ""))
	}
	r.checkBill(place{file: file}, service, field)
}

// gapsIn notes what a file of variables leaves unset: names without a value and, where values are interpolated, variables in them. A
// variable of the file itself is known from the next line on, and its line is kept for findings.
func (r *reader) gapsIn(file, service, field string, data []byte, raw bool, known func(name string) bool) {
	own := map[string]bool{}
	n, quote := 0, byte(0) // The quote of a value with several lines.
	note := func(name, what string) {
		at := fmt.Sprintf("%s:%d:%s", file, n, name)
		if name == "" || own[name] || known(name) || r.seen[at] || r.findings.isFull(LevelNote) {
			return
		}
		r.seen[at] = true
		r.findings.add(Finding{
			File: file, Line: n, Level: LevelNote, Service: service, Field: field, Outcome: Approximated,
			Reason: "variable " + name + " is not set: it is " + what + ". Set it with " + r.setting(name),
		})
	}
	for line := range bytes.Lines(data) {
		n++
		key, value, within := "", strings.TrimSpace(string(line)), quote
		if within == 0 {
			if value == "" || value[0] == '#' {
				continue
			}
			i := strings.IndexAny(value, "=:")
			if i < 0 {
				note(value, "left out")
				continue
			}
			key, value = strings.TrimSpace(strings.TrimPrefix(value[:i], "export ")), strings.TrimSpace(value[i+1:])
			if value != "" && (value[0] == '\'' || value[0] == '"') && !raw {
				within, value = value[0], value[1:]
			} else {
				value, _, _ = strings.Cut(value, " #")
			}
		}
		if end := strings.IndexByte(value, within); within != 0 && end >= 0 {
			value, quote = value[:end], 0
		} else {
			quote = within
		}
		for _, m := range variable.FindAllStringSubmatch(value, -1) {
			if !raw && within != '\'' {
				note(m[1]+m[2], "empty")
			}
		}
		if own[key] = true; r.setAt[file] == nil {
			r.setAt[file] = map[string]int{}
		}
		r.setAt[file][key] = n
	}
}
