package jobs

import (
	"maps"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// Where the wrapper and its token are mounted in a test's container, both read-only.
const (
	wrapperDir   = "/conductor-wrapper"
	tokenDir     = "/conductor-token"
	wrapperBin   = wrapperDir + "/conductor"
	volumeBinary = "conductor-wrapper"
	volumeToken  = "conductor-token"
)

// Grace is the time between SIGTERM and SIGKILL when a test exceeds its timeout, the same as for docker stop.
const Grace = 10 * time.Second

// wrapperMargin is the time a test's pod gets beyond its timeouts for the wrapper's own work, such as uploading files.
const wrapperMargin = 5 * time.Minute

// TestInput describes one attempt of one shard of a suite.
type TestInput struct {
	Run *v1alpha1.Run
	Key evidence.AttemptKey
	// Shards is the number of the suite's shards.
	Shards int
	// Image is the reference of the test's image, Wrapper that of Conductor's own image, which contains the wrapper.
	Image, Wrapper string
	// Argv is the command that the wrapper runs: the suite's, or the image's own. Kubernetes expands $(NAME) in it; Literal escapes
	// text that must not be expanded.
	Argv []string
	// Env is set on top of the image's environment.
	Env map[string]string
	// Timeout bounds the test process; Wait bounds how long its pod waits for the stack before that.
	Timeout, Wait time.Duration
	// JUnit and Artifacts are the patterns of test reports and artifacts, absolute or relative to the working directory.
	JUnit, Artifacts []string
	// JUnitGuess means that JUnit is not configured but holds the usual locations.
	JUnitGuess bool
	// PullSecret is the name of the stack's pull Secret; empty if there is none.
	PullSecret string
	// Template is the pod of the compose service that runs as the test, with the labels that it needs; nil for a plain container.
	Template *corev1.PodTemplateSpec
}

// Test returns the Job of one attempt of one shard. It runs in the stack's namespace, where the compose services resolve by name. Its
// container runs the wrapper, which waits for the stack, runs the test as a child process and uploads its files.
func Test(in TestInput) *batchv1.Job {
	labels := Labels(in.Run, StageTest)
	labels[v1alpha1.LabelSuite] = names.LabelValue(in.Key.Suite)
	labels[v1alpha1.LabelShard] = strconv.Itoa(in.Key.Shard)
	labels[v1alpha1.LabelAttempt] = strconv.Itoa(in.Key.Number)
	// The wrapper enforces the timeout; the pod's own deadline is a fallback for a wrapper that fails to.
	deadline := in.Wait + in.Timeout + Grace + wrapperMargin
	pod := podSpec(deadline, corev1.Container{Name: "test"})
	if in.Template != nil {
		pod = *in.Template.Spec.DeepCopy()
		pod.RestartPolicy, pod.ActiveDeadlineSeconds = corev1.RestartPolicyNever, seconds(deadline)
		pod.AutomountServiceAccountToken, pod.EnableServiceLinks = new(false), new(false)
	}
	// When the pod is deleted, the test gets its grace period, and the wrapper as much again to upload the test's files.
	pod.TerminationGracePeriodSeconds = seconds(2*Grace + 5*time.Second)
	wrap(&pod, in)
	j := job(TestName(in.Key, in.Shards), StackName(in.Run), labels, deadline, pod)
	if in.Template != nil {
		podLabels := map[string]string{}
		maps.Copy(podLabels, in.Template.Labels)
		maps.Copy(podLabels, labels)
		j.Spec.Template.Labels = podLabels
	}
	return j
}

// wrap makes the first container of a pod run the wrapper, and the wrapper the test.
func wrap(pod *corev1.PodSpec, in TestInput) {
	c := &pod.Containers[0]
	c.Image = in.Image
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	c.Env = mergeEnv(c.Env, testEnv(in))
	if c.Resources.Requests == nil && c.Resources.Limits == nil {
		c.Resources.Requests = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
		}
	}
	// Probes are for services; a test ends when its process exits.
	c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = nil, nil, nil
	c.Command, c.Args = append(Literal(wrapperArgv(in)), in.Argv...), nil
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: volumeBinary, MountPath: wrapperDir, ReadOnly: true},
		corev1.VolumeMount{Name: volumeToken, MountPath: tokenDir, ReadOnly: true})
	pod.Volumes = append(pod.Volumes,
		corev1.Volume{Name: volumeBinary, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		corev1.Volume{Name: volumeToken, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: AgentSecretName(in.Run), DefaultMode: new(int32(0o444)),
			Items: []corev1.KeyToPath{{Key: KeyWrapperToken, Path: "token"}},
		}}})
	pod.InitContainers = append([]corev1.Container{{
		Name: "conductor-install", Image: in.Wrapper, Args: []string{"install", wrapperDir}, SecurityContext: ownSecurity(),
		VolumeMounts: []corev1.VolumeMount{{Name: volumeBinary, MountPath: wrapperDir}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
		}},
	}}, pod.InitContainers...)
	pod.ImagePullSecrets = pullSecrets(in.PullSecret)
}

// wrapperArgv is the wrapper's command line up to the test's.
func wrapperArgv(in TestInput) []string {
	argv := []string{
		wrapperBin, "wrap", "--agent", AgentURL(in.Run), "--token-file", tokenDir + "/token",
		"--suite", in.Key.Suite, "--shard", strconv.Itoa(in.Key.Shard), "--number", strconv.Itoa(in.Key.Number),
		"--timeout", in.Timeout.String(), "--grace", Grace.String(), "--wait", in.Wait.String(),
	}
	if in.JUnitGuess {
		argv = append(argv, "--junit-guess")
	}
	for _, g := range in.JUnit {
		argv = append(argv, "--junit", g)
	}
	for _, g := range in.Artifacts {
		argv = append(argv, "--artifacts", g)
	}
	return append(argv, "--")
}

// testEnv returns sorted variables. CI=true is a convention that most tools know; a suite may override it, but not CONDUCTOR_*.
func testEnv(in TestInput) []corev1.EnvVar {
	env := map[string]string{"CI": "true"}
	maps.Copy(env, in.Env)
	env["CONDUCTOR_RUN"], env["CONDUCTOR_SUITE"], env["CONDUCTOR_SHA"] = in.Run.Name, in.Key.Suite, in.Run.Spec.SHA
	env["CONDUCTOR_SHARD"], env["CONDUCTOR_SHARDS"] = strconv.Itoa(in.Key.Shard), strconv.Itoa(in.Shards)
	env["CONDUCTOR_ATTEMPT"] = strconv.Itoa(in.Key.Number)
	var vars []corev1.EnvVar
	for _, k := range slices.Sorted(maps.Keys(env)) {
		vars = append(vars, corev1.EnvVar{Name: k, Value: Literal([]string{env[k]})[0]})
	}
	return vars
}

// mergeEnv returns base's variables, overridden by over's.
func mergeEnv(base, over []corev1.EnvVar) []corev1.EnvVar {
	out := slices.DeleteFunc(slices.Clone(base), func(have corev1.EnvVar) bool {
		return slices.ContainsFunc(over, func(v corev1.EnvVar) bool { return v.Name == have.Name })
	})
	return append(out, over...)
}

func pullSecrets(name string) []corev1.LocalObjectReference {
	if name == "" {
		return nil
	}
	return []corev1.LocalObjectReference{{Name: name}}
}
