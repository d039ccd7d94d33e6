// Package diagnose explains why something does not run, and what to do about it, from the status that Kubernetes keeps of it. Reasons come
// from fields that are made for programs. Where Kubernetes says a thing in a message alone, its documented or literal form is
// parsed, the source stands beside it, and the message's own words are kept.
//
// What cannot be told: a container whose program ended because its own disk was full (ENOSPC) has an exit code like any other.
package diagnose

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Finding is one thing that is wrong.
type Finding struct {
	// Reason is one of v1alpha1's reasons.
	Reason string
	// Sentence says what happened, without its subject, a capital and a full stop; Advice says in whole sentences what can be done.
	Sentence, Advice string
	// After is how long it may still mend itself; 0: it is a failure now.
	After time.Duration
}

// About is the finding in full: who is the subject and a verb, such as "The service web cannot start".
func (f Finding) About(who string) string {
	return who + ": " + f.String()
}

// String is the finding without a subject.
func (f Finding) String() string {
	s := strings.TrimRight(f.Sentence, ". ")
	if f.Advice != "" {
		s += ". " + f.Advice
	}
	return s
}

// Kind is what a pod is for. It decides who can change what it is given.
type Kind int

// The kinds of pods that Conductor makes.
const (
	Service Kind = iota
	Build
	Test
)

// Subject is whose pod is looked at.
type Subject struct {
	Kind Kind
	// Name is the service's in the compose file, the image's or the suite's.
	Name string
	// Registry is the host that the pod's pull Secrets have a credential for.
	Registry string
	// Ceilings are the operator's for the stack; builds have none.
	Ceilings v1alpha1.Ceilings
}

// How long a pod may be kept from starting before that counts as a failure: the kubelet and the controllers try again within seconds, a
// node may be on its way, and a quota has room again when a pod of the stack ends.
const (
	startGrace    = 20 * time.Second
	scheduleGrace = 2 * time.Minute
)

// PullGrace is how long a pull may fail because its registry is not reached or cannot answer, or for a cause that is not reported. The
// kubelet pauses 10, 20, 40, 80 and 160 s between its attempts (imageBackOff in pkg/kubelet/kubelet.go of Kubernetes), so that it asks at
// about 310 s a registry that was away for five minutes.
const PullGrace = 6 * time.Minute

// TimeLeft is what is left of d since start; 0 when nothing is.
func TimeLeft(start time.Time, d time.Duration, now time.Time) time.Duration {
	return max(0, start.Add(d).Sub(now))
}

// maxWords bounds what is kept of a message, in bytes.
const maxWords = 600

// words are a message in one line, cut at a character's boundary.
func words(message string) string {
	s := strings.TrimRight(strings.Join(strings.Fields(message), " "), ". ")
	if len(s) <= maxWords {
		return s
	}
	n := maxWords
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// said adds a message's words to a sentence.
func said(sentence, message string) string {
	if w := words(message); w != "" {
		return sentence + ": " + w
	}
	return sentence
}

// memoryLimit is what a container of a pod may use; nil for no limit.
func memoryLimit(p *corev1.Pod, container string) *resource.Quantity {
	for _, c := range append(p.Spec.InitContainers[:len(p.Spec.InitContainers):len(p.Spec.InitContainers)], p.Spec.Containers...) {
		if q, ok := c.Resources.Limits[corev1.ResourceMemory]; ok && c.Name == container {
			return &q
		}
	}
	return nil
}

// it names a container: by itself where the pod has one.
func it(p *corev1.Pod, container string) string {
	if len(p.Spec.Containers) > 1 {
		return "its container " + container
	}
	return "it"
}
