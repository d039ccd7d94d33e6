package natural

import (
	"maps"
	"slices"
	"strings"
)

// suite checks a suite's Job.
func (c *checker) suite(name string, s Suite) {
	w, ok := c.o.suites[name]
	if c.must(ok, "suite "+name, "it has no Job"); !ok {
		return
	}
	container := w.pod.Containers[0]
	own := container.Command
	if i := slices.Index(own, "--"); i >= 0 {
		own = expandAll(own[i+1:])
	}
	if s.Service != "" {
		over := map[string]string{}
		maps.Copy(over, s.Env)
		c.container(s.Service, c.v.Services[s.Service], w.pod, over)
		c.suiteArgv(name, s, own)
		return
	}
	if s.Builds != "" {
		c.image(s.Builds, c.v.Services[s.Builds], container.Image)
	} else {
		c.must(container.Image == s.Image, "suite "+name+": image", "%s, want %s", container.Image, s.Image)
	}
	c.env("", s.Env, container.Env, true)
	c.suiteArgv(name, s, own)
}

// suiteArgv checks what a suite runs: its own command, or that of the service after the image's entrypoint.
func (c *checker) suiteArgv(name string, s Suite, got []string) {
	of, fact := c.v.Services[s.Service], "suite "+name+": command"
	want := []string{"/bin/sh", "-c", s.Shell}
	if s.Shell == "" {
		config := c.configOf(of)
		want = slices.Concat(of.Entrypoint, of.Command)
		if len(of.Entrypoint) == 0 && config != nil {
			command := of.Command
			if len(command) == 0 {
				command = config.Cmd
			}
			want = slices.Concat(config.Entrypoint, command)
		} else if len(of.Entrypoint) == 0 && len(got) > len(of.Command) { // The image's entrypoint is not known.
			got = got[len(got)-len(of.Command):]
		}
	}
	same := len(want) == len(got)
	for i := range want {
		same = same && c.sameText(want[i], got[i])
	}
	if !same {
		c.fact(false, s.Service, "command", nil, fact, "%q, want %q", got, want)
		return
	}
	c.leftover(s.Service, "command", strings.Join(got, " "), fact)
}

// configOf is what the output knows of a service's image.
func (c *checker) configOf(s Service) *ImageConfig {
	if c.images == nil {
		return nil
	}
	config := s.Config
	if s.Build == nil {
		config = c.images[repository(s.Image)]
	}
	if config == nil && s.Is == InSuite {
		return &ImageConfig{} // A run always reads the image of a suite.
	}
	return config
}

// repository is a reference without its tag.
func repository(image string) string {
	slash := strings.LastIndex(image, "/")
	if colon := strings.LastIndex(image, ":"); colon > slash {
		return image[:colon]
	}
	return image
}
