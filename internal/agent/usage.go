package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// samplePause is the sampling interval, absentPause the interval at which a cluster without metrics is tried again. The metrics
// server's own resolution is 15 s by default, so sampling more often would show nothing new.
const (
	samplePause = 5 * time.Second
	absentPause = time.Minute
)

// podMetrics holds the needed fields of a PodMetricsList of metrics.k8s.io/v1beta1.
type podMetrics struct {
	Items []struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Containers []struct {
			Usage map[string]resource.Quantity `json:"usage"`
		} `json:"containers"`
	} `json:"items"`
}

// usage holds the peaks of each service over all samples. It is safe for concurrent use.
type usage struct {
	mu    sync.Mutex
	peaks map[string]evidence.Usage
}

// watch samples until the context ends; fetch returns a PodMetricsList.
func (u *usage) watch(ctx context.Context, fetch func(context.Context) ([]byte, error)) {
	for ctx.Err() == nil {
		pause := samplePause
		if data, err := fetch(ctx); err != nil || u.take(data) != nil {
			pause = absentPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// take adds one sample: the total usage of each service's pods.
func (u *usage) take(data []byte) error {
	var list podMetrics
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("read the pods' metrics: %w", err)
	}
	type sum struct {
		cpu    float64
		memory int64
	}
	sums := map[string]sum{}
	for _, pod := range list.Items {
		service := pod.Metadata.Labels[v1alpha1.LabelService]
		if service == "" {
			continue
		}
		s := sums[service]
		for _, c := range pod.Containers {
			cpu, memory := c.Usage["cpu"], c.Usage["memory"]
			s.cpu += cpu.AsApproximateFloat64()
			s.memory += memory.Value()
		}
		sums[service] = s
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for service, s := range sums {
		peak := u.peaks[service]
		peak.CPUPeak, peak.MemoryPeak, peak.Source = max(peak.CPUPeak, s.cpu), max(peak.MemoryPeak, s.memory), "metrics"
		if u.peaks == nil {
			u.peaks = map[string]evidence.Usage{}
		}
		u.peaks[service] = peak
	}
	return nil
}

// all returns the peaks so far.
func (u *usage) all() map[string]evidence.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := map[string]evidence.Usage{}
	maps.Copy(out, u.peaks)
	return out
}

// fetchMetrics gets the namespace's PodMetricsList from the API server.
func fetchMetrics(kube kubernetes.Interface, namespace string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return kube.Discovery().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/" + namespace + "/pods").DoRaw(ctx)
	}
}
