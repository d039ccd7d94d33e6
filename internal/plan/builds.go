package plan

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// Build is one image to build.
type Build struct {
	Name, Context, Dockerfile, Target string
	// Inline is the text of a Dockerfile in the compose file; it replaces Dockerfile.
	Inline string `json:",omitempty"`
	Args   map[string]string
}

// addBuilds collects build.images and the services' builds. Services with the same build share one image.
func (m *maker) addBuilds() error {
	p := m.plan
	for name, i := range m.config.Build.Images {
		p.Builds = append(p.Builds, Build{Name: name, Context: i.Context, Dockerfile: i.Dockerfile, Target: i.Target, Args: i.Args})
	}
	slices.SortFunc(p.Builds, func(a, b Build) int { return cmp.Compare(a.Name, b.Name) })
	names, keys := map[string]bool{}, map[string]string{}
	for _, b := range p.Builds {
		names[b.Name] = true
		if key := b.key(); keys[key] == "" {
			keys[key] = b.Name
		}
	}
	for _, b := range m.project.Builds() {
		m.serviceBuilds[b.Service] = m.addBuild(Build{
			Name: b.Service, Context: b.Context, Dockerfile: b.Dockerfile, Inline: b.Inline, Target: b.Target, Args: b.Args,
		}, names, keys)
	}
	for _, service := range m.project.Services() {
		if image, _ := m.project.Image(service); m.serviceBuilds[service] == "" {
			if b, ok := m.buildOf(image); ok {
				m.serviceBuilds[service] = b
			}
		}
	}
	return m.checkBuilds()
}

// addBuild adds a build, unless another makes the same image, under an unused name. It returns the name of the build.
func (m *maker) addBuild(b Build, names map[string]bool, keys map[string]string) string {
	key := b.key()
	if have := keys[key]; have != "" {
		return have
	}
	for base, n := b.Name, 2; names[b.Name]; n++ {
		b.Name = fmt.Sprintf("%s-%d", base, n)
	}
	names[b.Name], keys[key] = true, b.Name
	m.plan.Builds = append(m.plan.Builds, b)
	return b.Name
}

// buildOf returns the build whose service has this image, if there is one.
func (m *maker) buildOf(image string) (name string, ok bool) {
	service, ok := m.project.Builder(image)
	return m.serviceBuilds[service], ok
}

// hasBuild reports whether there is a build with this name.
func (m *maker) hasBuild(name string) bool {
	return slices.ContainsFunc(m.plan.Builds, func(b Build) bool { return b.Name == name })
}

// checkBuilds refuses builds for which no Job can be made, before anything is built.
func (m *maker) checkBuilds() error {
	if len(m.in.Run.Spec.SHA) == 0 {
		return nil
	}
	for _, b := range m.plan.Builds {
		if _, err := m.plan.BuildJob(b, "registry.invalid/image"); err != nil {
			return err
		}
	}
	return nil
}

// checkDockerfiles refuses builds whose Dockerfiles are missing.
func (m *maker) checkDockerfiles() error {
	var missing []string
	for _, b := range m.plan.Builds {
		file := filepath.Join(b.Context, b.Dockerfile)
		if _, err := os.Stat(filepath.Join(m.in.Dir, file)); b.Inline != "" || !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		reason := fmt.Sprintf("the image %s cannot be built: %s is not in the repository", b.Name, file)
		service := slices.IndexFunc(m.project.Builds(), func(s compose.Build) bool { return m.serviceBuilds[s.Service] == b.Name })
		if _, ok := m.config.Build.Images[b.Name]; ok || service < 0 {
			missing = append(missing, m.config.Problem("build.images."+b.Name+".dockerfile", "%s", reason).Error())
		} else {
			missing = append(missing, m.project.Refusal(m.project.Builds()[service].Service, []string{"build", "dockerfile"}, reason).String())
		}
	}
	if len(missing) > 0 {
		return failure.Terminalf(v1alpha1.ReasonNotFound, nil, "%s", strings.Join(missing, "\n"))
	}
	return nil
}

// key is equal for builds that make the same image.
func (b Build) key() string {
	args := make([]string, 0, len(b.Args))
	for k, v := range b.Args {
		args = append(args, k+"="+v)
	}
	slices.Sort(args)
	return fmt.Sprintf("%q %q %q %q %q", filepath.Clean(b.Context), filepath.Clean(b.Dockerfile), b.Inline, b.Target, args)
}

// BuildOf is the name of the build that makes a service's image; empty for an image from a registry.
func (p *Plan) BuildOf(service string) string {
	for _, use := range p.Uses {
		if use.Service == service && !use.Hook {
			return use.Build
		}
	}
	return ""
}

// BuildJob returns the Job that builds an image and pushes it to a repository, host/path without a tag.
func (p *Plan) BuildJob(b Build, repository string) (*batchv1.Job, error) {
	clone, err := url.Parse(p.run.Spec.Repository.CloneURL)
	if err != nil || clone.Host == "" {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The repository's clone address %q is not a valid URL", p.run.Spec.Repository.CloneURL)
	}
	set := p.settings
	return jobs.Kaniko(jobs.KanikoInput{
		Run: p.run, Image: b.Name, Namespace: set.Builds.Namespace, Executor: set.Builds.Image, CloneURL: clone,
		Context: b.Context, Dockerfile: b.Dockerfile, Inline: b.Inline, Target: b.Target, Args: b.Args, Repository: repository,
		Insecure: set.Registry.Insecure, Mirrors: set.Registry.Mirrors, Secret: jobs.BuildSecretName(p.run), Timeout: set.Builds.Timeout.Duration,
		CPU: set.Builds.CPU, Memory: set.Builds.Memory, MemoryLimit: set.Builds.MemoryLimit,
	})
}
