package run

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/names"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// reconcileBuilds has every image built by a Job of its own, all at once, and learns their digests.
func (r *Reconciler) reconcileBuilds(ctx context.Context, s *state) error {
	if s.plan == nil || !s.isOpen(v1alpha1.ConditionImagesBuilt) {
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
	var waiting, blocked []string
	for _, b := range s.plan.Builds {
		img := imageStatus(s.status(), b.Name)
		if img.Digest != "" {
			continue
		}
		yet, err := r.observeBuild(ctx, s, img, pods[names.LabelValue(b.Name)])
		if err != nil {
			return err
		}
		if img.Digest == "" {
			waiting = append(waiting, b.Name)
		}
		if yet != "" {
			blocked = append(blocked, yet)
		}
	}
	if len(waiting) > 0 {
		s.begin(v1alpha1.ConditionImagesBuilt, strings.Join(append([]string{"Building " + strings.Join(waiting, ", ")}, blocked...), ". "))
		return nil
	}
	s.done(v1alpha1.ConditionImagesBuilt, v1alpha1.ReasonDone, text.Plural(len(s.plan.Builds), "image")+" built")
	return r.deleteBuildSecret(ctx, s.run)
}

// credentialsTime is how long GitHub and the registry may take to give the credentials of builds.
const credentialsTime = 15 * time.Second

// startBuilds makes the Jobs that are not there yet.
func (r *Reconciler) startBuilds(ctx context.Context, s *state) error {
	var missing []plan.Build
	for _, b := range s.plan.Builds {
		if img := imageStatus(s.status(), b.Name); img.Job == "" && img.Digest == "" {
			missing = append(missing, b)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	s.begin(v1alpha1.ConditionImagesBuilt, "Starting "+text.Plural(len(missing), "build"))
	asking, cancel := context.WithTimeout(ctx, credentialsTime)
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return r.createBuildSecret(asking, s) })
	group.Go(func() error { return r.Registry.Ping(asking) })
	if err := group.Wait(); err != nil {
		return err
	}
	for _, b := range missing {
		img := imageStatus(s.status(), b.Name)
		img.Repository = r.Registry.Repository(s.run.Spec.Repository, b.Name)
		job, err := s.plan.BuildJob(b, img.Repository)
		if err != nil {
			return err
		}
		if err := r.Client.Create(ctx, job); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create build job %s: %w", job.Name, err)
		}
		img.Job, img.StartedAt, s.status().BuildsNamespace = job.Name, s.timestamp(), job.Namespace
	}
	return nil
}

// createBuildSecret writes the git and registry credentials of one Run's builds. It is never read back: what a crash left behind is
// deleted and written anew, so that its git token is fresh.
func (r *Reconciler) createBuildSecret(ctx context.Context, s *state) error {
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
	return r.unlessGone(ctx, r.Client.Delete(ctx, secret))
}

// unlessGone is err, or nil when it means that there is nothing: the object is missing, or the builds namespace is gone or going. The
// RoleBinding goes with the namespace, so that the API server answers "forbidden" there instead of "not found".
func (r *Reconciler) unlessGone(ctx context.Context, err error) error {
	if !apierrors.IsForbidden(err) {
		return client.IgnoreNotFound(err)
	}
	ns, getErr := r.namespaces().Get(ctx, r.Settings.Builds.Namespace)
	if apierrors.IsNotFound(getErr) || getErr == nil && ns.DeletionTimestamp != nil {
		return nil
	}
	return err
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
		if old := pods[name]; old == nil || byAge(old, p) < 0 {
			pods[name] = p
		}
	}
	return pods, nil
}

var digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// observeBuild reads from a build's pod what state it is in, and why it does not start yet. A failure is terminal and holds the end of the log.
func (r *Reconciler) observeBuild(ctx context.Context, s *state, img *v1alpha1.ImageStatus, pod *corev1.Pod) (yet string, err error) {
	if pod == nil {
		return "", r.missingBuildPod(ctx, s, img)
	}
	if t := terminated(pod); t != nil {
		return "", r.endBuild(ctx, s, img, pod, t)
	}
	s.requeueAfter(timeLeft(img.StartedAt, r.Settings.Builds.Timeout.Duration+30*time.Second, s.now))
	return r.cannotStart(ctx, s, pod, r.subject(s, diagnose.Build, img.Name), "The build of "+img.Name)
}

// endBuild notes how a build ended.
func (r *Reconciler) endBuild(ctx context.Context, s *state, img *v1alpha1.ImageStatus, pod *corev1.Pod, t *corev1.ContainerStateTerminated) error {
	img.FinishedAt = s.timestamp()
	if t.ExitCode == 0 {
		if img.Digest = digestPattern.FindString(t.Message); img.Digest != "" {
			return nil
		}
		return failure.Terminalf(v1alpha1.ReasonBuildFailed, nil, "The image %s could not be built: Kaniko ended without a digest", img.Name)
	}
	img.Log = r.podTail(ctx, pod, 30, 4096)
	f := diagnose.Ended(pod, r.subject(s, diagnose.Build, img.Name))
	if f.Reason == v1alpha1.ReasonCrashed { // The builder ended by itself: the cause is in its log.
		f.Reason = v1alpha1.ReasonBuildFailed
		if advice := diagnose.BuildAdvice(img.Log, r.Settings.Registry.Host, hostOf(s.run.Spec.Repository.CloneURL)); advice != "" {
			f.Advice = advice
		}
	}
	return f.Failure("The image " + img.Name + " could not be built")
}

// hostOf is the host of an address, without its port.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// missingBuildPod handles a build whose pod is not there (yet).
func (r *Reconciler) missingBuildPod(ctx context.Context, s *state, img *v1alpha1.ImageStatus) error {
	s.requeueAfter(noPodGrace)
	if timeLeft(img.StartedAt, noPodGrace, s.now) > 0 {
		return nil
	}
	job, err := r.Kube.BatchV1().Jobs(r.Settings.Builds.Namespace).Get(ctx, img.Job, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return failure.Terminalf(v1alpha1.ReasonBuildFailed, err, "The image %s could not be built: its Job %s was deleted", img.Name, img.Job)
	} else if err != nil {
		return fmt.Errorf("get build job: %w", err)
	}
	if f := diagnose.Job(job); f != nil {
		return f.Failure("The image " + img.Name + " could not be built")
	}
	f := diagnose.Creation(r.listEvents(ctx, job.Namespace, "Job", job.Name), s.now)
	switch {
	case f == nil:
	case f.After == 0:
		return f.Failure("The build of " + img.Name + " cannot start")
	default:
		s.requeueAfter(f.After)
	}
	return nil
}

// deleteBuilds removes a Run's build Jobs, their pods and their Secret. The Jobs are found by label: a crash may have come
// between a Job and the status that names it.
func (r *Reconciler) deleteBuilds(ctx context.Context, run *v1alpha1.Run) error {
	client := r.Kube.BatchV1().Jobs(r.Settings.Builds.Namespace)
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelRunUID + "=" + string(run.UID)})
	if err != nil {
		return r.unlessGone(ctx, fmt.Errorf("list build jobs: %w", err))
	}
	background := metav1.DeletePropagationBackground
	for _, job := range list.Items {
		err := r.unlessGone(ctx, client.Delete(ctx, job.Name, metav1.DeleteOptions{PropagationPolicy: &background}))
		if err != nil {
			return fmt.Errorf("delete build job %s: %w", job.Name, err)
		}
	}
	return r.deleteBuildSecret(ctx, run)
}
