package compose

import (
	"cmp"
	"maps"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// SourceMounts configures how pods get repository files that do not fit into ConfigMaps. Before any other container of the pod, an init
// container of Conductor fetches them into volumes that live as long as the pod.
type SourceMounts struct {
	// Image is Conductor's own image. Args are its command, to which `--copy PATH=DIR` is added for each path: it copies the file or the
	// files of the directory at PATH of the repository into DIR. The last = ends PATH.
	Image string
	Args  []string
	// Secret and Key locate the token for the source artifact, which is mounted at SourceTokenFile.
	Secret, Key string
	// Limit is how much all pods of the stack get together, in bytes.
	Limit int64
}

const (
	// SourceContainer is the name of the init container that fetches files.
	SourceContainer = "conductor-files"
	// SourceTokenFile is the path of its token.
	SourceTokenFile = "/conductor-source/token"
	// sourceVolume is the volume with the token, and sourceFiles the directory below which the other volumes are while they are filled.
	sourceVolume = "conductor-source-token"
	sourceFiles  = "/conductor-files"
)

// blockSize is the least that a file takes on the node's disk, in bytes; sourceSlack is for directories.
const (
	blockSize   = 4 << 10
	sourceSlack = 1 << 20
)

// maxBrought is how many files all pods of the stack get together: even an empty one takes a block of a node's disk, and an entry in the
// agent's memory while it is sent.
const maxBrought = 100_000

// broughtPath is a path of the repository that an init container fetches for a pod.
type broughtPath struct {
	from *copies
	// volume is its volume in the pod.
	volume string
	// service, field and hint locate its first use in the compose file.
	service, field, hint string
}

// mountBrought mounts files that the init container fetches, or refuses them.
func (u *unit) mountBrought(field, hint, target string, from *copies) {
	why := cmp.Or(from.notCopied, from.path+" has "+u.c.sizeOf(from))
	switch {
	case u.c.o.Source == nil:
		u.refuse(field, hint, "%s: what a stack mounts is copied into ConfigMaps, one file of at most %d KiB and %d MiB in all, the smallest first. "+
			"Build it into an image (COPY in a Dockerfile), or put it into a named volume", why, maxContent>>10, maxCopied>>20)
		return
	case u.c.compose.Services[u.c.podOf(u.s.Name)].NetworkMode == "none":
		u.refuse(field, hint, "%s, so an init container has to fetch it, which network_mode: none does not allow: "+
			"build it into an image (COPY in a Dockerfile)", why)
		return
	case from.notBrought != "":
		u.refuse(field, hint, "%s, and %s", why, from.notBrought)
		return
	}
	u.report(LevelInfo, Approximated, field, hint, "%s: an init container fetches it from the run's source artifact", why)
	if names := slices.Sorted(maps.Keys(u.c.hostNames.renamed)); len(names) > 0 {
		u.note(field, hint, "%s is fetched unchanged: names such as %q, which no Kubernetes Service can have, are not rewritten in its files", from.path, names[0])
	}
	limit := resource.NewQuantity(from.size+int64(from.count)*blockSize+sourceSlack, resource.BinarySI)
	source := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: limit}}
	vm := corev1.VolumeMount{MountPath: target, ReadOnly: true}
	if !from.isDir {
		vm.SubPath = path.Base(from.path)
	}
	if u.attach(field, objectName("source-", from.path), source, vm) {
		u.bring(broughtPath{from, u.container.VolumeMounts[len(u.container.VolumeMounts)-1].Name, u.s.Name, field, hint})
	}
}

// bring adds a path to those that the init container fetches, once.
func (u *unit) bring(b broughtPath) {
	if !slices.ContainsFunc(u.brought, func(o broughtPath) bool { return o.volume == b.volume }) {
		u.brought = append(u.brought, b)
	}
}

// bringFiles adds the init container that fetches files. It comes first because the others mount the pod's volumes, too.
func (u *unit) bringFiles() {
	if len(u.brought) == 0 {
		return
	}
	source := u.c.o.Source
	token := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: source.Secret, Items: []corev1.KeyToPath{{Key: source.Key, Path: path.Base(SourceTokenFile)}}}}
	c := corev1.Container{
		Name: SourceContainer, Image: source.Image, ImagePullPolicy: corev1.PullIfNotPresent, Args: slices.Clone(source.Args),
		VolumeMounts: []corev1.VolumeMount{{Name: u.volume(sourceVolume, token, ""), MountPath: path.Dir(SourceTokenFile), ReadOnly: true}},
		Resources:    smallResources(), SecurityContext: restricted(), TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	for _, b := range u.brought {
		dir := path.Join(sourceFiles, b.volume)
		c.Args = append(c.Args, "--copy", b.from.path+"="+dir)
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: b.volume, MountPath: dir})
		if u.c.brought += b.from.size * int64(u.out.Replicas); u.c.brought > source.Limit {
			u.c.refuse(b.service, b.field, b.hint, "with %s of %s the pods of the stack get %s of repository files that do not fit into ConfigMaps; "+
				"the operator's limit for a stack is %s (stacks.files). Build them into an image (COPY in a Dockerfile)",
				bytesOf(b.from.size*int64(u.out.Replicas)), b.from.path, bytesOf(u.c.brought), bytesOf(source.Limit))
		}
		if u.c.broughtFiles += int64(b.from.count) * int64(u.out.Replicas); u.c.broughtFiles > maxBrought {
			u.c.refuse(b.service, b.field, b.hint, "with the %d files of %s the pods of the stack get %d repository files that do not fit into ConfigMaps; "+
				"a stack gets at most %d. Build them into an image (COPY in a Dockerfile)", b.from.count, b.from.path, u.c.broughtFiles, maxBrought)
		}
	}
	u.inits = slices.Insert(u.inits, 0, c)
}

// restricted is the security context of Conductor's containers in pods of the stack: Pod Security's level "restricted", with a user that
// owns no files of any image.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(waitUser)), RunAsGroup: new(int64(waitUser)), AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// smallResources are the requests and limits of Conductor's containers in pods of the stack.
func smallResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
	}
}
