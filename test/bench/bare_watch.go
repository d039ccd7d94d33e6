package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
)

// progress is the state of a stack's services, by name.
type progress struct{ applied, started, ready map[string]bool }

// see updates the progress from a pod.
func (u progress) see(p *corev1.Pod) {
	name := p.Labels[v1alpha1.LabelService]
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running != nil || c.State.Terminated != nil {
			u.started[name] = true
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			u.ready[name] = true
		}
	}
	if t := ended(p); t != nil && t.ExitCode == 0 {
		u.ready[name] = true
	}
}

// lacks reports whether a dependency is not met yet.
func (u progress) lacks(d compose.Dependency) bool {
	return !u.ready[d.Service] && (d.Condition != compose.ConditionStarted || !u.started[d.Service])
}

// watch calls see for every existing or changed pod of the run in a namespace, and with nil at the start and at each wake, until see
// returns true.
func (b *bare) watch(ctx context.Context, namespace string, wake <-chan struct{}, see func(*corev1.Pod) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if done, err := see(nil); done || err != nil {
		return err
	}
	selector := v1alpha1.LabelRun + "=" + b.spec.Run.Name
	list, err := b.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for i := range list.Items {
		if done, err := see(&list.Items[i]); done || err != nil {
			return err
		}
	}
	w, err := b.kube.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{LabelSelector: selector, ResourceVersion: list.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	defer w.Stop()
	for {
		var pod *corev1.Pod
		select {
		case <-wake:
		case e, ok := <-w.ResultChan():
			if !ok {
				return fmt.Errorf("the watch of %s ended: %w", namespace, context.Cause(ctx))
			}
			p, isPod := e.Object.(*corev1.Pod)
			if !isPod || e.Type == watch.Deleted {
				continue
			}
			pod = p
		}
		if done, err := see(pod); done || err != nil {
			return err
		}
	}
}

// ended is how a pod's container ended; nil while it has not.
func ended(p *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Terminated != nil {
			return c.State.Terminated
		}
	}
	return nil
}
