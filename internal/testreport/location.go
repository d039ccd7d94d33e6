package testreport

import (
	"cmp"
	"iter"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// sourceFile matches the extension of a source file.
const sourceFile = `\.(?:[cm]?[jt]sx?|vue|svelte|py|rb|go|rs|java|kts?|groovy|scala|php|phpt|cs|fs|vb|c|cc|cpp|cxx|h|hh|hpp|mm?|swift|dart|exs?|erl|cljs?|lua|p[lm]|t|sh|bats|feature|jl|zig|nim|hs|ml)`

// frame matches a file and a line as written by various languages' tools: a.js:1:2, a.rb:1:in, a.cs:line 1, File "a.py", line 1,
// a.php(1). It matches paths with spaces only in quotes. Text after the port of an address is not a path: it matches without a line.
var frame = regexp.MustCompile(`:\d+/\S*|(?:File "([^"\n]+)", line |((?:[A-Za-z]:[\\/]|[a-z-]+://)?[^\s:()"'<>|*?=,` + "`" + `]*[^\s:()"'<>|*?=,.\\/` + "`" + `]` + sourceFile + `)(?::line |:|\())(\d+)`)

var isSource = regexp.MustCompile(sourceFile + `$`)

// maxExtension is more than the length of the longest extension, in bytes.
const maxExtension = 16

// paths converts paths to paths relative to the repository.
type paths struct{ root string }

func newPaths(root string) paths {
	return paths{root: path.Clean(slashes(root))}
}

func slashes(p string) string { return strings.ReplaceAll(strings.TrimSpace(p), `\`, "/") }

var (
	scheme = regexp.MustCompile(`^(?:file://|(?:webpack|webpack-internal|vite)://[^/]*/|/_/)`)
	drive  = regexp.MustCompile(`^[A-Za-z]:/`)
	// system matches directories of the image, for a root that is the root directory.
	system = regexp.MustCompile(`^(?:usr|lib|lib64|opt|nix|rustc|root|proc|go/pkg|var/lib|home/[^/]+/\.\w+)/`)
	// foreign matches directories and names of third-party code within a repository.
	foreign = regexp.MustCompile(`(?:^|/)(?:node_modules|site-packages|dist-packages|vendor|gems|bower_components|\.(?:yarn|pnpm|cargo|nuget|venv|tox|gradle|m2))/|^node:|^internal/(?:process|modules|timers)|^<`)
)

// relative returns a path relative to the repository, or "" if it is outside.
func (p paths) relative(name string) string {
	name = slashes(name)
	name = name[len(scheme.FindString(name)):]
	if name == "" || strings.Contains(name, "://") {
		return ""
	}
	name = path.Clean(name)
	if rest, below := strings.CutPrefix(name, strings.TrimSuffix(p.root, "/")+"/"); below {
		if p.root == "/" && system.MatchString(rest) {
			return ""
		}
		name = rest
	}
	if path.IsAbs(name) || drive.MatchString(name) || strings.HasPrefix(name, "../") || foreign.MatchString(name) {
		return ""
	}
	return name
}

// spot is a line of a file.
type spot struct {
	file string
	line int
}

// maxTrace is how much of the beginning and of the end of a text is searched for frames, in bytes. The test's own frames are at one of
// the two, and a suite may have a thousand traces of many kilobytes.
const maxTrace = 1 << 10

// ends returns the beginning and the end of a long text, in whole lines.
func ends(text string) string {
	if len(text) <= 2*maxTrace {
		return text
	}
	head, tail := text[:maxTrace], text[len(text)-maxTrace:]
	head = head[:strings.LastIndexByte(head, '\n')+1]
	return head + tail[strings.IndexByte(tail, '\n')+1:]
}

// frames yields the positions in the repository's files that a text names at its beginning and its end, in order. It is lazy, because
// the wanted frame is usually the first.
func (p paths) frames(text string) iter.Seq[spot] {
	return func(yield func(spot) bool) {
		for line := range strings.Lines(ends(text)) {
			if !strings.ContainsAny(line, ":(") && !strings.Contains(line, `File "`) {
				continue // The pattern takes a hundred times longer to find nothing.
			}
			for _, m := range frame.FindAllStringSubmatch(line, -1) {
				number, err := strconv.ParseInt(m[3], 10, 32)
				if file := p.relative(m[1] + m[2]); file != "" && err == nil && number > 0 && !yield(spot{file, int(number)}) {
					return
				}
			}
		}
	}
}

// locate returns the position of a case or, if it failed, of the failure. The file named by the report has priority; within it, the
// line in the failure is more precise than the one where the test begins.
func (t *testcase) locate(c evidence.Case, s *suite, p paths) (file string, line int) {
	file = p.relative(first(t.attrs, "file", "filepath"))
	if file != "" {
		line = t.line(s)
	} else {
		file = s.file
	}
	if !c.Status.Bad() && !c.Flaky {
		return file, line
	}
	if at, ok := p.failure(file, c.Class, c.Detail, t.message, c.Output); ok {
		return at.file, at.line
	}
	for _, name := range []string{t.attrs["classname"], s.name} {
		if file == "" && isSource.MatchString(name[max(0, len(name)-maxExtension):]) && !strings.Contains(name, " ") {
			file = p.relative(name)
		}
	}
	return file, line
}

// failure returns the position of a failure that one of the texts names: the first one in the file or, if the file is not known, the
// closest to the class.
func (p paths) failure(file, class string, texts ...string) (at spot, ok bool) {
	for _, text := range texts {
		frames := p.frames(text)
		if file == "" {
			if at, ok = closest(frames, class); ok {
				return at, true
			}
			continue
		}
		for at := range frames {
			if at.file == file || strings.HasSuffix(file, "/"+at.file) {
				return spot{file, at.line}, true
			}
		}
	}
	return spot{}, false
}

// line returns the line where the test begins according to the report. pytest counts from 0.
func (t *testcase) line(s *suite) int {
	n, err := strconv.ParseInt(strings.TrimSpace(t.attrs["line"]), 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	if s.name == "pytest" {
		n++
	}
	return int(n)
}

// closest returns the first frame with a directory. Without one it returns the first frame whose directory follows from the class, or
// else the first frame.
func closest(frames iter.Seq[spot], class string) (at spot, ok bool) {
	var inOwnPackage, first spot
	for f := range frames {
		if strings.Contains(f.file, "/") {
			return f, true
		}
		if file := inPackage(f.file, class); file != "" {
			inOwnPackage = cmp.Or(inOwnPackage, spot{file, f.line})
		}
		if !onTheJVM(f.file) {
			first = cmp.Or(first, f)
		}
	}
	at = cmp.Or(inOwnPackage, first)
	return at, at != spot{}
}

// jvm lists the languages whose stack traces name files without directories, with their source directories in Maven and Gradle.
var jvm = map[string]string{".java": "java", ".kt": "kotlin", ".groovy": "groovy", ".scala": "scala"}

func onTheJVM(file string) bool { return jvm[path.Ext(file)] != "" }

// inPackage returns the likely path of a file that is named without its directory, or "".
func inPackage(file, class string) string {
	if path.Ext(file) == ".go" && class != "" && !strings.Contains(class, " ") {
		return path.Join(inModule(class), file)
	}
	if lang := jvm[path.Ext(file)]; lang != "" {
		outer, _, _ := strings.Cut(class, "$")
		name := strings.ReplaceAll(outer, ".", "/")
		if path.Base(name)+path.Ext(file) == file {
			return "src/test/" + lang + "/" + name + path.Ext(file)
		}
	}
	return ""
}

var major = regexp.MustCompile(`^v[0-9]+$`)

// inModule guesses a Go package's directory in its module, which the import path does not show: the large hosts use host/owner/name,
// others mostly host/name, and a module without a host has one element.
func inModule(pkg string) string {
	parts := strings.Split(pkg, "/")
	skip := 1
	switch {
	case parts[0] == "github.com" || parts[0] == "gitlab.com" || parts[0] == "bitbucket.org":
		skip = 3
	case strings.Contains(parts[0], "."):
		skip = 2
	}
	if len(parts) > skip && major.MatchString(parts[skip]) {
		skip++
	}
	return strings.Join(parts[min(skip, len(parts)):], "/")
}
