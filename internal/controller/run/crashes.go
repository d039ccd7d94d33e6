package run

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

const (
	// crashLimit is how many crashes of a service end the Run when no other service is on its way, crashPatience how many do in any
	// case: a service without depends_on crashes until what it needs is up. The kubelet starts it again after 0, 10, 20, 40 s.
	crashLimit    = 3
	crashPatience = 5
)

// failOnCrashes ends the Run when a service crashes or loses its pods again and again. As long as another service is on its way, a crash may
// be for want of that.
func (r *Reconciler) failOnCrashes(ctx context.Context, s *state, pods servicePods) error {
	limit := crashLimit
	if slices.ContainsFunc(s.plan.Services, func(svc plan.Service) bool { return r.mayComeUp(s, &svc, pods.of(svc.Name)) }) {
		limit = crashPatience
	}
	for i := range s.plan.Services {
		svc := &s.plan.Services[i]
		st := serviceStatus(s.status(), svc.Name)
		about := r.subject(s, diagnose.Service, svc.Name)
		var p *corev1.Pod
		var f *diagnose.Finding
		switch {
		case isOneShot(svc, pods.of(svc.Name)):
			p, f = failedJob(svc, st, pods.of(svc.Name), limit, about)
		case st.State == v1alpha1.ServiceStarting:
			p, f = crashLoop(pods.of(svc.Name), limit, about)
		}
		if f != nil {
			f.After = 0
			return r.failService(ctx, s, svc.Name, st, p, *f)
		}
	}
	return nil
}

// isOneShot reports whether a service was started as a Job. Its pods show it: a later plan may know less of its image.
func isOneShot(svc *plan.Service, pods []*corev1.Pod) bool {
	if len(pods) == 0 {
		return svc.OneShot
	}
	return diagnose.RestartsFailuresOnly(pods[0])
}

// crashLoop finds the pod of a Deployment that crashed too often, or the last one of those that were lost.
func crashLoop(pods []*corev1.Pod, limit int, about diagnose.Subject) (*corev1.Pod, *diagnose.Finding) {
	lost := 0
	for _, p := range pods {
		if f := diagnose.Crashing(p, about); f != nil && !isUp(p) && diagnose.Crashes(p) >= limit {
			return p, f
		}
		if f := diagnose.Ended(p, about); f != nil && p.Status.Phase == corev1.PodFailed {
			if lost++; lost >= crashLimit {
				return p, f
			}
		}
	}
	return nil, nil
}

// failedJob finds the last failure of a one-shot service that has failed too often: as often as its restart policy allows or, while it is not
// up, as often as a Deployment may crash. Restarts by the kubelet count, and pods that failed.
func failedJob(svc *plan.Service, st *v1alpha1.ServiceStatus, pods []*corev1.Pod, limit int, about diagnose.Subject) (last *corev1.Pod, f *diagnose.Finding) {
	switch {
	case svc.MaxFailures > 0 && (st.State == v1alpha1.ServiceStarting || st.State == v1alpha1.ServiceReady):
		limit = int(svc.MaxFailures)
	case st.State != v1alpha1.ServiceStarting:
		return nil, nil
	}
	failed, restarts := 0, 0
	for _, p := range pods {
		n := diagnose.Crashes(p)
		if p.Status.Phase == corev1.PodFailed {
			n = max(1, n)
			failed += n
		} else {
			restarts = max(restarts, n)
		}
		if n == 0 {
			continue
		}
		switch last, f = p, diagnose.Ended(p, about); {
		case n > 1 && p.Status.Phase != corev1.PodFailed:
			f = diagnose.Crashing(p, about)
		case f == nil: // The kubelet has restarted it.
			f = diagnose.LastEnd(p, about)
		}
	}
	if f == nil || failed+restarts < limit {
		return nil, nil
	}
	if svc.Awaited {
		f.Sentence += ", and other services wait for its success"
	}
	return last, f
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
