package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// bareSpec is the input of the bare program, as JSON on its standard input.
type bareSpec struct {
	Kubeconfig string `json:"kubeconfig"`
	// Run names and labels the objects; it does not exist in the cluster.
	Run *v1alpha1.Run `json:"run"`
	// Token reads the repository and writes check runs at APIURL.
	Token  string `json:"token"`
	APIURL string `json:"apiURL"`
	// Registry is where images are pushed and pulled. Push and Pull are Docker config.json files.
	Registry        string   `json:"registry"`
	Push            []byte   `json:"push"`
	Pull            []byte   `json:"pull"`
	Egress          []string `json:"egress"`
	BuildsNamespace string   `json:"buildsNamespace"`
	Executor        string   `json:"executor"`
	// Overlap starts the stack during the builds.
	Overlap bool `json:"overlap"`
}

// bareResult is the output of the bare program.
type bareResult struct {
	// Ends are the seconds after which each stage ended.
	Ends     map[string]float64 `json:"ends"`
	Requests int64              `json:"requests"`
	Exit     int32              `json:"exit"`
}

// repository is where an image is pushed: below the only namespace to which the lab's account can push.
func (s *bareSpec) repository(image string) string {
	r := s.Run.Spec.Repository
	return s.Registry + "/conductor/bench/" + r.FullName() + "/" + image
}

// settings are the lab's settings that the bare program needs.
func (s *bareSpec) settings() settings.Settings {
	set := settings.Default()
	set.Registry.Host, set.Registry.Insecure, set.Registry.Mirrors, set.Registry.PullConfigFile = s.Registry, true, []string{s.Registry}, "pull.json"
	set.Builds.Namespace, set.Builds.Image, set.Builds.CPU, set.Builds.Memory = s.BuildsNamespace, s.Executor, "100m", "128Mi"
	set.Stacks.Egress = s.Egress
	return set
}

// child is the bare program.
func child(ctx context.Context, in io.Reader, out io.Writer) error {
	log.SetLogger(logr.Discard())
	var spec bareSpec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", spec.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	var requests atomic.Int64
	config.QPS, config.UserAgent = -1, "conductor-bench-bare"
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, &requests} })
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return fmt.Errorf("register the kinds: %w", err)
	}
	b := &bare{spec: spec}
	if b.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if b.kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if err := b.warm(); err != nil {
		return err
	}
	requests.Store(0)
	code, err := b.do(ctx)
	if err != nil {
		return err
	}
	result := bareResult{Ends: map[string]float64{}, Requests: requests.Load(), Exit: code}
	for name, d := range b.ends {
		result.Ends[name] = d.Seconds()
	}
	if err := json.NewEncoder(out).Encode(result); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// warm connects to the API server and discovers its resources, as a running server has already done.
func (b *bare) warm() error {
	for _, k := range []schema.GroupKind{
		{Kind: "Pod"}, {Group: "apps", Kind: "Deployment"}, {Group: "batch", Kind: "Job"}, {Group: "networking.k8s.io", Kind: "NetworkPolicy"},
	} {
		if _, err := b.client.RESTMapper().RESTMapping(k); err != nil {
			return fmt.Errorf("learn about %s: %w", k.Kind, err)
		}
	}
	return nil
}

// counter counts requests.
type counter struct {
	next http.RoundTripper
	n    *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.next.RoundTrip(r)
}

// report writes one completed check run.
func (b *bare) report(ctx context.Context, code int32) error {
	conclusion := "success"
	if code != 0 {
		conclusion = "failure"
	}
	repo := b.spec.Run.Spec.Repository
	now := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	body, err := json.Marshal(map[string]any{
		"name": "bare", "head_sha": b.spec.Run.Spec.SHA, "external_id": b.spec.Run.Name, "status": "completed", "conclusion": conclusion,
		"completed_at": now, "output": map[string]string{"title": "The tests ended", "summary": fmt.Sprintf("Exit code %d", code)},
	})
	if err != nil {
		return fmt.Errorf("write the check run: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.spec.APIURL+"/repos/"+repo.FullName()+"/check-runs", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("write the check run: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+b.spec.Token)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "conductor-bench-bare")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("write the check run: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	if err != nil {
		return fmt.Errorf("write the check run: %w", err)
	}
	return nil
}
