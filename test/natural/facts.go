package natural

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// State is what became of a fact.
type State string

// The states. Unsure facts and those that only a registry decides are open: they are reported, and do not fail the test.
const (
	Kept   State = "kept"
	Noted  State = "noted"
	Silent State = "SILENT"
	Open   State = "open"
	False  State = "FALSE"
	// Wrongly is a refusal of what compose runs and pods can do.
	Wrongly State = "REFUSED"
)

// Result is one fact of a verdict in one output.
type Result struct {
	Command, Fact, Detail string
	State                 State
}

// checker compares one output with a verdict.
type checker struct {
	v   *Verdict
	o   *Output
	dir string
	// images are the configurations of public images that are assumed; nil if the output was made without them.
	images  map[string]*ImageConfig
	results []Result
	// claims maps shared directories and volumes to what the first service mounts for them.
	claims map[string]string
}

// Check compares an output with a verdict of the project in dir. images are those that the output was made with.
func Check(v *Verdict, o *Output, dir string, images map[string]*ImageConfig) []Result {
	c := &checker{v: v, o: o, dir: dir, images: images, claims: map[string]string{}}
	c.truths()
	if c.outcome() {
		for _, name := range slices.Sorted(maps.Keys(v.Services)) {
			if s := v.Services[name]; s.Is != InSuite || o.Command == convertCommand {
				c.service(name, s)
			}
		}
		c.strangers()
		if o.Command != convertCommand {
			for _, name := range slices.Sorted(maps.Keys(v.Suites)) {
				c.suite(name, v.Suites[name])
			}
		}
		c.texts()
		c.notes()
	}
	return c.results
}

const (
	planCommand    = "plan"
	convertCommand = "convert"
	runCommand     = "run"
)

func (c *checker) add(state State, fact, format string, args ...any) {
	c.results = append(c.results, Result{Command: c.o.Command, Fact: fact, State: state, Detail: fmt.Sprintf(format, args...)})
}

// must adds a fact that no finding excuses.
func (c *checker) must(kept bool, fact, format string, args ...any) {
	if kept {
		c.add(Kept, fact, "")
		return
	}
	c.add(Silent, fact, format, args...)
}

// fact adds a fact that is kept, or else noted by a finding about the service's field that contains one of the needles, or else silent.
func (c *checker) fact(kept bool, service, field string, needles []string, fact, format string, args ...any) {
	switch {
	case kept:
		c.add(Kept, fact, "")
	case c.isUnsure(service, field):
		c.add(Open, fact, format, args...)
	default:
		if f, ok := c.finding(service, field, needles...); ok {
			c.add(Noted, fact, "%s", f)
			return
		}
		c.add(Silent, fact, format, args...)
	}
}

func (c *checker) isUnsure(service, field string) bool {
	top, _, _ := strings.Cut(field, ".")
	return slices.Contains(c.v.Services[service].Unsure, top)
}

// finding finds a finding about a service's field; with needles its text or the line that it names must contain one.
func (c *checker) finding(service, field string, needles ...string) (Finding, bool) {
	for _, f := range c.o.Findings {
		inField := f.Field == field || strings.HasPrefix(f.Field, field+".") || strings.HasPrefix(field, f.Field+".") && f.Field != ""
		if f.Service != service || field != "" && !inField {
			continue
		}
		if len(needles) == 0 || slices.ContainsFunc(needles, func(n string) bool { return n != "" && strings.Contains(f.Reason, n) }) {
			return f, true
		}
	}
	return Finding{}, false
}

// outcome checks refusals. It returns false if there are no objects to compare.
func (c *checker) outcome() bool {
	var refusals []Finding
	for _, f := range c.o.Findings {
		if f.Level == "refused" || f.Level == "" && c.o.Failed {
			refusals = append(refusals, f)
		}
	}
	for _, e := range c.v.Refusals {
		fact := fmt.Sprintf("refused at %s: %s", strings.Join(e.At, " or "), strings.Join(e.Words, ", "))
		if slices.ContainsFunc(refusals, c.explains(e)) {
			c.add(Kept, fact, "")
		} else if !e.May {
			c.add(Silent, fact, "refused instead: %q", refusals)
		}
	}
	for _, f := range refusals {
		if !slices.ContainsFunc(c.v.Refusals, func(e Expected) bool { return c.explains(e)(f) }) {
			c.add(Wrongly, "nothing else is refused", "%s", f)
		}
	}
	if !c.o.Failed && c.v.Outcome == runs {
		c.add(Kept, "it runs", "")
	}
	if c.o.Failed && len(refusals) == 0 {
		c.add(Silent, "a failure has a sentence", "there is none")
	}
	return !c.o.Failed && c.v.Outcome == runs
}

// explains returns whether a refusal, with the notes at its place, has the place and the words.
func (c *checker) explains(e Expected) func(Finding) bool {
	return func(f Finding) bool {
		all := f
		for _, note := range c.o.Findings {
			if note.File == f.File && note.Line == f.Line && note.Level == "note" {
				all.Reason += "\n" + note.Reason
			}
		}
		return e.matches(all)
	}
}

// matches reports whether a finding has the place and the words.
func (e Expected) matches(f Finding) bool {
	if !slices.Contains(e.At, fmt.Sprintf("%s:%d", f.File, f.Line)) {
		return false
	}
	return !slices.ContainsFunc(e.Words, func(w string) bool { return !strings.Contains(f.String(), w) })
}

// strangers checks that the stack has no workloads besides the services.
func (c *checker) strangers() {
	for name := range c.o.workloads {
		known := name == "conductor-agent"
		for service, s := range c.v.Services {
			known = known || HostName(service) == name && (s.Is != InSuite && s.Is != NotStarted || c.o.Command == convertCommand)
		}
		if !known {
			c.add(Silent, "only the services are in the stack", "%s is in the stack, too", name)
		}
	}
}

// service checks the facts of a service of the stack.
func (c *checker) service(name string, s Service) {
	w, ok := c.o.workloads[HostName(name)]
	if s.Is == NotStarted {
		c.must(!ok, name+" is not started", "it is started")
		return
	}
	if c.must(ok, name+" is in the stack", "it is not"); !ok {
		return
	}
	if c.o.Command == planCommand || c.o.Command == runCommand {
		c.kind(name, s, w)
	}
	pod := w.pod
	c.argv(name, "entrypoint", s.Entrypoint, expandAll(pod.Containers[0].Command))
	c.argv(name, "command", s.Command, expandAll(pod.Containers[0].Args))
	c.container(name, s, pod, nil)
	c.health(name, s, pod.Containers[0])
	if s.Is != InSuite {
		c.names(name, s, w)
		c.ports(name, s, pod.Containers[0])
	}
	if c.o.Command != convertCommand {
		for other, condition := range s.After {
			got := c.o.after[name][other]
			c.fact(got == condition, name, "depends_on", []string{other}, fmt.Sprintf("%s: after %s %s", name, other, condition), "got %q", got)
		}
	}
}

var endsWord = regexp.MustCompile(`\b(ends?|ended|exits?|exited|complet\w+|finish\w*)\b`)

// kind checks whether a service may end.
func (c *checker) kind(name string, s Service, w workload) {
	fact, kept := name+" is "+s.Is, (w.kind == "Job") == (s.Is == OneShot)
	if kept {
		c.add(Kept, fact, "")
		return
	}
	for _, f := range c.o.Findings {
		if f.Service == name && endsWord.MatchString(f.Reason) && strings.Contains("restart", f.Field) {
			c.add(Noted, fact, "%s", f)
			return
		}
	}
	offline := c.images == nil && len(s.Entrypoint) == 0 && len(s.Command) == 0
	state := Silent
	if offline || slices.Contains(s.Unsure, "is") {
		state = Open
	}
	c.add(state, fact, "it is a %s", w.kind)
}

// texts checks addresses that cannot work in a cluster.
func (c *checker) texts() {
	for _, t := range c.v.Texts {
		fact := fmt.Sprintf("%s: %s in %s", t.At, t.Name, t.Of)
		text, ok := c.textOf(t.Of)
		if !ok {
			continue // convert does not build.
		}
		if !word(t.Name).MatchString(text) {
			c.add(Kept, fact, "")
			continue
		}
		at := Expected{At: []string{t.At}, Words: []string{t.Name}}
		if i := slices.IndexFunc(c.o.Findings, at.matches); i >= 0 {
			c.add(Noted, fact, "%s", c.o.Findings[i])
			continue
		}
		service, field := c.partsOf(t.Of)
		if strings.HasPrefix(field, "/") {
			field = "volumes"
		}
		c.fact(false, service, field, []string{t.Name}, fact, "it is in the cluster as it is in the file")
	}
}

// partsOf splits service.field, where both may have dots.
func (c *checker) partsOf(of string) (service, field string) {
	for name := range c.v.Services {
		if rest, ok := strings.CutPrefix(of, name+"."); ok && len(name) > len(service) {
			service, field = name, rest
		}
	}
	return service, field
}

// textOf is the text in the objects at a place; false if the output does not have the place.
func (c *checker) textOf(of string) (string, bool) {
	service, field := c.partsOf(of)
	w, ok := c.o.workloads[HostName(service)]
	for name, s := range c.v.Suites {
		if s.Service == service && c.o.Command != convertCommand {
			w, ok = c.o.suites[name], true
		}
	}
	if !ok || len(w.pod.Containers) == 0 {
		return "", false
	}
	container := w.pod.Containers[0]
	if key, ok := strings.CutPrefix(field, "environment."); ok {
		for _, v := range container.Env {
			if v.Name == key {
				return expand(v.Value), true
			}
		}
		return "", true
	}
	if key, ok := strings.CutPrefix(field, "build.args."); ok {
		return c.o.builds[c.o.buildOf(container.Image)].Args[key], c.o.Command != convertCommand
	}
	if strings.HasPrefix(field, "/") {
		all := ""
		for _, f := range c.filesAt(w.pod, field) {
			all += f.data + "\n"
		}
		return all, true
	}
	return strings.Join(expandAll(slices.Concat(container.Command, container.Args)), " "), true
}

// notes checks findings that must exist.
func (c *checker) notes() {
	for _, e := range c.v.Notes {
		fact := fmt.Sprintf("a note at %s: %s", strings.Join(e.At, " or "), strings.Join(e.Words, ", "))
		if i := slices.IndexFunc(c.o.Findings, e.matches); i >= 0 {
			c.add(Noted, fact, "%s", c.o.Findings[i])
		} else if !e.May && (!e.Images || c.o.Command != planCommand) {
			c.add(Silent, fact, "there is none")
		}
	}
}
