package diagnose

import (
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// notPulled explains a failed pull: the registry's answer, as far as the kubelet reports it, and the credential used.
func notPulled(p *corev1.Pod, c corev1.ContainerStatus, events []corev1.Event, about Subject, now time.Time) *Finding {
	since, host, why := waitsSince(p, c), hostOf(c.Image), pullCause(c, events)
	credential, own := credentialFor(p, host, about.Registry)
	f := &Finding{Reason: v1alpha1.ReasonImageUnavailable, After: TimeLeft(since, startGrace, now)}
	f.Sentence = "the image " + c.Image + " cannot be pulled: " + pullWords(why) + " (" + credential + ")"
	a := answerOf(why)
	if c.State.Waiting.Reason == "RegistryUnavailable" {
		a = unreachable
	}
	switch a {
	case missing:
		f.Advice = "The registry " + host + " does not have it. Check its name and tag."
	case denied:
		f.Advice = "The registry " + host + " denied access, which it also does for an image that does not exist. Check its name. "
		if own {
			f.Advice += "If the name is right, ask the operator to check registry.pullConfigFile."
		} else {
			f.Advice += "A private image has to be in a registry that Conductor has a credential for."
		}
	case untrusted:
		f.Advice = "The node " + p.Spec.NodeName + " has no trusted TLS connection to the registry " + host + ". Ask the operator to install the registry's certificate on the node."
	case unreachable:
		f.retried(since, now, "The registry "+host+" was unreachable from the node "+p.Spec.NodeName)
	case overloaded:
		f.retried(since, now, "The registry "+host+" returned errors to the node "+p.Spec.NodeName)
	case runtimeAway:
		f.retried(since, now, "The container runtime of the node "+p.Spec.NodeName+" did not respond")
	case unreported:
		f.retried(since, now, "The registry "+host+" did not deliver it to the node "+p.Spec.NodeName)
		f.Advice += " " + checkName(host)
	default:
		f.Advice = checkName(host)
	}
	return f
}

func checkName(host string) string {
	return "Check the image's name, and whether the registry " + host + " has it for this node's platform."
}

// retried gives a finding until the end of PullGrace to recover, and adds until when the pull is retried.
func (f *Finding) retried(since, now time.Time, what string) {
	if f.After = TimeLeft(since, PullGrace, now); f.After > 0 {
		f.Advice = what + ". The pull is retried until " + since.Add(PullGrace).UTC().Format("15:04:05") + " UTC."
		return
	}
	f.Advice = what + " for " + PullGrace.String() + ". Run it again; if it happens again, ask the operator."
}

// backOff matches what the kubelet reports between two pulls: 'Back-off pulling image "NAME": ErrImagePull: CAUSE', and before Kubernetes
// 1.32 without the cause (pkg/kubelet/images/image_manager.go).
var backOff = regexp.MustCompile(`(?s)^Back-off pulling image "[^"]*"(?:: [A-Za-z]+: (.*))?`)

// HidesCause reports whether a container waits for its image and the pod's status does not explain why; an event of the pod may.
func HidesCause(p *corev1.Pod) bool {
	for _, c := range statuses(p) {
		if w := c.State.Waiting; w != nil {
			if m := backOff.FindStringSubmatch(w.Message); m != nil && m[1] == "" {
				return true
			}
		}
	}
	return false
}

// pullCause is why the last pull of a container's image failed; empty if unknown.
func pullCause(c corev1.ContainerStatus, events []corev1.Event) string {
	m := backOff.FindStringSubmatch(c.State.Waiting.Message)
	switch {
	case m == nil:
		return c.State.Waiting.Message
	case m[1] == "":
		return failedPull(events, c.Image)
	}
	return m[1]
}

// pullWords is a cause without the gRPC code that the kubelet puts before the runtime's message.
func pullWords(cause string) string {
	if _, inner, ok := strings.Cut(cause, " desc = "); ok && strings.HasPrefix(cause, "rpc error: ") {
		cause = inner
	}
	if w := words(cause); w != "" {
		return w
	}
	return "the kubelet does not report why"
}

// failedPull is the cause in the newest event of a failed pull: 'Failed to pull image "NAME": CAUSE', in which NAME always has a tag.
func failedPull(events []corev1.Event, image string) string {
	var own []corev1.Event
	for _, e := range events {
		for _, name := range []string{image, image + ":latest"} {
			if strings.HasPrefix(e.Message, `Failed to pull image "`+name+`": `) {
				own = append(own, e)
			}
		}
	}
	e := newest(own, "Failed")
	if e == nil {
		return ""
	}
	_, why, _ := strings.Cut(e.Message, `": `)
	return why
}

// credentialFor describes the credential that the kubelet used for a host, and returns whether it was the pull Secret.
func credentialFor(p *corev1.Pod, host, covered string) (sentence string, own bool) {
	if len(p.Spec.ImagePullSecrets) == 0 {
		return "requested anonymously: the pod has no pull secret", false
	}
	name := p.Spec.ImagePullSecrets[0].Name
	if host != covered {
		return "requested anonymously: the pull secret " + name + " is only for " + covered, false
	}
	return "requested with the pull secret " + name + ", which is for " + covered, true
}

// hostOf returns the registry of an image. A name whose first part has neither dot nor colon and is not localhost belongs to Docker Hub:
// https://pkg.go.dev/github.com/distribution/reference
func hostOf(image string) string {
	first, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return "docker.io"
	}
	return first
}

// answer is the result of a request to a registry.
type answer int

const (
	unknownAnswer answer = iota
	missing
	denied
	untrusted
	// The answers from here on are transient.
	unreachable
	overloaded
	runtimeAway
	unreported
)

// spoken maps error messages to answers. The first match counts: a registry that denies access was reached.
var spoken = []struct {
	answer answer
	words  *regexp.Regexp
}{
	{unreported, regexp.MustCompile(`^$`)},
	{denied, regexp.MustCompile(`401 Unauthorized|403 Forbidden|pull access denied|insufficient_scope|no basic auth credentials|\bunauthorized: |\bdenied: `)},
	{runtimeAway, regexp.MustCompile(`\bdial unix `)},
	{untrusted, regexp.MustCompile(`\bx509: |HTTP response to HTTPS client|does not look like a TLS handshake`)},
	{overloaded, regexp.MustCompile(`: (429|5\d\d)( [A-Z]|$)|\btoomanyrequests: `)},
	{unreachable, regexp.MustCompile(`\bdial tcp\b|no such host|server misbehaving|connection refused|connection reset|no route to host|network is unreachable|` +
		`i/o timeout|TLS handshake timeout|Client\.Timeout|context deadline exceeded|context canceled|request canceled|broken pipe|closed network connection|` +
		`unexpected EOF|: EOF$|stream error: |GOAWAY|because the registry is unavailable`)},
	{missing, regexp.MustCompile(`code = NotFound|manifest unknown|name unknown|404 Not Found|: not found`)},
}

// answerOf classifies the answer of a registry. The kubelet has no field for it: the message is the runtime's error, with the gRPC code
// (containerd sets NotFound) and a message of containerd's remotes/docker, which contains the HTTP status, or of Go's net and net/http.
func answerOf(message string) answer {
	for _, s := range spoken {
		if s.words.MatchString(message) {
			return s.answer
		}
	}
	return unknownAnswer
}

// BuildAdvice is what to do about a failed build; empty if only its log can explain the failure. registry and git are the hosts to which
// images are pushed and from which the repository is cloned.
func BuildAdvice(log, registry, git string) string {
	if lostHost(log, registry) {
		return "The registry " + registry + " was unreachable, and a started build is not retried. Run it again; if it happens again, ask the operator."
	}
	for _, host := range []string{git, "docker.io"} {
		if lostHost(log, host) {
			return host + " was unreachable. Ask the operator whether builds may connect to it (operator setting stacks.egress)."
		}
	}
	return ""
}

// lostHost reports whether a build failed because a host was unreachable, from the last line of its log. The line has to name the host:
// failing instructions of the Dockerfile print similar messages.
func lostHost(log, host string) bool {
	if host == "" {
		return false
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	a := answerOf(last)
	return strings.Contains(last, host) && (a == unreachable || a == overloaded)
}
