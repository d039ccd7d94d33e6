package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

// bare does the work of a Run without Conductor: a plain program that clones, starts Kaniko's pods, applies the same converted objects
// in the order of their dependencies, starts the test pod and watches. No step waits longer than necessary, and it creates pods where
// Conductor creates Jobs. It stores nothing, checks nothing and does not survive a restart.
type bare struct {
	kube   kubernetes.Interface
	client client.Client
	spec   bareSpec
	dir    string
	plan   *plan.Plan

	mu     sync.Mutex
	images map[string]string
	// built wakes the stack when an image is built.
	built chan struct{}
	// began is when it started, ends how long after the start each stage ended.
	began time.Time
	ends  map[string]time.Duration
}

// do runs all steps and returns the test's exit code.
func (b *bare) do(ctx context.Context) (int32, error) {
	b.began, b.ends, b.images, b.built = time.Now(), map[string]time.Duration{}, map[string]string{}, make(chan struct{}, 1)
	dir, err := os.MkdirTemp("", "bare-")
	if err != nil {
		return 0, fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := b.step("checkout", func() error { return b.clone(ctx, filepath.Join(dir, "checkout")) }); err != nil {
		return 0, err
	}
	builds := func() error { return b.step("builds", func() error { return b.build(ctx) }) }
	stack := func() error { return b.step("stack", func() error { return b.stack(ctx) }) }
	if b.spec.Overlap {
		err = both(builds, stack)
	} else if err = builds(); err == nil {
		err = stack()
	}
	if err != nil {
		return 0, err
	}
	code := int32(-1)
	err = b.step("tests", func() (err error) { code, err = b.test(ctx); return err })
	if err != nil {
		return code, err
	}
	return code, b.step("report", func() error { return b.report(ctx, code) })
}

// step notes when a stage ended.
func (b *bare) step(name string, do func() error) error {
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends[name] = time.Since(b.began)
	return nil
}

func both(a, b func() error) error {
	failed := make(chan error, 2)
	go func() { failed <- a() }()
	go func() { failed <- b() }()
	return errors.Join(<-failed, <-failed)
}

func (b *bare) clone(ctx context.Context, dir string) error {
	from, err := url.Parse(b.spec.Run.Spec.Repository.CloneURL)
	if err != nil {
		return fmt.Errorf("the clone address: %w", err)
	}
	from.User = url.UserPassword("x-access-token", b.spec.Token)
	out, err := exec.CommandContext(ctx, "git", "clone", "-q", "--depth", "1", "--branch", "main", from.String(), dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("git clone: %w: %s", err, out)
	}
	b.dir = dir
	b.plan, err = b.replan()
	return err
}

var digest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// build starts a Kaniko pod for each image and waits for all of them.
func (b *bare) build(ctx context.Context) error {
	r, ns := b.spec.Run, b.spec.BuildsNamespace
	secret := jobs.BuildSecret(r, ns, jobs.BuildSecretName(r), b.spec.Token, b.spec.Push)
	if err := b.create(ctx, secret); err != nil {
		return err
	}
	waiting := map[string]string{}
	for _, i := range b.plan.Builds {
		job, err := b.plan.BuildJob(i, b.spec.repository(i.Name))
		if err != nil {
			return fmt.Errorf("plan the build of %s: %w", i.Name, err)
		}
		pod := podOf(job.Name, ns, job.Spec.Template)
		if err := b.create(ctx, pod); err != nil {
			return err
		}
		waiting[pod.Name] = i.Name
	}
	return b.watch(ctx, ns, nil, func(p *corev1.Pod) (bool, error) {
		if p == nil {
			return len(waiting) == 0, nil
		}
		name, ok := waiting[p.Name]
		t := ended(p)
		if !ok || t == nil {
			return false, nil
		}
		if t.ExitCode != 0 {
			return false, fmt.Errorf("the build of %s ended with %d: %s", name, t.ExitCode, t.Message)
		}
		delete(waiting, p.Name)
		b.have(name, b.spec.repository(name)+"@"+digest.FindString(t.Message))
		return len(waiting) == 0, nil
	})
}

// have stores an image and wakes the stack.
func (b *bare) have(name, reference string) {
	b.mu.Lock()
	b.images[name] = reference
	b.mu.Unlock()
	select {
	case b.built <- struct{}{}:
	default:
	}
}

// image is the reference of a built image; empty until it is built.
func (b *bare) image(build string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.images[build]
}

// replan plans with the images known so far.
func (b *bare) replan() (*plan.Plan, error) {
	images := plan.Images{References: map[string]string{}, AllKnown: true}
	if b.plan != nil {
		for _, svc := range b.plan.Services {
			if build := b.plan.BuildOf(svc.Name); build != "" {
				images.References[svc.Name] = b.image(build)
			}
		}
	}
	return plan.Make(plan.Input{Dir: b.dir, Run: b.spec.Run, Settings: b.spec.settings(), Images: images})
}

// stack creates the namespace and starts the services in the order of their dependencies.
func (b *bare) stack(ctx context.Context) error {
	fences, err := b.plan.Guardrails()
	if err != nil {
		return err
	}
	objects := append([]client.Object{b.plan.Namespace(), jobs.PullSecret(b.spec.Run, b.spec.Pull)}, fences...)
	for _, content := range b.plan.Contents {
		objects = append(objects, content)
	}
	objects = append(objects, b.plan.Shared...)
	for _, s := range b.plan.Services {
		objects = append(objects, s.Objects...)
	}
	for _, o := range objects {
		if err := b.create(ctx, o); err != nil {
			return err
		}
	}
	up := progress{applied: map[string]bool{}, started: map[string]bool{}, ready: map[string]bool{}}
	return b.watch(ctx, jobs.StackName(b.spec.Run), b.built, func(p *corev1.Pod) (bool, error) {
		if p != nil {
			up.see(p)
		}
		return len(up.ready) == len(b.plan.Services), b.start(ctx, up)
	})
}

// start starts the services whose dependencies are met.
func (b *bare) start(ctx context.Context, up progress) error {
	p, err := b.replan()
	if err != nil {
		return err
	}
	for _, s := range p.Services {
		build := b.plan.BuildOf(s.Name)
		if up.applied[s.Name] || build != "" && b.image(build) == "" || slices.ContainsFunc(s.DependsOn, up.lacks) {
			continue
		}
		if err := b.create(ctx, s.Workload); err != nil {
			return err
		}
		up.applied[s.Name] = true
	}
	return nil
}

// test starts the first suite's pod and returns its exit code.
func (b *bare) test(ctx context.Context) (int32, error) {
	if len(b.plan.Suites) != 1 {
		return 0, fmt.Errorf("the bare program runs one suite, and there are %d", len(b.plan.Suites))
	}
	t := b.plan.Suites[0]
	ref := t.Image
	if t.Build != "" {
		ref = b.image(t.Build)
	}
	// No wrapper, no agent.
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "test", Namespace: jobs.StackName(b.spec.Run), Labels: jobs.Labels(b.spec.Run, jobs.StageTest)},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: jobs.PullSecretName(b.spec.Run)}},
			Containers:       []corev1.Container{{Name: "test", Image: ref, Command: t.Test.Command.Argv(), Env: testEnv(t.Test.Env)}},
		},
	}
	if err := b.create(ctx, pod); err != nil {
		return 0, err
	}
	code := int32(-1)
	err := b.watch(ctx, pod.Namespace, nil, func(p *corev1.Pod) (bool, error) {
		if p == nil || p.Name != pod.Name || ended(p) == nil {
			return false, nil
		}
		code = ended(p).ExitCode
		return true, nil
	})
	return code, err
}

func testEnv(env map[string]string) []corev1.EnvVar {
	vars := []corev1.EnvVar{{Name: "CI", Value: "true"}}
	for k, v := range env {
		vars = append(vars, corev1.EnvVar{Name: k, Value: v})
	}
	return vars
}

// create creates an object labelled as another manager's, so that the Conductor on the same cluster ignores it.
func (b *bare) create(ctx context.Context, o client.Object) error {
	l := o.GetLabels()
	if l[v1alpha1.LabelManaged] != "" {
		l[v1alpha1.LabelManaged] = "bench"
	}
	if err := b.client.Create(ctx, o); err != nil {
		return fmt.Errorf("create %s: %w", o.GetName(), err)
	}
	return nil
}

// podOf is the pod that the Job controller would create.
func podOf(name, namespace string, t corev1.PodTemplateSpec) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: t.Labels}, Spec: t.Spec}
}
