// Package jobs says which Kubernetes objects a Run needs besides the converted services: the Kaniko Job of each image,
// the Job of each suite, and the stack's namespace with its fences. It is pure: the same Run gives the same objects, under
// the same names, and so what a crash left behind is adopted.
package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// maxLabel is the longest DNS label (RFC 1123), and also the longest value of a Kubernetes label.
const maxLabel = 63

// Values of v1alpha1.LabelStage.
const (
	StageBuild = "build"
	StageStack = "stack"
	StageTest  = "test"
	StageAgent = "agent"
)

// StackName is the name of the namespace that holds a Run's stack.
func StackName(run *v1alpha1.Run) string { return fit("stack-" + run.Name) }

// BuildName is the name of the Job that builds an image of a Run. All builds share a namespace, and so the name always
// ends in a hash of both: run a-b with image c is not run a with image b-c.
func BuildName(run *v1alpha1.Run, image string) string {
	return hashed(run.Name+"-"+image, run.Name, image)
}

// BuildTag is the tag that a build is pushed under: it keeps the registry from collecting the digest, and names nothing.
func BuildTag(run *v1alpha1.Run) string {
	return run.Spec.SHA[:min(len(run.Spec.SHA), 12)] + "-" + fit(run.Name)
}

// BuildSecretName is the name of the Secret with the git and registry credentials of a Run's builds.
func BuildSecretName(run *v1alpha1.Run) string { return hashed(run.Name+"-build", run.Name) }

// TestName is the name of the Job of one attempt, in the stack's namespace. The prefix keeps it apart from the Jobs of compose
// services, and a hash the second attempt of suite a from the first of a suite called a-2.
func TestName(key evidence.AttemptKey, shards int) string {
	name := "conductor-test-" + key.Suite
	if shards <= 1 && key.Number <= 1 {
		return fit(name)
	}
	shard, number := strconv.Itoa(key.Shard), strconv.Itoa(key.Number)
	return hashed(name+"-"+shard+"-"+number, key.Suite, shard, number)
}

// PullSecretName is the name of the Secret that a stack's images are pulled with. It is new for every Run, since Conductor may
// not change a Secret.
func PullSecretName(run *v1alpha1.Run) string { return "pull-" + digest(string(run.UID))[:10] }

// Labels are the labels of everything that is made for a Run in one of its stages.
func Labels(run *v1alpha1.Run, stage string) map[string]string {
	l := owner(run)
	l[v1alpha1.LabelStage] = stage
	return l
}

func owner(run *v1alpha1.Run) map[string]string {
	return map[string]string{
		v1alpha1.LabelManaged:    v1alpha1.ManagedValue,
		v1alpha1.LabelConductor:  run.Namespace,
		v1alpha1.LabelRun:        LabelValue(run.Name),
		v1alpha1.LabelRunUID:     string(run.UID),
		v1alpha1.LabelRepository: decimal(run.Spec.Repository.ID),
	}
}

// LabelValue is the value that a name has in a label: the name itself, as long as labels can hold it.
func LabelValue(name string) string {
	if len(validation.IsValidLabelValue(name)) == 0 {
		return name
	}
	return fit(name)
}

// fit makes a DNS label of s: s itself when it is one, else what can be kept of it and a hash of the whole.
func fit(s string) string {
	if len(s) <= maxLabel && names.Slug(s) == s && s != "" {
		return s
	}
	return hashed(s, s)
}

// hashed is a DNS label of as much of s as has room, and a hash of the parts.
func hashed(s string, parts ...string) string {
	const hash = 10
	s = names.Slug(s)
	s = strings.TrimRight(s[:min(len(s), maxLabel-hash-1)], "-")
	if s == "" {
		s = "x"
	}
	return s + "-" + digest(parts...)[:hash]
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
