package run

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

// shopServices has each kind of dependency: web waits for a job and a started cache, the job for a healthy database.
const shopServices = `services:
  db: {image: 'postgres:17', healthcheck: {test: [CMD, pg_isready]}}
  cache: {image: 'redis:7'}
  migrate: {image: 'shop:1', command: [migrate], depends_on: {db: {condition: service_healthy}}}
  web: {image: 'shop:1', depends_on: {migrate: {condition: service_completed_successfully}, cache: {condition: service_started}}}
`

func newShop(t *testing.T) *rig {
	t.Helper()
	w := newRig(t, map[string]string{"docker-compose.qa.yml": shopServices})
	w.begin()
	return w
}

// states are the states of a Run's services by name.
func states(run *v1alpha1.Run) map[string]v1alpha1.ServiceState {
	out := map[string]v1alpha1.ServiceState{}
	for _, st := range run.Status.Services {
		out[st.Name] = st.State
	}
	return out
}

func (w *rig) service(name string) *plan.Service {
	w.t.Helper()
	i := slices.IndexFunc(w.plan.Services, func(s plan.Service) bool { return s.Name == name })
	if i < 0 {
		w.t.Fatalf("the plan does not have a service %s", name)
	}
	return &w.plan.Services[i]
}

// setService notes the state of a service.
func (w *rig) setService(name string, state v1alpha1.ServiceState, message string) *v1alpha1.ServiceStatus {
	st := serviceStatus(&w.run.Status, name)
	st.State, st.Message = state, message
	return serviceStatus(&w.run.Status, name)
}

// Each reconcile starts what may start by then, and what waits names what it waits for.
func TestServicesStartInTheOrderOfTheirDependencies(t *testing.T) {
	w := newShop(t)
	for i, step := range []struct {
		pods    []*corev1.Pod
		applied string
		states  string
		web     string // what web waits for
	}{
		{nil, "Deployment cache, Deployment db", "db Starting, cache Starting, migrate Waiting, web Waiting",
			"Waiting for cache (started), migrate (completed_successfully)"},
		{[]*corev1.Pod{w.podOf("db", "db-1", running), w.podOf("cache", "cache-1", running)}, "",
			"db Starting, cache Starting, migrate Waiting, web Waiting", "migrate (completed_successfully)"},
		{[]*corev1.Pod{w.podOf("db", "db-1", ready), w.podOf("cache", "cache-1", ready)}, "Job migrate",
			"db Ready, cache Ready, migrate Starting, web Waiting", "migrate (completed_successfully)"},
		{[]*corev1.Pod{w.podOf("db", "db-1", ready), w.podOf("cache", "cache-1", ready), w.podOf("migrate", "migrate-1", exited(0, "Completed", 0))},
			"Deployment web",
			"db Ready, cache Ready, migrate Completed, web Starting", ""},
		{[]*corev1.Pod{w.podOf("db", "db-1", ready), w.podOf("cache", "cache-1", ready), w.podOf("web", "web-1", ready)}, "",
			"db Ready, cache Ready, migrate Completed, web Ready", ""},
	} {
		w.setPods(step.pods...)
		s := w.state()
		if err := w.reconcileServices(t.Context(), s, w.podsByService()); err != nil {
			t.Fatalf("reconcile %d: %v", i, err)
		}
		if got := strings.Join(w.takeApplied(), ", "); got != step.applied {
			t.Errorf("reconcile %d applied %q, want %q", i, got, step.applied)
		}
		for _, want := range strings.Split(step.states, ", ") {
			name, state, _ := strings.Cut(want, " ")
			if got := states(w.run)[name]; string(got) != state {
				t.Errorf("reconcile %d: %s is %s, want %s", i, name, got, state)
			}
		}
		message := serviceStatus(&w.run.Status, "web").Message
		if wantText(t, message, step.web); step.web == "" && strings.HasPrefix(message, "Waits") {
			t.Errorf("reconcile %d: web: %q", i, message)
		}
		if started := step.applied != ""; started && (s.requeue == 0 || s.requeue > noPodGrace) {
			t.Errorf("reconcile %d requeues after %s", i, s.requeue)
		}
	}
}

func TestAServiceNamesWhatItWaitsFor(t *testing.T) {
	needs := func(condition string, required bool) []compose.Dependency {
		return []compose.Dependency{{Service: "db", Condition: condition, Required: required}}
	}
	for _, tc := range []struct {
		name    string
		service plan.Service
		db      v1alpha1.ServiceState
		digest  string // of the image that is built
		want    string // "" when nothing keeps it from starting
	}{
		{name: "nothing", service: plan.Service{}},
		{name: "an image that is being built", service: plan.Service{Service: compose.Service{Name: "web"}}, want: "the image web"},
		{name: "an image that was built", service: plan.Service{Service: compose.Service{Name: "web"}}, digest: someDigest},
		{name: "an image that is not resolved", service: plan.Service{Pending: []string{"api"}}, want: "resolve the image of api"},
		{name: "a container that shares its pod", service: plan.Service{Service: compose.Service{Shares: []string{"web"}}}, want: "the image web"},
		{name: "a dependency", service: plan.Service{Service: compose.Service{DependsOn: needs(compose.ConditionHealthy, true)}},
			db: v1alpha1.ServiceStarting, want: "db (healthy)"},
		{name: "a dependency that failed", service: plan.Service{Service: compose.Service{DependsOn: needs(compose.ConditionHealthy, true)}},
			db: v1alpha1.ServiceFailed, want: "db (healthy)"},
		{name: "an optional one", service: plan.Service{Service: compose.Service{DependsOn: needs(compose.ConditionHealthy, false)}},
			db: v1alpha1.ServiceStarting, want: "db (healthy)"},
		{name: "an optional one that failed", service: plan.Service{Service: compose.Service{DependsOn: needs(compose.ConditionHealthy, false)}},
			db: v1alpha1.ServiceFailed},
		{name: "a dependency that is up", service: plan.Service{Service: compose.Service{DependsOn: needs(compose.ConditionHealthy, true)}},
			db: v1alpha1.ServiceReady},
		{name: "a service that is not in the stack",
			service: plan.Service{Service: compose.Service{DependsOn: []compose.Dependency{{Service: "sut", Condition: compose.ConditionHealthy,
				Required: true}}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newState()
			if tc.service.Name == "" {
				tc.service.Name = "api"
			}
			s.plan = &loaded{Plan: &plan.Plan{
				Services: []plan.Service{{Service: compose.Service{Name: "db"}}, tc.service},
				Builds:   []plan.Build{{Name: "web"}}, Uses: []plan.Use{{Service: "web", Build: "web"}},
			}}
			serviceStatus(s.status(), "db").State = tc.db
			imageStatus(s.status(), "web").Digest = tc.digest
			got := (&Reconciler{}).explainWait(s, &tc.service, nil)
			if wantText(t, got, tc.want); tc.want == "" && got != "" {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestAServiceIsWhatItsPodsAre(t *testing.T) {
	const full = "0/1 nodes are available: 1 Insufficient cpu. preemption: none"
	for _, tc := range []struct {
		name     string
		replicas int32
		was      v1alpha1.ServiceState
		pods     []podChange
		after    time.Duration
		state    v1alpha1.ServiceState
		message  string
		reason   string // of the failure that ends the Run
		requeue  time.Duration
	}{
		{name: "no pod", replicas: 1, state: v1alpha1.ServiceStarting},
		{name: "no pod wanted", replicas: 0, state: v1alpha1.ServiceReady},
		{name: "ready", replicas: 1, pods: []podChange{ready}, state: v1alpha1.ServiceReady},
		{name: "one of two", replicas: 2, pods: []podChange{ready, running}, state: v1alpha1.ServiceStarting,
			message: "health check has not passed yet: pg_isready"},
		{name: "not ready any more", replicas: 1, was: v1alpha1.ServiceReady, pods: []podChange{running}, state: v1alpha1.ServiceStarting,
			message: "health check"},
		{name: "being deleted", replicas: 1, pods: []podChange{func(p *corev1.Pod) {
			ready(p)
			p.DeletionTimestamp = &metav1.Time{Time: noon}
		}}, state: v1alpha1.ServiceStarting},
		{name: "its container is created", replicas: 1, pods: []podChange{waits("ContainerCreating", "")}, state: v1alpha1.ServiceStarting,
			message: "Starting"},
		{name: "it crashed once", replicas: 1, pods: []podChange{crashed(1, 2)}, state: v1alpha1.ServiceStarting,
			message: "It crashed once, the last time: it ended with exit code 2"},
		{name: "it ended and is not restarted yet", replicas: 1, pods: []podChange{exited(1, "Error", 0)}, state: v1alpha1.ServiceStarting,
			message: "exit code 1"},
		{name: "its image is not there, just now", replicas: 1, pods: []podChange{waits("ErrImagePull", "manifest unknown")}, after: 19 * time.Second,
			state: v1alpha1.ServiceStarting, message: "cannot be pulled: manifest unknown", requeue: time.Second},
		{name: "its image is not there", replicas: 1, pods: []podChange{waits("ErrImagePull", "manifest unknown")}, after: 20 * time.Second,
			state: v1alpha1.ServiceFailed, message: "manifest unknown", reason: v1alpha1.ReasonImageUnavailable},
		{name: "no node takes it yet", replicas: 1, pods: []podChange{unschedulable(full)}, after: time.Minute, state: v1alpha1.ServiceStarting,
			message: "1 Insufficient cpu", requeue: time.Minute},
		{name: "no node takes it", replicas: 1, pods: []podChange{unschedulable(full)}, after: 2 * time.Minute, state: v1alpha1.ServiceFailed,
			message: "1 Insufficient cpu", reason: v1alpha1.ReasonUnschedulable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newShop(t)
			svc, st := w.service("db"), w.setService("db", v1alpha1.ServiceStarting, "")
			svc.Replicas, svc.Probe = tc.replicas, "pg_isready"
			if tc.was != "" {
				st.State = tc.was
			}
			var pods []*corev1.Pod
			for i, change := range tc.pods {
				pods = append(pods, w.podOf("db", "db-"+string(rune('a'+i)), change))
			}
			w.now = noon.Add(tc.after)
			s := w.state()
			err := w.observeService(t.Context(), s, svc, st, pods)
			wantFailure(t, err, failure.Terminal, tc.reason, "The service db cannot start", tc.message)
			if wantText(t, st.Message, tc.message); st.State != tc.state || s.requeue != tc.requeue || tc.state == v1alpha1.ServiceReady && st.Message != "" {
				t.Errorf("%s: %q, requeue after %s; want %s after %s", st.State, st.Message, s.requeue, tc.state, tc.requeue)
			}
		})
	}
}

// The scheduler names a volume that is not bound; its claim may know why.
func TestAPodThatNoNodeTakesIsExplainedByItsClaims(t *testing.T) {
	for _, tc := range []struct {
		name   string
		claim  *corev1.PersistentVolumeClaim
		events []runtime.Object
		want   string
		log    string
	}{
		{name: "a lost volume", claim: &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimLost}},
			want: "volume of the claim data is lost"},
		{name: "none provisioned", claim: &corev1.PersistentVolumeClaim{}, want: "storageclass not found"},
		{name: "a claim that cannot be read", log: "claim cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newShop(t)
			if tc.claim != nil {
				tc.claim.Name, tc.claim.Namespace = "data", jobs.StackName(w.run)
				w.add(tc.claim)
			}
			w.add(w.eventOf("ProvisioningFailed", "storageclass not found"))
			p := w.podOf("db", "db-1", unschedulable("0/1 nodes are available: 1 node(s) did not find available persistent volumes."), func(p *corev1.Pod) {
				p.Spec.Volumes = []corev1.Volume{{Name: "tmp"}, {Name: "data", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
				}}}
			})
			w.now = noon.Add(3 * time.Minute)
			f := w.explainBlockedService(t.Context(), w.state(), p, "db")
			if f == nil || f.Reason != v1alpha1.ReasonUnschedulable {
				t.Fatalf("finding %+v", f)
			}
			wantText(t, f.Sentence, "persistent volumes", tc.want)
			wantText(t, w.log.String(), tc.log)
		})
	}
}

func TestAJobOfTheStackIsWhatItsPodsAre(t *testing.T) {
	for _, tc := range []struct {
		name    string
		retries *int32
		pods    []podChange
		after   time.Duration
		state   v1alpha1.ServiceState
		message string
		reason  string
	}{
		{name: "no pod", state: v1alpha1.ServiceStarting},
		{name: "it runs", pods: []podChange{running}, state: v1alpha1.ServiceStarting},
		{name: "success", pods: []podChange{exited(0, "Completed", 0)}, state: v1alpha1.ServiceCompleted},
		{name: "success after a failure", retries: new(int32(1)), pods: []podChange{exited(1, "Error", 0), exited(0, "Completed", 0)},
			state: v1alpha1.ServiceCompleted},
		{name: "a failure that is retried", retries: new(int32(1)), pods: []podChange{exited(3, "Error", 0)}, state: v1alpha1.ServiceStarting,
			message: "It ended with exit code 3"},
		{name: "the last failure", retries: new(int32(1)), pods: []podChange{exited(3, "Error", 0), exited(4, "Error", 0)}, state: v1alpha1.ServiceFailed,
			message: "exit code 4", reason: v1alpha1.ReasonCrashed},
		{name: "a failure without retries", pods: []podChange{exited(3, "Error", 0)}, state: v1alpha1.ServiceFailed, message: "exit code 3",
			reason: v1alpha1.ReasonCrashed},
		{name: "its image is not there", pods: []podChange{waits("ErrImagePull", "manifest unknown")}, after: time.Minute, state: v1alpha1.ServiceFailed,
			message: "manifest unknown", reason: v1alpha1.ReasonImageUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newShop(t)
			svc, st := w.service("migrate"), w.setService("migrate", v1alpha1.ServiceStarting, "")
			svc.Workload.(*batchv1.Job).Spec.BackoffLimit = tc.retries
			var pods []*corev1.Pod
			for i, change := range tc.pods {
				pods = append(pods, w.podOf("migrate", "migrate-"+string(rune('a'+i)), change))
			}
			w.now = noon.Add(tc.after)
			err := w.observeService(t.Context(), w.state(), svc, st, pods)
			wantFailure(t, err, failure.Terminal, tc.reason, "The service migrate", tc.message)
			if wantText(t, st.Message, tc.message); st.State != tc.state {
				t.Errorf("%s: %q, want %s", st.State, st.Message, tc.state)
			}
			if ran := tc.reason == v1alpha1.ReasonCrashed; ran != strings.Contains(st.Message, "fake logs") {
				t.Errorf("the end of the log: %q", st.Message)
			}
		})
	}
}

// A service that was started and has no pod after a while has its workload inspected.
func TestAServiceWithoutAPodIsExplained(t *testing.T) {
	const refused = `pods "db-1" is forbidden: exceeded quota: stack, requested: pods=1, used: pods=9, limited: pods=9`
	failing := func(w *rig) runtime.Object {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: jobs.StackName(w.run)}, Status: appsv1.DeploymentStatus{
			Conditions: []appsv1.DeploymentCondition{{
				Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: refused, LastTransitionTime: metav1.NewTime(noon),
			}},
		}}
	}
	for _, tc := range []struct {
		name, service string
		objects       []func(*rig) runtime.Object
		after         time.Duration
		state         v1alpha1.ServiceState
		message       string
		reason        string
	}{
		{name: "the Deployment is not there", service: "db", state: v1alpha1.ServiceStarting, message: "was"},
		{name: "nothing is wrong with it", service: "db", state: v1alpha1.ServiceStarting, message: "was",
			objects: []func(*rig) runtime.Object{func(w *rig) runtime.Object {
				return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: jobs.StackName(w.run)}}
			}}},
		{name: "its pod is refused, just now", service: "db", objects: []func(*rig) runtime.Object{failing}, after: time.Minute,
			state: v1alpha1.ServiceStarting, message: "exceeded quota"},
		{name: "its pod is refused", service: "db", objects: []func(*rig) runtime.Object{failing}, after: 3 * time.Minute, state: v1alpha1.ServiceFailed,
			message: "stacks.pods (9)", reason: v1alpha1.ReasonQuotaExceeded},
		{name: "a Job's pod is refused", service: "migrate", objects: []func(*rig) runtime.Object{func(w *rig) runtime.Object {
			return w.eventOf("FailedCreate", `pods "m" is forbidden: violates PodSecurity "baseline:latest": hostNetwork`)
		}}, after: time.Minute, state: v1alpha1.ServiceFailed, message: "hostNetwork", reason: v1alpha1.ReasonRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newShop(t)
			for _, o := range tc.objects {
				w.add(o(w))
			}
			st := w.setService(tc.service, v1alpha1.ServiceStarting, "was")
			w.now = noon.Add(tc.after)
			s := w.state()
			err := w.explainMissingPod(t.Context(), s, w.service(tc.service), st)
			wantFailure(t, err, failure.Terminal, tc.reason, "The service "+tc.service+" cannot start", tc.message)
			if wantText(t, st.Message, tc.message); st.State != tc.state || s.requeue != noPodGrace {
				t.Errorf("%s: %q, requeue after %s", st.State, st.Message, s.requeue)
			}
		})
	}
}

// A service may crash for want of another one: as long as one is on its way, more crashes are allowed.
func TestACrashLoopEndsTheRun(t *testing.T) {
	onItsWay := func(w *rig) { w.setService("cache", v1alpha1.ServiceStarting, "") }
	for _, tc := range []struct {
		name  string
		set   func(*rig)
		pods  []podChange
		cache []podChange
		fails bool
		want  string
	}{
		{name: "two crashes", pods: []podChange{crashed(2, 1)}},
		{name: "three crashes", pods: []podChange{crashed(3, 1)}, fails: true, want: "crashed 3 times"},
		{name: "three while another one starts", set: onItsWay, pods: []podChange{crashed(3, 1)}},
		{name: "five while another one starts", set: onItsWay, pods: []podChange{crashed(5, 1)}, fails: true, want: "crashed 5 times"},
		{name: "three while the other one crashes, too", set: onItsWay, pods: []podChange{crashed(3, 1)}, cache: []podChange{crashed(1, 1)}, fails: true,
			want: "crashed 3 times"},
		{name: "three while an image is resolved", set: func(w *rig) {
			w.setService("cache", v1alpha1.ServiceWaiting, "")
			w.service("cache").Pending = []string{"cache"}
		}, pods: []podChange{crashed(3, 1)}},
		{name: "it is up again", pods: []podChange{func(p *corev1.Pod) {
			crashed(4, 1)(p)
			ready(p)
		}}},
		{name: "it ends well again and again", pods: []podChange{crashed(3, 0)}, fails: true, want: "has to keep running"},
		{name: "two lost pods", pods: []podChange{exited(1, "Error", 0), exited(1, "Error", 0)}},
		{name: "three lost pods", pods: []podChange{exited(1, "Error", 0), exited(1, "Error", 0), exited(1, "Error", 0)}, fails: true, want: "exit code 1"},
		{name: "a service that was up", set: func(w *rig) { w.setService("db", v1alpha1.ServiceReady, "") }, pods: []podChange{crashed(9, 1)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newShop(t)
			for name, state := range map[string]v1alpha1.ServiceState{
				"db": v1alpha1.ServiceStarting, "cache": v1alpha1.ServiceReady, "migrate": v1alpha1.ServiceWaiting, "web": v1alpha1.ServiceWaiting,
			} {
				w.setService(name, state, "")
			}
			if tc.set != nil {
				tc.set(w)
			}
			pods := map[string][]*corev1.Pod{}
			for i, change := range tc.pods {
				pods["db"] = append(pods["db"], w.podOf("db", "db-"+string(rune('a'+i)), change))
			}
			for _, change := range tc.cache {
				pods["cache"] = append(pods["cache"], w.podOf("cache", "cache-1", change))
			}
			w.add(w.agentUp())
			w.agent.tail = "panic: no database\n"
			err := w.failOnCrashLoop(t.Context(), w.state(), pods)
			st := serviceStatus(&w.run.Status, "db")
			if !tc.fails {
				if err != nil || st.State == v1alpha1.ServiceFailed {
					t.Errorf("%v, %+v", err, st)
				}
				return
			}
			wantFailure(t, err, failure.Terminal, v1alpha1.ReasonCrashed, "The service db did not come up", tc.want)
			if wantText(t, st.Message, tc.want, "panic: no database"); st.State != v1alpha1.ServiceFailed {
				t.Errorf("state %s", st.State)
			}
		})
	}
}

func TestTheGateOpensWhenEveryServiceIsUp(t *testing.T) {
	for _, tc := range []struct {
		name    string
		built   bool
		db      v1alpha1.ServiceState
		after   time.Duration // since the images were built
		status  metav1.ConditionStatus
		message []string
		requeue time.Duration
		late    bool
	}{
		{name: "all are up", built: true, db: v1alpha1.ServiceReady, status: metav1.ConditionTrue, message: []string{"4 services up"}},
		{name: "images are being built", db: v1alpha1.ServiceStarting, after: time.Hour, status: metav1.ConditionUnknown,
			message: []string{"db: It crashed"}},
		{name: "there is time", built: true, db: v1alpha1.ServiceStarting, after: 4 * time.Minute, status: metav1.ConditionUnknown,
			message: []string{"db: It crashed"}, requeue: time.Minute},
		{name: "the time is up", built: true, db: v1alpha1.ServiceStarting, after: 5 * time.Minute, status: metav1.ConditionUnknown, late: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newShop(t)
			w.plan.ReadyTimeout = 5 * time.Minute
			if tc.built {
				w.ended(v1alpha1.ConditionImagesBuilt, 0)
			}
			w.state().begin(v1alpha1.ConditionStackReady, "Starting")
			for _, name := range []string{"cache", "migrate", "web"} {
				w.setService(name, v1alpha1.ServiceReady, "")
			}
			w.setService("migrate", v1alpha1.ServiceCompleted, "")
			w.setService("db", tc.db, "It crashed once\nwith a log")
			w.add(w.eventOf("Unhealthy", "Readiness probe failed: no such table"))
			w.now = noon.Add(tc.after)
			s := w.state()
			err := w.passGate(t.Context(), s, map[string][]*corev1.Pod{"db": {w.podOf("db", "db-1", running)}})
			c := condition(s, v1alpha1.ConditionStackReady)
			wantText(t, c.Message, tc.message...)
			if c.Status != tc.status || s.requeue != tc.requeue || strings.Contains(c.Message, "with a log") {
				t.Errorf("%s: %q, requeue after %s", c.Status, c.Message, s.requeue)
			}
			if !tc.late {
				wantFailure(t, err, failure.Terminal, "")
				return
			}
			wantFailure(t, err, failure.Terminal, v1alpha1.ReasonUnhealthy, "5m0s", "stack.ready.timeout", "db: It crashed once")
			wantText(t, serviceStatus(s.status(), "db").Message, "no such table", "fake logs")
		})
	}
}

// The table of a Run shows of a service that is not up in time what the kubelet reports, and its log where it has one.
func TestAServiceThatIsLateIsExplained(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state v1alpha1.ServiceState
		pod   podChange
		event [2]string
		want  string
		log   bool
	}{
		{"a probe that fails", v1alpha1.ServiceStarting, running, [2]string{"Unhealthy", "connection refused"},
			"Its health check fails: connection refused", true},
		{"a volume that is not mounted", v1alpha1.ServiceStarting, waits("ContainerCreating", ""), [2]string{"FailedMount", "no such secret"},
			"One of its volumes cannot be mounted: no such secret", false},
		{"the kubelet reports nothing", v1alpha1.ServiceStarting, running, [2]string{"Pulled", "done"}, "Starting\n", true},
		{"one that waits for others", v1alpha1.ServiceWaiting, running, [2]string{"Unhealthy", "connection refused"}, "Starting", false},
		{"one that is ready", v1alpha1.ServiceStarting, ready, [2]string{"Unhealthy", "connection refused"}, "Starting", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newShop(t)
			w.setService("db", tc.state, "Starting")
			w.add(w.eventOf(tc.event[0], tc.event[1]))
			w.explainNotReady(t.Context(), w.state(), map[string][]*corev1.Pod{"db": {w.podOf("db", "db-1", tc.pod)}})
			got := serviceStatus(&w.run.Status, "db").Message
			if !strings.HasPrefix(got, tc.want) || strings.Contains(got, "fake logs") != tc.log {
				t.Errorf("%q", got)
			}
		})
	}
}

// A service's name may be one that no label can hold: its pods carry a short form of it, and are its pods all the same.
func TestPodsOfAServiceWhoseNameIsNotALabelAreFound(t *testing.T) {
	for _, name := range []string{"_db", strings.Repeat("long-name-", 7) + "db"} {
		w := newRig(t, map[string]string{"docker-compose.qa.yml": "services: {" + name + ": {image: 'postgres:17'}}\n"})
		w.begin()
		svc := w.service(name)
		p := w.podOf(name, "db-1", ready)
		p.Labels[v1alpha1.LabelService] = svc.Workload.GetLabels()[v1alpha1.LabelService]
		w.setPods(p)
		for range 2 {
			if err := w.reconcileServices(t.Context(), w.state(), w.podsByService()); err != nil {
				t.Fatal(err)
			}
		}
		if got := states(w.run)[name]; got != v1alpha1.ServiceReady {
			t.Errorf("%.20s, whose pods carry the label %s: %s", name, p.Labels[v1alpha1.LabelService], got)
		}
	}
}
