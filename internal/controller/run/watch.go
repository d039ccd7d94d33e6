package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// stackPods watches the pods of the stacks that are under way, each namespace by itself: Conductor may read pods only in
// namespaces that it made.
type stackPods struct {
	*sessions
	kube kubernetes.Interface
	// wake gets an event for the Run whose pods changed.
	wake chan event.TypedGenericEvent[*v1alpha1.Run]
}

type podWatch struct {
	pods      cache.SharedIndexInformer
	stop      chan struct{}
	startedAt time.Time
}

func newStackPods(l *sessions, kube kubernetes.Interface) *stackPods {
	return &stackPods{sessions: l, kube: kube, wake: make(chan event.TypedGenericEvent[*v1alpha1.Run], 1024)}
}

// pods are the pods of a Run's stack by service, the oldest first; test pods are under the empty name.
func (s *stackPods) pods(ctx context.Context, run *v1alpha1.Run) (servicePods, error) {
	w, err := s.watch(ctx, run)
	if err != nil {
		return nil, err
	}
	var all []*corev1.Pod
	for _, o := range w.pods.GetStore().List() {
		if p, ok := o.(*corev1.Pod); ok {
			all = append(all, p)
		}
	}
	return byService(all), nil
}

// servicePods are pods by the label of their service.
type servicePods map[string][]*corev1.Pod

// of returns the pods of a service, whose name need not be the value of a label.
func (p servicePods) of(service string) []*corev1.Pod { return p[names.LabelValue(service)] }

// byService groups pods by their service, the oldest first.
func byService(pods []*corev1.Pod) servicePods {
	by := servicePods{}
	for _, p := range slices.SortedFunc(slices.Values(pods), byAge) {
		name := p.Labels[v1alpha1.LabelService]
		by[name] = append(by[name], p)
	}
	return by
}

// syncTime is how long the first list of a stack's pods may take.
const syncTime = 10 * time.Second

// watch is the watch of a Run's namespace, which is started where there is none. Until the pods are listed its error is a wait, and their
// list wakes the Run. No lock is held over I/O: an API server that is slow for one namespace delays no other Run.
func (s *stackPods) watch(ctx context.Context, run *v1alpha1.Run) (*podWatch, error) {
	w := s.current(run.UID)
	if w == nil {
		started, err := s.start(ctx, run)
		if err != nil {
			return nil, err
		}
		w = s.keep(run.UID, started)
	}
	switch {
	case w.pods.HasSynced():
		return w, nil
	case time.Since(w.startedAt) < syncTime:
		return nil, failure.Waitingf(v1alpha1.ReasonPending, syncTime, "Waiting for the list of the stack's pods")
	}
	s.forget(run.UID)
	return nil, fmt.Errorf("the pods of %s could not be listed in %s", jobs.StackName(run), syncTime)
}

// start starts to watch a Run's namespace.
func (s *stackPods) start(ctx context.Context, run *v1alpha1.Run) (*podWatch, error) {
	ns := jobs.StackName(run)
	// One list first: the informer itself would hide that it may not, or that the namespace is gone.
	if _, err := s.kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", ns, err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(s.kube, 0, informers.WithNamespace(ns), informers.WithTransform(ctrlcache.TransformStripManagedFields()))
	w := &podWatch{pods: factory.Core().V1().Pods().Informer(), stop: make(chan struct{}), startedAt: time.Now()}
	key := run.DeepCopy()
	wake := func() { s.wakeUp(key) }
	_, err := w.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
	})
	if err != nil {
		return nil, fmt.Errorf("watch the pods of %s: %w", ns, err)
	}
	factory.Start(w.stop)
	go func() {
		select {
		case <-w.pods.HasSyncedChecker().Done():
			wake() // Also where no pod is there yet.
		case <-w.stop:
		}
	}()
	return w, nil
}

func (s *stackPods) current(uid types.UID) *podWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(uid).pods
}

// keep remembers a watch. Where another one was first, that one is kept and this one ended.
func (s *stackPods) keep(uid types.UID, w *podWatch) *podWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.of(uid)
	if of.pods != nil {
		close(w.stop)
		return of.pods
	}
	of.pods = w
	return w
}

// wakeUp has a Run reconciled.
func (s *stackPods) wakeUp(run *v1alpha1.Run) {
	select {
	case s.wake <- event.TypedGenericEvent[*v1alpha1.Run]{Object: run}:
	default: // A thousand wakes are waiting already, and the Run is requeued in any case.
	}
}

// forget ends a Run's watch.
func (s *stackPods) forget(uid types.UID) {
	s.mu.Lock()
	w := s.find(uid).pods
	s.drop(uid, func(of *session) { of.pods = nil })
	s.mu.Unlock()
	if w != nil {
		close(w.stop)
	}
}
