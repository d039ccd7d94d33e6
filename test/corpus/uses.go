package corpus

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// maxText is how much of a mounted file is read, in bytes.
const maxText = 64 << 10

// Use is the use of a service's name by another service.
type Use struct {
	From, To, Name string
	// Port is 0 if the name is used without a port.
	Port int
}

// Load reads a project as docker compose does, with variables from its own .env only.
func Load(ctx context.Context, p Project) (*types.Project, error) {
	var files []string
	for _, f := range p.Files {
		files = append(files, filepath.Join(p.Dir, f))
	}
	options, err := cli.NewProjectOptions(files, cli.WithWorkingDirectory(p.Dir), cli.WithName("corpus"), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithProfiles(p.Profiles))
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", p.Name, err)
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", p.Name, err)
	}
	return project, nil
}

// Uses are the names that services use of others in their networks, each once and in order: names in a service's configuration and in
// the files that it mounts, and the name of every service, since uses in its program are not visible here.
func Uses(p *types.Project) []Use {
	found := map[Use]bool{}
	for from, s := range p.Services {
		texts := textsOf(p, s)
		for to, other := range p.Services {
			// A service in the network of another has no name of its own.
			if Host(p, other).Name != to || !share(p, s, other) {
				continue
			}
			found[Use{From: from, To: to, Name: to}] = true
			for _, name := range namesOf(s, other) {
				for _, port := range mentions(texts, name) {
					found[Use{From: from, To: to, Name: name, Port: port}] = true
				}
			}
		}
	}
	for u := range found {
		if u.Port == 0 && named(found, u) {
			delete(found, u)
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port))
	})
}

// named reports whether the same name is also used with a port.
func named(found map[Use]bool, u Use) bool {
	for other := range found {
		if other.Port != 0 && other.From == u.From && other.To == u.To && other.Name == u.Name {
			return true
		}
	}
	return false
}

// Host is the service in whose pod a service runs, and whose networks it uses.
func Host(p *types.Project, s types.ServiceConfig) types.ServiceConfig {
	name, ok := strings.CutPrefix(s.NetworkMode, types.ServicePrefix)
	if !ok {
		return s
	}
	return p.Services[name]
}

// share reports whether one service can reach another under compose.
func share(p *types.Project, a, b types.ServiceConfig) bool {
	a, b = Host(p, a), Host(p, b)
	return a.Name != b.Name && slices.ContainsFunc(slices.Collect(maps.Keys(a.Networks)), func(n string) bool { _, ok := b.Networks[n]; return ok })
}

// namesOf are the names by which a service knows another.
func namesOf(s, other types.ServiceConfig) []string {
	names := []string{other.Name}
	for _, link := range s.Links {
		if name, alias, ok := strings.Cut(link, ":"); ok && name == other.Name {
			names = append(names, alias)
		}
	}
	for _, n := range []string{other.ContainerName, other.Hostname} {
		if n != "" {
			names = append(names, n)
		}
	}
	for _, n := range other.Networks {
		if n != nil {
			names = append(names, n.Aliases...)
		}
	}
	return names
}

// textsOf are all texts that a service gets: variables, commands, files.
func textsOf(p *types.Project, s types.ServiceConfig) []string {
	texts := slices.Concat(s.Command, s.Entrypoint)
	for _, v := range s.Environment {
		if v != nil {
			texts = append(texts, *v)
		}
	}
	if s.HealthCheck != nil {
		texts = append(texts, s.HealthCheck.Test...)
	}
	for _, l := range s.Links {
		_, alias, _ := strings.Cut(l, ":")
		texts = append(texts, cmp.Or(alias, l))
	}
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind {
			texts = append(texts, files(v.Source)...)
		}
	}
	for _, c := range s.Configs {
		def := p.Configs[c.Source]
		texts = append(texts, def.Content)
		if def.File != "" {
			texts = append(texts, files(def.File)...)
		}
	}
	return texts
}

// files are the beginnings of the files at or below a path. Unreadable files are skipped.
func files(path string) []string {
	var texts []string
	_ = filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(name)
		if err == nil {
			texts = append(texts, string(data[:min(len(data), maxText)]))
		}
		return nil
	})
	return texts
}

// mentions are the ports with which a name appears in texts, 0 for none.
func mentions(texts []string, name string) []int {
	pattern := regexp.MustCompile(`(?:^|[^\w.-])` + regexp.QuoteMeta(name) + `(?::(\d{1,5}))?(?:$|[^\w.-])`)
	var ports []int
	for _, text := range texts {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			port, _ := strconv.Atoi(match[1])
			ports = append(ports, port)
		}
	}
	return ports
}

// Ports are the TCP ports of a service in the file.
func Ports(s types.ServiceConfig) []int {
	var ports []int
	for _, p := range s.Ports {
		if p.Protocol == "" || p.Protocol == "tcp" {
			ports = append(ports, int(p.Target))
		}
	}
	for _, e := range s.Expose {
		number, protocol, _ := strings.Cut(e, "/")
		if n, err := strconv.Atoi(number); err == nil && (protocol == "" || protocol == "tcp") {
			ports = append(ports, n)
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}
