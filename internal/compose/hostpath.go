package compose

import (
	"path"
	"slices"
	"strings"

	composeformat "github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// shm is the directory for shared memory.
const shm = "/dev/shm"

// systemPaths are directories whose files belong to the system of a machine. Others are empty on a fresh one, or do not exist.
var systemPaths = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/snap", "/sys", "/usr",
	"/var/lib", "/var/log", "/var/run",
}

// isSystem reports whether a path is one of the system, or has such paths below it.
func isSystem(p string) bool {
	return p == "/" || p == "/var" || slices.ContainsFunc(systemPaths, func(s string) bool { return p == s || strings.HasPrefix(p, s+"/") })
}

// writtenMount is the source of a mount as it is in the file.
type writtenMount struct {
	// source is the path with variables expanded; empty if it was not found.
	source string
	// variables are the names of those in the entry.
	variables []string
}

// isOutside reports whether the path is not one of the repository, wherever the repository is.
func (w writtenMount) isOutside() bool {
	return strings.HasPrefix(w.source, "~") || path.IsAbs(w.source) && !isCheckout(w.source)
}

// clean is the path without superfluous parts, and whether it is a path of a machine, not one that is relative to the repository.
func (w writtenMount) clean() (p string, ok bool) {
	switch {
	case !w.isOutside():
		return w.source, false
	case path.IsAbs(w.source):
		return path.Clean(w.source), true
	}
	home := path.Clean("/" + strings.TrimPrefix(w.source, "~"))
	return "~" + strings.TrimSuffix(home, "/"), true
}

// writtenAt is the source of the mount that a service has at a target.
func (c *converter) writtenAt(s types.ServiceConfig, target string) writtenMount {
	return c.writtenIn(s.Name, path.Clean(target), map[string]bool{})
}

func (c *converter) writtenIn(service, target string, seen map[string]bool) writtenMount {
	if seen[service] {
		return writtenMount{}
	}
	seen[service] = true
	known, ok := c.written[service]
	if !ok {
		known = c.sources.mounts(service)
		c.written[service] = known
	}
	if w, ok := known[target]; ok {
		return w
	}
	for _, from := range c.compose.Services[service].VolumesFrom {
		donor, _ := c.donor(from)
		if w := c.writtenIn(donor, target, seen); w.source != "" {
			return w
		}
	}
	return writtenMount{}
}

// mounts are the sources of a service's mounts and of its hooks', by target, as the files have them.
func (s *sources) mounts(service string) map[string]writtenMount {
	out := map[string]writtenMount{}
	seen := map[string]bool{}
	var visit func(f *source, name string)
	visit = func(f *source, name string) {
		if key := serviceKey(f.path, name); seen[key] {
			return
		} else {
			seen[key] = true
		}
		for _, doc := range f.docs {
			node := child(child(doc, "services"), name)
			if file, base := extends(node); base != "" {
				from := f
				if file != "" {
					from = s.extendedBy(f, file)
				}
				if from != nil {
					visit(from, base)
				}
			}
			for _, item := range items(child(node, "pre_start")) {
				f.mountsIn(child(item, "volumes"), out)
			}
			f.mountsIn(child(node, "volumes"), out)
		}
	}
	for _, f := range s.files {
		if !f.extended {
			visit(f, service)
		}
	}
	return out
}

// extendedBy is the file that services of another one extend from.
func (s *sources) extendedBy(f *source, file string) *source {
	name, err := template.Substitute(file, lookupIn(f.env))
	if err != nil {
		return nil
	}
	return s.byPath(join(f.base, s.checkout(name)))
}

// mountsIn adds the mounts of a list, in the short or the long form.
func (s *source) mountsIn(list *yaml.Node, out map[string]writtenMount) {
	for _, n := range items(list) {
		text, source, to := scalar(n), "", ""
		if n.Kind == yaml.ScalarNode {
			spec, err := template.Substitute(text, lookupIn(s.env))
			if err != nil {
				continue
			}
			volume, err := composeformat.ParseVolume(spec)
			if err != nil {
				continue
			}
			source, to = volume.Source, volume.Target
		} else {
			text = scalar(child(n, "source"))
			var err error
			if source, err = template.Substitute(text, lookupIn(s.env)); err != nil {
				continue
			}
			if to, err = template.Substitute(scalar(child(n, "target")), lookupIn(s.env)); err != nil {
				continue
			}
		}
		w := writtenMount{source: source}
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			if m[1] != "" && !slices.Contains(w.variables, m[1]) {
				w.variables = append(w.variables, m[1])
			}
		}
		out[path.Clean(to)] = w
	}
}

// items are the elements of a list, with aliases followed.
func items(n *yaml.Node) []*yaml.Node {
	if n = target(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return scalars(n)
}

// classifyOutside decides what a mount of a path becomes that is not in the repository.
func (c *converter) classifyOutside(s types.ServiceConfig, m mount, w writtenMount) mount {
	p, isAbs := w.clean()
	shown := p
	if w.source == "" {
		shown = "the source"
	}
	shown += c.variablesOf(w)
	isSocket := strings.HasSuffix(m.Source, "/docker.sock") || strings.HasSuffix(m.Source, "/podman.sock")
	switch {
	case isSocket && c.allowed(AllowEngine) || !isSocket && c.allowed(AllowHostPaths):
		m.kind = mountHost
		return m
	case isSocket:
		return m.refused(shown + " is the container engine's socket, and so the whole node: a stack's pods may not mount it. " +
			"Leave out the service that needs it, or what it does with it" + c.allowHint(AllowEngine))
	case w.source == "":
		return m.refused("the source lies outside the repository, and a stack's pods may not mount paths of the node. " +
			"Put the files into the repository, or use a named volume" + c.allowHint(AllowHostPaths))
	case !isAbs:
		return m.refused(strings.Replace(shown, checkoutPath, "${PWD}", 1) + " leads out of the repository, to what lies beside the checkout. " +
			"Put the files into the repository, or use a named volume" + c.allowHint(AllowHostPaths))
	case p == shm || strings.HasPrefix(p, shm+"/"):
		m.kind, m.Bind = mountTmpfs, nil
		return m.because(mountTmpfs, LevelNote, Approximated, shown+" is memory of this pod alone, as with shm_size")
	case strings.HasSuffix(p, ".sock"):
		return m.refused(shown + " is a socket of the machine, and a stack's pods may not mount paths of the node. " +
			"Run what listens on it as a service of the stack, and connect to its name" + c.allowHint(AllowHostPaths))
	case isSystem(p):
		return m.refused(shown + " is a path of the machine's system, and a stack's pods may not mount paths of the node. " +
			"Put the files that the service needs into the repository or its image" + c.allowHint(AllowHostPaths))
	case m.Bind != nil && !bool(m.Bind.CreateHostPath):
		return m.refused(shown + " is not in the repository, and create_host_path is false. " +
			"Put the files into the repository, or use a named volume" + c.allowHint(AllowHostPaths))
	case path.Clean(m.Target) == shm:
		return m.because(mountTmpfs, LevelNote, Approximated, shm+" is memory of this pod alone, as with shm_size, and not "+shown)
	}
	top := c.scratchAbove(p)
	m.claim, m.sub = objectName("data-", top), strings.TrimPrefix(strings.TrimPrefix(p, top), "/")
	return m.because(mountClaim, LevelNote, Approximated, shown+" is not in the repository: it is an empty directory, as on a fresh machine, on a volume")
}

func (m mount) refused(reason string) mount {
	return m.because(mountRefused, LevelRefused, Refused, reason)
}

// variablesOf names the variables that the path comes from, with their file if there is one.
func (c *converter) variablesOf(w writtenMount) string {
	var names []string
	for _, name := range w.variables {
		if isCheckout(w.source) && name == "PWD" {
			continue
		}
		text := "${" + name + "}"
		if file := c.origins[name]; file != "" {
			text += " in " + file
		}
		names = append(names, text)
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// scratchAbove is the topmost path that services mount as an empty volume and that p is or lies in: a container that mounts the one sees what
// is in the other.
func (c *converter) scratchAbove(p string) string {
	if c.scratch == nil {
		c.scratch = map[string]bool{}
		for name := range c.compose.Services {
			for _, v := range c.withVolumes(name).Volumes {
				if v.Type != types.VolumeTypeBind {
					continue
				}
				if q, ok := c.writtenIn(name, path.Clean(v.Target), map[string]bool{}).clean(); ok && !isSystem(q) {
					c.scratch[q] = true
				}
			}
		}
	}
	top := p
	for dir := path.Dir(p); dir != "/" && dir != "."; dir = path.Dir(dir) {
		if c.scratch[dir] {
			top = dir
		}
	}
	return top
}
