// Package diagnose explains why something does not run, and what to do about it, from its status in Kubernetes. Reasons come from
// structured fields. If only a message holds the reason, its documented or literal format is parsed, with a reference to the source, and the
// message is quoted.
//
// One cause cannot be diagnosed: a program that ended because its own disk was full (ENOSPC) has an exit code like any other.
package diagnose

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Finding is one diagnosed problem.
type Finding struct {
	// Reason is one of v1alpha1's reasons.
	Reason string
	// Sentence is what happened, without a subject, a capital and a full stop. Advice is what to do, in whole sentences.
	Sentence, Advice string
	// After is how long it may still recover; 0 means that it is a failure now.
	After time.Duration
}

// About returns the whole finding; who is a subject and a verb, such as "The service web cannot start".
func (f Finding) About(who string) string {
	return who + ": " + f.String()
}

// Failure returns the finding as a terminal failure; who is as for About.
func (f Finding) Failure(who string) error {
	return failure.Terminalf(f.Reason, nil, "%s", f.About(who))
}

// String returns the finding without a subject.
func (f Finding) String() string {
	s := strings.TrimRight(f.Sentence, ". ")
	if f.Advice != "" {
		s += ". " + f.Advice
	}
	return s
}

// Kind is what a pod is for. It decides who can change its resources.
type Kind int

// The kinds of pods that Conductor makes.
const (
	Service Kind = iota
	Build
	Test
)

// Subject is the owner of the diagnosed pod.
type Subject struct {
	Kind Kind
	// Name is that of the service in the compose file, of the image or of the suite.
	Name string
	// Registry is the host that the pod's pull Secrets have a credential for.
	Registry string
	// Ceilings are the operator's limits for the stack; builds have none.
	Ceilings v1alpha1.Ceilings
}

// How long a pod may be blocked before that counts as a failure: the kubelet and the controllers retry within seconds, a node may be
// starting, and a quota has room again when a pod of the stack ends.
const (
	startGrace    = 20 * time.Second
	scheduleGrace = 2 * time.Minute
)

// PullGrace is how long a pull may fail because its registry is unreachable or returns errors, or for an unreported cause. The kubelet
// pauses 10, 20, 40, 80 and 160 s between its attempts (imageBackOff in Kubernetes' pkg/kubelet/kubelet.go), so its attempt at about
// 310 s succeeds after an outage of five minutes.
const PullGrace = 6 * time.Minute

// TimeLeft is how much of d is left since start; at least 0.
func TimeLeft(start time.Time, d time.Duration, now time.Time) time.Duration {
	return max(0, start.Add(d).Sub(now))
}

// maxWords is how much of a message is quoted, in bytes.
const maxWords = 600

// words is a message in one line, truncated to maxWords.
func words(message string) string {
	return text.Truncate(strings.TrimRight(strings.Join(strings.Fields(message), " "), ". "), maxWords)
}

// withMessage appends a message to a sentence.
func withMessage(sentence, message string) string {
	if w := words(message); w != "" {
		return sentence + ": " + w
	}
	return sentence
}

// memoryLimit is the memory limit of a container; nil for none.
func memoryLimit(p *corev1.Pod, container string) *resource.Quantity {
	for _, c := range append(p.Spec.InitContainers[:len(p.Spec.InitContainers):len(p.Spec.InitContainers)], p.Spec.Containers...) {
		if q, ok := c.Resources.Limits[corev1.ResourceMemory]; ok && c.Name == container {
			return &q
		}
	}
	return nil
}

// it refers to a container: by name only if the pod has several.
func it(p *corev1.Pod, container string) string {
	if len(p.Spec.Containers) > 1 {
		return "its container " + container
	}
	return "it"
}
