//go:build e2e

package e2e

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// admin has a capability beyond Pod Security's baseline, and is up once it has used it.
const admin = `services:
  admin:
    image: busybox:1.36
    command: sh -c "ip link set lo mtu 1400 && touch /tmp/up; exec sleep 1000"
    cap_add: [NET_ADMIN]
    healthcheck: {test: test -f /tmp/up, interval: 1s, retries: 30}
    stop_grace_period: 0s
`

// allowed runs, with an operator who allows capabilities, a stack that needs one and a stack that needs more.
func allowed(t *testing.T) {
	t.Parallel()
	r := small(t, map[string]string{"docker-compose.qa.yml": admin, "test.sh": "exit 0\n"})
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	more := small(t, map[string]string{"docker-compose.qa.yml": strings.Replace(admin, "cap_add: [NET_ADMIN]", "privileged: true", 1)})
	refusal := more.test()
	if refusal.Status.Outcome != v1alpha1.OutcomeError || !strings.Contains(refusal.Status.Message, "(stacks.allow: privileged)") {
		t.Errorf("outcome %s: %s", refusal.Status.Outcome, refusal.Status.Message)
	}
	contains(t, "comment", more.comment(refusal), "stacks.allow: privileged")
	a := newAccount(t)
	a.stack = run.Status.Namespace
	for what, change := range beyondBaseline() {
		j := job(a.stack)
		change(&j.Spec.Template.Spec)
		if err := a.create(what, j).try(t.Context()); refused(err) == (what == "capabilities") {
			t.Errorf("%s, where Pod Security refuses nothing and the operator allows capabilities: %v", what, err)
		}
	}
}

// beyondBaseline changes a pod so that it needs an allowance, by the allowance.
func beyondBaseline() map[string]func(*corev1.PodSpec) {
	security := func(c corev1.SecurityContext) func(*corev1.PodSpec) {
		return func(p *corev1.PodSpec) { p.Containers[0].SecurityContext = &c }
	}
	mount := func(path string) func(*corev1.PodSpec) {
		return func(p *corev1.PodSpec) {
			p.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}}}
		}
	}
	profile := &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	return map[string]func(*corev1.PodSpec){
		"privileged":      security(corev1.SecurityContext{Privileged: new(true)}),
		"capabilities":    security(corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}),
		"unconfined":      security(corev1.SecurityContext{SeccompProfile: profile}),
		"unconfined pod":  func(p *corev1.PodSpec) { p.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: profile} },
		"hostNetwork":     func(p *corev1.PodSpec) { p.HostNetwork = true },
		"hostNamespaces":  func(p *corev1.PodSpec) { p.HostPID = true },
		"hostIPC":         func(p *corev1.PodSpec) { p.HostIPC = true },
		"hostPaths":       mount("/etc"),
		"containerEngine": mount("/var/run/docker.sock"),
		"devices":         mount("/dev/fuse"),
		"sysctls": func(p *corev1.PodSpec) {
			p.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.core.somaxconn", Value: "1024"}}}
		},
		"an init container": func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: "i", Image: "busybox:1.36", SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}}
		},
	}
}

// beyond are Jobs in the account's stack that need an allowance, which the operator does not give.
func (a *account) beyond() []attempt {
	var all []attempt
	for what, change := range beyondBaseline() {
		j := &batchv1.Job{ObjectMeta: meta(a.stack, "tried")}
		j.Spec.Template.Spec = podSpec()
		change(&j.Spec.Template.Spec)
		all = append(all, a.create("a job beyond the baseline: "+what, j))
	}
	return all
}
