// Package jobs makes the Kubernetes objects that a Run needs besides the converted services: the Kaniko Job of each image,
// the Job of each suite, and the stack's namespace with its policies. It is pure: the same Run gives the same objects under
// the same names, so objects left behind by a crash are adopted.
package jobs

import (
	"strconv"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// Values of v1alpha1.LabelStage.
const (
	StageBuild = "build"
	StageStack = "stack"
	StageTest  = "test"
	StageAgent = "agent"
)

// StackName is the name of the namespace that holds a Run's stack.
func StackName(run *v1alpha1.Run) string { return names.Label("stack-" + run.Name) }

// BuildName is the name of the Job that builds an image of a Run. All builds share a namespace, so the name always ends in a
// hash of both: run a-b with image c differs from run a with image b-c.
func BuildName(run *v1alpha1.Run, image string) string {
	return names.Hashed(run.Name+"-"+image, run.Name, image)
}

// BuildTag is the tag of a pushed build. It only keeps the registry from garbage-collecting the digest; images are referenced by digest.
func BuildTag(run *v1alpha1.Run) string {
	return run.Spec.SHA[:min(len(run.Spec.SHA), 12)] + "-" + names.Label(run.Name)
}

// BuildSecretName is the name of the Secret with the git and registry credentials of a Run's builds.
func BuildSecretName(run *v1alpha1.Run) string { return names.Hashed(run.Name+"-build", run.Name) }

// TestName is the name of the Job of one attempt, in the stack's namespace. The prefix distinguishes it from the Jobs of compose
// services, and a hash distinguishes the second attempt of suite a from the first attempt of a suite called a-2.
func TestName(key evidence.AttemptKey, shards int) string {
	name := "conductor-test-" + key.Suite
	if shards <= 1 && key.Number <= 1 {
		return names.Label(name)
	}
	shard, number := strconv.Itoa(key.Shard), strconv.Itoa(key.Number)
	return names.Hashed(name+"-"+shard+"-"+number, key.Suite, shard, number)
}

// PullSecretName is the name of the Secret with which a stack's images are pulled. Every Run has its own, since Conductor must not
// update Secrets.
func PullSecretName(run *v1alpha1.Run) string { return "pull-" + names.Digest(string(run.UID))[:10] }

// Labels are the labels of all objects of a Run in one of its stages.
func Labels(run *v1alpha1.Run, stage string) map[string]string {
	l := owner(run)
	l[v1alpha1.LabelStage] = stage
	return l
}

func owner(run *v1alpha1.Run) map[string]string {
	return map[string]string{
		v1alpha1.LabelManaged:    v1alpha1.ManagedValue,
		v1alpha1.LabelConductor:  run.Namespace,
		v1alpha1.LabelRun:        names.LabelValue(run.Name),
		v1alpha1.LabelRunUID:     string(run.UID),
		v1alpha1.LabelRepository: decimal(run.Spec.Repository.ID),
	}
}
