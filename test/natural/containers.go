package natural

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// container checks image, working directory, environment and mounts. over are variables that a suite sets, nil for services of the stack.
func (c *checker) container(name string, s Service, pod corev1.PodSpec, over map[string]string) {
	container := pod.Containers[0]
	c.image(name, s, container.Image)
	c.fact(s.Workdir == "" || s.Workdir == container.WorkingDir, name, "working_dir", nil, name+": working_dir", "%q, want %q", container.WorkingDir, s.Workdir)
	env := maps.Clone(s.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, over)
	c.env(name, env, container.Env, over != nil)
	c.mounts(name, s, pod)
}

// argv compares a command. Names that Kubernetes cannot have may be rewritten.
func (c *checker) argv(name, field string, want, got []string) {
	same := len(want) == len(got)
	for i := range want {
		same = same && c.sameText(want[i], got[i])
	}
	if !same {
		c.fact(false, name, field, nil, name+": "+field, "%q, want %q", got, want)
		return
	}
	c.leftover(name, field, strings.Join(got, " "), name+": "+field)
}

// sameText compares a text but for rewritten names. ANY matches anything.
func (c *checker) sameText(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(c.rewritten(want)), "ANY", ".*")
	return regexp.MustCompile("^(?s:" + pattern + ")$").MatchString(c.rewritten(got))
}

// impossible are the names of the project that no Kubernetes Service can have.
func (c *checker) impossible() []string {
	all := map[string]bool{}
	for name, s := range c.v.Services {
		for _, n := range append([]string{name}, s.Names...) {
			if HostName(n) != strings.ToLower(n) {
				all[n] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
}

// word matches a name that is not a part of a longer one.
func word(name string) *regexp.Regexp {
	return regexp.MustCompile(`(^|[^\w.-])` + regexp.QuoteMeta(name) + `($|[^\w.-]|\.(?:\s|$))`)
}

// rewritten replaces all impossible names in a text, by that of their service.
func (c *checker) rewritten(text string) string {
	for _, n := range c.impossible() {
		to := HostName(n)
		if s := c.owner(n); s != "" {
			to = HostName(s)
		}
		for range 2 { // Matches may share a character.
			text = word(n).ReplaceAllString(text, "${1}"+to+"${2}")
		}
		if to != HostName(n) {
			text = word(HostName(n)).ReplaceAllString(text, "${1}"+to+"${2}")
		}
	}
	return text
}

// owner is the service with an additional name.
func (c *checker) owner(name string) string {
	for service, s := range c.v.Services {
		if slices.Contains(s.Names, name) {
			return service
		}
	}
	return ""
}

// leftover checks that impossible names that are left in a text have a finding.
func (c *checker) leftover(name, field, text, fact string) {
	for _, n := range c.impossible() {
		if word(n).MatchString(text) {
			c.fact(false, name, field, []string{n}, fact, "%s is left in %q", n, text)
			return
		}
	}
	c.add(Kept, fact, "")
}

// env compares the variables. Those that Conductor adds to suites are left out.
func (c *checker) env(name string, want map[string]string, vars []corev1.EnvVar, isSuite bool) {
	got := map[string]string{}
	for _, v := range vars {
		got[v.Name] = expand(v.Value)
		if v.ValueFrom != nil {
			got[v.Name] = "(a secret)"
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		fact, value := name+": "+key, got[key]
		if _, ok := got[key]; !ok || !c.sameText(want[key], value) {
			c.fact(false, name, "environment."+key, nil, fact, "%q, want %q", value, want[key])
			continue
		}
		c.leftoverVariable(name, key, value, fact)
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		own := isSuite && (key == "CI" || strings.HasPrefix(key, "CONDUCTOR_"))
		if _, ok := want[key]; !ok && !own {
			c.fact(false, name, "environment."+key, nil, name+": only the variables of the file", "%s=%q is set, too", key, got[key])
		}
	}
}

// leftoverVariable is leftover for a variable, whose finding may be at its env file.
func (c *checker) leftoverVariable(name, key, value, fact string) {
	if _, ok := c.finding(name, "env_file", key); ok {
		c.leftover(name, "env_file", value, fact)
		return
	}
	c.leftover(name, "environment."+key, value, fact)
}

// image checks the reference or the build. convert does not build.
func (c *checker) image(name string, s Service, got string) {
	if s.Build == nil {
		c.fact(got == s.Image, name, "image", nil, name+": image", "%s, want %s", got, s.Image)
		return
	}
	if c.o.Command == convertCommand {
		_, ok := c.finding(name, "build", "not built")
		c.add(map[bool]State{true: Noted, false: Silent}[ok || !strings.Contains(got, "@")], name+": build", "%s", got)
		return
	}
	want, have := *s.Build, c.o.builds[c.o.buildOf(got)]
	file := cmp.Or(want.Dockerfile, strings.TrimPrefix(want.Context+"/Dockerfile", "./"))
	same := have.Context == want.Context && strings.TrimPrefix(have.Context+"/"+strings.TrimPrefix(have.Dockerfile, "./"), "./") == file && have.Target == want.Target
	c.fact(same, name, "build", nil, name+": build", "%s is %+v, want %+v", got, have, want)
	args := true
	for key, value := range want.Args {
		args = args && c.sameText(value, have.Args[key])
	}
	c.fact(args && len(have.Args) == len(want.Args), name, "build.args", nil, name+": build.args", "%v, want %v", have.Args, want.Args)
}

// buildOf is the build in a placeholder of a reference. Its name there may be that of a repository, which has no underscores.
func (o *Output) buildOf(reference string) string {
	repository, _, _ := strings.Cut(strings.TrimPrefix(reference, "REGISTRY/"), "@")
	for name := range o.builds {
		if name == repository || HostName(name) == repository {
			return name
		}
	}
	return repository
}

// health checks what the probe of a service executes.
func (c *checker) health(name string, s Service, container corev1.Container) {
	if s.Is == InSuite || len(s.Health) == 0 {
		return
	}
	var got []string
	if p := container.ReadinessProbe; p != nil && p.Exec != nil {
		got = p.Exec.Command
	}
	c.argv(name, "healthcheck", s.Health, got)
}

// names checks that a Service selects the pod under every name.
func (c *checker) names(name string, s Service, w workload) {
	for _, n := range append([]string{name}, s.Names...) {
		dns, fact := HostName(n), fmt.Sprintf("%s: the name %s", name, n)
		reaches := slices.ContainsFunc(c.o.services, func(svc corev1.Service) bool { return svc.Name == dns && selects(svc, w) })
		possible := dns == strings.ToLower(n)
		if reaches && possible {
			c.add(Kept, fact, "")
			continue
		}
		noted := slices.IndexFunc(c.o.Findings, func(f Finding) bool { return word(n).MatchString(f.String()) && (f.Service == name || possible) })
		if noted < 0 || n == name && !reaches {
			c.add(Silent, fact, "no Service %s selects its pod, or its other name has no finding", dns)
			continue
		}
		c.add(Noted, fact, "%s", c.o.Findings[noted])
	}
}

// selects reports whether a Service leads to the pods of a workload.
func selects(s corev1.Service, w workload) bool {
	for key, value := range s.Spec.Selector {
		if w.labels[key] != value {
			return false
		}
	}
	return len(s.Spec.Selector) > 0
}

// ports checks that ports in the file are reachable at the service's name.
func (c *checker) ports(name string, s Service, container corev1.Container) {
	for _, port := range s.Ports {
		listed := slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == port })
		c.fact(listed, name, "ports", nil, fmt.Sprintf("%s: port %d", name, port), "the container does not list it")
	}
}
