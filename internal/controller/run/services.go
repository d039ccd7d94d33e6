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

// noPodGrace is how long a workload may be without a pod before it is asked why.
const noPodGrace = 5 * time.Second

// reconcileServices starts what may start and notes the state of every service.
func (r *Reconciler) reconcileServices(ctx context.Context, s *state, pods servicePods) error {
	if err := r.stopCompleted(ctx, s, pods); err != nil {
		return err
	}
	var start []client.Object
	for i := range s.plan.Services {
		svc := &s.plan.Services[i]
		st := serviceStatus(s.status(), svc.Name)
		if st.State == v1alpha1.ServiceWaiting {
			if why := r.explainWait(s, svc, pods); why != "" {
				st.Message = why
				if err := r.failOnEndedDependency(ctx, s, svc, st); err != nil {
					return err
				}
				continue
			}
			// With pods it was started, though the status of that reconcile was lost: what was started stays.
			if len(pods.of(svc.Name)) == 0 {
				start = append(start, svc.Workload)
			}
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
	if err := r.failOnCrashes(ctx, s, pods); err != nil {
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
		met := isMet(d.Condition, dep.State, slices.ContainsFunc(pods.of(d.Service), stackns.HasStarted))
		if !met && (d.Required || dep.State != v1alpha1.ServiceFailed && !isNeverHealthy(d, dep)) {
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

// isNeverHealthy reports whether a dependency that is to be healthy has ended.
func isNeverHealthy(d compose.Dependency, dep *v1alpha1.ServiceStatus) bool {
	return d.Condition == compose.ConditionHealthy && dep.State == v1alpha1.ServiceCompleted
}

// failOnEndedDependency ends the Run when a service waits for the health of one that has ended.
func (r *Reconciler) failOnEndedDependency(ctx context.Context, s *state, svc *plan.Service, st *v1alpha1.ServiceStatus) error {
	for _, d := range svc.DependsOn {
		i := slices.IndexFunc(s.status().Services, func(o v1alpha1.ServiceStatus) bool { return o.Name == d.Service })
		if i >= 0 && d.Required && isNeverHealthy(d, &s.status().Services[i]) {
			return r.failService(ctx, s, svc.Name, st, nil, diagnose.Finding{
				Reason: v1alpha1.ReasonUnhealthy, Sentence: "it waits until " + d.Service + " is healthy, but " + d.Service + " ended with exit code 0",
				Advice: "If " + d.Service + " is meant to end, wait for it with the condition service_completed_successfully.",
			})
		}
	}
	return nil
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

// observeService notes the state of a started service, from its pods. One that others wait for is never ready: they wait for its end.
func (r *Reconciler) observeService(ctx context.Context, s *state, svc *plan.Service, st *v1alpha1.ServiceStatus, pods []*corev1.Pod) error {
	up := 0
	for _, p := range pods {
		if diagnose.Completed(p) || isUp(p) {
			if up++; !svc.Awaited {
				continue
			}
		} else if f := r.explainBlockedService(ctx, s, p, svc.Name); f != nil {
			if err := r.failService(ctx, s, svc.Name, st, nil, *f); err != nil {
				return err
			}
			continue
		}
		st.Message = r.waitSentence(s, p, svc)
	}
	switch want := max(1, int(svc.Replicas)); {
	case svc.OneShot && svc.Replicas == 0 || hasCompleted(pods, want):
		complete(s, st)
	case svc.Awaited:
		st.State = v1alpha1.ServiceStarting
	case svc.Replicas == 0 || up >= want:
		st.State, st.Message = v1alpha1.ServiceReady, ""
	case st.State == v1alpha1.ServiceReady:
		st.State = v1alpha1.ServiceStarting
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

// isUp reports whether the containers of a pod are ready, apart from those that have ended and may.
func isUp(p *corev1.Pod) bool {
	if isReady(p) || p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning {
		return isReady(p)
	}
	return len(p.Status.ContainerStatuses) > 1 && !slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return !c.Ready && !diagnose.HasEnded(p, c)
	})
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
	if svc.Awaited && isUp(p) {
		return "It runs, and other services wait for its completion"
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
