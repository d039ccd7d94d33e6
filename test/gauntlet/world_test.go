//go:build apiserver

package gauntlet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

const (
	lease = 2 * time.Second
	// slug is the App's; bot is the login it acts under.
	slug = "conductor"
	bot  = slug + "[bot]"
)

var worlds atomic.Int64

// world is a GitHub with Conductor's App, a registry, and Conductor's namespace on the API server.
type world struct {
	t        *testing.T
	seed     uint64
	github   *githubtest.Server
	app      githubtest.App
	space    string
	dir      string
	config   string
	orgs     []*org
	replicas []*replica
	door     *door
}

// org is an organization with an installation of the App: GitHub's limits are per installation.
type org struct {
	name string
	// writer may write, stranger may only read.
	writer, stranger githubtest.User
	// broken is a repository without a configuration: its Runs end at once. slow is one whose builds do not end, since there is no node.
	broken, slow string
}

// slowFiles are a repository whose image has to be built.
var slowFiles = map[string]string{
	".conductor.yaml":       "version: 1\ntests:\n  integration: ./test.sh\n",
	"docker-compose.qa.yml": "services:\n  web:\n    build: .\n",
	"Dockerfile":            "FROM busybox\n",
	"Dockerfile.test":       "FROM busybox\n",
}

// newWorld makes a world with a number of organizations. Conductor is not started yet. change edits the settings.
func newWorld(t *testing.T, orgs int, change ...func(map[string]any)) *world {
	t.Helper()
	w := &world{t: t, seed: seed(), dir: t.TempDir(), space: fmt.Sprintf("gauntlet-%d", worlds.Add(1))}
	t.Logf("seed %d", w.seed)
	var err error
	if w.github, err = githubtest.New(githubtest.Options{RateLimit: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.end() })
	w.door = newDoor(t, w.random(1))
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	w.createApp()
	for i := range orgs {
		w.orgs = append(w.orgs, w.newOrg(i))
	}
	for _, name := range []string{w.space, w.space + "-builds"} {
		w.must(admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	w.writeConfig(strings.TrimPrefix(images.URL, "http://"), change)
	return w
}

// seed returns the number that all random choices of a world are made from. GAUNTLET_SEED repeats a test.
func seed() uint64 {
	var n uint64
	if _, err := fmt.Sscan(os.Getenv("GAUNTLET_SEED"), &n); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano())
}

func (w *world) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, stream)) }

// createApp registers the App of the chart's manifest.
func (w *world) createApp() {
	var manifest struct {
		Permissions githubtest.Permissions `json:"default_permissions"`
		Events      []string               `json:"default_events"`
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "charts", "conductor", "files", "app-manifest.json"))
	w.must(err)
	w.must(json.Unmarshal(data, &manifest))
	w.app, err = w.github.CreateApp(githubtest.AppOptions{
		Slug: slug, Permissions: manifest.Permissions, Events: manifest.Events, WebhookURL: w.door.URL + "/webhook", WebhookSecret: "gauntlet",
	})
	w.must(err)
}

func (w *world) newOrg(i int) *org {
	o := &org{name: fmt.Sprintf("acme-%d", i)}
	w.must(w.github.CreateOrg(o.name))
	var err error
	o.writer, err = w.github.CreateUser(fmt.Sprintf("ada-%d", i))
	w.must(err)
	o.stranger, err = w.github.CreateUser(fmt.Sprintf("eve-%d", i))
	w.must(err)
	o.broken, o.slow = o.name+"/broken", o.name+"/slow"
	for name, files := range map[string]map[string]string{o.broken: {"README.md": "# Broken\n"}, o.slow: slowFiles} {
		_, err := w.github.CreateRepository(name, githubtest.RepositoryOptions{Public: true, Files: files})
		w.must(err)
		w.must(w.github.AddCollaborator(name, o.writer.Login, githubtest.RoleWrite))
	}
	_, err = w.github.InstallApp(w.app.ID, o.name, githubtest.InstallOptions{})
	w.must(err)
	return o
}

// writeConfig writes the operator's settings.
func (w *world) writeConfig(registryHost string, change []func(map[string]any)) {
	key, secret := filepath.Join(w.dir, "key.pem"), filepath.Join(w.dir, "secret")
	w.must(os.WriteFile(key, []byte(w.app.PrivateKey), 0o600))
	w.must(os.WriteFile(secret, []byte(w.app.WebhookSecret), 0o600))
	set := map[string]any{
		"namespace": w.space, "serviceAccount": "conductor", "image": "registry.example/conductor@sha256:" + strings.Repeat("c", 64),
		"github":         map[string]any{"apiURL": w.github.APIURL(), "appID": w.app.ID, "privateKeyFile": key, "webhookSecretFiles": []string{secret}},
		"registry":       map[string]any{"type": "oci", "host": registryHost, "prefix": "gauntlet", "insecure": true},
		"builds":         map[string]any{"namespace": w.space + "-builds", "image": "registry.example/kaniko:1"},
		"leaderElection": map[string]any{"leaseDuration": lease.String()},
	}
	for _, c := range change {
		c(set)
	}
	data, err := yaml.Marshal(set)
	w.must(err)
	w.config = filepath.Join(w.dir, "config.yaml")
	w.must(os.WriteFile(w.config, data, 0o600))
}

// start starts two replicas and waits until both are ready and one leads.
func (w *world) start(env ...string) {
	w.t.Helper()
	w.launch(env...)
	w.within("both replicas are ready", time.Minute, func() bool { return w.replicas[0].isReady() && w.replicas[1].isReady() && w.leader() != nil })
}

// launch starts two replicas.
func (w *world) launch(env ...string) {
	for i := range 2 {
		w.replicas = append(w.replicas, startReplica(w.t, fmt.Sprintf("replica-%d", i), w.dir, w.config, env))
	}
	w.door.open(w.replicas)
}

// end stops everything and checks what holds in every world: no process has panicked, and GitHub's contract was kept.
func (w *world) end() {
	w.t.Helper()
	for _, r := range w.replicas {
		r.stop()
		for _, line := range append(r.logged("panic:"), r.logged("Observed a panic")...) {
			w.t.Errorf("%s: %s", r.name, line)
		}
		if w.t.Failed() {
			w.t.Logf("%s: %d starts, exit codes %v; warnings:\n%s\nthe end of its log:\n%s", r.name, r.starts, r.codes,
				strings.Join(r.logged(`"level":"WARN"`), "\n"), tail(r.log.Name(), 6000))
		}
		_ = r.log.Close()
	}
	w.github.Check(w.t)
	w.github.Close()
	w.forget()
}

// forget removes the Runs, so that nothing of them is left for other worlds.
func (w *world) forget() {
	ctx := context.Background()
	var list v1alpha1.RunList
	_ = admin.List(ctx, &list, client.InNamespace(w.space))
	for i := range list.Items {
		before := list.Items[i].DeepCopy()
		list.Items[i].Finalizers = nil
		_ = admin.Patch(ctx, &list.Items[i], client.MergeFrom(before))
		_ = admin.Delete(ctx, &list.Items[i])
	}
	_ = admin.DeleteAllOf(ctx, &v1alpha1.Delivery{}, client.InNamespace(w.space))
}

func tail(file string, n int) string {
	data, _ := os.ReadFile(file)
	return string(data[max(0, len(data)-n):])
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// within waits until a condition holds.
func (w *world) within(what string, limit time.Duration, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("%s: not within %s", what, limit)
}

// leader returns the replica that holds the lease; nil if none does. Its process is known by the latest line about it in the log.
func (w *world) leader() *replica {
	l := &coordinationv1.Lease{}
	if err := admin.Get(context.Background(), client.ObjectKey{Namespace: w.space, Name: "conductor"}, l); err != nil {
		return nil
	}
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil || time.Since(l.Spec.RenewTime.Time) > lease {
		return nil
	}
	for _, r := range w.replicas {
		if r.gauge("leader_election_master_status") == 1 {
			return r
		}
	}
	return nil
}

// storm kills a random replica at random moments, on average every three lease durations, until the context ends. It returns the number of
// kills.
func (w *world) storm(ctx context.Context) int {
	random := w.random(2)
	for kills := 0; ; kills++ {
		pause := time.Duration(random.Float64() * float64(6*lease))
		select {
		case <-ctx.Done():
			return kills
		case <-time.After(pause):
			w.replicas[random.IntN(2)].signal(syscall.SIGKILL)
		}
	}
}

// door is the address that GitHub delivers to: it passes each request to one of the replicas, also to one that is away.
type door struct {
	*httptest.Server
	replicas atomic.Pointer[[]*replica]
	passed   atomic.Int64
	failed   atomic.Int64
}

func newDoor(t *testing.T, random *rand.Rand) *door {
	t.Helper()
	d := &door{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		all := d.replicas.Load()
		if all == nil {
			panic(http.ErrAbortHandler)
		}
		target := (*all)[random.IntN(len(*all))] // GitHub sends one delivery after the other.
		d.pass(rw, r, target)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *door) open(replicas []*replica) { d.replicas.Store(&replicas) }

// pass sends a request to a replica. If that does not answer, the connection is closed.
func (d *door) pass(rw http.ResponseWriter, r *http.Request, target *replica) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+target.listen+r.URL.Path, r.Body)
	if err != nil {
		panic(err)
	}
	req.Header, req.ContentLength = r.Header.Clone(), r.ContentLength
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.failed.Add(1)
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = resp.Body.Close() }()
	d.passed.Add(1)
	if resp.StatusCode != http.StatusAccepted {
		d.failed.Add(1)
	}
	rw.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(rw, resp.Body)
}
