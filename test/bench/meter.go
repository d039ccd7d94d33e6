package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/test/lab"
)

// meter is the usage so far: numbers of requests, CPU in seconds.
type meter struct {
	// own and ownCPU are the usage of Conductor's pods, apiserver is the number of all requests to kube-apiserver, daemonsCPU is the usage of
	// the cluster's daemons.
	own, apiserver, ownCPU, daemonsCPU float64
}

func (m meter) minus(o meter) meter {
	return meter{m.own - o.own, m.apiserver - o.apiserver, m.ownCPU - o.ownCPU, m.daemonsCPU - o.daemonsCPU}
}

// read reads every meter.
func (b *bench) read(ctx context.Context, pids []int) (meter, error) {
	var m meter
	pods, err := b.conductorPods(ctx)
	if err != nil {
		return m, err
	}
	for _, p := range pods {
		text, err := b.podMetrics(ctx, p.Name)
		if err != nil {
			return m, err
		}
		m.own += total(text, "rest_client_requests_total")
		m.ownCPU += total(text, "process_cpu_seconds_total")
	}
	text, err := b.Kube.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return m, fmt.Errorf("read the API server's metrics: %w", err)
	}
	m.apiserver = total(text, "apiserver_request_total")
	m.daemonsCPU, err = cpu(pids)
	return m, err
}

// conductorPods are Conductor's pods that are not terminating.
func (b *bench) conductorPods(ctx context.Context) ([]corev1.Pod, error) {
	d, err := b.Kube.AppsV1().Deployments(lab.Namespace).Get(ctx, "conductor", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find Conductor: %w", err)
	}
	list, err := b.Kube.CoreV1().Pods(lab.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil, fmt.Errorf("list Conductor's pods: %w", err)
	}
	var pods []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			pods = append(pods, p)
		}
	}
	return pods, nil
}

// podMetrics are the metrics of one of Conductor's pods, read through the API server.
func (b *bench) podMetrics(ctx context.Context, pod string) ([]byte, error) {
	text, err := b.Kube.CoreV1().RESTClient().Get().Namespace(lab.Namespace).Resource("pods").Name(pod + ":9090").
		SubResource("proxy").Suffix("metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of %s: %w", pod, err)
	}
	return text, nil
}

// total sums a metric's samples that have all the labels, written name="value", in Prometheus' text format.
func total(text []byte, name string, labels ...string) float64 {
	sum := 0.0
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
next:
	for lines.Scan() {
		line := lines.Text()
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		if v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64); err == nil {
			sum += v
		}
	}
	return sum
}
