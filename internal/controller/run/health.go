package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// healthInterval is the time between two checks of a kept stack. A thousand kept stacks cost the API server 17 lists a second out of its
// cache; a thousand watches would cost Conductor a cache of all their pods, and no one waits for the answer.
const healthInterval = time.Minute

// checkHealth checks the services of a kept stack that were up when the outcome was known. One that ends by itself has completed. A
// problem is reported after two checks, or at once when a container is crash-looping. Recovery is reported, too.
func (r *Reconciler) checkHealth(ctx context.Context, s *state) error {
	if e := s.status().ExpiresAt; e != nil {
		s.requeueAfter(e.Sub(s.now))
	}
	r.checkAddresses(ctx, s)
	if !slices.ContainsFunc(s.status().Services, wasUp) {
		return nil
	}
	s.requeueAfter(healthInterval)
	pods, err := r.keptPods(ctx, s.status().Namespace)
	if err != nil {
		return err
	}
	if err := r.stopCompleted(ctx, s, pods); err != nil {
		return err
	}
	for i := range s.status().Services {
		st := &s.status().Services[i]
		if st.State != v1alpha1.ServiceReady {
			continue
		}
		if hasCompleted(pods.of(st.Name), 1) {
			complete(s, st)
			continue
		}
		wrong, err := r.explainUnhealthy(ctx, s, st.Name, pods.of(st.Name))
		if err != nil {
			return err
		}
		if wrong != "" {
			r.markDegraded(s, wrong, slices.ContainsFunc(pods.of(st.Name), isCrashLooping))
			return nil
		}
	}
	r.markHealthy(s)
	return nil
}

// reportCrashes notes which services completed and how others crashed while the tests run, with the ends of their logs. It fails nothing:
// tests may end a service on purpose.
func (r *Reconciler) reportCrashes(ctx context.Context, s *state) error {
	pods, err := r.stacks.pods(ctx, s.run)
	if err != nil {
		return err
	}
	if err := r.stopCompleted(ctx, s, pods); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, diagnosisTime)
	defer cancel()
	for i := range s.status().Services {
		st := &s.status().Services[i]
		if st.State != v1alpha1.ServiceReady && st.State != v1alpha1.ServiceStarting {
			continue
		}
		if hasCompleted(pods.of(st.Name), replicas(s.plan, st.Name)) {
			complete(s, st)
			continue
		}
		about := r.subject(s, diagnose.Service, st.Name)
		for _, p := range pods.of(st.Name) {
			f := diagnose.Crashing(p, about)
			if f == nil {
				continue
			}
			if st.State = v1alpha1.ServiceReady; !isUp(p) {
				st.State = v1alpha1.ServiceStarting
			}
			if sentence := capitalize(f.String()); !strings.HasPrefix(st.Message, sentence) {
				st.Message = withLog(sentence, r.stackTail(ctx, s.run, p, 1500))
			}
		}
	}
	return nil
}

// replicas is how many pods a service has, at least 1.
func replicas(p *loaded, service string) int {
	for i := range p.Services {
		if p.Services[i].Name == service {
			return max(1, int(p.Services[i].Replicas))
		}
	}
	return 1
}

// noteCrashes keeps in mind which services had crashed by the end of the tests.
func noteCrashes(s *state) {
	for _, st := range s.status().Services {
		if st.Message != "" && st.State != v1alpha1.ServiceFailed {
			first, _, _ := strings.Cut(st.Message, "\n")
			s.addNote("Service " + st.Name + " was unhealthy when the tests finished: " + first)
		}
	}
}

func wasUp(st v1alpha1.ServiceStatus) bool {
	return st.State == v1alpha1.ServiceReady || st.State == v1alpha1.ServiceCompleted
}

// markDegraded notes what is wrong: the first time as unknown, unless it is sure.
func (r *Reconciler) markDegraded(s *state, wrong string, sure bool) {
	c := meta.FindStatusCondition(s.status().Conditions, v1alpha1.ConditionStackHealthy)
	switch {
	case c != nil && c.Status == metav1.ConditionFalse:
	case sure || c != nil && c.Status == metav1.ConditionUnknown && s.now.Sub(c.LastTransitionTime.Time) >= healthInterval/2:
		s.set(v1alpha1.ConditionStackHealthy, metav1.ConditionFalse, v1alpha1.ReasonDegraded, wrong)
	default:
		s.set(v1alpha1.ConditionStackHealthy, metav1.ConditionUnknown, v1alpha1.ReasonPending, "A service is not up; it is checked again in a minute")
	}
}

// markHealthy notes that every service is up. After a failure the message has the time of recovery.
func (r *Reconciler) markHealthy(s *state) {
	message := "Every service is up"
	if c := meta.FindStatusCondition(s.status().Conditions, v1alpha1.ConditionStackHealthy); c != nil {
		switch {
		case c.Status == metav1.ConditionTrue:
			return
		case c.Status == metav1.ConditionFalse:
			message = "Every service is up again, since " + s.now.UTC().Format("2006-01-02 15:04") + " UTC"
		}
	}
	s.set(v1alpha1.ConditionStackHealthy, metav1.ConditionTrue, v1alpha1.ReasonDone, message)
}

// keptPods are the pods of a kept stack by service, as the API server's cache has them.
func (r *Reconciler) keptPods(ctx context.Context, namespace string) (servicePods, error) {
	list, err := r.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		ResourceVersion: "0", LabelSelector: labels.Set{v1alpha1.LabelStage: jobs.StageStack}.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", namespace, err)
	}
	pods := make([]*corev1.Pod, 0, len(list.Items))
	for i := range list.Items {
		pods = append(pods, &list.Items[i])
	}
	return byService(pods), nil
}

// explainUnhealthy returns what is wrong with a service that was up, with the end of its log; "" while one of its pods is ready.
func (r *Reconciler) explainUnhealthy(ctx context.Context, s *state, name string, pods []*corev1.Pod) (string, error) {
	if slices.ContainsFunc(pods, isUp) {
		return "", nil
	}
	who := "The service " + name + " is not up any more"
	if len(pods) == 0 {
		return r.explainNoPods(ctx, s, name, who)
	}
	about := r.subject(s, diagnose.Service, name)
	for _, p := range pods {
		for _, f := range []*diagnose.Finding{diagnose.Crashing(p, about), r.explainBlocked(ctx, s, p, about), diagnose.Ended(p, about)} {
			if f != nil {
				return withLog(f.About(who), r.stackTail(ctx, s.run, p, 1000)), nil
			}
		}
	}
	p := pods[len(pods)-1]
	if f := diagnose.Unready(p, r.listEvents(ctx, p.Namespace, "Pod", p.Name)); f != nil {
		return withLog(f.About(who), r.stackTail(ctx, s.run, p, 1000)), nil
	}
	return withLog(who+": its pod is not ready", r.stackTail(ctx, s.run, p, 1000)), nil
}

// explainNoPods is a service without a pod: that is wrong unless none is wanted.
func (r *Reconciler) explainNoPods(ctx context.Context, s *state, name, who string) (string, error) {
	d, err := r.Kube.AppsV1().Deployments(s.status().Namespace).Get(ctx, compose.ObjectName(name), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return r.explainNoPodsOfJob(ctx, s, name, who)
	case err != nil:
		return "", fmt.Errorf("get the deployment of %s: %w", name, err)
	case wanted(d) == 0:
		return "", nil
	}
	if f := diagnose.Deployment(d, s.now); f != nil {
		return f.About(who), nil
	}
	return who + ": it has no pod", nil
}

// explainNoPodsOfJob is a one-shot service without a pod, which is wrong before it has completed.
func (r *Reconciler) explainNoPodsOfJob(ctx context.Context, s *state, name, who string) (string, error) {
	j, err := r.Kube.BatchV1().Jobs(s.status().Namespace).Get(ctx, compose.ObjectName(name), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return who + ": it was deleted", nil
	case err != nil:
		return "", fmt.Errorf("get the job of %s: %w", name, err)
	case j.Status.Succeeded > 0:
		return "", nil
	}
	if f := diagnose.Creation(r.listEvents(ctx, j.Namespace, "Job", j.Name), s.now); f != nil {
		return f.About(who), nil
	}
	return who + ": it has no pod", nil
}

// wanted is how many pods a Deployment is to have.
func wanted(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func withLog(sentence, log string) string {
	if log == "" {
		return sentence
	}
	return sentence + "\n" + log
}
