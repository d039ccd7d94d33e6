// Package natural compares `conductor plan` and `conductor convert` with verdicts: what docker compose does with projects of other
// people's on a fresh CI machine, written by a person from the projects' files. The projects are outside of the repository.
package natural

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Outcomes of a project, kinds of its services, conditions of dependencies.
const (
	runs    = "runs"
	refused = "refused"

	Server     = "server"
	OneShot    = "one-shot"
	InSuite    = "suite"
	NotStarted = "not-started"

	started   = "started"
	healthy   = "healthy"
	completed = "completed"
)

// Verdict is what docker compose does with a project on a fresh CI machine: a fresh clone, no variables but those in stack.env and in
// committed files; `docker compose up` of everything but the suites' services, then `docker compose run` of each suite.
type Verdict struct {
	// Outcome is runs, or refused if compose itself fails or the project needs rights that pods of a shared cluster do not have.
	Outcome string `json:"outcome"`
	// Why explains the verdict to its reader.
	Why string `json:"why,omitempty"`
	// Refusals are the places that make the project fail.
	Refusals []Expected `json:"refusals,omitempty"`
	// Services are the services, by name; empty for a refused project.
	Services map[string]Service `json:"services,omitempty"`
	Suites   map[string]Suite   `json:"suites,omitempty"`
	// Texts are addresses that cannot work in a cluster as they are. Uses of names that Kubernetes cannot have are found without being listed.
	Texts []Text `json:"texts,omitempty"`
	// Notes are what compose does and a cluster does not do: each must have a finding.
	Notes []Expected `json:"notes,omitempty"`
	// Read are findings that no rule checks and that a person judged to be true.
	Read []string `json:"read,omitempty"`
}

// Expected is a finding that must exist.
type Expected struct {
	// At are places, FILE:LINE; one of them must have the finding.
	At []string `json:"at"`
	// Words must occur in the finding.
	Words []string `json:"words"`
	// May means that the finding may be absent.
	May bool `json:"may,omitempty"`
	// Images means that the finding depends on the configuration of images, which plan does not read.
	Images bool `json:"images,omitempty"`
}

// Text is a place with an address that cannot work in a cluster: it must be rewritten, or have a finding.
type Text struct {
	// At is FILE:LINE. Of is service.environment.NAME, service.command or service.TARGET of a mount.
	At   string `json:"at"`
	Of   string `json:"of"`
	Name string `json:"name"`
}

// Service is one container. What is left out is decided by the image.
type Service struct {
	// Is is server, one-shot, suite or not-started.
	Is string `json:"is"`
	// Unsure are facts on which the file does not decide; they are reported, and do not fail the test.
	Unsure []string `json:"unsure,omitempty"`
	// Image is the reference, Build the build that makes the image.
	Image string `json:"image,omitempty"`
	Build *Build `json:"build,omitempty"`
	// Config is what is known of the configuration of a built image.
	Config *ImageConfig `json:"config,omitempty"`
	// Entrypoint and Command are as the container gets them. ANY in an argument matches any text.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
	Workdir    string   `json:"workdir,omitempty"`
	User       string   `json:"user,omitempty"`
	// Env are all variables that compose sets.
	Env map[string]string `json:"env,omitempty"`
	// Health is what the health check executes.
	Health []string `json:"health,omitempty"`
	// Mounts are by target.
	Mounts map[string]Mount `json:"mounts,omitempty"`
	// Names are DNS names besides the service's own.
	Names []string `json:"names,omitempty"`
	// After maps services to started, healthy or completed.
	After map[string]string `json:"after,omitempty"`
	Ports []int32           `json:"ports,omitempty"`
}

// Build is a build as the file has it, with paths from the root of the project.
type Build struct {
	Context    string            `json:"context"`
	Dockerfile string            `json:"dockerfile,omitempty"`
	Target     string            `json:"target,omitempty"`
	Args       map[string]string `json:"args,omitempty"`
}

// Suite is a suite's container: that of a service, or an image alone.
type Suite struct {
	Service string `json:"service,omitempty"`
	Image   string `json:"image,omitempty"`
	// Builds is the service whose build makes the image.
	Builds string `json:"builds,omitempty"`
	// Shell is the suite's own command, a line for a shell.
	Shell string            `json:"shell,omitempty"`
	Env   map[string]string `json:"env,omitempty"`
}

// ImageConfig is the part of an image's configuration that compose inherits.
type ImageConfig struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Expose     []string `json:"expose,omitempty"`
	Volumes    []string `json:"volumes,omitempty"`
	User       string   `json:"user,omitempty"`
	Health     []string `json:"health,omitempty"`
}

// Mount is what is at a target. Its text is a kind and its argument, and ro for what cannot be written to:
//
//	files PATH       a file or directory of the repository
//	files PATH held  the same, and the image has the same files there
//	empty PATH       a source that does not exist: docker makes an empty directory
//	volume [NAME]    a named or anonymous volume; filled is one in which the image has files
//	tmpfs            memory
//	host PATH        a path of the machine
type Mount struct {
	Kind, Path       string
	Held, Filled, RO bool
}

// UnmarshalText parses a mount.
func (m *Mount) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return errors.New("an empty mount")
	}
	*m = Mount{Kind: words[0]}
	for _, w := range words[1:] {
		switch {
		case w == "ro":
			m.RO = true
		case w == "held" && m.Kind == "files":
			m.Held = true
		case w == "filled" && m.Kind == "volume":
			m.Filled = true
		case m.Path == "":
			m.Path = w
		default:
			return fmt.Errorf("mount %q: %q is one word too many", text, w)
		}
	}
	needsPath := map[string]bool{"files": true, "empty": true, "volume": m.Path != "", "tmpfs": false, "host": true}
	if need, ok := needsPath[m.Kind]; !ok || need != (m.Path != "") {
		return fmt.Errorf("mount %q: unknown kind, or a path is missing or too many", text)
	}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (m Mount) MarshalText() ([]byte, error) {
	words := []string{m.Kind, m.Path}
	for word, on := range map[string]bool{"held": m.Held, "filled": m.Filled, "ro": m.RO} {
		if on {
			words = append(words, word)
		}
	}
	return []byte(strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")), nil
}

// ReadVerdicts reads the verdicts of a directory, NAME.yaml each, by name.
func ReadVerdicts(dir string) (map[string]*Verdict, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	all := map[string]*Verdict{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		v, err := ParseVerdict(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(f), err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".yaml")] = v
	}
	return all, nil
}

// ParseVerdict decodes and checks a verdict.
func ParseVerdict(data []byte) (*Verdict, error) {
	v := &Verdict{}
	if err := yaml.UnmarshalStrict(data, v); err != nil {
		return nil, err
	}
	if v.Outcome != runs && v.Outcome != refused {
		return nil, fmt.Errorf("outcome %q: must be runs or refused", v.Outcome)
	}
	if must := slices.ContainsFunc(v.Refusals, func(e Expected) bool { return !e.May }); must != (v.Outcome == refused) {
		return nil, errors.New("a refused project has refusals, and only it has one that must exist")
	}
	for _, e := range slices.Concat(v.Refusals, v.Notes) {
		if len(e.At) == 0 || len(e.Words) == 0 {
			return nil, errors.New("a refusal or note needs at and words")
		}
	}
	return v, v.checkServices()
}

// checkServices checks words and references of services and suites.
func (v *Verdict) checkServices() error {
	for name, s := range v.Services {
		if !slices.Contains([]string{Server, OneShot, InSuite, NotStarted}, s.Is) {
			return fmt.Errorf("%s: is %q: must be server, one-shot, suite or not-started", name, s.Is)
		}
		if s.Is != NotStarted && (s.Image == "") == (s.Build == nil) {
			return fmt.Errorf("%s needs either image or build", name)
		}
		for other, condition := range s.After {
			if _, ok := v.Services[other]; !ok || !slices.Contains([]string{started, healthy, completed}, condition) {
				return fmt.Errorf("%s: after %s %s: an unknown service or condition", name, other, condition)
			}
		}
		for target := range s.Mounts {
			if path.Clean(target) != target || !path.IsAbs(target) {
				return fmt.Errorf("%s: the target %s must be clean and absolute", name, target)
			}
		}
	}
	for name, s := range v.Suites {
		if of, ok := v.Services[s.Service]; s.Service != "" && (!ok || of.Is != InSuite) {
			return fmt.Errorf("suite %s: %s must be a service that is a suite", name, s.Service)
		}
	}
	for _, t := range v.Texts {
		if _, _, err := place(t.At); err != nil {
			return err
		}
	}
	return nil
}

// place parses FILE:LINE.
func place(at string) (file string, line int, err error) {
	file, number, ok := strings.Cut(at, ":")
	line, err = strconv.Atoi(number)
	if !ok || err != nil {
		return "", 0, fmt.Errorf("%q must be FILE:LINE", at)
	}
	return file, line, nil
}

// exists reports whether a project has a path.
func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return !errors.Is(err, fs.ErrNotExist)
}
