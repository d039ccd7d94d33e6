package run

import (
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// newBuilds is a Run that builds one image, web.
func newBuilds(t *testing.T) *rig {
	t.Helper()
	w := newRig(t, map[string]string{"docker-compose.qa.yml": "services: {web: {build: .}}\n"})
	w.add(namespace("conductor-builds"))
	return w
}

// buildPod is the pod of the build of web, in the cache of the builds namespace.
func (w *rig) buildPod(changes ...podChange) {
	w.t.Helper()
	labels := jobs.Labels(w.run, jobs.StageBuild)
	labels[v1alpha1.LabelImage] = "web"
	p := w.podWith("build-web", labels, "kaniko", changes)
	p.Namespace = "conductor-builds"
	if err := w.Client.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
}

// buildSecret is the Secret of the Run's builds; nil where there is none.
func (w *rig) buildSecret() *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{}
	err := w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: "conductor-builds", Name: jobs.BuildSecretName(w.run)}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

func TestARunWithoutBuildsHasItsImages(t *testing.T) {
	w := newRig(t, nil)
	s := w.state()
	if err := w.reconcileBuilds(t.Context(), s); err != nil || w.github.made > 0 {
		t.Errorf("%v, %d tokens", err, w.github.made)
	}
	if c := condition(s, v1alpha1.ConditionImagesBuilt); c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonNothingToDo {
		t.Errorf("%+v", c)
	}
}

// The Job of each build is made once, after the Secret that it mounts; a registry that does not answer is found out before.
func TestBuildsAreStarted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		set    func(*rig)
		token  string // in the Secret afterwards
		job    bool
		kind   failure.Kind
		reason string
	}{
		{name: "at first", set: func(*rig) {}, token: "token-1", job: true},
		{name: "a Secret was left behind", set: func(w *rig) {
			if err := w.createBuildSecret(w.t.Context(), w.state()); err != nil {
				w.t.Fatal(err)
			}
		}, token: "token-2", job: true},
		{name: "the Job was left behind", set: func(w *rig) {
			if err := w.startBuilds(w.t.Context(), w.state()); err != nil {
				w.t.Fatal(err)
			}
			w.run.Status = v1alpha1.RunStatus{StartedAt: w.at(0)}
		}, token: "token-2", job: true},
		{name: "GitHub is away", set: func(w *rig) { w.github.err = errors.New("502") }, kind: failure.Transient, reason: v1alpha1.ReasonUnavailable},
		{name: "GitHub refuses", set: func(w *rig) { w.github.err = failure.Terminalf(v1alpha1.ReasonRefused, nil, "The App was suspended") },
			kind: failure.Terminal, reason: v1alpha1.ReasonRefused},
		{name: "no push credential", set: func(w *rig) { w.shelf.fails = map[string]error{"PushConfig": errors.New("no file")} }, kind: failure.Transient,
			reason: v1alpha1.ReasonUnavailable},
		{name: "the registry does not answer", set: func(w *rig) {
			w.shelf.fails = map[string]error{"Ping": failure.Transientf(v1alpha1.ReasonUnavailable, nil, "The registry did not answer")}
		}, token: "token-1", kind: failure.Transient, reason: v1alpha1.ReasonUnavailable},
		{name: "the API server refuses the Secret", set: func(w *rig) { w.refuses["create Secret"] = forbidden("secrets") }, kind: failure.Transient,
			reason: v1alpha1.ReasonUnavailable},
		{name: "the API server refuses the Job", set: func(w *rig) { w.refuses["create Job"] = forbidden("jobs") }, token: "token-1",
			kind: failure.Transient, reason: v1alpha1.ReasonUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newBuilds(t)
			tc.set(w)
			s := w.state()
			wantFailure(t, w.reconcileBuilds(t.Context(), s), tc.kind, tc.reason)
			secret := w.buildSecret()
			if (secret != nil) != (tc.token != "") || secret != nil && !strings.Contains(string(secret.Data["git-token"])+secret.StringData["git-token"], tc.token) {
				t.Errorf("secret %+v, want %q", secret, tc.token)
			}
			img := imageStatus(s.status(), "web")
			job, err := w.kube.BatchV1().Jobs("conductor-builds").Get(t.Context(), jobs.BuildName(w.run, "web"), metav1.GetOptions{})
			noted := img.Job != "" && img.StartedAt != nil && s.status().BuildsNamespace == "conductor-builds"
			if (err == nil) != tc.job || noted != tc.job || tc.job && img.Job != job.Name {
				t.Errorf("%v; image %+v in %q", err, img, s.status().BuildsNamespace)
			}
			if c := condition(s, v1alpha1.ConditionImagesBuilt); tc.job && (c.Message != "Building web" || s.requeue != noPodGrace) {
				t.Errorf("%q, requeue after %s", c.Message, s.requeue)
			}
			made := w.github.made
			if err := w.reconcileBuilds(t.Context(), w.state()); tc.job && (err != nil || w.github.made != made) {
				t.Errorf("the next reconcile: %v, %d tokens", err, w.github.made)
			}
		})
	}
}

func TestABuildIsWhatItsPodIs(t *testing.T) {
	pushed := func(code int32, message string) podChange {
		return func(p *corev1.Pod) {
			exited(code, "Error", time.Minute)(p)
			p.Status.ContainerStatuses[0].State.Terminated.Message = message
		}
	}
	for _, tc := range []struct {
		name    string
		pod     podChange
		after   time.Duration
		digest  string
		doing   []string
		reason  string
		want    []string
		requeue time.Duration
		log     bool
	}{
		{name: "it runs", pod: running, after: time.Minute, doing: []string{"Building web"}, requeue: 29*time.Minute + 30*time.Second},
		{name: "success", pod: pushed(0, someDigest), digest: someDigest},
		{name: "success without a digest", pod: pushed(0, "done"), reason: v1alpha1.ReasonBuildFailed, want: []string{"web", "without a digest"}},
		{name: "a failure", pod: pushed(1, ""), reason: v1alpha1.ReasonBuildFailed, want: []string{"The image web could not be built", "exit code 1"},
			log: true},
		{name: "out of memory", pod: func(p *corev1.Pod) {
			exited(137, "OOMKilled", time.Minute)(p)
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}
		}, reason: v1alpha1.ReasonOutOfMemory, want: []string{"builds.memoryLimit (1Gi)"}, log: true},
		{name: "too late", pod: func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "DeadlineExceeded" },
			reason: v1alpha1.ReasonTimeout, want: []string{"builds.timeout"}, log: true},
		{name: "the builder cannot be pulled yet", pod: waits("ErrImagePull", "manifest unknown"), after: time.Second,
			doing: []string{"Building web. The build of web cannot start yet", "manifest unknown"}, requeue: 19 * time.Second},
		{name: "the builder cannot be pulled", pod: waits("ErrImagePull", "manifest unknown"), after: time.Minute, reason: v1alpha1.ReasonImageUnavailable,
			want: []string{"The build of web cannot start", "manifest unknown"}, requeue: 29*time.Minute + 30*time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newBuilds(t)
			if err := w.startBuilds(t.Context(), w.state()); err != nil {
				t.Fatal(err)
			}
			w.buildPod(tc.pod)
			w.now = noon.Add(tc.after)
			s := w.state()
			wantFailure(t, w.reconcileBuilds(t.Context(), s), failure.Terminal, tc.reason, tc.want...)
			img, c := imageStatus(s.status(), "web"), condition(s, v1alpha1.ConditionImagesBuilt)
			if img.Digest != tc.digest || (img.Log != "") != tc.log || (img.FinishedAt != nil) != (tc.digest != "" || tc.log || tc.reason == v1alpha1.ReasonBuildFailed) {
				t.Errorf("%+v", img)
			}
			if wantText(t, c.Message, tc.doing...); s.requeue != tc.requeue || (c.Status == metav1.ConditionTrue) != (tc.digest != "") {
				t.Errorf("%+v, requeue after %s", c, s.requeue)
			}
			if (w.buildSecret() == nil) != (tc.digest != "") {
				t.Error("the credentials of builds go when all have ended, and not before")
			}
		})
	}
}

func TestABuildWithoutAPodIsExplained(t *testing.T) {
	for _, tc := range []struct {
		name    string
		after   time.Duration
		job     func(*batchv1.Job)
		deleted bool
		event   string
		reason  string
		want    string
		err     error
	}{
		{name: "it was started a moment ago", after: noPodGrace - time.Second, deleted: true},
		{name: "nothing is wrong", after: time.Hour},
		{name: "its Job was deleted", after: noPodGrace, deleted: true, reason: v1alpha1.ReasonBuildFailed, want: "was deleted"},
		{name: "its Job failed", after: noPodGrace, job: timedOut, reason: v1alpha1.ReasonTimeout, want: "web could not be built: it timed out: too long"},
		{name: "its pod is refused, just now", after: 10 * time.Second, event: "pods is forbidden: no room"},
		{name: "its pod is refused", after: 20 * time.Second, event: "pods is forbidden: no room", reason: v1alpha1.ReasonRefused,
			want: "The build of web cannot start: its pod was refused: no room"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newBuilds(t)
			if err := w.startBuilds(t.Context(), w.state()); err != nil {
				t.Fatal(err)
			}
			jobsOf, img := w.kube.BatchV1().Jobs("conductor-builds"), imageStatus(&w.run.Status, "web")
			job, err := jobsOf.Get(t.Context(), img.Job, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if tc.job != nil {
				tc.job(job)
				if _, err := jobsOf.UpdateStatus(t.Context(), job, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.deleted {
				if err := jobsOf.Delete(t.Context(), img.Job, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.event != "" {
				event := w.eventOf("FailedCreate", tc.event)
				event.Namespace = "conductor-builds"
				w.add(event)
			}
			w.now = noon.Add(tc.after)
			s := w.state()
			wantFailure(t, w.reconcileBuilds(t.Context(), s), failure.Terminal, tc.reason, tc.want)
			if s.requeue != noPodGrace {
				t.Errorf("requeue after %s", s.requeue)
			}
		})
	}
}

// A canceled Run takes its builds with it, those that its status does not name among them, and no other Run's.
func TestTheBuildsOfARunAreDeleted(t *testing.T) {
	w := newBuilds(t)
	if err := w.startBuilds(t.Context(), w.state()); err != nil {
		t.Fatal(err)
	}
	w.run.Status.Images = nil
	other := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "conductor-builds", Labels: jobs.Labels(orphan(), jobs.StageBuild)}}
	w.add(other)
	for range 2 {
		if err := w.deleteBuilds(t.Context(), w.run); err != nil {
			t.Fatal(err)
		}
		list, err := w.kube.BatchV1().Jobs("conductor-builds").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != 1 || list.Items[0].Name != "other" || w.buildSecret() != nil {
			t.Errorf("%+v, %v, secret %v", list.Items, err, w.buildSecret())
		}
	}
	w.refuse("delete", "jobs", errors.New("etcd is away"))
	w.run.UID = orphan().UID
	if err := w.deleteBuilds(t.Context(), w.run); err == nil {
		t.Error("a Job that cannot be deleted is not reported")
	}
}

func TestTheHostOfARepository(t *testing.T) {
	for address, want := range map[string]string{"https://github.com/acme/shop.git": "github.com", "https://git.example:8443/a": "git.example", "://": ""} {
		if got := hostOf(address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}
