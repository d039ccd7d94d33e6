package run

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// builds has every image built by a Job of its own, all at once, and learns their digests.
func (r *Reconciler) builds(ctx context.Context, s *state) error {
	if s.plan == nil || !s.open(v1alpha1.ConditionImagesBuilt) {
		return nil
	}
	if len(s.plan.Builds) == 0 {
		s.done(v1alpha1.ConditionImagesBuilt, v1alpha1.ReasonNothingToDo, "No image is built")
		return nil
	}
	if err := r.startBuilds(ctx, s); err != nil {
		return err
	}
	pods, err := r.buildPods(ctx, s.run)
	if err != nil {
		return err
	}
	var waiting []string
	for _, b := range s.plan.Builds {
		img := image(s.status(), b.Name)
		if img.Digest != "" {
			continue
		}
		if err := r.observeBuild(ctx, s, img, pods[jobs.LabelValue(b.Name)]); err != nil {
			return err
		}
		if img.Digest == "" {
			waiting = append(waiting, b.Name)
		}
	}
	if len(waiting) > 0 {
		s.begin(v1alpha1.ConditionImagesBuilt, "Building "+strings.Join(waiting, ", "))
		return nil
	}
	s.done(v1alpha1.ConditionImagesBuilt, v1alpha1.ReasonDone, count(len(s.plan.Builds), "image")+" built")
	return r.deleteBuildSecret(ctx, s.run)
}

// startBuilds makes the Jobs that are not there yet.
func (r *Reconciler) startBuilds(ctx context.Context, s *state) error {
	var missing []Build
	for _, b := range s.plan.Builds {
		if img := image(s.status(), b.Name); img.Job == "" && img.Digest == "" {
			missing = append(missing, b)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	s.begin(v1alpha1.ConditionImagesBuilt, "Starting "+count(len(missing), "build"))
	err := each([]func() error{
		func() error { return r.buildSecret(ctx, s) },
		func() error { return r.Registry.Ping(ctx) },
	}, func(do func() error) error { return do() })
	if err != nil {
		return err
	}
	for _, b := range missing {
		img := image(s.status(), b.Name)
		img.Repository = r.Registry.Repository(s.run.Spec.Repository, b.Name)
		job, err := r.kaniko(s, b, img.Repository)
		if err != nil {
			return err
		}
		if err := r.Client.Create(ctx, job); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create build job %s: %w", job.Name, err)
		}
		img.Job, img.StartedAt = job.Name, s.micro()
	}
	return nil
}

func (r *Reconciler) kaniko(s *state, b Build, repository string) (*batchv1.Job, error) {
	clone, err := url.Parse(s.run.Spec.Repository.CloneURL)
	if err != nil || clone.Host == "" {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The repository's clone address %q is not a URL", s.run.Spec.Repository.CloneURL)
	}
	set := r.Settings
	return jobs.Kaniko(jobs.KanikoInput{
		Run: s.run, Image: b.Name, Namespace: set.Builds.Namespace, Executor: set.Builds.Image, CloneURL: clone,
		Context: b.Context, Dockerfile: b.Dockerfile, Inline: b.Inline, Target: b.Target, Args: b.Args, Repository: repository,
		Insecure: set.Registry.Insecure, Mirrors: set.Registry.Mirrors, Secret: jobs.BuildSecretName(s.run), Timeout: set.Builds.Timeout.Duration,
		CPU: set.Builds.CPU, Memory: set.Builds.Memory, MemoryLimit: set.Builds.MemoryLimit,
	})
}

// buildSecret writes the git and registry credentials of one Run's builds. It is never read back: what a crash left behind is
// deleted and written anew, so that its git token is fresh.
func (r *Reconciler) buildSecret(ctx context.Context, s *state) error {
	token, _, err := r.GitHub.CloneToken(ctx, s.run.Spec.InstallationID, s.run.Spec.Repository)
	if err != nil {
		return fmt.Errorf("make a clone token: %w", err)
	}
	push, err := r.Registry.PushConfig(ctx, r.Registry.Repository(s.run.Spec.Repository, ""))
	if err != nil {
		return fmt.Errorf("make a push credential: %w", err)
	}
	secret := jobs.BuildSecret(s.run, r.Settings.Builds.Namespace, jobs.BuildSecretName(s.run), token, push)
	err = r.Client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		if err := r.deleteBuildSecret(ctx, s.run); err != nil {
			return err
		}
		err = r.Client.Create(ctx, secret)
	}
	if err != nil {
		return fmt.Errorf("create build secret: %w", err)
	}
	return nil
}

func (r *Reconciler) deleteBuildSecret(ctx context.Context, run *v1alpha1.Run) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: jobs.BuildSecretName(run), Namespace: r.Settings.Builds.Namespace}}
	return client.IgnoreNotFound(r.Client.Delete(ctx, secret))
}

// buildPods are the newest pods of a Run's builds by the label value of their image.
func (r *Reconciler) buildPods(ctx context.Context, run *v1alpha1.Run) (map[string]*corev1.Pod, error) {
	var list corev1.PodList
	if err := r.Client.List(ctx, &list, client.InNamespace(r.Settings.Builds.Namespace), client.MatchingLabels{v1alpha1.LabelRunUID: string(run.UID)}); err != nil {
		return nil, fmt.Errorf("list build pods: %w", err)
	}
	pods := map[string]*corev1.Pod{}
	for i := range list.Items {
		p := &list.Items[i]
		name := p.Labels[v1alpha1.LabelImage]
		if old := pods[name]; old == nil || newerPod(p, old) {
			pods[name] = p
		}
	}
	return pods, nil
}

// newerPod orders pods. Their creation times have whole seconds, and a list has no order.
func newerPod(a, b *corev1.Pod) bool {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name)) > 0
}

var digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// observeBuild learns from a build's pod how it stands. A failure is terminal and holds the end of the log.
func (r *Reconciler) observeBuild(ctx context.Context, s *state, img *v1alpha1.ImageStatus, pod *corev1.Pod) error {
	if pod == nil {
		return r.missingBuildPod(ctx, s, img)
	}
	about := r.subject(s, diagnose.Build, img.Name)
	t := terminated(pod)
	if t == nil {
		if f := diagnose.Blocked(pod, about, s.now); f != nil {
			if f.After == 0 {
				return failure.Terminalf(f.Reason, nil, "%s", f.About("The build of "+img.Name+" cannot start"))
			}
			s.lookAgain(f.After)
		}
		s.lookAgain(timeLeft(img.StartedAt, r.Settings.Builds.Timeout.Duration+30*time.Second, s.now))
		return nil
	}
	img.FinishedAt = s.micro()
	if t.ExitCode == 0 {
		if img.Digest = digestPattern.FindString(t.Message); img.Digest != "" {
			return nil
		}
		return failure.Terminalf(v1alpha1.ReasonBuildFailed, nil, "The build of %s ended without a digest", img.Name)
	}
	img.Log = r.tail(ctx, pod, 30, 4096)
	f := diagnose.Ended(pod, about)
	if f.Reason == v1alpha1.ReasonCrashed { // The builder ended by itself: its log says why.
		f.Reason = v1alpha1.ReasonBuildFailed
	}
	return failure.Terminalf(f.Reason, nil, "%s", f.About("The image "+img.Name+" could not be built"))
}

// missingBuildPod handles a build whose pod is not there (yet).
func (r *Reconciler) missingBuildPod(ctx context.Context, s *state, img *v1alpha1.ImageStatus) error {
	s.lookAgain(podless)
	if timeLeft(img.StartedAt, podless, s.now) > 0 {
		return nil
	}
	job, err := r.Kube.BatchV1().Jobs(r.Settings.Builds.Namespace).Get(ctx, img.Job, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return failure.Terminalf(v1alpha1.ReasonBuildFailed, err, "The build Job %s of %s was deleted", img.Job, img.Name)
	} else if err != nil {
		return fmt.Errorf("get build job: %w", err)
	}
	if f := diagnose.Job(job); f != nil {
		return failure.Terminalf(f.Reason, nil, "%s", f.About("The build of "+img.Name+" failed"))
	}
	f := diagnose.Creation(r.events(ctx, job.Namespace, "Job", job.Name), s.now)
	switch {
	case f == nil:
	case f.After == 0:
		return failure.Terminalf(f.Reason, nil, "%s", f.About("The build of "+img.Name+" cannot start"))
	default:
		s.lookAgain(f.After)
	}
	return nil
}

// deleteBuilds removes a Run's build Jobs, their pods and their Secret. The Jobs are found by label: a crash may have come
// between a Job and the status that names it.
func (r *Reconciler) deleteBuilds(ctx context.Context, run *v1alpha1.Run) error {
	client := r.Kube.BatchV1().Jobs(r.Settings.Builds.Namespace)
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelRunUID + "=" + string(run.UID)})
	if err != nil {
		return fmt.Errorf("list build jobs: %w", err)
	}
	background := metav1.DeletePropagationBackground
	for _, job := range list.Items {
		if err := client.Delete(ctx, job.Name, metav1.DeleteOptions{PropagationPolicy: &background}); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return fmt.Errorf("delete build job %s: %w", job.Name, err)
		}
	}
	return r.deleteBuildSecret(ctx, run)
}
