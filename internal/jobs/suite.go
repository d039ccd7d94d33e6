package jobs

import (
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// TestInput says what one suite runs.
type TestInput struct {
	Run *v1alpha1.Run
	// Suite is the suite's name, Image the reference of its image.
	Suite, Image string
	// Command is the argv that replaces the image's entrypoint; Shell is a line for /bin/sh instead. Without both the image
	// runs as it is.
	Command []string
	Shell   string
	// Env is set on top of the image's environment.
	Env map[string]string
	// Timeout bounds the suite from its pod's start.
	Timeout time.Duration
	// PullSecret is the name of the stack's pull Secret; empty when there is none.
	PullSecret string
}

// Test is the Job of one suite, in the stack's namespace, where the compose services answer to their names.
func Test(in TestInput) *batchv1.Job {
	labels := Labels(in.Run, StageTest)
	labels[v1alpha1.LabelSuite] = LabelValue(in.Suite)
	command := in.Command
	if in.Shell != "" {
		command = []string{"/bin/sh", "-c", in.Shell}
	}
	c := corev1.Container{
		Name:                     "test",
		Image:                    in.Image,
		Env:                      testEnv(in),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
		}},
	}
	if len(command) > 0 {
		c.Command = literal(command)
	}
	pod := podSpec(in.Timeout, c)
	pod.ImagePullSecrets = pullSecrets(in.PullSecret)
	return job(TestName(in.Suite), StackName(in.Run), labels, in.Timeout, pod)
}

// testEnv is sorted. CI=true is the convention that most tools know; a suite may say otherwise, but it cannot set CONDUCTOR_*.
func testEnv(in TestInput) []corev1.EnvVar {
	env := map[string]string{"CI": "true"}
	maps.Copy(env, in.Env)
	env["CONDUCTOR_RUN"], env["CONDUCTOR_SUITE"], env["CONDUCTOR_SHA"] = in.Run.Name, in.Suite, in.Run.Spec.SHA
	var vars []corev1.EnvVar
	for _, k := range slices.Sorted(maps.Keys(env)) {
		vars = append(vars, corev1.EnvVar{Name: k, Value: literal([]string{env[k]})[0]})
	}
	return vars
}

func pullSecrets(name string) []corev1.LocalObjectReference {
	if name == "" {
		return nil
	}
	return []corev1.LocalObjectReference{{Name: name}}
}
