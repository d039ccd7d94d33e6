package compose

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// checkoutPath is the value of PWD, which compose's users always have: the directory where docker compose runs, the checkout. In paths it
// means the loaded directory. Elsewhere it stays, so that no path of this machine gets into a stack.
const checkoutPath = "/conductor-checkout"

// mention matches an escaped $, and variables with or without a default.
var mention = regexp.MustCompile(`\$\$|\$\{?([A-Za-z_]\w*)`)

func isCheckout(p string) bool { return p == checkoutPath || strings.HasPrefix(p, checkoutPath+"/") }

// inCheckout is a path with the loaded directory in place of PWD.
func inCheckout(dir, p string) string {
	if !isCheckout(p) {
		return p
	}
	return filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(p, checkoutPath)))
}

func (s *sources) checkout(p string) string { return inCheckout(s.dir, p) }

// checkoutLoader finds the files of include and extends that PWD leads to. It implements compose-go's loader.ResourceLoader.
type checkoutLoader struct{ dir string }

// Accept reports whether a path begins with PWD.
func (l checkoutLoader) Accept(p string) bool { return isCheckout(p) }

// Load returns the file.
func (l checkoutLoader) Load(_ context.Context, p string) (string, error) {
	return inCheckout(l.dir, p), nil
}

// Dir returns what the file's own paths are relative to.
func (l checkoutLoader) Dir(p string) string { return filepath.Dir(inCheckout(l.dir, p)) }

// resolveCheckout puts the loaded directory into the paths of a project that begin with PWD.
func (p *Project) resolveCheckout() {
	at := func(paths ...*string) {
		for _, s := range paths {
			*s = inCheckout(p.dir, *s)
		}
	}
	container := func(s *types.ContainerSpec) {
		for i := range s.EnvFiles {
			at(&s.EnvFiles[i].Path)
		}
		for i := range s.LabelFiles {
			at(&s.LabelFiles[i])
		}
		for i, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				at(&s.Volumes[i].Source)
			}
		}
	}
	for name, s := range p.compose.Services {
		if b := s.Build; b != nil {
			at(&b.Context, &b.Dockerfile)
		}
		container(&s.ContainerSpec)
		for i := range s.PreStart {
			container(&s.PreStart[i].ContainerSpec)
		}
		p.compose.Services[name] = s
	}
	for name, f := range p.compose.Configs {
		at(&f.File)
		p.compose.Configs[name] = f
	}
	for name, f := range p.compose.Secrets {
		at(&f.File)
		p.compose.Secrets[name] = f
	}
}

// pathFields are the fields of services in which PWD is the checkout.
var pathFields = []string{"build", "develop", "env_file", "extends", "label_file", "volumes"}

// notePWD notes a text with PWD that is not a path of the repository.
func (r *reader) notePWD(s *source, n *yaml.Node, path []string, env map[string]string) {
	if env["PWD"] != checkoutPath || len(path) < 3 || path[0] != "services" || len(r.gaps) == maxFindings {
		return
	}
	below := path[2:]
	if below[0] == "pre_start" {
		below = below[1:]
	}
	if len(below) == 0 || slices.Contains(pathFields, below[0]) && !(below[0] == "build" && len(below) > 1 && below[1] == "args") {
		return
	}
	for _, m := range mention.FindAllStringSubmatch(n.Value, -1) {
		if m[1] == "PWD" {
			r.gaps = append(r.gaps, gap{Finding: Finding{
				File: s.name, Line: n.Line, Level: LevelNote, Service: path[1], Field: strings.Join(path[2:], "."), Outcome: Approximated,
				Reason: "PWD is " + checkoutPath + " here: no container has the checkout, unless it is mounted there",
			}})
			return
		}
	}
}
