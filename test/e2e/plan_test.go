//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// varied is a stack with most kinds of objects, names that change, networks, files, volumes, a hook, and a suite that is a service.
const varied = `
services:
  my_web:
    build: {context: ., dockerfile: Dockerfile.test}
    command: sh -c "mkdir -p /www && cp /conf/index.html /www && exec httpd -f -p 8080 -h /www"
    ports: ["80:8080"]
    volumes: ["./conf:/conf:ro", "data:/data"]
    networks: [front]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:8080/", interval: 1s, retries: 30}
    depends_on: {seed: {condition: service_completed_successfully}}
    stop_grace_period: 0s
  cache:
    image: busybox:1.36
    hostname: store
    command: sleep 600
    networks: {front: {aliases: [kv]}, back: {}}
    pre_start: [{command: "true"}]
    stop_grace_period: 0s
  seed: {image: "busybox:1.36", command: "true", networks: [back]}
  sut:
    image: busybox:1.36
    command: sh -c "wget -q -O - http://my_web:8080/ | grep hello"
    networks: [front]
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
`

// TestPlanPrintsWhatARunApplies compares every object of a run on the cluster with the output of conductor plan for that Run: both have the
// same, except for Secrets, objects made by controllers, and the API server's defaults.
func TestPlanPrintsWhatARunApplies(t *testing.T) {
	t.Parallel()
	r := small(t, map[string]string{
		".conductor.yaml":       "version: 1\ntests:\n  unit: {service: sut}\n  smoke: {image: 'busybox:1.36', shards: 2, command: 'true'}\nstack: {public: [{service: my_web, port: 8080}]}\n",
		"docker-compose.qa.yml": varied,
	})
	r.write(map[string]string{"conf/index.html": "hello\n"})
	jobs := watchBuildJobs(t, r)
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	live := append(liveObjects(t, run), jobs()...)
	printed := planOf(t, r, run)
	seen := map[string]bool{}
	for _, o := range live {
		key := o.GetKind() + " " + o.GetName()
		if seen[key] = true; printed[key] == nil {
			t.Errorf("the run has applied %s, and plan does not print it", key)
			continue
		}
		if diff := lacking(printed[key].Object, o.Object); len(diff) > 0 {
			t.Errorf("%s as plan prints it is not what is there:\n  %s", key, strings.Join(diff, "\n  "))
		}
	}
	for key := range printed {
		if !seen[key] {
			t.Errorf("plan prints %s, and the run has not applied it", key)
		}
	}
	if len(live) < 25 {
		t.Errorf("only %d objects were compared", len(live))
	}
}

// liveObjects are the objects that Conductor created in a run's namespace, and the namespace.
func liveObjects(t *testing.T, run *v1alpha1.Run) []unstructured.Unstructured {
	t.Helper()
	var all []unstructured.Unstructured
	for _, kind := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Service"}, {Version: "v1", Kind: "ServiceAccount"},
		{Version: "v1", Kind: "PersistentVolumeClaim"}, {Version: "v1", Kind: "LimitRange"}, {Version: "v1", Kind: "ResourceQuota"},
		{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "batch", Version: "v1", Kind: "Job"},
		{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}, {Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		if err := here.Client.List(t.Context(), list, client.InNamespace(run.Status.Namespace), client.HasLabels{v1alpha1.LabelManaged}); err != nil {
			t.Fatal(err)
		}
		all = append(all, list.Items...)
	}
	ns := &unstructured.Unstructured{}
	ns.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"})
	if err := here.Client.Get(t.Context(), client.ObjectKey{Name: run.Status.Namespace}, ns); err != nil {
		t.Fatal(err)
	}
	return append(all, *ns)
}

// watchBuildJobs collects the build Jobs of a repository, since they are deleted after the run.
func watchBuildJobs(t *testing.T, r *repo) func() []unstructured.Unstructured {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w, err := here.Kube.BatchV1().Jobs(lab.BuildsNamespace).Watch(ctx, metav1.ListOptions{LabelSelector: fmt.Sprintf("%s=%d", v1alpha1.LabelRepository, r.ID)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	jobs := map[string]unstructured.Unstructured{}
	var done sync.WaitGroup
	done.Go(func() {
		for e := range w.ResultChan() {
			if job, ok := e.Object.(*batchv1.Job); ok {
				object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
				if err != nil {
					t.Errorf("job %s: %v", job.Name, err)
					continue
				}
				u := unstructured.Unstructured{Object: object}
				u.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("Job"))
				jobs[job.Name] = u
			}
		}
	})
	return func() []unstructured.Unstructured {
		w.Stop()
		done.Wait()
		var all []unstructured.Unstructured
		for _, job := range jobs {
			all = append(all, job)
		}
		return all
	}
}

// planOf is the output of conductor plan for a Run, by kind and name.
func planOf(t *testing.T, r *repo, run *v1alpha1.Run) map[string]*unstructured.Unstructured {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var config corev1.ConfigMap
	if err := here.Client.Get(t.Context(), client.ObjectKey{Namespace: lab.Namespace, Name: "conductor-config"}, &config); err != nil {
		t.Fatal(err)
	}
	login := write("pull.json", fmt.Appendf(nil, `{"auths":{%q:{"username":%q,"password":%q}}}`, here.Registry, here.PullUser, here.PullPassword))
	// The operator's files exist only in Conductor's pod.
	operator := regexp.MustCompile(`/etc/conductor/registry/\S+\.json`).ReplaceAllString(config.Data["config.yaml"], login)
	data, err := yaml.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	out := conductor(t, 0, "plan", r.Dir, "--lookup", "--run", write("run.yaml", data), "--settings", write("config.yaml", []byte(operator)))
	printed := map[string]*unstructured.Unstructured{}
	for _, doc := range strings.Split(out, "---\n")[1:] {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		printed[u.GetKind()+" "+u.GetName()] = u
	}
	return printed
}

// lacking lists where an object lacks a wanted field or has another value. Additional fields are the API server's.
func lacking(want, have any, path ...string) []string {
	at := strings.Join(path, ".")
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok && len(w) > 0 {
			return []string{fmt.Sprintf("%s: want %v, have %v", at, want, have)}
		}
		var all []string
		for key, value := range w {
			all = append(all, lacking(value, h[key], append(slices.Clone(path), key)...)...)
		}
		slices.Sort(all)
		return all
	case []any:
		h, ok := have.([]any)
		if !ok && len(w) > 0 || len(w) != len(h) {
			return []string{fmt.Sprintf("%s: want %v, have %v", at, want, have)}
		}
		var all []string
		for i, value := range w {
			all = append(all, lacking(value, h[i], append(slices.Clone(path), fmt.Sprint(i))...)...)
		}
		return all
	}
	if number, ok := want.(float64); ok { // YAML has only one kind of number.
		want = strconv.FormatFloat(number, 'f', -1, 64)
	}
	if fmt.Sprint(want) != fmt.Sprint(have) && want != nil {
		return []string{fmt.Sprintf("%s: want %v, have %v", at, want, have)}
	}
	return nil
}
