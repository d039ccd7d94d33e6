package agent

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// kubeLogs opens logs through the API server.
type kubeLogs struct {
	kube      kubernetes.Interface
	namespace string
}

func (k kubeLogs) open(ctx context.Context, r logRequest) (io.ReadCloser, error) {
	options := &corev1.PodLogOptions{Container: r.Container, Follow: r.Follow, Previous: r.Previous, Timestamps: true}
	if !r.Since.IsZero() {
		options.SinceTime = &metav1.Time{Time: r.Since}
	}
	stream, err := k.kube.CoreV1().Pods(k.namespace).GetLogs(r.Pod, options).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s/%s: %w", r.Pod, r.Container, err)
	}
	return stream, nil
}

// watchPods passes the namespace's pods to the follower until the context ends. It ignores own, the agent's pod.
func watchPods(ctx context.Context, kube kubernetes.Interface, namespace, own string, f *follower) {
	pods := kube.CoreV1().Pods(namespace)
	see := func(o any) {
		if pod, ok := o.(*corev1.Pod); ok && pod.Name != own {
			f.observePod(ctx, pod)
		}
	}
	list := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return pods.Watch(ctx, o)
		},
	}
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(list, kube),
		ObjectType:    &corev1.Pod{},
		Transform:     slimPod,
		// Recovers from a missed status.
		ResyncPeriod: 30 * time.Second,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    see,
			UpdateFunc: func(_, o any) { see(o) },
			DeleteFunc: func(o any) {
				if key, err := cache.DeletionHandlingObjectToName(o); err == nil {
					f.observeDeleted(key.Name)
				}
			},
		},
	})
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			f.endOrphans(func(pod string) bool { _, there, _ := store.GetByKey(namespace + "/" + pod); return there })
		}
	}()
	informer.RunWithContext(ctx)
}

// slimPod keeps only the fields that the follower reads, because environment and annotations can be large.
func slimPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	slim := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
	}}
	slim.Spec.RestartPolicy = pod.Spec.RestartPolicy
	for _, c := range pod.Spec.InitContainers {
		slim.Spec.InitContainers = append(slim.Spec.InitContainers, corev1.Container{Name: c.Name, RestartPolicy: c.RestartPolicy})
	}
	slim.Status = corev1.PodStatus{
		Phase: pod.Status.Phase, InitContainerStatuses: pod.Status.InitContainerStatuses, ContainerStatuses: pod.Status.ContainerStatuses,
	}
	return slim, nil
}
