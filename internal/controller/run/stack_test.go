package run

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// withPull has images pulled with the operator's credential.
func withPull(s *settings.Settings) { s.Registry.PullConfigFile = "/etc/pull.json" }

// secrets are the names of the Secrets in the stack's namespace.
func (w *rig) secrets() []string {
	w.t.Helper()
	var list corev1.SecretList
	if err := w.Client.List(w.t.Context(), &list, client.InNamespace(jobs.StackName(w.run))); err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	return names
}

// The first reconcile makes the namespace with everything that services need, and starts what depends on nothing.
func TestTheStackIsMadeInOneReconcile(t *testing.T) {
	for _, tc := range []struct {
		name    string
		files   map[string]string
		set     func(*settings.Settings)
		secrets []string
		applied []string
	}{
		{name: "services alone", secrets: []string{"agent-"}, applied: []string{"Deployment conductor-agent", "Service db", "Deployment db",
			"NetworkPolicy"}},
		{name: "a pull credential", set: withPull, secrets: []string{"agent-", "pull-"}, applied: []string{"Deployment db"}},
		{name: "mounted files", files: map[string]string{
			"docker-compose.qa.yml": "services: {db: {image: 'postgres:17', ports: ['5432'], volumes: ['./init.sql:/init.sql:ro']}}\n", "init.sql": "select 1",
		}, secrets: []string{"agent-"}, applied: []string{"ConfigMap", "Service db"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var change []func(*settings.Settings)
			if tc.set != nil {
				change = append(change, tc.set)
			}
			files := tc.files
			if files == nil {
				files = map[string]string{"docker-compose.qa.yml": "services: {db: {image: 'postgres:17', ports: ['5432']}}\n"}
			}
			w := newRig(t, files, change...)
			s := w.state()
			if err := w.reconcileStack(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if w.run.Status.Namespace != jobs.StackName(w.run) || states(w.run)["db"] != v1alpha1.ServiceStarting {
				t.Errorf("namespace %q, services %v", w.run.Status.Namespace, w.run.Status.Services)
			}
			if c := condition(s, v1alpha1.ConditionStackReady); c.Status != metav1.ConditionUnknown || c.Message != "Not up yet: db: Starting" {
				t.Errorf("%+v", c)
			}
			applied := strings.Join(w.takeApplied(), "\n")
			wantText(t, applied, tc.applied...)
			names := w.secrets()
			for _, prefix := range tc.secrets {
				if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, prefix) }) {
					t.Errorf("no secret %s among %v", prefix, names)
				}
			}
			if len(names) != len(tc.secrets) {
				t.Errorf("secrets %v", names)
			}
			var bindings rbacv1.RoleBindingList
			if err := w.Client.List(t.Context(), &bindings, client.InNamespace(jobs.StackName(w.run))); err != nil || len(bindings.Items) != 2 {
				t.Errorf("%d role bindings, %v", len(bindings.Items), err)
			}
			if err := w.reconcileStack(t.Context(), w.state()); err != nil || len(w.takeApplied()) > 0 {
				t.Errorf("the second reconcile made something again: %v", err)
			}
		})
	}
}

func TestTheStackIsLeftAloneBeforeAndAfter(t *testing.T) {
	for name, set := range map[string]func(*state){
		"there is no plan":  func(s *state) { s.plan = nil },
		"it is up":          func(s *state) { s.done(v1alpha1.ConditionStackReady, v1alpha1.ReasonDone, "up") },
		"it did not get up": func(s *state) { s.fail(v1alpha1.ConditionStackReady, v1alpha1.ReasonUnhealthy, "down") },
	} {
		w := newRig(t, nil)
		s := w.state()
		if set(s); w.reconcileStack(t.Context(), s) != nil || len(w.takeApplied()) > 0 || s.status().Namespace != "" {
			t.Errorf("%s: namespace %q", name, s.status().Namespace)
		}
	}
}

// The API server learns late of a new RoleBinding: until grantDelay is over a refusal is a wait, and later it is an error.
func TestARefusalIsAWaitUntilTheRightsAreKnown(t *testing.T) {
	denied := forbidden("networkpolicies")
	for _, tc := range []struct {
		name    string
		request string
		after   time.Duration
		err     error
		want    func(error) bool
		made    bool // the process need not create the namespace once more
	}{
		{"at once", "apply NetworkPolicy", 0, denied, waitsFor(5 * time.Millisecond), true},
		{"within the delay", "apply NetworkPolicy", grantDelay - time.Millisecond, denied, waitsFor((grantDelay - time.Millisecond) / 2), true},
		{"after it", "apply NetworkPolicy", grantDelay, denied, apierrors.IsForbidden, true},
		{"a Secret", "create Secret", time.Second, forbidden("secrets"), waitsFor(time.Second / 2), true},
		{"the agent", "apply Deployment", time.Second, forbidden("deployments"), waitsFor(time.Second / 2), true},
		{"the namespace itself", "create Namespace", grantDelay, forbidden("namespaces"), apierrors.IsForbidden, false},
		{"it was deleted meanwhile", "apply NetworkPolicy", 0, apierrors.NewNotFound(corev1.Resource("namespaces"), "stack"), apierrors.IsNotFound, false},
		{"the API server is away", "apply NetworkPolicy", 0, apierrors.NewServiceUnavailable("etcd is away"), apierrors.IsServiceUnavailable, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, nil)
			w.state().begin(v1alpha1.ConditionStackReady, "Making the namespace")
			w.now = noon.Add(tc.after)
			w.refuses[tc.request] = tc.err
			s := w.state()
			if err := w.reconcileStack(t.Context(), s); !tc.want(err) {
				t.Errorf("error %v", err)
			}
			if s.status().Namespace != "" || w.sessions.madeNamespace(w.run.UID) != tc.made {
				t.Errorf("namespace %q, made %t", s.status().Namespace, w.sessions.madeNamespace(w.run.UID))
			}
			delete(w.refuses, tc.request)
			if err := w.reconcileStack(t.Context(), w.state()); err != nil || w.run.Status.Namespace == "" {
				t.Errorf("once it is allowed: namespace %q, %v", w.run.Status.Namespace, err)
			}
		})
	}
}

// waitsFor reports whether an error is a wait of this length.
func waitsFor(after time.Duration) func(error) bool {
	return func(err error) bool {
		f := failure.Of(err)
		return f != nil && f.Kind == failure.Waiting && f.After == after
	}
}

func TestAStackThatCannotBeMadeEndsTheRun(t *testing.T) {
	taken := func(w *rig) runtime.Object { return namespace(jobs.StackName(w.run)) }
	for _, tc := range []struct {
		name   string
		set    func(*rig)
		kind   failure.Kind
		reason string
		want   string
	}{
		{"the namespace is another's", func(w *rig) { w.add(taken(w)) }, failure.Terminal, v1alpha1.ReasonRefused, "does not belong to this run"},
		{"no key for the agent", func(w *rig) { w.agent.noTokens = errors.New("no key") }, failure.Terminal, v1alpha1.ReasonInvalidConfig, "agent"},
		{"no pull credential", func(w *rig) { w.shelf.fails = map[string]error{"PullConfig": errors.New("no file")} }, failure.Transient,
			v1alpha1.ReasonUnavailable, ""},
		{"the plan's file is gone", func(w *rig) { w.plan.file += "-gone" }, failure.Transient, v1alpha1.ReasonUnavailable, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, nil, withPull)
			tc.set(w)
			wantFailure(t, w.reconcileStack(t.Context(), w.state()), tc.kind, tc.reason, tc.want)
		})
	}
}

// A stack that is deleted from outside while it starts is not waited for.
func TestAStackThatIsDeletedWhileItStartsIsMissed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pods   bool
		ns     func(*corev1.Namespace) *corev1.Namespace
		reason string
	}{
		{"it is there", false, func(ns *corev1.Namespace) *corev1.Namespace { return ns }, ""},
		{"it is gone", false, func(*corev1.Namespace) *corev1.Namespace { return nil }, v1alpha1.ReasonDeleted},
		{"it is going", false, func(ns *corev1.Namespace) *corev1.Namespace {
			ns.DeletionTimestamp, ns.Finalizers = &metav1.Time{Time: noon}, []string{"kubernetes"}
			return ns
		}, v1alpha1.ReasonDeleted},
		{"its pods are still there", true, func(*corev1.Namespace) *corev1.Namespace { return nil }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, nil)
			w.run.Status.Namespace = jobs.StackName(w.run)
			if ns := tc.ns(stackOf(w.run)); ns != nil {
				w.add(ns)
			}
			if tc.pods {
				w.setPods(w.podOf("db", "db-1", running))
			}
			wantFailure(t, w.reconcileStack(t.Context(), w.state()), failure.Terminal, tc.reason, jobs.StackName(w.run))
		})
	}
}

func TestPodsThatCannotBeListedAreAnErrorOnceTheStackIsMade(t *testing.T) {
	w := newRig(t, nil)
	w.stacks.forget(w.run.UID)
	w.refuse("list", "pods", errors.New("etcd is away"))
	if err := w.reconcileStack(t.Context(), w.state()); err == nil || !strings.Contains(err.Error(), "etcd is away") {
		t.Errorf("error %v", err)
	}
}

// A service is reached at the operator's host, or else by a command.
func TestTheAddressesOfPublicServicesAreNoted(t *testing.T) {
	const public = "version: 1\nstack: {public: [{service: web, port: 80}]}\ntests: {e2e: {image: busybox, command: run}}\n"
	for _, tc := range []struct {
		name            string
		set             func(*settings.Settings)
		url, forward    string
		problem, object string
	}{
		{name: "no host", set: func(*settings.Settings) {}, forward: "port-forward service/web 80:80"},
		{name: "an ingress", set: func(s *settings.Settings) { s.Stacks.Host = "{service}-{run}.example" }, url: "https://web-shop-1.example",
			object: "Ingress"},
		{name: "a gateway in a cluster without routes", set: func(s *settings.Settings) {
			s.Stacks.Host, s.Stacks.Gateway = "{service}-{run}.example", "infra/gateway"
		}, url: "https://web-shop-1.example", problem: "stacks.gateway"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, map[string]string{".conductor.yaml": public, "docker-compose.qa.yml": "services: {web: {image: nginx, ports: ['80']}}\n"}, tc.set)
			s := w.state()
			objects := w.noteAddresses(s)
			st := serviceStatus(s.status(), "web")
			if st.URL != tc.url || !strings.Contains(st.PortForward, tc.forward) || (len(objects) == 1) != (tc.object != "") {
				t.Errorf("%+v, %d objects", st, len(objects))
			}
			if wantText(t, st.URLProblem, tc.problem); tc.problem == "" && st.URLProblem != "" {
				t.Errorf("problem %q", st.URLProblem)
			}
			if tc.object != "" && kindOf(objects[0]) != tc.object {
				t.Errorf("a %s", kindOf(objects[0]))
			}
		})
	}
}
