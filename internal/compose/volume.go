package compose

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// claimSize is the request of a named volume. It is small, since tests create a stack's data.
var claimSize = resource.MustParse("1Gi")

// maxMounts is how many mounts a service may have, including those of volumes_from.
const maxMounts = 250

// mountKind is what a mount of the file becomes.
type mountKind int

const (
	// mountClaim is a volume that outlives the pod.
	mountClaim mountKind = iota
	// mountScratch is a volume that lives as long as the pod.
	mountScratch
	// mountContent is a copy of files of the repository.
	mountContent
	// mountImage is a mount of files that the image has at the target, too.
	mountImage
	// mountNone leaves the image's own files where they are.
	mountNone
	mountTmpfs
	// mountHost is a path of the node.
	mountHost
	mountRefused
)

// mount is one entry of volumes and what becomes of it.
type mount struct {
	types.ServiceVolumeConfig
	kind mountKind
	// claim is the claim's name, sub the path in it, rel the path in the repository.
	claim, sub, rel string
	// ignored is a file because of which the image does not hold the mount.
	ignored string
	// level, outcome and reason are the finding to add, if level is set.
	level   Level
	outcome Outcome
	reason  string
}

func (m mount) because(kind mountKind, level Level, outcome Outcome, reason string) mount {
	m.kind, m.level, m.outcome, m.reason = kind, level, outcome, reason
	return m
}

// mountsOf are the mounts of a container, in the order of the file, with what each becomes. That depends on the mounts around it: what lies
// below a mount that is made hides what the image has there.
func (c *converter) mountsOf(s types.ServiceConfig) []mount {
	byTarget := make(map[string]mountKind, len(s.Volumes))
	for _, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		byTarget[path.Clean(target)] = mountTmpfs
	}
	order := make([]int, len(s.Volumes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(len(path.Clean(s.Volumes[a].Target)), len(path.Clean(s.Volumes[b].Target)))
	})
	out := make([]mount, len(s.Volumes))
	for _, i := range order {
		target := path.Clean(s.Volumes[i].Target)
		around, isAround := enclosing(byTarget, target)
		out[i] = c.classify(s, s.Volumes[i], around, isAround)
		byTarget[target] = out[i].kind
	}
	return out
}

// enclosing is what is at the nearest directory above a path.
func enclosing[V any](byTarget map[string]V, target string) (v V, ok bool) {
	for dir := path.Dir(target); dir != target; target, dir = dir, path.Dir(dir) {
		if v, ok = byTarget[dir]; ok {
			return v, true
		}
	}
	return v, false
}

// classify decides what a mount is converted to. Around is what became of the mount that it lies in, if there is one.
func (c *converter) classify(s types.ServiceConfig, v types.ServiceVolumeConfig, around mountKind, isAround bool) mount {
	m := mount{ServiceVolumeConfig: v}
	showsImage := !isAround || around == mountImage || around == mountNone
	switch v.Type {
	case types.VolumeTypeVolume:
		switch {
		case v.Source != "":
			m.kind, m.claim = mountClaim, objectName("", v.Source)
			return m
		case s.Build != nil && !s.ReadOnly && showsImage:
			return m.because(mountNone, LevelInfo, Approximated,
				"the image's own files stay at "+v.Target+", as Docker would copy them into the volume; changes last as long as the container")
		case around == mountImage:
			return m.because(mountNone, LevelInfo, Approximated, "the image's own files stay at "+v.Target)
		}
		return m.because(mountScratch, LevelInfo, Approximated, "the volume lives as long as the pod")
	case types.VolumeTypeTmpfs:
		m.kind = mountTmpfs
		return m
	case types.VolumeTypeBind:
		return c.classifyBind(s, m, showsImage)
	}
	return m.because(mountRefused, LevelRefused, Refused, "volumes of type "+v.Type+" cannot be converted")
}

// hostClock are files that are mounted to get the host's time zone.
var hostClock = []string{"/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"}

// classifyBind decides what a mount of a path becomes. ShowsImage is set if the container sees the image's own files at the target without it.
func (c *converter) classifyBind(s types.ServiceConfig, m mount, showsImage bool) mount {
	if slices.Contains(hostClock, m.Source) {
		return m.because(mountNone, LevelNote, Dropped, "the node's clock settings are not mounted: set the variable TZ")
	}
	w := c.writtenAt(s, m.Target)
	b := c.bindOf(m.Source)
	if b.outside != nil && below(c.dir, m.Source) {
		return m.because(mountRefused, LevelRefused, Refused, "the source "+b.outside.Error())
	}
	if b.outside != nil || w.isOutside() {
		return c.classifyOutside(s, m, w)
	}
	m.rel = b.rel
	st, err := b.st, b.err
	switch {
	case below(".git", m.rel):
		m.claim = objectName("data-", m.rel)
		return m.because(mountClaim, LevelNote, Approximated,
			m.rel+" is not mounted: the files of a run do not include git's own. "+m.Target+" is an empty directory, on a volume of its own")
	case errors.Is(err, fs.ErrNotExist) && m.Bind != nil && !bool(m.Bind.CreateHostPath):
		return m.because(mountRefused, LevelRefused, Refused, m.rel+" is not in the repository")
	case errors.Is(err, fs.ErrNotExist):
		m.claim = objectName("data-", m.rel)
		return m.because(mountClaim, LevelNote, Approximated, m.rel+" is not in the repository: it is an empty directory, as Docker would make it, on a volume of its own")
	case err != nil || !st.IsDir() && !st.Mode().IsRegular():
		return m.because(mountRefused, LevelRefused, Refused, m.rel+" is neither a file nor a directory")
	case st.IsDir() && !m.ReadOnly && c.holdsNothing(m.rel):
		m.claim = objectName("data-", m.rel)
		return m.because(mountClaim, LevelNote, Approximated, m.rel+" holds no files: it is an empty volume")
	}
	m.kind = mountContent
	if !showsImage {
		return m
	}
	h := c.imageHolds(s, m)
	if h.all {
		return m.because(mountImage, LevelNote, Approximated,
			m.rel+" is not mounted at "+m.Target+": the image holds the same files there, and what is written to them stays in the container")
	}
	m.ignored = h.ignored
	return m
}

// bind is the file or directory at the source of a mount.
type bind struct {
	// outside explains why it is not in the repository.
	outside error
	// rel is its path there, with slashes.
	rel string
	st  fs.FileInfo
	err error
}

// bindOf inspects the source of a mount, once.
func (c *converter) bindOf(source string) bind {
	if b, ok := c.binds[source]; ok {
		return b
	}
	b := bind{outside: insideOf(c.dir, source)}
	if b.outside == nil {
		rel, _ := filepath.Rel(c.dir, source)
		b.rel = filepath.ToSlash(rel)
		b.st, b.err = os.Stat(source)
	}
	c.binds[source] = b
	return b
}

// withVolumes is a service including the volumes of volumes_from. Path are the services being resolved.
func (c *converter) withVolumes(name string, path ...string) types.ServiceConfig {
	if s, ok := c.services[name]; ok {
		return s
	}
	s := c.compose.Services[name]
	path = append(path[:len(path):len(path)], name)
	s.Volumes = slices.Clone(s.Volumes)
	for i, v := range s.Volumes {
		if v.Type == types.VolumeTypeVolume && v.Source == "" && c.lends(name) {
			// Other services mount this volume, too: it needs a name.
			s.Volumes[i].Source = name + "-" + strings.Trim(v.Target, "/")
		}
	}
	for _, from := range s.VolumesFrom {
		donor, mode := c.donor(from)
		if _, ok := c.compose.Services[donor]; !ok || slices.Contains(path, donor) {
			c.refuse(name, "volumes_from", from, "%s does not name a service of the stack to take volumes from", from)
			continue
		}
		taken := slices.Clone(c.withVolumes(donor, path...).Volumes)
		for i := range taken {
			taken[i].ReadOnly = taken[i].ReadOnly || mode == "ro"
		}
		s.Volumes = over(taken, s.Volumes)
	}
	if len(s.Volumes) > maxMounts {
		c.refuse(name, "volumes", "", "the service has %d mounts; a service has at most %d", len(s.Volumes), maxMounts)
		s.Volumes = nil
	}
	c.services[name] = s
	return s
}

// donor is the service that an entry of volumes_from names, and the mode.
func (c *converter) donor(from string) (service, mode string) {
	if container, ok := strings.CutPrefix(from, types.ContainerPrefix); ok {
		container, mode, _ = strings.Cut(container, ":")
		return c.serviceByContainerName(container), mode
	}
	service, mode, _ = strings.Cut(from, ":")
	return service, mode
}

// lends reports whether another service mounts this one's volumes.
func (c *converter) lends(name string) bool {
	if c.donors == nil {
		c.donors = map[string]bool{}
		for _, s := range c.compose.Services {
			for _, from := range s.VolumesFrom {
				donor, _ := c.donor(from)
				c.donors[donor] = true
			}
		}
	}
	return c.donors[name]
}

// claimsOf are the claims that a service mounts, each once.
func (c *converter) claimsOf(s types.ServiceConfig) []string {
	out := map[string]bool{}
	for _, m := range c.mountsOf(s) {
		if m.kind == mountClaim {
			out[m.claim] = true
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// mounts converts volumes, tmpfs, shm_size, configs and secrets.
func (u *unit) mounts() {
	for _, m := range u.c.mountsOf(u.s) {
		u.mount(m)
	}
	for _, t := range u.s.Tmpfs {
		target, options, _ := strings.Cut(t, ":")
		u.tmpfs("tmpfs", target, u.tmpfsSize(target, options), false)
	}
	if _, isMounted := u.mounted[shm]; u.s.ShmSize > 0 && !isMounted {
		u.tmpfs("shm_size", shm, int64(u.s.ShmSize), false)
	}
	for _, x := range u.s.Configs {
		u.file("configs", types.FileReferenceConfig(x), types.FileObjectConfig(u.c.compose.Configs[x.Source]), "/")
	}
	for _, x := range u.s.Secrets {
		u.file("secrets", types.FileReferenceConfig(x), types.FileObjectConfig(u.c.compose.Secrets[x.Source]), "/run/secrets/")
	}
	u.checkNested()
}

func (u *unit) mount(m mount) {
	if m.level != "" {
		u.report(m.level, m.outcome, "volumes", m.Target, "%s", m.reason)
	}
	vm := corev1.VolumeMount{MountPath: m.Target, ReadOnly: m.ReadOnly}
	switch m.kind {
	case mountClaim:
		u.c.claim(m.claim, m.Source)
		u.addClaim(m.claim)
		vm.SubPath = m.sub
		if m.Volume != nil {
			vm.SubPath = m.Volume.Subpath
		}
		attached := u.attach("volumes", m.claim, corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: m.claim}}, vm)
		if m.Type == types.VolumeTypeVolume && (m.Volume == nil || !m.Volume.NoCopy) && attached {
			u.seed(m.Target)
		}
	case mountScratch:
		if u.attach("volumes", objectName("scratch-", m.Target), corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, vm) {
			u.seed(m.Target)
		}
	case mountTmpfs:
		size := int64(0)
		if m.Tmpfs != nil {
			size = int64(m.Tmpfs.Size)
		} else if path.Clean(m.Target) == shm {
			size = int64(u.s.ShmSize)
		}
		u.tmpfs("volumes", m.Target, size, m.ReadOnly)
	case mountHost:
		u.hostPath("volumes", m.Source, vm)
	case mountContent:
		u.content(m)
	}
}

func (u *unit) addClaim(name string) {
	if !u.hasClaim[name] {
		u.hasClaim[name] = true
		u.claims = append(u.claims, name)
	}
}

// attach adds a volume, unless the pod has the same already, and mounts it.
func (u *unit) attach(field, name string, source corev1.VolumeSource, vm corev1.VolumeMount) bool {
	if !path.IsAbs(vm.MountPath) || strings.Contains(vm.MountPath, ":") || path.Clean(vm.MountPath) == "/" {
		u.refuse(field, vm.MountPath, "%q is not an absolute path below /", vm.MountPath)
		return false
	}
	vm.MountPath = path.Clean(vm.MountPath)
	if _, isMounted := u.mounted[vm.MountPath]; isMounted {
		u.refuse(field, vm.MountPath, "something is mounted at %s already", vm.MountPath)
		return false
	}
	if sub := vm.SubPath; path.IsAbs(sub) || sub != "" && !filepath.IsLocal(sub) {
		u.refuse(field, vm.MountPath, "the subpath %s leads out of the volume", sub)
		return false
	}
	vm.Name, u.mounted[vm.MountPath] = u.volume(name, source, vm.MountPath), mounted{field: field}
	u.container.VolumeMounts = append(u.container.VolumeMounts, vm)
	return true
}

// volume adds a volume to the pod, unless it has the same already, and returns its name there.
func (u *unit) volume(name string, source corev1.VolumeSource, salt string) string {
	v := corev1.Volume{Name: name, VolumeSource: source}
	for n := 2; ; n++ {
		i, ok := u.volumes[v.Name]
		if !ok {
			u.volumes[v.Name] = len(u.pod.Volumes)
			u.pod.Volumes = append(u.pod.Volumes, v)
			return v.Name
		}
		if reflect.DeepEqual(u.pod.Volumes[i], v) {
			return v.Name
		}
		v.Name = cut(name, strconv.Itoa(n)+hash(salt))
	}
}

func (u *unit) tmpfs(field, target string, size int64, readOnly bool) {
	dir := &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}
	if size > 0 {
		dir.SizeLimit = resource.NewQuantity(size, resource.BinarySI)
	}
	u.attach(field, objectName("tmpfs-", target), corev1.VolumeSource{EmptyDir: dir}, corev1.VolumeMount{MountPath: target, ReadOnly: readOnly})
}

// tmpfsSize reads the size out of mount options such as size=64m,mode=1777; 0 when there is none. Others are noted.
func (u *unit) tmpfsSize(target, options string) int64 {
	var size int64
	for _, o := range strings.Split(options, ",") {
		v, isSize := strings.CutPrefix(o, "size=")
		n, err := units.RAMInBytes(v)
		switch {
		case isSize && err == nil:
			size = n
		case isSize:
			u.report(LevelNote, Dropped, "tmpfs", target, "the option %s is dropped: the size must be a number of bytes", o)
		case o != "" && o != "rw":
			u.report(LevelNote, Dropped, "tmpfs", target, "the option %s is dropped: everyone may write to it", o)
		}
	}
	return size
}

// claim adds a claim to the stack.
func (c *converter) claim(name, volume string) {
	if c.claims[name] != nil {
		return
	}
	pvc := &corev1.PersistentVolumeClaim{TypeMeta: typeMeta("v1", "PersistentVolumeClaim"), ObjectMeta: c.meta(name, "")}
	pvc.Spec = corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: c.size(volume)}},
	}
	c.claims[name] = pvc
}
