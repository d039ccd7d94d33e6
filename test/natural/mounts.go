package natural

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// file is one file of a mount.
type file struct {
	data       string
	executable bool
}

// mounts compares what a container has at its targets.
func (c *checker) mounts(name string, s Service, pod corev1.PodSpec) {
	container := pod.Containers[0]
	for _, target := range slices.Sorted(maps.Keys(s.Mounts)) {
		m := s.Mounts[target]
		fact := fmt.Sprintf("%s: %s is %s", name, target, describe(m))
		needles := []string{target, m.Path}
		if m.Kind == "empty" {
			needles = append(needles, path.Base(m.Path))
		}
		mount, volume, ok := at(pod, container, target)
		switch {
		case !ok && m.Held && !c.isCovered(pod, container, target):
			c.add(Kept, fact, "the image has the files")
		case !ok:
			c.fact(false, name, "volumes", needles, fact, "nothing is mounted there")
		default:
			why := c.differs(name, target, m, mount, volume, pod)
			c.fact(why == "", name, "volumes", needles, fact, "%s", why)
		}
	}
	for _, m := range container.VolumeMounts {
		if why := c.cannotMake(pod, container, m); why != "" {
			c.fact(false, name, "volumes", []string{m.MountPath}, fmt.Sprintf("%s: %s can be mounted", name, m.MountPath), "%s", why)
		}
		_, known := s.Mounts[path.Clean(m.MountPath)]
		if !known && !strings.HasPrefix(m.MountPath, "/conductor-") && !strings.HasPrefix(m.MountPath, "/var/run/secrets/") {
			c.fact(false, name, "volumes", []string{m.MountPath}, name+": only the mounts of the file", "%s is mounted, too", m.MountPath)
		}
	}
}

func describe(m Mount) string {
	text, _ := m.MarshalText()
	return string(text)
}

// at is what a container mounts at a target.
func at(pod corev1.PodSpec, container corev1.Container, target string) (corev1.VolumeMount, corev1.Volume, bool) {
	for _, m := range container.VolumeMounts {
		if path.Clean(m.MountPath) == target {
			return m, volumeOf(pod, m.Name), true
		}
	}
	return corev1.VolumeMount{}, corev1.Volume{}, false
}

func volumeOf(pod corev1.PodSpec, name string) corev1.Volume {
	i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return corev1.Volume{}
	}
	return pod.Volumes[i]
}

// isCovered reports whether another mount hides the image's files at a target.
func (c *checker) isCovered(pod corev1.PodSpec, container corev1.Container, target string) bool {
	_, ok := parent(container, target)
	return ok
}

// parent is the nearest mount above a path.
func parent(container corev1.Container, target string) (corev1.VolumeMount, bool) {
	var best corev1.VolumeMount
	for _, m := range container.VolumeMounts {
		above := path.Clean(m.MountPath)
		if above != target && strings.HasPrefix(target, above+"/") && len(above) > len(best.MountPath) {
			best = m
		}
	}
	return best, best.MountPath != ""
}

// differs explains how a mount differs from the verdict; empty if it does not.
func (c *checker) differs(name, target string, m Mount, mount corev1.VolumeMount, volume corev1.Volume, pod corev1.PodSpec) string {
	writable := !mount.ReadOnly && volume.ConfigMap == nil && volume.Projected == nil && volume.Secret == nil
	if writable == m.RO {
		return fmt.Sprintf("it is writable: %t", writable)
	}
	switch m.Kind {
	case "files":
		return c.differentFiles(m.Path, c.filesAt(pod, target))
	case "tmpfs":
		if volume.EmptyDir == nil || volume.EmptyDir.Medium != corev1.StorageMediumMemory {
			return "it is not memory"
		}
		return ""
	}
	if files := c.filesAt(pod, target); len(files) > 0 {
		return fmt.Sprintf("it has %d files", len(files))
	}
	if volume.EmptyDir == nil && volume.PersistentVolumeClaim == nil {
		return "it is neither a claim nor an empty directory"
	}
	if m.Filled && !slices.ContainsFunc(pod.InitContainers, func(i corev1.Container) bool { return i.Image == pod.Containers[0].Image && usesVolume(i, mount.Name) }) {
		return "the files of the image are not copied into it"
	}
	if m.Path == "" {
		return ""
	}
	return c.shared(m, name, volume)
}

func usesVolume(container corev1.Container, volume string) bool {
	return slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume })
}

// shared checks that services which share a directory or volume mount the same claim, and a pod the same volume.
func (c *checker) shared(m Mount, name string, volume corev1.Volume) string {
	id := "the pod of " + name + ": " + volume.Name
	if volume.PersistentVolumeClaim != nil {
		id = volume.PersistentVolumeClaim.ClaimName
	}
	key := m.Kind + " " + m.Path
	if have := c.claims[key]; have != "" && have != id {
		return fmt.Sprintf("it is %s, and elsewhere %s", id, have)
	}
	c.claims[key] = id
	return ""
}

// cannotMake explains why the runtime cannot make a mount's target: it is inside of a mount that cannot be written to and lacks it.
// The kubelet makes nested targets at the root of a volume, not below a subPath.
func (c *checker) cannotMake(pod corev1.PodSpec, container corev1.Container, m corev1.VolumeMount) string {
	above, ok := parent(container, path.Clean(m.MountPath))
	if !ok {
		return ""
	}
	volume := volumeOf(pod, above.Name)
	if !above.ReadOnly && volume.ConfigMap == nil && volume.Projected == nil || above.SubPath == "" {
		return ""
	}
	inside := strings.TrimPrefix(path.Clean(m.MountPath), path.Clean(above.MountPath)+"/")
	for name := range c.filesAt(pod, path.Clean(above.MountPath)) {
		if name == inside || strings.HasPrefix(name, inside+"/") {
			return ""
		}
	}
	return fmt.Sprintf("%s is inside of %s, which cannot be written to and does not have it: the container cannot start", m.MountPath, above.MountPath)
}

// filesAt are the files that a container finds at a target, by their paths below it; a single file has the path ".".
func (c *checker) filesAt(pod corev1.PodSpec, target string) map[string]file {
	mount, volume, ok := at(pod, pod.Containers[0], target)
	if !ok {
		return nil
	}
	all := c.volumeFiles(pod, volume)
	below := map[string]file{}
	for name, f := range all {
		if mount.SubPath == name {
			return map[string]file{".": f}
		}
		if rest, ok := strings.CutPrefix(name, mount.SubPath+"/"); ok || mount.SubPath == "" {
			if mount.SubPath == "" {
				rest = name
			}
			below[rest] = f
		}
	}
	return below
}

// volumeFiles are the files of a volume: those of its ConfigMap, or those with which init containers fill it.
func (c *checker) volumeFiles(pod corev1.PodSpec, volume corev1.Volume) map[string]file {
	switch {
	case volume.ConfigMap != nil:
		return c.items(volume.ConfigMap.Name, volume.ConfigMap.Items, volume.ConfigMap.DefaultMode)
	case volume.Projected != nil:
		all := map[string]file{}
		for _, s := range volume.Projected.Sources {
			if s.ConfigMap != nil {
				maps.Copy(all, c.items(s.ConfigMap.Name, s.ConfigMap.Items, volume.Projected.DefaultMode))
			}
		}
		return all
	}
	all := map[string]file{}
	for _, init := range pod.InitContainers {
		for _, m := range init.VolumeMounts {
			if m.Name == volume.Name {
				maps.Copy(all, c.filled(pod, init, m))
			}
		}
	}
	return all
}

// items are the files of a ConfigMap in a volume.
func (c *checker) items(name string, items []corev1.KeyToPath, mode *int32) map[string]file {
	content, all := c.o.contents[name], map[string]file{}
	if len(items) == 0 {
		for key := range content.Data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
		for key := range content.BinaryData {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, i := range items {
		data, ok := content.Data[i.Key]
		if !ok {
			data = string(content.BinaryData[i.Key])
		}
		set := i.Mode
		if set == nil {
			set = mode
		}
		all[i.Path] = file{data, set != nil && *set&0o111 != 0}
	}
	return all
}

// filled are the files that an init container copies into one of its mounts: from the source artifact (--copy PATH=DIRECTORY), or, if its
// arguments name both, from a ConfigMap that it mounts.
func (c *checker) filled(pod corev1.PodSpec, init corev1.Container, to corev1.VolumeMount) map[string]file {
	all := map[string]file{}
	argv := slices.Concat(init.Command, init.Args)
	for i, a := range argv {
		if a != "--copy" || i+1 >= len(argv) {
			continue
		}
		source, directory, _ := strings.Cut(argv[i+1], "=")
		if below, ok := strings.CutPrefix(path.Clean(directory)+"/", path.Clean(to.MountPath)+"/"); ok {
			copied, err := repositoryFiles(c.dir, source)
			if err != nil {
				continue
			}
			for name, f := range copied {
				if name == "." {
					name = path.Base(source)
				}
				all[path.Join(below, name)] = f
			}
		}
	}
	line := strings.Join(argv, " ")
	for _, from := range init.VolumeMounts {
		if from.Name != to.Name && strings.Contains(line, from.MountPath) && strings.Contains(line, to.MountPath) {
			maps.Copy(all, c.volumeFiles(corev1.PodSpec{Volumes: pod.Volumes}, volumeOf(pod, from.Name)))
		}
	}
	return all
}

// repositoryFiles are the files at or below a path of a project. A single file has the path ".".
func repositoryFiles(dir, name string) (map[string]file, error) {
	all := map[string]file{}
	root := filepath.Join(dir, name)
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		all[filepath.ToSlash(rel)] = file{string(data), info.Mode()&0o111 != 0}
		return err
	})
	return all, err
}

// differentFiles explains how files differ from those of the repository; empty if they do not.
func (c *checker) differentFiles(name string, got map[string]file) string {
	want, err := repositoryFiles(c.dir, name)
	if err != nil {
		return err.Error()
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		have, ok := got[p]
		switch {
		case !ok:
			return fmt.Sprintf("%s is missing", path.Join(name, p))
		case c.rewritten(have.data) != c.rewritten(want[p].data):
			return fmt.Sprintf("%s has another content", path.Join(name, p))
		case have.executable != want[p].executable:
			return fmt.Sprintf("%s is executable: %t", path.Join(name, p), have.executable)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			return fmt.Sprintf("%s is there, too", p)
		}
	}
	return ""
}
