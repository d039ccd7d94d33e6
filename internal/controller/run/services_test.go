package run

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
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

// restarted is a pod whose container runs again after it ended so often.
func restarted(times, code int32) podChange {
	return func(p *corev1.Pod) {
		crashed(times, code)(p)
		p.Status.ContainerStatuses[0].RestartCount = times
		ready(p)
	}
}

func TestAServiceThatOthersWaitForIsWhatItsPodsAre(t *testing.T) {
	for _, tc := range []struct {
		name    string
		restart string
		pods    []podChange
		after   time.Duration
		state   v1alpha1.ServiceState
		message string
		reason  string
	}{
		{name: "no pod", state: v1alpha1.ServiceStarting},
		{name: "it runs", pods: []podChange{running}, state: v1alpha1.ServiceStarting, message: "Starting"},
		{name: "it is ready", pods: []podChange{ready}, state: v1alpha1.ServiceStarting, message: "It runs, and other services wait for its completion"},
		{name: "success", pods: []podChange{exited(0, "Completed", 0)}, state: v1alpha1.ServiceCompleted},
		{name: "success in a second pod", restart: "on-failure:1", pods: []podChange{exited(1, "Error", 0), exited(0, "Completed", 0)},
			state: v1alpha1.ServiceCompleted},
		{name: "success after a restart", restart: "on-failure:1", pods: []podChange{func(p *corev1.Pod) {
			exited(0, "Completed", 0)(p)
			p.Status.ContainerStatuses[0].RestartCount = 1
		}}, state: v1alpha1.ServiceCompleted},
		{name: "a failure that is retried", restart: "on-failure:1", pods: []podChange{crashed(1, 3)}, state: v1alpha1.ServiceStarting,
			message: "It crashed once, the last time: it ended with exit code 3"},
		{name: "a retry", restart: "on-failure:1", pods: []podChange{restarted(1, 3)}, state: v1alpha1.ServiceStarting,
			message: "It crashed once, the last time: it ended with exit code 3"},
		{name: "the last failure", restart: "on-failure:1", pods: []podChange{crashed(2, 4)}, state: v1alpha1.ServiceFailed,
			message: "exit code 4, and other services wait for its success", reason: v1alpha1.ReasonCrashed},
		{name: "the last failure in a second pod", restart: "on-failure:1", pods: []podChange{exited(3, "Error", 0), crashed(1, 4)},
			state: v1alpha1.ServiceFailed, message: "exit code 4", reason: v1alpha1.ReasonCrashed},
		{name: "a failure without retries", pods: []podChange{exited(3, "Error", 0)}, state: v1alpha1.ServiceFailed, message: "exit code 3",
			reason: v1alpha1.ReasonCrashed},
		{name: "a failure without retries, and the kubelet was faster", pods: []podChange{restarted(1, 3)}, state: v1alpha1.ServiceFailed,
			message: "t ended with exit code 3, and other services", reason: v1alpha1.ReasonCrashed},
		{name: "an eviction without retries", pods: []podChange{func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.ContainerStatuses = corev1.PodFailed, "Evicted", nil
		}}, state: v1alpha1.ServiceFailed, message: "evicted", reason: v1alpha1.ReasonEvicted},
		{name: "six failures without a limit", restart: "on-failure", pods: []podChange{crashed(6, 1)}, state: v1alpha1.ServiceStarting, message: "6 times"},
		{name: "seven failures without a limit", restart: "on-failure", pods: []podChange{crashed(7, 1)}, state: v1alpha1.ServiceFailed, message: "7 times",
			reason: v1alpha1.ReasonCrashed},
		{name: "its image is not there", pods: []podChange{waits("ErrImagePull", "manifest unknown")}, after: time.Minute, state: v1alpha1.ServiceFailed,
			message: "manifest unknown", reason: v1alpha1.ReasonImageUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, map[string]string{"docker-compose.qa.yml": `services:
  migrate: {image: 'shop:1', command: [migrate], restart: '` + tc.restart + `'}
  web: {image: 'shop:1', depends_on: {migrate: {condition: service_completed_successfully}}}
`})
			w.begin()
			w.setService("migrate", v1alpha1.ServiceStarting, "")
			var pods []*corev1.Pod
			for i, change := range tc.pods {
				pods = append(pods, w.podOf("migrate", "migrate-"+string(rune('a'+i)), change))
			}
			w.setPods(pods...)
			w.now = noon.Add(tc.after)
			err := w.reconcileServices(t.Context(), w.state(), w.podsByService())
			wantFailure(t, err, failure.Terminal, tc.reason, "The service migrate", tc.message)
			st := serviceStatus(&w.run.Status, "migrate")
			if wantText(t, st.Message, tc.message); st.State != tc.state {
				t.Errorf("%s: %q, want %s", st.State, st.Message, tc.state)
			}
			if ran := tc.reason != "" && tc.reason != v1alpha1.ReasonImageUnavailable; ran != strings.Contains(st.Message, "fake logs") {
				t.Errorf("the end of the log: %q", st.Message)
			}
		})
	}
}

// What it means that a container ends: its exit code and restart policy decide, and whether it is a Job's or a Deployment's.
func TestEndsOfContainersAreWhatTheRestartPolicyMakesOfThem(t *testing.T) {
	const job, deployment = "command: [work]", "command: [work], expose: [80]"
	for _, tc := range []struct {
		name, service string
		pods          []podChange
		state         v1alpha1.ServiceState
		fails         string // in the Run's message; empty if it goes on
	}{
		{name: "a Job runs", service: job, pods: []podChange{ready}, state: v1alpha1.ServiceReady},
		{name: "a Job is not ready yet", service: job, pods: []podChange{running}, state: v1alpha1.ServiceStarting},
		{name: "a Job ends", service: job, pods: []podChange{exited(0, "Completed", 0)}, state: v1alpha1.ServiceCompleted},
		{name: "one Job of two ends", service: job + ", scale: 2", pods: []podChange{exited(0, "Completed", 0), ready}, state: v1alpha1.ServiceReady},
		{name: "one Job of two is not there yet", service: job + ", scale: 2", pods: []podChange{exited(0, "Completed", 0)}, state: v1alpha1.ServiceStarting},
		{name: "both Jobs end", service: job + ", scale: 2", pods: []podChange{exited(0, "Completed", 0), exited(0, "Completed", 0)},
			state: v1alpha1.ServiceCompleted},
		{name: "no Job is wanted", service: job + ", scale: 0", state: v1alpha1.ServiceCompleted},
		{name: "a Job fails twice", service: job, pods: []podChange{crashed(2, 1)}, state: v1alpha1.ServiceStarting},
		{name: "a Job fails three times", service: job, pods: []podChange{crashed(3, 1)}, state: v1alpha1.ServiceFailed, fails: "crashed 3 times"},
		{name: "a Job fails in three pods", service: job, pods: []podChange{exited(1, "Error", 0), exited(1, "Error", 0), crashed(1, 1)},
			state: v1alpha1.ServiceFailed, fails: "exit code 1"},
		{name: "a Job was evicted and runs again", service: job, pods: []podChange{exited(137, "Error", 0), ready}, state: v1alpha1.ServiceReady},
		{name: "a Job without restarts fails twice", service: job + ", restart: 'no'", pods: []podChange{crashed(2, 1)}, state: v1alpha1.ServiceStarting},
		{name: "a Job with two retries fails twice", service: job + ", restart: 'on-failure:2'", pods: []podChange{crashed(2, 1)}, state: v1alpha1.ServiceStarting},
		{name: "a Job with two retries fails three times", service: job + ", restart: 'on-failure:2'", pods: []podChange{crashed(3, 1)},
			state: v1alpha1.ServiceFailed, fails: "crashed 3 times"},
		{name: "a Job without retries fails and runs again", service: job + ", restart: 'on-failure:0'", pods: []podChange{restarted(1, 1)},
			state: v1alpha1.ServiceFailed, fails: "exit code 1"},
		{name: "a Job with any number of retries fails six times", service: job + ", restart: on-failure", pods: []podChange{crashed(6, 1)},
			state: v1alpha1.ServiceStarting},
		{name: "a Job with any number of retries fails seven times", service: job + ", restart: on-failure", pods: []podChange{crashed(7, 1)},
			state: v1alpha1.ServiceFailed, fails: "crashed 7 times"},
		{name: "a server ends", service: deployment, pods: []podChange{crashed(1, 0)}, state: v1alpha1.ServiceCompleted},
		{name: "a server ended and was restarted", service: deployment, pods: []podChange{restarted(1, 0)}, state: v1alpha1.ServiceCompleted},
		{name: "a server without restarts ends", service: deployment + ", restart: 'no'", pods: []podChange{crashed(1, 0)}, state: v1alpha1.ServiceCompleted},
		{name: "a server that is restarted on failure ends", service: deployment + ", restart: on-failure", pods: []podChange{crashed(1, 0)},
			state: v1alpha1.ServiceCompleted},
		{name: "a server that is restarted always ends", service: deployment + ", restart: always", pods: []podChange{crashed(2, 0)},
			state: v1alpha1.ServiceStarting},
		{name: "a server that is restarted always ends again and again", service: deployment + ", restart: unless-stopped", pods: []podChange{crashed(3, 0)},
			state: v1alpha1.ServiceFailed, fails: "ended 3 times with exit code 0, but a service has to keep running"},
		{name: "a server ends for its pod is deleted", service: deployment, pods: []podChange{func(p *corev1.Pod) {
			exited(0, "Completed", time.Second)(p)
			p.DeletionTimestamp = &metav1.Time{Time: noon}
		}, ready}, state: v1alpha1.ServiceReady},
		{name: "a server ends for its pod is evicted", service: deployment, pods: []podChange{func(p *corev1.Pod) {
			exited(0, "Completed", 0)(p)
			p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted"
		}, ready}, state: v1alpha1.ServiceReady},
		{name: "one server of two ends", service: deployment + ", scale: 2", pods: []podChange{crashed(1, 0), ready}, state: v1alpha1.ServiceReady},
		{name: "both servers end", service: deployment + ", scale: 2", pods: []podChange{crashed(1, 0), crashed(1, 0)}, state: v1alpha1.ServiceCompleted},
		{name: "a server crashes twice", service: deployment, pods: []podChange{crashed(2, 1)}, state: v1alpha1.ServiceStarting},
		{name: "a server crashes three times", service: deployment, pods: []podChange{crashed(3, 1)}, state: v1alpha1.ServiceFailed, fails: "crashed 3 times"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, map[string]string{"docker-compose.qa.yml": "services: {work: {image: x, " + tc.service + "}}\n"})
			w.begin()
			st := w.setService("work", v1alpha1.ServiceStarting, "")
			var pods []*corev1.Pod
			for i, change := range tc.pods {
				pods = append(pods, w.podOf("work", "work-"+string(rune('a'+i)), change))
			}
			w.setPods(pods...)
			err := w.reconcileServices(t.Context(), w.state(), w.podsByService())
			if tc.fails == "" {
				wantFailure(t, err, failure.Terminal, "")
			} else {
				wantFailure(t, err, failure.Terminal, v1alpha1.ReasonCrashed, "The service work did not come up", tc.fails)
			}
			if st.State != tc.state || st.Message != "" && st.State == v1alpha1.ServiceCompleted {
				t.Errorf("%s: %q, want %s", st.State, st.Message, tc.state)
			}
		})
	}
}

// A Deployment is scaled down once its completion is stored, and nothing starts it again.
func TestACompletedDeploymentIsScaledDown(t *testing.T) {
	w := newRig(t, map[string]string{"docker-compose.qa.yml": "services: {web: {image: x, expose: [80]}, job: {image: x, command: [work]}}\n"})
	w.begin()
	w.add(w.service("web").Workload)
	w.setService("web", v1alpha1.ServiceStarting, "")
	w.setService("job", v1alpha1.ServiceStarting, "")
	w.setPods(w.podOf("web", "web-1", crashed(1, 0)), w.podOf("job", "job-1", exited(0, "Completed", 0)))
	for i, want := range []int32{1, 0, 0} {
		s := w.state()
		if err := w.reconcileServices(t.Context(), s, w.podsByService()); err != nil {
			t.Fatal(err)
		}
		if i == 0 { // The same reconcile goes on with the tests.
			if err := w.reportCrashes(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		d, err := w.Kube.AppsV1().Deployments(jobs.StackName(w.run)).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || *d.Spec.Replicas != want {
			t.Errorf("reconcile %d: %v, %d replicas, want %d", i, err, *d.Spec.Replicas, want)
		}
		if got := states(w.run); got["web"] != v1alpha1.ServiceCompleted || got["job"] != v1alpha1.ServiceCompleted || i == 0 && s.requeue != 10*time.Millisecond {
			t.Errorf("reconcile %d: %v, requeue after %s", i, got, s.requeue)
		}
	}
	if applied := w.takeApplied(); len(applied) > 0 {
		t.Errorf("applied %q", applied)
	}
}

// What was started is not started again, though the status of that reconcile was lost: it may have ended since.
func TestAServiceWithPodsIsNotStartedAgain(t *testing.T) {
	for name, pods := range map[string][]podChange{"Job work": nil, "": {exited(0, "Completed", 0)}} {
		w := newRig(t, map[string]string{"docker-compose.qa.yml": "services: {work: {image: x, command: [seed]}}\n"})
		w.begin()
		for _, change := range pods {
			w.setPods(w.podOf("work", "work-1", change))
		}
		if err := w.reconcileServices(t.Context(), w.state(), w.podsByService()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.takeApplied(), ", "); got != name {
			t.Errorf("applied %q, want %q", got, name)
		}
		if got := states(w.run)["work"]; (got == v1alpha1.ServiceCompleted) != (name == "") {
			t.Errorf("the service is %s", got)
		}
	}
}

// The kind of a service is that of its pods: a plan that is made after a restart of Conductor may know less of an image.
func TestALaterPlanDoesNotChangeWhatWasStarted(t *testing.T) {
	files := map[string]string{"docker-compose.qa.yml": "services: {work: {image: 'alpine:3', restart: on-failure}}\n"}
	known := plan.Images{AllKnown: true, Configs: map[string]compose.ImageConfig{"alpine:3": {Cmd: []string{"sh"}}}}
	for name, later := range map[string]plan.Images{
		"the same is known": known, "the image is asked for again": {}, "the image cannot be read anymore": {AllKnown: true},
	} {
		for fate, want := range map[string]struct {
			pod   podChange
			state v1alpha1.ServiceState
			fails bool
		}{
			"it runs": {ready, v1alpha1.ServiceReady, false}, "it ends": {exited(0, "Completed", 0), v1alpha1.ServiceCompleted, false},
			"it fails six times":   {crashed(6, 1), v1alpha1.ServiceStarting, false},
			"it fails seven times": {crashed(7, 1), v1alpha1.ServiceFailed, true},
		} {
			w := newRig(t, nil)
			w.makePlan(files, known)
			w.begin()
			pod := w.podOf("work", "work-1", want.pod)
			w.setPods(pod)
			w.setService("work", v1alpha1.ServiceStarting, "")
			w.makePlan(files, later)
			if err := w.reconcileServices(t.Context(), w.state(), w.podsByService()); (err != nil) != want.fails {
				t.Errorf("%s, %s: %v", name, fate, err)
			}
			if got := states(w.run)["work"]; got != want.state || pod.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
				t.Errorf("%s, %s: %s, a pod with restartPolicy %s", name, fate, got, pod.Spec.RestartPolicy)
			}
		}
	}
}

// A guest that ends does not keep its pod from being up, and does not end the Run however often the kubelet restarts it.
func TestAGuestThatEndsIsNotACrash(t *testing.T) {
	for _, tc := range []struct {
		name, restart string
		guest         int32 // how the guest ended, five times
		hostReady     bool
		state         v1alpha1.ServiceState
	}{
		{name: "it ends", guest: 0, hostReady: true, state: v1alpha1.ServiceReady},
		{name: "the host is not ready yet", guest: 0, state: v1alpha1.ServiceStarting},
		{name: "it fails", guest: 1, hostReady: true, state: v1alpha1.ServiceFailed},
		{name: "it should keep running", restart: ", restart: always", guest: 0, hostReady: true, state: v1alpha1.ServiceFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, map[string]string{"docker-compose.qa.yml": `services:
  web: {image: x, expose: [80]}
  helper: {image: x, command: [help], network_mode: 'service:web'` + tc.restart + `}
`})
			w.begin()
			w.setService("web", v1alpha1.ServiceStarting, "")
			w.setPods(w.podOf("web", "web-1", running, func(p *corev1.Pod) {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "helper"})
				host := p.Status.ContainerStatuses[0]
				host.Ready = tc.hostReady
				crashed(5, tc.guest)(p)
				guest := p.Status.ContainerStatuses[0]
				guest.Name = "helper"
				p.Status.ContainerStatuses = []corev1.ContainerStatus{host, guest}
			}))
			err := w.reconcileServices(t.Context(), w.state(), w.podsByService())
			if got := states(w.run)["web"]; got != tc.state || (err != nil) != (tc.state == v1alpha1.ServiceFailed) {
				t.Errorf("%s, %v; want %s", got, err, tc.state)
			}
		})
	}
}

// A service that waits for the health of one that has ended would wait forever.
func TestADependencyThatHasEndedIsNeverHealthy(t *testing.T) {
	for required, fails := range map[string]string{"true": "it waits until db is healthy, but db ended with exit code 0", "false": ""} {
		w := newRig(t, map[string]string{"docker-compose.qa.yml": `services:
  db: {image: x, expose: [80]}
  web: {image: x, expose: [80], depends_on: {db: {condition: service_healthy, required: ` + required + `}}}
`})
		w.begin()
		w.setService("db", v1alpha1.ServiceCompleted, "")
		err := w.reconcileServices(t.Context(), w.state(), w.podsByService())
		if fails != "" {
			wantFailure(t, err, failure.Terminal, v1alpha1.ReasonUnhealthy, "The service web cannot start", fails)
		} else if got := strings.Join(w.takeApplied(), ", "); err != nil || got != "Deployment web" {
			t.Errorf("required: %s: %v, applied %q", required, err, got)
		}
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
			err := w.failOnCrashes(t.Context(), w.state(), pods)
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
