package natural

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// truth checks a kind of sentence. check gets the groups of the pattern and returns why the sentence is false; empty if it is true.
type truth struct {
	pattern *regexp.Regexp
	// objects means that the check needs objects: it is left out if there are none, because something else is refused.
	objects bool
	check   func(c *checker, f Finding, groups []string) string
}

func rule(pattern string, check func(c *checker, f Finding, groups []string) string) truth {
	return truth{pattern: regexp.MustCompile(pattern), check: check}
}

func objectRule(pattern string, check func(c *checker, f Finding, groups []string) string) truth {
	return truth{pattern: regexp.MustCompile(pattern), objects: true, check: check}
}

// rules are the kinds of sentences that are checked. All others must be read by a person: in the verdict, or, if they are true wherever
// they occur, in sentences.yaml.
var rules = []truth{
	rule(`^(\S+) is not in the repository`, func(c *checker, _ Finding, groups []string) string {
		return claim(!exists(c.dir, groups[1]), "%s exists", groups[1])
	}),
	rule(`^(\S+) is not mounted at (\S+?)[:;,] .*\bimage\b`, (*checker).imageHolds),
	rule(`no Kubernetes Service can have (?:the name "([^"]+)"|this name)`, func(_ *checker, f Finding, groups []string) string {
		name := cmp.Or(groups[1], f.Service)
		return claim(len(validation.IsDNS1035Label(strings.ToLower(name))) > 0, "%s is a valid name", name)
	}),
	rule(`variable (\w+) is not (?:set|among)`, (*checker).isNotSet),
	rule(`^(\w+) has no value here, and no variable of that name is set`, (*checker).isNotSet),
	rule(`\bholds no files`, (*checker).holdsNoFiles),
	rule(`^(\S+) has no healthcheck in the file, and none is known from its image`, func(c *checker, _ Finding, groups []string) string {
		other := c.v.Services[groups[1]]
		config := c.configOf(other)
		return claim(len(other.Health) == 0 && (config == nil || len(config.Health) == 0), "%s has a health check", groups[1])
	}),
	rule(`^the image \S+ is not built here`, func(c *checker, f Finding, _ []string) string {
		return claim(c.o.Command == convertCommand, "%s builds", c.o.Command)
	}),
	objectRule(`^(\w+) has no value here.* it is left out`, func(c *checker, f Finding, groups []string) string {
		w, ok := c.workloadOf(f.Service)
		has := ok && slices.ContainsFunc(w.pod.Containers[0].Env, func(v corev1.EnvVar) bool { return v.Name == groups[1] })
		return claim(!has, "the container has %s", groups[1])
	}),
	objectRule(`(/\S+) is a copy that cannot be written to`, func(c *checker, f Finding, groups []string) string {
		mount, volume, ok := c.mountOf(f.Service, groups[1])
		return claim(ok && (mount.ReadOnly || volume.ConfigMap != nil), "it can be written to, or is not there")
	}),
	objectRule(`it is (\S+) in the stack`, func(c *checker, _ Finding, groups []string) string { return c.resolves(groups[1]) }),
	objectRule(`in the stack it is ([\w-]+):(\d+)(?:, and ([\w-]+):(\d+))?`, func(c *checker, _ Finding, groups []string) string {
		if why := c.resolves(groups[1]); why != "" || groups[3] == "" {
			return why
		}
		return c.resolves(groups[3])
	}),
	objectRule(`the image's own files stay at (/\S+?),`, func(c *checker, f Finding, groups []string) string {
		_, _, ok := c.mountOf(f.Service, groups[1])
		return claim(!ok, "something is mounted at %s", groups[1])
	}),
	objectRule(`the volume starts empty: .* at (/\S+?)\.`, func(c *checker, f Finding, groups []string) string {
		w, _ := c.workloadOf(f.Service)
		mount, _, ok := c.mountOf(f.Service, groups[1])
		seeded := slices.ContainsFunc(w.pod.InitContainers, func(i corev1.Container) bool { return usesVolume(i, mount.Name) })
		return claim(ok && !seeded, "it is not there, or an init container fills it")
	}),
	objectRule(`the volume lives as long as the pod`, func(c *checker, f Finding, _ []string) string {
		w, _ := c.workloadOf(f.Service)
		return claim(slices.ContainsFunc(w.pod.Volumes, func(v corev1.Volume) bool { return v.EmptyDir != nil }), "the pod has no such volume")
	}),
	objectRule(`no pod can have the host name "[^"]+": it is (\S+)$`, func(c *checker, f Finding, groups []string) string {
		w, _ := c.workloadOf(f.Service)
		return claim(w.pod.Hostname == groups[1], "it is %q", w.pod.Hostname)
	}),
	objectRule(`image's configuration is not known here, so this is a Deployment`, func(c *checker, f Finding, _ []string) string {
		return claim(c.o.workloads[HostName(f.Service)].kind == "Deployment" && c.images == nil, "it is not, or the configuration is known")
	}),
	objectRule(`runs as a test and is not restarted when it ends`, func(c *checker, f Finding, _ []string) string {
		w, _ := c.workloadOf(f.Service)
		return claim(w.pod.RestartPolicy == corev1.RestartPolicyNever, "the restart policy is %q", w.pod.RestartPolicy)
	}),
	rule(`^"([^"]+)" is a name that docker compose gives a container.* write (\S+)$`, func(c *checker, _ Finding, groups []string) string {
		_, ok := c.v.Services[groups[2]]
		return claim(c.owner(groups[1]) == "" && (ok || len(c.v.Services) == 0), "it is a name of %q, or %s is not a service", c.owner(groups[1]), groups[2])
	}),
	objectRule(`"([^"]+)" is not a name that Kubernetes can resolve.* write (\S+)`, func(c *checker, _ Finding, groups []string) string {
		if len(validation.IsDNS1035Label(strings.ToLower(groups[1]))) == 0 {
			return groups[1] + " is a valid name"
		}
		return c.resolves(groups[2])
	}),
	rule(`a stack has no Docker host, so "([^"]+)"`, func(c *checker, _ Finding, groups []string) string {
		return claim(slices.ContainsFunc(c.v.Texts, func(t Text) bool { return t.Name == groups[1] }), "the verdict does not list %s", groups[1])
	}),
	objectRule(`(/\S+) is memory of this pod`, func(c *checker, f Finding, groups []string) string {
		_, volume, ok := c.mountOf(f.Service, groups[1])
		return claim(ok && volume.EmptyDir != nil && volume.EmptyDir.Medium == corev1.StorageMediumMemory, "it is not memory")
	}),
	objectRule(`this waits until (\S+) is healthy, not only until it has started`, func(c *checker, f Finding, groups []string) string {
		return claim(c.v.Services[f.Service].After[groups[1]] == started, "the file has another condition")
	}),
}

func claim(holds bool, format string, args ...any) string {
	if holds {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// imageHolds checks a sentence that explains a missing mount by the image.
func (c *checker) imageHolds(f Finding, groups []string) string {
	m, ok := c.v.Services[f.Service].Mounts[groups[2]]
	return claim(ok && m.Held, "by its Dockerfile the image does not have %s at %s", groups[1], groups[2])
}

// isNotSet checks that no file of variables sets a variable.
func (c *checker) isNotSet(_ Finding, groups []string) string {
	where := c.setBy(groups[1])
	return claim(where == "", "%s sets %s", where, groups[1])
}

// holdsNoFiles checks that no path in the sentence has files.
func (c *checker) holdsNoFiles(f Finding, _ []string) string {
	for _, w := range strings.Fields(f.Reason) {
		name := strings.Trim(w, `",:;`)
		if files, err := repositoryFiles(c.dir, name); name != "" && err == nil && len(files) > 0 {
			return name + " has files"
		}
	}
	return ""
}

// workloadOf is the workload of a service, or the Job of its suite.
func (c *checker) workloadOf(service string) (workload, bool) {
	for name, s := range c.v.Suites {
		if w, ok := c.o.suites[name]; ok && s.Service == service {
			return w, true
		}
	}
	w, ok := c.o.workloads[HostName(service)]
	return w, ok
}

// mountOf is what a service has at a target.
func (c *checker) mountOf(service, target string) (corev1.VolumeMount, corev1.Volume, bool) {
	w, ok := c.workloadOf(service)
	if !ok {
		return corev1.VolumeMount{}, corev1.Volume{}, false
	}
	return at(w.pod, w.pod.Containers[0], target)
}

// resolves checks that a Service has a name, or that the name is a suite's.
func (c *checker) resolves(name string) string {
	for service, s := range c.v.Services {
		if HostName(service) == name && s.Is == InSuite {
			return ""
		}
	}
	is := slices.ContainsFunc(c.o.services, func(s corev1.Service) bool { return s.Name == name })
	return claim(is, "no Service has the name %s", name)
}

// setBy is the file that sets a variable; empty if none does.
func (c *checker) setBy(name string) string {
	if config, err := readConfig(c.dir); err == nil {
		if _, ok := config.Stack.Env[name]; ok {
			return configFile
		}
	}
	assigned := regexp.MustCompile(`(?m)^\s*(?:export )?` + regexp.QuoteMeta(name) + `\s*=`)
	for _, file := range variableFiles(c.dir) {
		data, err := os.ReadFile(filepath.Join(c.dir, file))
		if err == nil && assigned.Match(data) {
			return file
		}
	}
	return ""
}

// truths checks every sentence of the output. A false one excuses nothing: it is taken out of the findings.
func (c *checker) truths() {
	c.o.Findings = slices.DeleteFunc(slices.Clone(c.o.Findings), func(f Finding) bool { return !c.isTrue(f) })
}

func (c *checker) isTrue(f Finding) bool {
	holds := true
	if why := c.wrongPlace(f); why != "" {
		c.add(False, "place: "+f.String(), "%s", why)
		holds = false
	}
	checked := f.Level == "refused" // The verdict lists every refusal.
	for _, r := range rules {
		groups := r.pattern.FindStringSubmatch(f.Reason)
		if groups == nil {
			continue
		}
		checked = true
		if r.objects && c.o.Failed {
			continue
		}
		if why := r.check(c, f, groups); why != "" {
			c.add(False, f.String(), "%s", why)
			holds = false
		}
	}
	if !checked && !slices.Contains(c.v.Read, f.String()) && !slices.Contains(alwaysTrue, f.Reason) {
		c.add(Unread, f.String(), "read it, and add it to the verdict if it is true")
	}
	return holds
}

// Unread is a sentence that no rule checks and that the verdict does not list.
const Unread State = "unread"

// wrongPlace explains why the place of a finding does not exist or is an empty line.
func (c *checker) wrongPlace(f Finding) string {
	if f.File == "" {
		return claim(f.Level != "refused" && !c.o.Failed, "a refusal without a file")
	}
	data, err := os.ReadFile(filepath.Join(c.dir, f.File))
	if err != nil {
		return fmt.Sprintf("%s cannot be read: %v", f.File, errors.Unwrap(err))
	}
	lines := strings.Split(string(data), "\n")
	if f.Line == 0 {
		return ""
	}
	return claim(f.Line <= len(lines) && strings.TrimSpace(lines[f.Line-1]) != "", "the line is empty or does not exist")
}
