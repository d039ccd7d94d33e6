package compose

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/names"
)

// defaultGrace is Docker's time between SIGTERM and SIGKILL.
const defaultGrace = 10

// maxReplicas is far above what a stack for tests has.
const maxReplicas = 1000

// unit is one container under conversion, with the pod that it would have by itself.
type unit struct {
	c         *converter
	s         types.ServiceConfig
	name      string
	out       Service
	pod       corev1.PodSpec
	container corev1.Container
	// containers are those of the services that share the pod, inits the init containers.
	containers, inits []corev1.Container
	// image is the reference that the container runs.
	image string
	// isTest is set for a container that runs as a test, isCopy if its service is also up and fills its volumes itself.
	isTest, isCopy bool
	// hook is the field that a hook's container is converted from; empty for the service's own container.
	hook string
	// variables maps variables of the container to the secrets that they hold.
	variables map[string]string
	// labels are those of the pods.
	labels map[string]string
	open   []port
	isOpen map[openPort]bool
	// isOverfull is set when the number of ports exceeded the bound.
	isOverfull bool
	// published are the ports that the file publishes under another number.
	published []publication
	// claims are the volumes that outlive a pod.
	claims   []string
	hasClaim map[string]bool
	// mounted are the container's mounts by their paths, volumes the indexes of the pod's volumes by name.
	mounted map[string]mounted
	volumes map[string]int
	// brought are the paths of the source artifact that the pod mounts.
	brought []broughtPath
	fsGroup *int64
}

func (u *unit) report(level Level, outcome Outcome, field, hint, format string, args ...any) {
	u.c.report(level, outcome, u.s.Name, field, hint, format, args...)
}

func (u *unit) refuse(field, hint, format string, args ...any) {
	u.c.refuse(u.s.Name, field, hint, format, args...)
}

func (u *unit) note(field, hint, format string, args ...any) {
	u.c.note(u.s.Name, field, hint, format, args...)
}

// service converts one service and those that share its pod.
func (c *converter) service(s types.ServiceConfig) Service {
	u := c.unit(s, c.names[s.Name])
	u.out = Service{
		Name: s.Name, Object: u.name, OneShot: c.isOneShot(s.Name), Awaited: c.awaited[s.Name],
		MaxFailures: restart(s).maxFailures(c.awaited[s.Name]), Replicas: int32(min(max(s.GetScale(), 0), maxReplicas)),
	}
	if !u.out.OneShot {
		u.out.MayEnd = c.mayEnd(s.Name)
	}
	u.image = u.ownImage()
	u.out.Image = u.image
	u.fill(u.name)
	u.noteKind(u.out.OneShot)
	u.preStart()
	c.totals.pods += int64(u.out.Replicas)
	for _, name := range c.guests[s.Name] {
		u.join(c.guest(name, u))
	}
	u.networks()
	u.listPorts()
	u.out.DependsOn = u.dependencies()
	u.out.Objects = u.services()
	u.out.Workload = u.workload()
	return u.out
}

// unit begins the conversion of one container.
func (c *converter) unit(s types.ServiceConfig, name string) *unit {
	u := &unit{
		c: c, s: s, name: name, labels: c.labels(s.Name), variables: map[string]string{}, isOpen: map[openPort]bool{},
		hasClaim: map[string]bool{}, mounted: map[string]mounted{}, volumes: map[string]int{},
	}
	u.pod = corev1.PodSpec{
		EnableServiceLinks: new(false), AutomountServiceAccountToken: new(false), TerminationGracePeriodSeconds: new(int64(defaultGrace)),
	}
	if c.o.PullSecret != "" {
		u.pod.ImagePullSecrets = []corev1.LocalObjectReference{{Name: c.o.PullSecret}}
	}
	return u
}

// fill converts the settings of one container.
func (u *unit) fill(name string) {
	since := len(u.c.findings.list)
	u.c.checkService(u.s)
	u.container = corev1.Container{
		Name: name, Image: u.image, ImagePullPolicy: u.pullPolicy(), TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	u.argv()
	if b := u.s.Build; b != nil && b.DockerfileInline != "" && !u.c.o.InlineDockerfiles {
		u.refuse("build.dockerfile_inline", "", "a Dockerfile inside the compose file is not built here: put it into a file")
	}
	u.buildArgs()
	u.environment()
	u.ports()
	u.health()
	u.resources()
	u.security()
	u.namespaces()
	u.hosts()
	u.mounts()
	u.lifecycle()
	u.lifecycleHooks()
	u.secretVariables()
	u.dropRepeated(since)
}

// pullPolicy is Always where the file asks for it and the image is not named by its digest.
func (u *unit) pullPolicy() corev1.PullPolicy {
	switch policy := u.s.PullPolicy; policy {
	case types.PullPolicyAlways:
		if !strings.Contains(u.image, "@") {
			return corev1.PullAlways
		}
	case "", types.PullPolicyMissing, types.PullPolicyBuild:
	default:
		u.report(LevelInfo, Approximated, "pull_policy", "", "%s: the image is pulled when the node does not have it", policy)
	}
	return corev1.PullIfNotPresent
}

func (u *unit) lifecycle() {
	if d := u.s.StopGracePeriod; d != nil {
		grace := int64(0)
		if *d > 0 {
			grace = int64(ceilSeconds(*d))
		}
		u.pod.TerminationGracePeriodSeconds = &grace
	}
	if u.s.Platform != "" {
		u.platform(strings.Split(u.s.Platform, "/"))
	}
	if u.s.Init != nil && *u.s.Init && !u.pod.HostPID {
		// The pause container is process 1 then: it reaps zombies, and the program gets its signals as under an init.
		u.pod.ShareProcessNamespace = new(true)
	}
	if n := u.s.GetScale(); n < 0 || n > maxReplicas {
		u.refuse("scale", "", "%d pods are not possible: at most %d", n, maxReplicas)
	}
	if d := u.s.Deploy; d != nil {
		switch d.Mode {
		case "", "replicated":
		case "global":
			u.note("deploy.mode", "", "there is one pod, not one for each node")
		default:
			u.refuse("deploy.mode", "", "%s is not converted: use a service with service_completed_successfully", d.Mode)
		}
	}
}

// architectures maps Docker's additional names to Go's, which Kubernetes uses.
var architectures = map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm", "armel": "arm"}

// platform is OS, OS/ARCH, OS/ARCH/VARIANT or ARCH.
func (u *unit) platform(parts []string) {
	os, arch := parts[0], ""
	if len(parts) > 1 {
		arch = parts[1]
	} else if os != "linux" && os != "windows" {
		os, arch = "linux", parts[0]
	}
	if name, ok := architectures[arch]; ok {
		arch = name
	}
	if os != "linux" || len(validation.IsValidLabelValue(arch)) > 0 {
		u.refuse("platform", "", "%s is not supported: stacks run on Linux, on architectures such as linux/amd64", u.s.Platform)
		return
	}
	u.pod.NodeSelector = map[string]string{corev1.LabelOSStable: os}
	if arch != "" {
		u.pod.NodeSelector[corev1.LabelArchStable] = arch
	}
	if len(parts) > 2 {
		u.note("platform", "", "Kubernetes does not know the variant %s", parts[2])
	}
}

// dependencies are those on active services, by name.
func (u *unit) dependencies() []Dependency {
	edges := u.c.edges(u.s.Name)
	var out []Dependency
	for _, name := range slices.Sorted(maps.Keys(edges)) {
		d := edges[name]
		if _, active := u.c.compose.Services[name]; !active {
			if d.Required {
				u.refuse("depends_on", name, "%s is not enabled by these profiles", name)
			}
			continue
		}
		if u.isTest && u.c.isTestOnly(name) {
			u.note("depends_on", name, "%s is the test of another suite, and so not part of the stack: this test neither waits for it nor reaches it", name)
			continue
		}
		if d.Condition == ConditionHealthy && !u.c.hasHealth(name) && !u.c.pending(name) {
			u.note("depends_on", name, "%s has no healthcheck in the file, and none is known from its image: it counts as healthy once it runs", name)
		}
		out = append(out, Dependency{Service: name, Condition: d.Condition, Required: d.Required})
	}
	return out
}

// workload is what runs the pod.
func (u *unit) workload() client.Object {
	u.assemble()
	meta := u.c.meta(u.name, u.s.Name)
	meta.Annotations = u.annotations()
	if u.out.OneShot {
		return u.job(meta)
	}
	return u.deployment(meta)
}

// assemble completes the pod with its containers.
func (u *unit) assemble() {
	u.affinity()
	u.pod.Containers = append([]corev1.Container{u.container}, u.containers...)
	u.bringFiles()
	u.pod.InitContainers = u.inits
	if u.fsGroup != nil && len(u.pod.Volumes) > 0 {
		u.pod.SecurityContext.FSGroup = u.fsGroup
		u.pod.SecurityContext.FSGroupChangePolicy = new(corev1.FSGroupChangeOnRootMismatch)
	}
}

func (u *unit) template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: u.labels}, Spec: u.pod}
}

func (u *unit) deployment(meta metav1.ObjectMeta) *appsv1.Deployment {
	d := &appsv1.Deployment{TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: meta}
	d.Spec = appsv1.DeploymentSpec{
		Replicas: &u.out.Replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{labelName: u.name}}, Template: u.template(),
	}
	if len(u.claims) > 0 {
		// A claim can be mounted by one pod at a time on many storage classes.
		d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
	}
	return d
}

// job runs the pod until it succeeds. The kubelet restarts containers that fail, as compose does, and Conductor counts the failures: at its
// backoffLimit the Job controller would delete the pod, and with it the evidence.
func (u *unit) job(meta metav1.ObjectMeta) *batchv1.Job {
	u.pod.RestartPolicy = corev1.RestartPolicyOnFailure
	j := &batchv1.Job{TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: meta}
	j.Spec = batchv1.JobSpec{BackoffLimit: new(int32(math.MaxInt32)), Template: u.template()}
	if len(u.claims) > 0 {
		// As with a Deployment: the next pod must not start before the last one has released its claims.
		j.Spec.PodReplacementPolicy = new(batchv1.Failed)
	}
	if n := u.out.Replicas; n != 1 {
		j.Spec.Completions, j.Spec.Parallelism = &n, &n
	}
	return j
}

// annotations keep the file's labels, under keys that no controller reads, and describe what the service is started after.
func (u *unit) annotations() map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{u.s.Annotations, u.s.Labels} {
		for k, v := range m {
			key := annotationLabel + k
			if len(validation.IsQualifiedName(key)) > 0 {
				key = annotationLabel + cut(names.Slug(k), hash(k))
			}
			out[key] = v
		}
	}
	var after []string
	for _, d := range u.out.DependsOn {
		after = append(after, d.Service+" ("+strings.TrimPrefix(d.Condition, "service_")+")")
	}
	if len(after) > 0 {
		out[annotationDependsOn] = strings.Join(after, ", ")
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// affinity keeps the pods that mount one claim on one node: a ReadWriteOnce volume is attached to one at a time.
func (u *unit) affinity() {
	var terms []corev1.PodAffinityTerm
	for _, claim := range u.claims {
		if u.c.claimUsers[claim] < 2 {
			continue
		}
		u.labels[labelVolume+claim] = "true"
		terms = append(terms, corev1.PodAffinityTerm{
			TopologyKey:   corev1.LabelHostname,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelVolume + claim: "true"}},
		})
	}
	if len(terms) > 0 {
		u.pod.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}}
	}
}
