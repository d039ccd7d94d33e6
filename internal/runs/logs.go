package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// Logs reads the logs of pods.
type Logs interface {
	// Open opens the log of the newest pod with these labels, or returns ErrNoLog.
	Open(ctx context.Context, namespace string, labels map[string]string) (io.ReadCloser, error)
}

// Log opens the log of one suite ("test"), compose service ("service") or image's build ("build") of a Run. The name may be empty if
// the Run has only one. If the pod is gone, Log returns the part of the log that the Run keeps; without either the error is ErrNoLog.
func (s *Service) Log(ctx context.Context, run, what, name string) (io.ReadCloser, error) {
	r, err := s.Get(ctx, run)
	if err != nil {
		return nil, err
	}
	of, err := sourceOf(r, what)
	if err != nil {
		return nil, err
	}
	if name, err = of.pick(what, name); err != nil {
		return nil, err
	}
	if s.Logs != nil && of.namespace != "" {
		stream, err := s.Logs.Open(ctx, of.namespace, map[string]string{v1alpha1.LabelRunUID: string(r.UID), of.label: names.LabelValue(name)})
		if err == nil || of.kept[name] == "" && !(errors.Is(err, ErrNoLog) && compact.IsFolded(&r.Status)) {
			return stream, err
		}
	}
	if of.kept[name] != "" {
		return io.NopCloser(strings.NewReader(of.kept[name])), nil
	}
	if record := r.Status.Record; compact.IsFolded(&r.Status) {
		return nil, fmt.Errorf("%s %s of run %s: %w in the cluster; the record %s has it. Extract it with: conductor runs record %s --extract DIR", what, name, run, ErrNoLog, record.Reference, run)
	}
	return nil, fmt.Errorf("%s %s of run %s: %w", what, name, run, ErrNoLog)
}

// source is where the logs of one kind are.
type source struct {
	namespace, label string
	names            []string
	kept             map[string]string
}

func sourceOf(r *v1alpha1.Run, what string) (source, error) {
	of := source{namespace: r.Status.Namespace, kept: map[string]string{}}
	switch what {
	case "test":
		of.label = v1alpha1.LabelSuite
		for _, t := range r.Status.Suites {
			of.names, of.kept[t.Name] = append(of.names, t.Name), t.Log
		}
	case "service":
		of.label = v1alpha1.LabelService
		for _, t := range r.Status.Services {
			of.names = append(of.names, t.Name)
		}
	case "build":
		of.namespace, of.label = r.Status.BuildsNamespace, v1alpha1.LabelImage
		for _, t := range r.Status.Images {
			of.names, of.kept[t.Name] = append(of.names, t.Name), t.Log
		}
	default:
		return of, fmt.Errorf("%q is not a kind of log: use test, service or build", what)
	}
	return of, nil
}

func (of source) pick(what, name string) (string, error) {
	has := "the run has none"
	if len(of.names) > 0 {
		has = "the run has " + strings.Join(of.names, ", ")
	}
	switch {
	case slices.Contains(of.names, name):
		return name, nil
	case name == "" && len(of.names) == 1:
		return of.names[0], nil
	case name == "":
		return "", fmt.Errorf("name a %s; %s: %w", what, has, ErrNoLog)
	}
	return "", fmt.Errorf("unknown %s %s; %s: %w", what, name, has, ErrNoLog)
}

// PodLogs reads logs from the API server.
func PodLogs(kube kubernetes.Interface) Logs { return podLogs{kube} }

type podLogs struct{ kube kubernetes.Interface }

func (p podLogs) Open(ctx context.Context, namespace string, with map[string]string) (io.ReadCloser, error) {
	list, err := p.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(with).String()})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("its pod is gone: %w", ErrNoLog)
	}
	pod := slices.MaxFunc(list.Items, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	options := &corev1.PodLogOptions{Container: pod.Spec.Containers[0].Name}
	stream, err := p.kube.CoreV1().Pods(namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the log of pod %s: %w", pod.Name, err)
	}
	return stream, nil
}
