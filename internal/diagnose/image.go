package diagnose

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// notPulled says what the registry answered, as far as the kubelet tells, and with which credential it was asked.
func notPulled(p *corev1.Pod, image, message string, about Subject) *Finding {
	host := hostOf(image)
	credential, own := credentialFor(p, host, about.Registry)
	f := &Finding{Reason: v1alpha1.ReasonImageUnavailable}
	f.Sentence = "the image " + image + " cannot be pulled: " + pullWords(message) + " (" + credential + ")"
	switch answerOf(message) {
	case missing:
		f.Advice = "The registry " + host + " does not have it: check its name and tag."
	case denied:
		f.Advice = "The registry " + host + " refuses it, which it also does for an image that does not exist: check its name. "
		if own {
			f.Advice += "If that is right, the operator has to check registry.pullConfigFile."
		} else {
			f.Advice += "A private image has to be in a registry that Conductor has a credential for."
		}
	case unreachable:
		f.Advice = "The registry " + host + " was not reached from the node " + p.Spec.NodeName + ": run it again, and if it stays so, ask the operator."
	default:
		f.Advice = "Check the image's name, and whether the registry " + host + " has it for this node's platform."
	}
	return f
}

// pullWords are the kubelet's words without what it wraps them in.
func pullWords(message string) string {
	// "Back-off pulling image "NAME": ErrImagePull: WORDS"; before Kubernetes 1.32 without the words.
	if _, inner, ok := strings.Cut(message, ": ErrImagePull: "); ok {
		message = inner
	}
	if _, inner, ok := strings.Cut(message, " desc = "); ok && strings.HasPrefix(message, "rpc error: ") {
		message = inner
	}
	if w := words(message); w != "" {
		return w
	}
	return "the kubelet does not say why"
}

// credentialFor says with what the kubelet asked a host, and whether that was the pull Secret.
func credentialFor(p *corev1.Pod, host, covered string) (sentence string, own bool) {
	if len(p.Spec.ImagePullSecrets) == 0 {
		return "asked anonymously: the pod has no pull secret", false
	}
	name := p.Spec.ImagePullSecrets[0].Name
	if host != covered {
		return "asked anonymously: the pull secret " + name + " is for " + covered + " alone", false
	}
	return "asked with the pull secret " + name + ", which is for " + covered, true
}

// hostOf is the registry of an image. A name whose first part has neither dot nor colon and is not localhost is one of Docker Hub:
// https://pkg.go.dev/github.com/distribution/reference
func hostOf(image string) string {
	first, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return "docker.io"
	}
	return first
}

type answer int

const (
	unknownAnswer answer = iota
	missing
	denied
	unreachable
)

// answerOf is what a registry answered. The kubelet has no field for it: the message is the runtime's error, with the gRPC code (containerd
// sets NotFound) and the words of core/remotes/docker of containerd, which has the HTTP status in them, or of Go's net package.
func answerOf(message string) answer {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(message, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("401 Unauthorized", "403 Forbidden", "pull access denied", "insufficient_scope", "unauthorized: ", "denied: "):
		return denied
	case has("code = NotFound", "manifest unknown", "404 Not Found", ": not found"):
		return missing
	case has("dial tcp", "no such host", "i/o timeout", "connection refused", "TLS handshake", "x509: ", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway"):
		return unreachable
	}
	return unknownAnswer
}
