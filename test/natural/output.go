package natural

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Output is what a command printed for a project.
type Output struct {
	// Command is plan, convert, or plan with the images known.
	Command  string
	Failed   bool
	Findings []Finding

	workloads map[string]workload
	services  []corev1.Service
	contents  map[string]corev1.ConfigMap
	// suites are the Jobs of suites, by suite; builds the builds, by name. Both are empty for convert.
	suites map[string]workload
	builds map[string]Build
	// after are the dependencies of services that plan prints.
	after map[string]map[string]string
}

// workload is an object with a pod.
type workload struct {
	kind   string
	labels map[string]string
	pod    corev1.PodSpec
}

// Finding is one line about a file.
type Finding struct {
	File  string
	Line  int
	Level string
	// What is the service and the field, as printed; Service and Field its parts.
	What, Service, Field string
	Reason               string
}

// String is the finding as it was printed.
func (f Finding) String() string {
	where, what := f.File, f.What
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	if what != "" {
		what += ": "
	}
	if f.Level == "" {
		return f.Reason
	}
	return fmt.Sprintf("%s: %s: %s%s", where, f.Level, what, f.Reason)
}

var (
	findingLine = regexp.MustCompile(`^([^:]+?)(?::(\d+))?(?::\d+)?: (info|note|refused): (.*)$`)
	// Findings with the same sentence are printed as one line.
	manyServices = regexp.MustCompile(`^(\S*) ?\(\d+ services: ([^)]*)\): (.*)$`)
	manyPlaces   = regexp.MustCompile(`^(.*) \(also (?:[^()]*, )?in ([^)]*)\)$`)
)

// parseFindings parses lines of standard error. A line of another form is a finding without a place.
func parseFindings(text string, services []string) []Finding {
	var all []Finding
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" {
			continue
		}
		m := findingLine.FindStringSubmatch(line)
		if m == nil {
			all = append(all, Finding{Reason: line})
			continue
		}
		f := Finding{File: m[1], Level: m[3], Reason: m[4]}
		f.Line, _ = strconv.Atoi(m[2])
		all = append(all, f.unfold(services)...)
	}
	return all
}

// unfold returns the findings that a line stands for. Of those at other places only the place is known.
func (f Finding) unfold(services []string) []Finding {
	if m := manyServices.FindStringSubmatch(f.Reason); m != nil {
		var all []Finding
		for name := range strings.SplitSeq(m[2], ", ") {
			one := f
			one.Service, one.Field, one.Reason = name, m[1], m[3]
			one.What = strings.Trim(name+"."+m[1], ".")
			all = append(all, one)
		}
		return all
	}
	m := manyPlaces.FindStringSubmatch(f.Reason)
	if m == nil {
		f.split(services)
		return []Finding{f}
	}
	f.Reason = m[1]
	f.split(services)
	all := []Finding{f}
	for at := range strings.SplitSeq(strings.NewReplacer("lines ", "", "line ", "").Replace(m[2]), ", ") {
		other := Finding{File: f.File, Level: f.Level, Reason: f.Reason}
		if file, line, err := place(at); err == nil {
			other.File, other.Line = file, line
		} else if other.Line, err = strconv.Atoi(at); err != nil {
			continue
		}
		all = append(all, other)
	}
	return all
}

// split separates the service and the field from the reason. The names of services may have dots.
func (f *Finding) split(services []string) {
	longest := slices.Clone(services)
	slices.SortFunc(longest, func(a, b string) int { return len(b) - len(a) })
	for _, s := range longest {
		rest, ok := strings.CutPrefix(f.Reason, s)
		if !ok || !strings.HasPrefix(rest, ".") && !strings.HasPrefix(rest, ": ") {
			continue
		}
		field, reason, ok := strings.Cut(rest, ": ")
		if !ok {
			continue
		}
		f.Service, f.Field, f.Reason = s, strings.TrimPrefix(field, "."), reason
		f.What = strings.Trim(s+"."+f.Field, ".")
		return
	}
	top := regexp.MustCompile(`^((?:networks|volumes|configs|secrets|include|tests|stack|build|services|version|name)(?:\.\S+)?): (.*)$`)
	if m := top.FindStringSubmatch(f.Reason); m != nil {
		f.What, f.Field, f.Reason = m[1], m[1], m[2]
	}
}

var (
	afterLine = regexp.MustCompile(`, after (\S+) \((\w+)\)`)
	buildLine = regexp.MustCompile(`^#   (\S+): context ([^,]+), ([^,]+?)(?:, target (.+))?$`)
	testName  = regexp.MustCompile(`^conductor-test-`)
)

// parseOutput parses the objects and the summary that a command printed.
func parseOutput(command string, stdout, stderr string, services []string) (*Output, error) {
	o := &Output{
		Command: command, Findings: parseFindings(stderr, services), workloads: map[string]workload{}, contents: map[string]corev1.ConfigMap{},
		suites: map[string]workload{}, builds: map[string]Build{}, after: map[string]map[string]string{},
	}
	o.parseSummary(stdout)
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(stdout)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return o, nil
		}
		if err == nil {
			err = o.addObject(document)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
	}
}

// parseSummary reads the comments before the objects of a plan.
func (o *Output) parseSummary(stdout string) {
	section := ""
	for line := range strings.Lines(stdout) {
		line = strings.TrimRight(line, "\n")
		switch {
		case !strings.HasPrefix(line, "#"):
			return
		case strings.HasPrefix(line, "# "):
			if !strings.HasPrefix(line, "#   ") {
				section = strings.TrimPrefix(line, "# ")
			}
		}
		if m := buildLine.FindStringSubmatch(line); m != nil && section == "Builds" {
			o.builds[m[1]] = Build{Context: m[2], Dockerfile: m[3], Target: m[4], Args: map[string]string{}}
		}
		if rest, ok := strings.CutPrefix(line, "#   "); ok && strings.HasPrefix(section, "Services") {
			name, _, _ := strings.Cut(rest, ", after ")
			o.after[name] = map[string]string{}
			for _, m := range afterLine.FindAllStringSubmatch(line, -1) {
				o.after[name][m[1]] = conditions[m[2]]
			}
		}
	}
}

var conditions = map[string]string{"service_started": started, "service_healthy": healthy, "service_completed_successfully": completed}

// addObject adds one YAML document.
func (o *Output) addObject(document []byte) error {
	var meta metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(document, &meta); err != nil {
		return err
	}
	var err error
	switch meta.Kind {
	case "Deployment":
		var d appsv1.Deployment
		err = yaml.Unmarshal(document, &d)
		o.workloads[d.Name] = workload{d.Kind, d.Spec.Template.Labels, d.Spec.Template.Spec}
	case "Job":
		var j batchv1.Job
		err = yaml.Unmarshal(document, &j)
		o.addJob(j)
	case "Service":
		var s corev1.Service
		err = yaml.Unmarshal(document, &s)
		o.services = append(o.services, s)
	case "ConfigMap":
		var m corev1.ConfigMap
		err = yaml.Unmarshal(document, &m)
		o.contents[m.Name] = m
	}
	return err
}

// addJob adds a Job of a build, of a suite or of a service.
func (o *Output) addJob(j batchv1.Job) {
	w := workload{j.Kind, j.Spec.Template.Labels, j.Spec.Template.Spec}
	c := w.pod.Containers[0]
	switch {
	case c.Name == "kaniko":
		o.addArgs(c.Args)
	case testName.MatchString(j.Name):
		if i := slices.Index(c.Command, "--suite"); i >= 0 && i+1 < len(c.Command) {
			o.suites[c.Command[i+1]] = w
		}
	default:
		o.workloads[j.Name] = w
	}
}

var destination = regexp.MustCompile(`^--destination=\S*?([^/:]+):[^:]+$`)

// addArgs notes the build arguments in the command line of a build.
func (o *Output) addArgs(argv []string) {
	name, args := "", map[string]string{}
	for i, a := range argv {
		if m := destination.FindStringSubmatch(a); m != nil {
			name = m[1]
		}
		arg, ok := strings.CutPrefix(a, "--build-arg=")
		if a == "--build-arg" && i+1 < len(argv) {
			arg, ok = argv[i+1], true
		}
		if key, value, found := strings.Cut(arg, "="); ok && found {
			args[key] = expand(value)
		}
	}
	name = o.buildOf(name)
	b := o.builds[name]
	b.Args = args
	o.builds[name] = b
}

// expand is a text as Kubernetes passes it on.
func expand(text string) string { return strings.ReplaceAll(text, "$$", "$") }

func expandAll(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, expand(s))
	}
	return out
}

// HostName is the nearest name that a Kubernetes Service can have, as the documentation has it.
func HostName(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
}
