package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// sample is one run of one contender.
type sample struct {
	// ends are the seconds from the start to the end of each stage; that of report is the total.
	ends map[string]float64
	used meter
}

// overhead runs Conductor and the bare program in turns.
func (b *bench) overhead(ctx context.Context) error {
	pids, err := daemons(ctx)
	if err != nil {
		return err
	}
	o, err := b.newOverhead(ctx, pids)
	if err != nil {
		return err
	}
	contenders := []contender{{"bare", o.bareRun(false)}, {"Conductor", o.conductorRun}}
	if b.overlap {
		contenders = append(contenders, contender{"bare, overlapping", o.bareRun(true)})
	}
	// The first run fills caches for the others: images on the node, connections, compiled admission policies.
	logf("a run of each that does not count")
	for _, c := range contenders {
		if _, err := c.run(ctx, "warm"); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	samples := make([][]sample, len(contenders))
	for i := range b.pairs {
		for j := range contenders {
			k := (i + j) % len(contenders) // Each contender goes first in turn.
			s, err := contenders[k].run(ctx, fmt.Sprint(i))
			if err != nil {
				return fmt.Errorf("pair %d, %s: %w", i+1, contenders[k].name, err)
			}
			samples[k] = append(samples[k], s)
			logf("pair %d of %d: %s took %.2f s", i+1, b.pairs, contenders[k].name, s.ends["report"])
		}
	}
	idle, err := b.idle(ctx, pids)
	if err != nil {
		return err
	}
	b.printOverhead(contenders, samples, idle)
	b.ranMiB, err = b.resident(ctx)
	return err
}

// contender is a program that is measured.
type contender struct {
	name string
	run  func(ctx context.Context, mark string) (sample, error)
}

// overhead is the state that the contenders share.
type overhead struct {
	*bench
	repo         *lab.Repository
	tap          *tap
	installation int64
	self         string
	pids         []int
}

func (b *bench) newOverhead(ctx context.Context, pids []int) (*overhead, error) {
	o := &overhead{bench: b, pids: pids}
	var err error
	if o.tap, err = newTap(b.WebhookURL()); err != nil {
		return nil, err
	}
	if err := b.GitHub.SetWebhook(b.App.ID, o.tap.url, b.App.WebhookSecret); err != nil {
		return nil, fmt.Errorf("listen to deliveries: %w", err)
	}
	if o.repo, err = b.NewRepository(ctx, "shop", lab.Example("shop")); err != nil {
		return nil, err
	}
	if o.self, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return o, nil
}

// change pushes a commit that changes a file of each image, so that no contender can reuse an earlier build.
func (o *overhead) change(ctx context.Context) (sha string, err error) {
	mark := "// " + rand.Text() + "\n"
	if err := o.repo.Write(ctx, map[string]string{"backend/mark.mjs": mark, "test/mark.mjs": mark}); err != nil {
		return "", err
	}
	return o.repo.Git(ctx, "rev-parse", "HEAD")
}

// conductorRun pushes a tag and follows the Run.
func (o *overhead) conductorRun(ctx context.Context, _ string) (sample, error) {
	s := sample{}
	sha, err := o.change(ctx)
	if err != nil {
		return s, err
	}
	before, err := o.read(ctx, o.pids)
	if err != nil {
		return s, err
	}
	done := make(chan time.Time, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go o.completed(watching, sha, done)
	if err := o.repo.PushTag(ctx, "run-integration-tests", fmt.Sprintf("Please test, for #%d", o.repo.Issue)); err != nil {
		return s, err
	}
	r, err := o.awaitRun(ctx, sha)
	if err != nil {
		return s, err
	}
	after, err := o.read(ctx, o.pids)
	if err != nil {
		return s, err
	}
	if r.Status.Outcome != v1alpha1.OutcomePassed {
		return s, fmt.Errorf("the run %s %s: %s", r.Name, r.Status.Outcome, r.Status.Message)
	}
	o.finished = r
	o.ran++
	s.used = after.minus(before)
	if s.ends, err = o.timeline(r, done); err != nil {
		return s, err
	}
	// GitHub also delivered the push of the branch; the installation is the same.
	o.installation = r.Spec.InstallationID
	return s, o.deleteRun(ctx, r)
}

// timeline are the ends of a Run's stages, from the first byte of its delivery.
func (o *overhead) timeline(r *v1alpha1.Run, done <-chan time.Time) (map[string]float64, error) {
	start, ok := o.tap.at(r.Spec.Trigger.Delivery)
	if !ok {
		return nil, fmt.Errorf("no delivery %s was seen", r.Spec.Trigger.Delivery)
	}
	ends := map[string]float64{}
	for _, st := range r.Status.Stages {
		if st.FinishedAt != nil {
			ends[st.Name] = st.FinishedAt.Sub(start).Seconds()
		}
	}
	ends["trigger"] = r.Status.StartedAt.Sub(start).Seconds()
	select {
	case t := <-done:
		ends["report"] = o.lastWrite(r, start, t).Sub(start).Seconds()
	case <-time.After(time.Second):
		return nil, fmt.Errorf("the check runs of %s are not completed", r.Name)
	}
	return ends, nil
}

// completed sends the time at which all check runs of a commit were first seen completed.
func (o *overhead) completed(ctx context.Context, sha string, done chan<- time.Time) {
	for ctx.Err() == nil {
		n, open := 0, 0
		for _, c := range o.GitHub.CheckRuns(o.repo.Name) {
			if c.SHA != sha {
				continue
			}
			if n++; c.Status != "completed" {
				open++
			}
		}
		if n > 0 && open == 0 {
			done <- time.Now()
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// lastWrite is when the last write of a check run that had started before all were seen completed was answered.
func (o *overhead) lastWrite(r *v1alpha1.Run, start, seen time.Time) time.Time {
	last := start
	prefix := "/repos/" + r.Spec.Repository.FullName() + "/check-runs"
	for _, q := range o.GitHub.Requests() {
		if q.Method != "GET" && strings.HasPrefix(q.Path, prefix) && q.Time.After(start) && !q.Time.After(seen) {
			last = q.Time.Add(q.Duration)
		}
	}
	return last
}

// awaitRun watches until the Run of a commit is reported and its stack is settled.
func (o *overhead) awaitRun(ctx context.Context, sha string) (*v1alpha1.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var found *v1alpha1.Run
	err := o.watchRuns(ctx, func(r *v1alpha1.Run) bool {
		if r.Spec.SHA != sha {
			return false
		}
		found = r
		for _, c := range r.Status.Conditions {
			if c.Type == v1alpha1.ConditionStackKept && c.Reason != v1alpha1.ReasonInProgress {
				return r.Status.Report != nil && r.Status.Report.Final && lab.Finished(r)
			}
		}
		return false
	})
	if err != nil && found != nil {
		return nil, fmt.Errorf("%w; %s is %s: %s", err, found.Name, found.Status.Phase, found.Status.Message)
	}
	return found, err
}

// bareRun starts the bare program in a process of its own.
func (o *overhead) bareRun(overlap bool) func(context.Context, string) (sample, error) {
	return func(ctx context.Context, mark string) (sample, error) {
		s := sample{ends: map[string]float64{}}
		sha, err := o.change(ctx)
		if err != nil {
			return s, err
		}
		spec, err := o.bareSpec(sha, mark, overlap)
		if err != nil {
			return s, err
		}
		before, err := o.read(ctx, o.pids)
		if err != nil {
			return s, err
		}
		result, cpu, err := o.runChild(ctx, spec)
		if err != nil {
			_ = o.deleteBare(ctx, spec.Run)
			return s, err
		}
		after, err := o.read(ctx, o.pids)
		if err != nil {
			return s, err
		}
		s.used = after.minus(before)
		s.used.own, s.used.ownCPU, s.ends = float64(result.Requests), cpu, result.Ends
		if result.Exit != 0 {
			return s, fmt.Errorf("the tests ended with %d", result.Exit)
		}
		return s, o.deleteBare(ctx, spec.Run)
	}
}

func (o *overhead) bareSpec(sha, mark string, overlap bool) (*bareSpec, error) {
	if o.installation == 0 {
		for _, d := range o.GitHub.Deliveries(o.App.ID) {
			o.installation = d.Installation
		}
	}
	token, err := o.GitHub.InstallationToken(o.installation)
	if err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	github, err := url.Parse(o.GitHub.URL)
	if err != nil {
		return nil, fmt.Errorf("GitHub's address: %w", err)
	}
	owner, name, _ := strings.Cut(o.repo.Name, "/")
	r := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bare-%s-%s", mark, sha[:10]), Namespace: lab.Namespace, UID: types.UID("bench-" + sha[:12])},
		Spec: v1alpha1.RunSpec{
			SHA: sha, Ref: "refs/heads/main", InstallationID: o.installation,
			Repository: v1alpha1.Repository{ID: o.repo.ID, Owner: owner, Name: name, DefaultBranch: "main", CloneURL: o.repo.URL},
		},
	}
	return &bareSpec{
		Kubeconfig: o.Kubeconfig, Run: r, Token: token, APIURL: o.GitHub.APIURL(), Registry: o.Registry,
		Push: dockerConfig(o.Registry, o.PushUser, o.PushPassword), Pull: dockerConfig(o.Registry, o.PullUser, o.PullPassword),
		Egress:          []string{o.Registry[:strings.LastIndexByte(o.Registry, ':')] + "/32", github.Hostname() + "/32:" + github.Port()},
		BuildsNamespace: lab.BuildsNamespace, Executor: o.KanikoImage, Overlap: overlap,
	}, nil
}

// runChild returns the output of the bare program, and the CPU seconds of it and its git processes.
func (o *overhead) runChild(ctx context.Context, spec *bareSpec) (*bareResult, float64, error) {
	in, err := json.Marshal(spec)
	if err != nil {
		return nil, 0, fmt.Errorf("tell the bare program what to do: %w", err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, o.self, childArgument)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, 0, fmt.Errorf("the bare program: %w: %s", err, errs.String())
	}
	var result bareResult
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return nil, 0, fmt.Errorf("the bare program's answer: %w", err)
	}
	// The kernel includes the usage of children that were waited for (getrusage(2)).
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return &result, cpu.Seconds(), nil
}

// dockerConfig is a Docker config.json for one host.
func dockerConfig(host, user, password string) []byte {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	data, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": auth}}})
	return data
}

// deleteRun deletes a Run and waits until it and its namespace are gone.
func (o *overhead) deleteRun(ctx context.Context, r *v1alpha1.Run) error {
	if err := o.Client.Delete(ctx, r); err != nil {
		return fmt.Errorf("delete run %s: %w", r.Name, err)
	}
	return o.gone(ctx, jobs.StackName(r))
}

// deleteBare deletes the objects of a run of the bare program, and waits until they are gone.
func (o *overhead) deleteBare(ctx context.Context, r *v1alpha1.Run) error {
	core := o.Kube.CoreV1()
	err := core.Namespaces().Delete(ctx, jobs.StackName(r), metav1.DeleteOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		err = core.Pods(lab.BuildsNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelRun + "=" + r.Name})
	}
	if err == nil {
		err = core.Secrets(lab.BuildsNamespace).Delete(ctx, jobs.BuildSecretName(r), metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("clean up after %s: %w", r.Name, err)
	}
	return o.gone(ctx, jobs.StackName(r))
}

// gone waits until a namespace and the pods of all builds are gone, so that they do not disturb the next run.
func (o *overhead) gone(ctx context.Context, namespace string) error {
	return poll(ctx, 2*time.Minute, namespace+" to be gone", func(ctx context.Context) (bool, error) {
		_, err := o.Kube.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return false, err
		}
		var pods *corev1.PodList
		pods, err = o.Kube.CoreV1().Pods(lab.BuildsNamespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(pods.Items) == 0, err
	})
}
