package jobs

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// Keys of the Secret that BuildSecret returns.
const (
	keyGitToken     = "git-token"
	keyDockerConfig = "config.json"
)

// backstop is how much longer a Job's deadline is than its pod's. The pod's deadline ends the pod and keeps its log; the Job's
// deletes the pod, and covers pods that never start.
const backstop = 2 * time.Minute

const (
	// inlineDir is where a Dockerfile from the compose file is mounted.
	inlineDir = "/kaniko/inline"
	// maxInline keeps it well below Kubernetes' limit of 256 KiB for the annotations of an object.
	maxInline = 200 << 10
)

// KanikoInput describes one build.
type KanikoInput struct {
	Run *v1alpha1.Run
	// Image is the name of the image within the Run.
	Image string
	// Namespace is the builds namespace, Executor the Kaniko image.
	Namespace, Executor string
	// CloneURL is the http(s) address of the repository; credentials in it are ignored.
	CloneURL *url.URL
	// Context is a directory of the repository; Dockerfile is relative to it; Target is a stage of it, or empty.
	Context, Dockerfile, Target string
	// Inline is the text of a Dockerfile in the compose file; Dockerfile is then ignored.
	Inline string
	// Args are the build arguments.
	Args map[string]string
	// Repository is where the image is pushed, host/path without tag.
	Repository string
	// Insecure allows plain HTTP, only to the repository's host.
	Insecure bool
	// Mirrors are registries that are tried before Docker Hub.
	Mirrors []string
	// Secret is the name of the Secret that BuildSecret returned.
	Secret string
	// Timeout bounds the build, counted from the start of its pod.
	Timeout time.Duration
	// CPU and Memory are requests, MemoryLimit is a limit: Kubernetes quantities, or empty.
	CPU, Memory, MemoryLimit string
}

// Kaniko returns the Job that builds and pushes one image. The termination message of its pod is the image's digest, or the end of
// the log if the build fails. An error is a terminal failure: such a build is not possible.
func Kaniko(in KanikoInput) (*batchv1.Job, error) {
	args, err := kanikoArgs(in)
	if err != nil {
		return nil, err
	}
	resources, err := requirements(in)
	if err != nil {
		return nil, err
	}
	labels := Labels(in.Run, StageBuild)
	labels[v1alpha1.LabelImage] = names.LabelValue(in.Image)
	pod := podSpec(in.Timeout, corev1.Container{
		Name:                     "kaniko",
		Image:                    in.Executor,
		Args:                     Literal(args),
		Env:                      kanikoEnv(in),
		Resources:                resources,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             []corev1.VolumeMount{{Name: "docker", MountPath: "/kaniko/.docker", ReadOnly: true}},
	})
	pod.ServiceAccountName = "build"
	pod.Volumes = []corev1.Volume{{Name: "docker", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: in.Secret,
		Items:      []corev1.KeyToPath{{Key: keyDockerConfig, Path: keyDockerConfig}},
	}}}}
	j := job(BuildName(in.Run, in.Image), in.Namespace, labels, in.Timeout, pod)
	if in.Inline != "" {
		mountInline(&j.Spec.Template, in.Inline)
	}
	return j, nil
}

// mountInline mounts the Dockerfile into a build's pod from an annotation, so that a build needs no object but its Job. Kaniko
// excludes /kaniko from the image.
func mountInline(pod *corev1.PodTemplateSpec, dockerfile string) {
	pod.Annotations = map[string]string{v1alpha1.AnnotationDockerfile: dockerfile}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "dockerfile", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
		Items: []corev1.DownwardAPIVolumeFile{{
			Path: "Dockerfile", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + v1alpha1.AnnotationDockerfile + "']"},
		}},
	}}})
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "dockerfile", MountPath: inlineDir, ReadOnly: true})
}

// kanikoArgs returns the executor's flags; cmd/executor/cmd/root.go of Kaniko v1.24.0 defines them.
func kanikoArgs(in KanikoInput) ([]string, error) {
	context, dockerfile, err := kanikoPaths(in)
	if err != nil {
		return nil, err
	}
	if len(in.Run.Spec.SHA) != 40 {
		return nil, failure.Terminalf(v1alpha1.ReasonRefused, nil, "The images could not be built: %s is not a SHA-1 hash, and Kaniko cannot clone other repositories", in.Run.Spec.SHA)
	}
	args := []string{
		// With a hash, Kaniko clones HEAD and then fetches and checks out that commit (pkg/buildcontext/git.go), so a tag that was
		// moved or deleted in the meantime has no effect. Other branches are not needed for that.
		"--context=git://" + in.CloneURL.Host + in.CloneURL.Path + "#" + in.Run.Spec.SHA,
		"--git=single-branch=true",
		"--dockerfile=" + dockerfile,
		"--destination=" + in.Repository + ":" + BuildTag(in.Run),
		"--digest-file=/dev/termination-log",
		// Compare files by time, size, mode and owner, not by content: otherwise all of node_modules is read after every RUN.
		"--snapshot-mode=redo",
		"--push-retry=3",
		"--image-download-retry=3",
		// --skip-unused-stages stays off: it drops an unnamed stage that COPY --from=0 needs (pkg/dockerfile/dockerfile.go).
	}
	if context != "." {
		args = append(args, "--context-sub-path="+context)
	}
	if in.Target != "" {
		args = append(args, "--target="+in.Target)
	}
	for _, k := range slices.Sorted(maps.Keys(in.Args)) {
		// Always with "=": Kaniko takes the value of a bare name from its own environment, which holds the git token.
		args = append(args, "--build-arg="+k+"="+in.Args[k])
	}
	if in.Insecure {
		host, _, _ := strings.Cut(in.Repository, "/")
		args = append(args, "--insecure-registry="+host)
	}
	for _, m := range in.Mirrors {
		args = append(args, "--registry-mirror="+m)
	}

	return args, nil
}

// kanikoPaths returns the context and the Dockerfile relative to it, and checks that both are inside the repository.
func kanikoPaths(in KanikoInput) (context, dockerfile string, err error) {
	context, dockerfile = path.Clean(in.Context), in.Dockerfile
	if in.Inline != "" {
		dockerfile = "Dockerfile"
	}
	if len(in.Inline) > maxInline {
		return "", "", failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "The Dockerfile of the image %s in the compose file is longer than %d KiB. Move it to a file of its own", in.Image, maxInline>>10)
	}
	if dockerfile == "" {
		dockerfile = "Dockerfile"
	}
	if outside(context) {
		return "", "", failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "The context of the image %s is not inside the repository", in.Image)
	}
	if path.IsAbs(dockerfile) || strings.Contains(dockerfile, "://") || outside(path.Join(context, dockerfile)) {
		return "", "", failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "The Dockerfile of the image %s is not inside the repository", in.Image)
	}
	if in.Inline != "" {
		return context, inlineDir + "/Dockerfile", nil
	}
	return context, path.Clean(dockerfile), nil
}

// outside reports whether a clean relative path leaves its directory.
func outside(p string) bool { return path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") }

func kanikoEnv(in KanikoInput) []corev1.EnvVar {
	method := "https"
	if in.CloneURL.Scheme == "http" {
		method = "http"
	}
	return []corev1.EnvVar{
		{Name: "GIT_PULL_METHOD", Value: method},
		// The user name that GitHub requires with an installation token:
		// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
		{Name: "GIT_USERNAME", Value: "x-access-token"},
		{Name: "GIT_PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: in.Secret}, Key: keyGitToken,
		}}},
	}
}

func requirements(in KanikoInput) (corev1.ResourceRequirements, error) {
	var r corev1.ResourceRequirements
	for _, q := range []struct {
		list  *corev1.ResourceList
		name  corev1.ResourceName
		value string
	}{
		{&r.Requests, corev1.ResourceCPU, in.CPU}, {&r.Requests, corev1.ResourceMemory, in.Memory}, {&r.Limits, corev1.ResourceMemory, in.MemoryLimit},
	} {
		if q.value == "" {
			continue
		}
		quantity, err := resource.ParseQuantity(q.value)
		if err != nil {
			return r, fmt.Errorf("%s of builds %q: %w", q.name, q.value, err)
		}
		if *q.list == nil {
			*q.list = corev1.ResourceList{}
		}
		(*q.list)[q.name] = quantity
	}
	return r, nil
}

// BuildSecret returns the Secret with the credentials of one Run's builds: a token that can read the repository and a Docker
// config.json that can push its images. With an empty config, builds push anonymously.
func BuildSecret(run *v1alpha1.Run, namespace, name, token string, dockerConfig []byte) *corev1.Secret {
	if len(dockerConfig) == 0 {
		dockerConfig = []byte("{}")
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: Labels(run, StageBuild)},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{keyGitToken: []byte(token), keyDockerConfig: dockerConfig},
	}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
