package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/stackns"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// crashLimit is how many crashes of a service end the Run when no other service is on its way, crashPatience how many do in any
	// case: a service without depends_on crashes until what it needs is up. The kubelet starts it again after 0, 10, 20, 40 s.
	crashLimit    = 3
	crashPatience = 5
	// podless is how long a workload may be without a pod before it is asked why.
	noPodGrace = 5 * time.Second
)

// reconcileServices starts what may start and notes the state of every service.
func (r *Reconciler) reconcileServices(ctx context.Context, s *state, pods servicePods) error {
	var start []client.Object
	for i := range s.plan.Services {
		svc := &s.plan.Services[i]
		st := serviceStatus(s.status(), svc.Name)
		if st.State == v1alpha1.ServiceWaiting {
			if why := r.explainWait(s, svc, pods); why != "" {
				st.Message = why
				continue
			}
			start = append(start, svc.Workload)
			if s.images.exposes(svc) { // Ports that were not known when the namespace was made.
				start = append(start, svc.Objects...)
			}
			st.State, st.Message = v1alpha1.ServiceStarting, "Starting"
			s.requeueAfter(noPodGrace)
		} else if len(pods.of(svc.Name)) == 0 && st.State == v1alpha1.ServiceStarting {
			if err := r.explainMissingPod(ctx, s, svc, st); err != nil {
				return err
			}
		}
		if st.State != v1alpha1.ServiceCompleted {
			if err := r.observeService(ctx, s, svc, st, pods.of(svc.Name)); err != nil {
				return err
			}
		}
	}
	if err := r.failOnCrashLoop(ctx, s, pods); err != nil {
		return err
	}
	return r.namespaces().Apply(ctx, start)
}

// explainWait returns what keeps a service from being started; "" when nothing does.
func (r *Reconciler) explainWait(s *state, svc *plan.Service, pods servicePods) string {
	var waits []string
	for _, name := range podServices(svc) {
		if b := s.plan.BuildOf(name); b != "" && imageStatus(s.status(), b).Digest == "" {
			waits = append(waits, "the image "+b)
		} else if slices.Contains(svc.Pending, name) {
			waits = append(waits, "the registry to resolve the image of "+name)
		}
	}
	for _, d := range svc.DependsOn {
		i := slices.IndexFunc(s.plan.Services, func(o plan.Service) bool { return o.Name == d.Service })
		if i < 0 {
			continue
		}
		dep := serviceStatus(s.status(), d.Service)
		if !isMet(d.Condition, dep.State, slices.ContainsFunc(pods.of(d.Service), stackns.HasStarted)) && (d.Required || dep.State != v1alpha1.ServiceFailed) {
			waits = append(waits, d.Service+" ("+strings.TrimPrefix(d.Condition, "service_")+")")
		}
	}
	if len(waits) == 0 {
		return ""
	}
	return "Waiting for " + strings.Join(waits, ", ")
}

// isMet reports whether a dependency fulfils a condition of depends_on; started means that one of its containers has been started.
func isMet(condition string, state v1alpha1.ServiceState, started bool) bool {
	switch condition {
	case compose.ConditionHealthy:
		return state == v1alpha1.ServiceReady
	case compose.ConditionCompleted:
		return state == v1alpha1.ServiceCompleted
	}
	return started || state == v1alpha1.ServiceReady || state == v1alpha1.ServiceCompleted
}

// explainMissingPod asks why a service that was started has no pod.
func (r *Reconciler) explainMissingPod(ctx context.Context, s *state, svc *plan.Service, st *v1alpha1.ServiceStatus) error {
	s.requeueAfter(noPodGrace)
	name, namespace := svc.Workload.GetName(), s.status().Namespace
	var f *diagnose.Finding
	switch svc.Workload.(type) {
	case *appsv1.Deployment:
		d, err := r.Kube.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil // The namespace goes, or the write that makes it was lost.
		} else if err != nil {
			return fmt.Errorf("get the deployment %s: %w", name, err)
		}
		f = diagnose.Deployment(d, s.now)
	case *batchv1.Job:
		f = diagnose.Creation(r.listEvents(ctx, namespace, "Job", name), s.now)
	}
	if f == nil {
		return nil
	}
	return r.failService(ctx, s, svc.Name, st, nil, *f)
}

// observeService notes the state of a started service, from its pods.
func (r *Reconciler) observeService(ctx context.Context, s *state, svc *plan.Service, st *v1alpha1.ServiceStatus, pods []*corev1.Pod) error {
	if svc.OneShot {
		return r.observeJob(ctx, s, svc, st, pods)
	}
	ready := 0
	for _, p := range pods {
		if isReady(p) {
			ready++
		} else if f := r.explainBlockedService(ctx, s, p, svc.Name); f != nil {
			if err := r.failService(ctx, s, svc.Name, st, nil, *f); err != nil {
				return err
			}
		} else {
			st.Message = r.waitSentence(s, p, svc)
		}
	}
	switch want := max(1, int(svc.Replicas)); {
	case svc.Replicas == 0 || ready >= want:
		st.State, st.Message = v1alpha1.ServiceReady, ""
	case st.State == v1alpha1.ServiceReady:
		st.State = v1alpha1.ServiceStarting
	}
	return nil
}

// observeJob notes the state of a service that runs to its end.
func (r *Reconciler) observeJob(ctx context.Context, s *state, svc *plan.Service, st *v1alpha1.ServiceStatus, pods []*corev1.Pod) error {
	failed := 0
	about := r.subject(s, diagnose.Service, svc.Name)
	for _, p := range pods {
		if t := terminated(p); p.Status.Phase == corev1.PodSucceeded || t != nil && t.ExitCode == 0 {
			st.State, st.Message = v1alpha1.ServiceCompleted, ""
			return nil
		}
		if f := diagnose.Ended(p, about); f != nil {
			failed++
			st.Message = capitalize(f.String())
			job := svc.Workload.(*batchv1.Job)
			if job.Spec.BackoffLimit == nil || failed > int(*job.Spec.BackoffLimit) {
				f.After = 0
				f.Sentence += ", and other services wait for its success"
				return r.failService(ctx, s, svc.Name, st, p, *f)
			}
		} else if f := r.explainBlockedService(ctx, s, p, svc.Name); f != nil {
			if err := r.failService(ctx, s, svc.Name, st, nil, *f); err != nil {
				return err
			}
		}
	}
	return nil
}

// explainBlockedService returns what keeps a service's pod from starting. For a pod that cannot be scheduled, the claims of its volumes may have the cause.
func (r *Reconciler) explainBlockedService(ctx context.Context, s *state, p *corev1.Pod, name string) *diagnose.Finding {
	f := r.explainBlocked(ctx, s, p, r.subject(s, diagnose.Service, name))
	if f == nil || f.Reason != v1alpha1.ReasonUnschedulable || f.After > 0 {
		return f
	}
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		claim, err := r.Kube.CoreV1().PersistentVolumeClaims(p.Namespace).Get(ctx, v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{})
		if err != nil {
			r.Log.Warn("a volume's claim cannot be read", "namespace", p.Namespace, "claim", v.PersistentVolumeClaim.ClaimName, "error", err)
			continue
		}
		if c := diagnose.Claim(claim, r.listEvents(ctx, p.Namespace, "PersistentVolumeClaim", claim.Name)); c != nil {
			f.Sentence, f.Advice = f.Sentence+"; "+c.Sentence, c.Advice
		}
	}
	return f
}

// failService notes what is wrong with a service, and ends the Run unless it may still mend itself. With a pod that ran, the end of its log
// is kept.
func (r *Reconciler) failService(ctx context.Context, s *state, name string, st *v1alpha1.ServiceStatus, pod *corev1.Pod, f diagnose.Finding) error {
	st.Message = capitalize(f.String())
	if f.After > 0 {
		s.requeueAfter(f.After)
		return nil
	}
	st.State = v1alpha1.ServiceFailed
	who := "The service " + name + " cannot start"
	if pod != nil {
		who = "The service " + name + " did not come up"
		st.Message = withLog(st.Message, r.stackTail(ctx, s.run, pod, 1500))
	}
	return f.Failure(who)
}

// failOnCrashLoop ends the Run when a service crashes or loses its pods again and again. As long as another service is on its way, a
// crash may be for want of that.
func (r *Reconciler) failOnCrashLoop(ctx context.Context, s *state, pods servicePods) error {
	limit := crashLimit
	if slices.ContainsFunc(s.plan.Services, func(svc plan.Service) bool { return r.mayComeUp(s, &svc, pods.of(svc.Name)) }) {
		limit = crashPatience
	}
	for _, svc := range s.plan.Services {
		st := serviceStatus(s.status(), svc.Name)
		if svc.OneShot || st.State != v1alpha1.ServiceStarting {
			continue
		}
		about, lost := r.subject(s, diagnose.Service, svc.Name), 0
		for _, p := range pods.of(svc.Name) {
			if f := diagnose.Crashing(p, about); f != nil && !isReady(p) && diagnose.Crashes(p) >= limit {
				return r.failService(ctx, s, svc.Name, st, p, *f)
			}
			if f := diagnose.Ended(p, about); f != nil && p.Status.Phase == corev1.PodFailed {
				if lost++; lost >= crashLimit {
					return r.failService(ctx, s, svc.Name, st, p, *f)
				}
			}
		}
	}
	return nil
}

// mayComeUp reports whether a service may still come up: its image is being built or looked up, or it starts and has not crashed.
func (r *Reconciler) mayComeUp(s *state, svc *plan.Service, pods []*corev1.Pod) bool {
	switch serviceStatus(s.status(), svc.Name).State {
	case v1alpha1.ServiceWaiting:
		return slices.Contains(svc.Pending, svc.Name)
	case v1alpha1.ServiceStarting:
		return !slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return diagnose.Crashes(p) > 0 })
	}
	return false
}

// isCrashLooping reports whether a pod crashed so often that it will not recover.
func isCrashLooping(p *corev1.Pod) bool { return diagnose.Crashes(p) >= crashLimit }

func isReady(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// waitSentence is what a started service still waits for.
func (r *Reconciler) waitSentence(s *state, p *corev1.Pod, svc *plan.Service) string {
	about := r.subject(s, diagnose.Service, svc.Name)
	if f := diagnose.Crashing(p, about); f != nil {
		return capitalize(f.String())
	}
	if f := diagnose.Ended(p, about); f != nil {
		return capitalize(f.String())
	}
	if stackns.HasStarted(p) && svc.Probe != "" {
		return "It runs, but its health check has not passed yet: " + svc.Probe
	}
	return "Starting"
}

// passGate ends the stage when every service is up, or when its time is up with the services that are not.
func (r *Reconciler) passGate(ctx context.Context, s *state, pods servicePods) error {
	not := r.notReady(s)
	if len(not) == 0 {
		s.done(v1alpha1.ConditionStackReady, v1alpha1.ReasonDone, text.Plural(len(s.plan.Services), "service")+" up")
		r.checkAddresses(ctx, s)
		return nil
	}
	if s.isOpen(v1alpha1.ConditionImagesBuilt) {
		s.begin(v1alpha1.ConditionStackReady, "Not up yet: "+strings.Join(not, "; "))
		return nil
	}
	limit := s.plan.ReadyTimeout
	began := s.stageTime(v1alpha1.ConditionImagesBuilt).FinishedAt
	if t := timeLeft(began, limit, s.now); t > 0 {
		s.requeueAfter(t)
		s.begin(v1alpha1.ConditionStackReady, "Not up yet: "+strings.Join(not, "; "))
		return nil
	}
	r.explainNotReady(ctx, s, pods)
	return failure.Terminalf(v1alpha1.ReasonUnhealthy, nil, "The stack was not up %s after its images were built (stack.ready.timeout). %s",
		limit, strings.Join(r.notReady(s), "; "))
}

// notReady are the services that are not up, with the sentence of each.
func (r *Reconciler) notReady(s *state) []string {
	var not []string
	for _, svc := range s.plan.Services {
		st := serviceStatus(s.status(), svc.Name)
		if st.State != v1alpha1.ServiceReady && st.State != v1alpha1.ServiceCompleted {
			not = append(not, svc.Name+": "+strings.SplitN(st.Message, "\n", 2)[0])
		}
	}
	return not
}

// explainNotReady adds the kubelet's reasons and the ends of the logs to services that did not come up in time.
func (r *Reconciler) explainNotReady(ctx context.Context, s *state, pods servicePods) {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTime)
	defer cancel()
	for _, svc := range s.plan.Services {
		st := serviceStatus(s.status(), svc.Name)
		i := slices.IndexFunc(pods.of(svc.Name), func(p *corev1.Pod) bool { return !isReady(p) })
		if st.State != v1alpha1.ServiceStarting || i < 0 {
			continue
		}
		p := pods.of(svc.Name)[i]
		if f := diagnose.Unready(p, r.listEvents(ctx, p.Namespace, "Pod", p.Name)); f != nil {
			st.Message = strings.TrimPrefix(st.Message+". "+capitalize(f.String()), "Starting. ")
		}
		if stackns.HasStarted(p) {
			st.Message = withLog(st.Message, r.stackTail(ctx, s.run, p, 1500))
		}
	}
}
