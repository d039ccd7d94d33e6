package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/report"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// watchRuns calls see for every existing or changed Run until see returns true. A watch costs the API server less than polling, which
// would distort the measurement.
func (b *bench) watchRuns(ctx context.Context, see func(*v1alpha1.Run) bool) error {
	w, err := b.watcher.Watch(ctx, &v1alpha1.RunList{}, client.InNamespace(lab.Namespace))
	if err != nil {
		return fmt.Errorf("watch runs: %w", err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if r, ok := e.Object.(*v1alpha1.Run); ok && e.Type != watch.Deleted && see(r) {
			return nil
		}
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("watch runs: %w", err)
	}
	return errors.New("the watch of runs ended")
}

// awaitLeader waits until one of Conductor's present pods is the leader, and notes its name.
func (b *bench) awaitLeader(ctx context.Context) error {
	_, err := b.leader(ctx)
	return err
}

func (b *bench) leader(ctx context.Context) (string, error) {
	found := ""
	err := poll(ctx, time.Minute, "a leader", func(ctx context.Context) (bool, error) {
		lease, err := b.Kube.CoordinationV1().Leases(lab.Namespace).Get(ctx, "conductor", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return false, err
		}
		pods, err := b.conductorPods(ctx)
		if err != nil {
			return false, err
		}
		for _, p := range pods {
			// controller-runtime's identity is the host name, which is the pod's name, an underscore and a UUID.
			if strings.HasPrefix(*lease.Spec.HolderIdentity, p.Name+"_") {
				found = p.Name
			}
		}
		return found != "", nil
	})
	return found, err
}

// scale sets Conductor's replicas and waits until their number is reached.
func (b *bench) scale(ctx context.Context, replicas int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if _, err := b.Kube.AppsV1().Deployments(lab.Namespace).Patch(ctx, "conductor", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("scale Conductor: %w", err)
	}
	err := poll(ctx, 2*time.Minute, fmt.Sprintf("%d replicas", replicas), func(ctx context.Context) (bool, error) {
		list, err := b.Kube.CoreV1().Pods(lab.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=conductor"})
		if err != nil {
			return false, err
		}
		ready := 0
		for _, p := range list.Items {
			for _, c := range p.Status.Conditions {
				if p.DeletionTimestamp == nil && c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		return ready == replicas && len(list.Items) == replicas, nil
	})
	if err != nil || replicas == 0 {
		return err
	}
	return b.awaitLeader(ctx)
}

// forget deletes every Run and Delivery and waits until they are gone. Conductor must be running.
func (b *bench) forget(ctx context.Context) error {
	if err := b.Client.DeleteAllOf(ctx, &v1alpha1.Run{}, client.InNamespace(lab.Namespace)); err != nil {
		return fmt.Errorf("delete the runs: %w", err)
	}
	if err := b.Client.DeleteAllOf(ctx, &v1alpha1.Delivery{}, client.InNamespace(lab.Namespace)); err != nil {
		return fmt.Errorf("delete the deliveries: %w", err)
	}
	return poll(ctx, 3*time.Minute, "the runs to be gone", func(ctx context.Context) (bool, error) {
		var list v1alpha1.RunList
		err := b.Client.List(ctx, &list, client.InNamespace(lab.Namespace))
		return err == nil && len(list.Items) == 0, err
	})
}

// plant creates finished Runs: reported, and their stacks deleted. Conductor must not be running: it would start them before their status
// is set.
func (b *bench) plant(ctx context.Context, like *v1alpha1.Run, n int) ([]v1alpha1.Run, error) {
	var planted []v1alpha1.Run
	for i := range n {
		r := v1alpha1.Run{
			ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("bench-%03d", i), Namespace: lab.Namespace, Labels: like.Labels, Finalizers: []string{v1alpha1.Finalizer},
			},
			Spec: *like.Spec.DeepCopy(),
		}
		if err := b.Client.Create(ctx, &r); err != nil {
			return nil, fmt.Errorf("create run %s: %w", r.Name, err)
		}
		r.Status = *like.Status.DeepCopy()
		over(&r)
		if err := b.Client.Status().Update(ctx, &r); err != nil {
			return nil, fmt.Errorf("write the status of %s: %w", r.Name, err)
		}
		planted = append(planted, r)
	}
	return planted, nil
}

// over sets the final status of a Run: reported, and its stack deleted.
func over(r *v1alpha1.Run) {
	now := metav1.NowMicro()
	st := &r.Status
	if st.Outcome == "" {
		st.Outcome, st.StartedAt, st.FinishedAt = v1alpha1.OutcomeCanceled, &now, &now
	}
	st.Phase, st.Namespace, st.ExpiresAt, st.ObservedGeneration = v1alpha1.PhaseFinished, "", nil, r.Generation
	set := func(kind string, status metav1.ConditionStatus, reason string) {
		meta.SetStatusCondition(&st.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "Planted by the benchmark"})
	}
	set(v1alpha1.ConditionReported, metav1.ConditionTrue, v1alpha1.ReasonDone)
	set(v1alpha1.ConditionRecorded, metav1.ConditionTrue, v1alpha1.ReasonDone)
	set(v1alpha1.ConditionStackKept, metav1.ConditionFalse, v1alpha1.ReasonExpired)
	if st.Report == nil {
		st.Report = &v1alpha1.ReportStatus{}
	}
	st.Report.Final, st.Report.Digest = true, report.Digest(r, nil)
}
