package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	images "github.com/google/go-containerregistry/pkg/registry"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/internal/runs"
)

// kept pushes a record to a registry that requires a login, which the user's Docker config has. It returns the registry's host and
// the status of the Run's record.
func kept(t *testing.T) (string, v1alpha1.RecordStatus) {
	t.Helper()
	inner := images.New(images.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "anna" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	config := `{"auths":{"` + host + `":{"auth":"YW5uYTpzZWNyZXQ="}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	login, err := registry.UserCredential()
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(registry.Options{Host: host, Prefix: "qa", Insecure: true, Credential: login})
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	data, err := json.Marshal(evidence.Result{
		SchemaVersion: evidence.SchemaVersion, Run: "shop-1", Repository: "acme/shop", Outcome: "failed", FinishedAt: &end,
		Suites: []evidence.Suite{{Name: "e2e", Outcome: "failed", Cases: []evidence.Case{{Name: "adds", File: "cart_test.go", Line: 12, Status: evidence.Failed, Message: "want 2"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := r.PushRecord(t.Context(), v1alpha1.Repository{Owner: "acme", Name: "shop"}, "shop-1", map[string]string{
		"org.opencontainers.image.created": end.Format(time.RFC3339),
	}, []evidence.Layer{
		evidence.BytesLayer("logs/test-e2e-0-1.log.gz", evidence.LogMediaType, []byte("a log")),
	}, func([]error) ([]evidence.Layer, error) {
		return []evidence.Layer{evidence.BytesLayer(evidence.ResultName, evidence.ResultMediaType, data)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return host, status
}

// cluster is one whose only Run is this one.
func cluster(t *testing.T, run *v1alpha1.Run) opener {
	t.Helper()
	scheme := k8sruntime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(run).Build()
	return func() (*runs.Service, error) { return &runs.Service{Client: c, Namespace: "conductor"}, nil }
}

func noCluster() (*runs.Service, error) { return nil, errors.New("there is no cluster") }

func runRecord(open opener, args ...string) (string, error) {
	cmd := recordCommand(open)
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.Execute()
	return out.String(), err
}

func TestRecordCommandFindsARecord(t *testing.T) {
	host, status := kept(t)
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor"}}
	run.Spec.Repository = v1alpha1.Repository{Owner: "acme", Name: "shop"}
	run.Status.Record = &status
	elsewhere := run.DeepCopy()
	elsewhere.Status.Record = &v1alpha1.RecordStatus{Reference: "registry.invalid/qa/records/acme/shop:shop-1", Digest: status.Digest}
	for name, c := range map[string]struct {
		open opener
		args []string
	}{
		"by the Run":                          {cluster(t, run), []string{"shop-1"}},
		"by the Run, through another address": {cluster(t, elsewhere), []string{"shop-1", "--registry", host + "/qa"}},
		"without a cluster, by repository":    {noCluster, []string{"shop-1", "--repository", "acme/shop", "--registry", host + "/qa"}},
		"without a cluster, by reference":     {noCluster, []string{host + "/qa/records/acme/shop:shop-1"}},
		"by digest":                           {noCluster, []string{host + "/qa/records/acme/shop@" + status.Digest}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			got, err := runRecord(c.open, append(c.args, "--insecure", "--extract", dir)...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"shop-1", "FAILED  e2e › adds  cart_test.go:12\n    want 2\n", "logs/test-e2e-0-1.log.gz", status.Digest} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in:\n%s", want, got)
				}
			}
			if data, err := os.ReadFile(filepath.Join(dir, "logs", "test-e2e-0-1.log.gz")); string(data) != "a log" {
				t.Errorf("extracted %q, %v", data, err)
			}
			text, err := runRecord(c.open, append(c.args, "--insecure", "--json")...)
			var result evidence.Result
			if err != nil || json.Unmarshal([]byte(text), &result) != nil || result.Run != "shop-1" {
				t.Errorf("--json: %v, %s", err, text)
			}
		})
	}
}

func TestRecordCommandExplainsErrors(t *testing.T) {
	host, status := kept(t)
	pending := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor"}}
	failed := pending.DeepCopy()
	failed.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionRecorded, Status: metav1.ConditionFalse, Message: "The registry did not answer"}}
	done := pending.DeepCopy()
	done.Status.Record = &status
	for name, c := range map[string]struct {
		open opener
		args []string
		want string
	}{
		"no cluster":       {noCluster, []string{"shop-1"}, "add --repository and --registry"},
		"no such Run":      {cluster(t, pending), []string{"shop-2"}, "add --repository and --registry"},
		"no record yet":    {cluster(t, pending), []string{"shop-1"}, "no record yet"},
		"no record at all": {cluster(t, failed), []string{"shop-1"}, "The registry did not answer"},
		"half a place":     {noCluster, []string{"shop-1", "--repository", "acme/shop"}, "requires --registry"},
		"no such record":   {noCluster, []string{host + "/qa/records/acme/shop:shop-2", "--insecure"}, "does not have it"},
		"plain HTTP":       {cluster(t, done), []string{"shop-1"}, "did not answer"},
		"a broken host":    {noCluster, []string{"a b/c:d"}, "invalid registry host"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runRecord(c.open, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) || out != "" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}
