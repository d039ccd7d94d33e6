package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// wrapperImage runs the small tests; its shell has the time in microseconds.
const wrapperImage = "busybox:1.36"

// smallTests are the kinds of small tests by suite, in the order in which they run. Each prints when it started and ended.
var smallTests = []struct{ suite, kind, script string }{
	{"a-nothing", "nothing", "true"}, {"b-second", "one second", "sleep 1"},
	{"c-nothing", "nothing", "true"}, {"d-second", "one second", "sleep 1"},
}

func timed(script string) []string {
	return []string{"sh", "-c", "echo began $EPOCHREALTIME; " + script + "; echo ended $EPOCHREALTIME"}
}

// took are the times of one small test, in seconds.
type took struct {
	// own is the duration of the test itself; leave is from Conductor's permission to its start, negative if meaningless; known is from its
	// start until its result is known.
	own, leave, known float64
}

// wrapped compares small tests in Conductor, with wrapper and agent, with the same tests in plain pods, in turns.
func (b *bench) wrapped(ctx context.Context) error {
	r, err := b.emptyRepository(ctx, "small")
	if err != nil {
		return err
	}
	if err := r.Write(ctx, smallRepository()); err != nil {
		return err
	}
	with, without := map[string][]took{}, map[string][]took{}
	for i := range b.pairs + 1 {
		for k := range 2 {
			into, do := with, func() (map[string][]took, error) { return b.wrappedRun(ctx, r) }
			if (i+k)%2 == 1 {
				into, do = without, func() (map[string][]took, error) { return b.plainPods(ctx) }
			}
			all, err := do()
			if err != nil {
				return err
			}
			if i == 0 {
				continue // The first of each warms caches.
			}
			for kind, t := range all {
				into[kind] = append(into[kind], t...)
			}
		}
		logf("small tests: %d of %d", i, b.pairs)
	}
	b.printWrapped(with, without)
	return nil
}

// emptyRepository is a repository without files.
func (b *bench) emptyRepository(ctx context.Context, name string) (*lab.Repository, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	return b.NewRepository(ctx, name, dir)
}

// smallRepository is a stack that starts slowly, so that the tests' pods wait for permission to start, and the small tests.
func smallRepository() map[string]string {
	var config strings.Builder
	config.WriteString("version: 1\nkeep: 1h\ntests:\n")
	for _, t := range smallTests {
		fmt.Fprintf(&config, "  %s:\n    image: %s\n    command: [sh, -c, %q]\n", t.suite, wrapperImage, timed(t.script)[2])
	}
	return map[string]string{
		".conductor.yaml": config.String(),
		"docker-compose.qa.yml": `services:
  late:
    image: ` + wrapperImage + `
    command: sh -c "sleep 5; touch /tmp/up; sleep 86400"
    healthcheck: {test: test -e /tmp/up, interval: 1s}
`,
	}
}

// wrappedRun runs the small tests in one Run.
func (b *bench) wrappedRun(ctx context.Context, r *lab.Repository) (map[string][]took, error) {
	run, err := b.oneRun(ctx, r)
	if err != nil {
		return nil, err
	}
	all := map[string][]took{}
	for i, t := range smallTests {
		text, err := b.testLog(ctx, run.Status.Namespace, v1alpha1.LabelSuite+"="+t.suite)
		if err != nil {
			return nil, err
		}
		began, ended, err := stamps(text)
		if err != nil {
			return nil, err
		}
		known := knownAt(run, i)
		one := took{own: ended - began, known: unix(known) - began, leave: -1}
		if started := run.Status.Suites[i].StartedAt; i == 0 && started != nil {
			// The pods of the others may still be starting when they are permitted to run.
			one.leave = began - unix(started)
		}
		all[t.kind] = append(all[t.kind], one)
	}
	return all, b.removeRun(ctx, run)
}

// knownAt is when Conductor proceeded from a suite to the next one, or to the outcome, after reading its results.
func knownAt(run *v1alpha1.Run, i int) *metav1.MicroTime {
	if i+1 < len(run.Status.Suites) {
		return run.Status.Suites[i+1].StartedAt
	}
	for _, s := range run.Status.Stages {
		if s.Name == "tests" {
			return s.FinishedAt
		}
	}
	return nil
}

func unix(t *metav1.MicroTime) float64 { return float64(t.UnixMicro()) / 1e6 }

var stamp = regexp.MustCompile(`(?s)began (\d+\.\d+).*ended (\d+\.\d+)`)

// stamps parses the times that a small test printed.
func stamps(log string) (began, ended float64, err error) {
	m := stamp.FindStringSubmatch(log)
	if m == nil {
		return 0, 0, fmt.Errorf("a test did not say when it began and ended: %q", log)
	}
	began, err = strconv.ParseFloat(m[1], 64)
	if err == nil {
		ended, err = strconv.ParseFloat(m[2], 64)
	}
	return began, ended, err
}

// testLog is the log of the only test pod that matches a selector.
func (b *bench) testLog(ctx context.Context, namespace, selector string) (string, error) {
	pods, err := b.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return "", fmt.Errorf("find a test: %w", err)
	}
	if len(pods.Items) != 1 {
		return "", fmt.Errorf("%d pods are %s", len(pods.Items), selector)
	}
	text, err := b.Kube.CoreV1().Pods(namespace).GetLogs(pods.Items[0].Name, &corev1.PodLogOptions{Container: "test"}).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("read the log of a test: %w", err)
	}
	return string(text), nil
}

// plainNamespace is where the plain pods run.
const plainNamespace = "bench-plain"

// plainPods runs the small tests one after the other, each as a pod's only container.
func (b *bench) plainPods(ctx context.Context) (map[string][]took, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: plainNamespace}}
	if err := b.Client.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("make a namespace: %w", err)
	}
	all := map[string][]took{}
	for _, t := range smallTests {
		known, err := b.plainPod(ctx, t.suite, timed(t.script))
		if err != nil {
			return nil, err
		}
		text, err := b.testLog(ctx, plainNamespace, "suite="+t.suite)
		if err != nil {
			return nil, err
		}
		began, ended, err := stamps(text)
		if err != nil {
			return nil, err
		}
		all[t.kind] = append(all[t.kind], took{own: ended - began, leave: -1, known: float64(known.UnixMicro())/1e6 - began})
	}
	err := b.Client.Delete(ctx, ns)
	if err == nil {
		err = poll(ctx, 2*time.Minute, plainNamespace+" to be gone", func(ctx context.Context) (bool, error) {
			_, err := b.Kube.CoreV1().Namespaces().Get(ctx, plainNamespace, metav1.GetOptions{})
			return apierrors.IsNotFound(err), nil
		})
	}
	return all, err
}

// plainPod runs one pod and returns when a watch reported that its container had ended.
func (b *bench) plainPod(ctx context.Context, name string, argv []string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	pods := b.Kube.CoreV1().Pods(plainNamespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"suite": name}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			Containers: []corev1.Container{{Name: "test", Image: wrapperImage, Command: argv}},
		},
	}
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return time.Time{}, fmt.Errorf("make a plain pod: %w", err)
	}
	w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: made.ResourceVersion})
	if err != nil {
		return time.Time{}, fmt.Errorf("watch a plain pod: %w", err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		if !ok || e.Type == watch.Deleted {
			continue
		}
		if t := ended(p); t != nil {
			if t.ExitCode != 0 {
				return time.Time{}, fmt.Errorf("a plain pod ended with %d: %s", t.ExitCode, t.Message)
			}
			return time.Now(), nil
		}
	}
	return time.Time{}, fmt.Errorf("the watch of a plain pod ended: %w", context.Cause(ctx))
}

// printWrapped prints the medians.
func (b *bench) printWrapped(with, without map[string][]took) {
	b.printf("\n## What wrapper and agent add to a test\n\nTests that do nothing and tests that sleep for a second, by turns in a Run and as plain pods; medians, in milliseconds.\n\n" +
		"| test | its own time, plain | in a Run | after its end until known, plain pod by a watch | in a Run, results read | leave until it begins | **added in a Run** |\n" +
		"|---|---|---|---|---|---|---|\n")
	ms := func(all []took, of func(took) float64) float64 {
		var values []float64
		for _, t := range all {
			if v := of(t); v > -1 {
				values = append(values, 1000*v)
			}
		}
		return median(values)
	}
	own := func(t took) float64 { return t.own }
	after := func(t took) float64 { return t.known - t.own }
	leave := func(t took) float64 { return t.leave }
	firsts := slices.Concat(with["nothing"], with["one second"])
	for _, kind := range []string{"nothing", "one second"} {
		w, p := with[kind], without[kind]
		start := ms(firsts, leave)
		b.printf("| %s (%d, %d) | %.1f | %.1f | %.1f | %.1f | %.1f | **%.1f** |\n", kind, len(p), len(w), ms(p, own), ms(w, own), ms(p, after), ms(w, after), start,
			start+ms(w, after)+ms(w, own)-ms(p, own))
	}
	b.printf("\nAdded is all but the test itself: from Conductor's leave to its first moment, what it takes longer than as a plain pod, and from its end until " +
		"Conductor has read its result and goes on. The goal is 150 ms.\n")
}
