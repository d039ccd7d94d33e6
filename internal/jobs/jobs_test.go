package jobs

import (
	"bytes"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testRun() *v1alpha1.Run {
	return &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: "acme-shop-0123456789", UID: "8c2b6d1e-0000-4000-8000-000000000001"},
		Spec: v1alpha1.RunSpec{
			Repository: v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop"},
			SHA:        "4f3c2b1a09876543210fedcba98765432101abcd",
			Ceilings:   v1alpha1.Ceilings{Pods: 40, CPU: "8", Memory: "16Gi"},
		},
	}
}

func kanikoInput(t *testing.T) KanikoInput {
	t.Helper()
	u, err := url.Parse("https://user:secret@github.com/acme/shop.git")
	if err != nil {
		t.Fatal(err)
	}
	return KanikoInput{
		Run: testRun(), Image: "backend", Namespace: "conductor-builds", Executor: "gcr.io/kaniko-project/executor:v1.24.0", CloneURL: u,
		Context: "./services/backend/", Dockerfile: "docker/Dockerfile.qa", Target: "qa",
		Args:       map[string]string{"NODE_ENV": "qa", "A": "$(GIT_PASSWORD) $$ $HOME", "EMPTY": ""},
		Repository: "registry.example.com:5000/acme/shop/backend", Insecure: true, Mirrors: []string{"mirror.example.com"},
		Secret: "acme-shop-0123456789-build", Timeout: 30 * time.Minute,
		CPU: "500m", Memory: "512Mi", MemoryLimit: "4Gi",
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// objects are all objects that this package makes, by the name of their golden file.
func objects(t *testing.T) map[string][]client.Object {
	run := testRun()
	plain := KanikoInput{
		Run: run, Image: "web", Namespace: "conductor-builds", Executor: "kaniko:1", CloneURL: must[*url.URL](t)(url.Parse("http://git.example.com:8080/acme/shop.git")),
		Context: ".", Repository: "registry.example.com/acme/shop/web", Secret: "build", Timeout: time.Minute,
	}
	inline := plain
	inline.Context, inline.Dockerfile, inline.Inline = "web", "Dockerfile.not-asked-for", "FROM busybox\nRUN echo \"$(GIT_PASSWORD)\" > /x\n"
	own := "ghcr.io/w3evolutionsllc/conductor@sha256:0"
	public := Public{Run: run, Service: "web", Object: "web", Port: 8080, Host: "{service}-{run}.qa.example.com"}
	open := testRun()
	open.Status.Services = []v1alpha1.ServiceStatus{{Name: "redis"}, {Name: "web", URL: "https://web.example.com"}}
	sourced := testRun()
	sourced.Status.Source = &v1alpha1.SourceStatus{Reference: "registry.example.com/sources/acme/shop:shop-1", Digest: "sha256:5"}
	tokens := evidence.AgentTokens{Conductor: "c", Wrapper: "w", Source: "s"}
	return map[string][]client.Object{
		"kaniko":       {must[*batchv1.Job](t)(Kaniko(kanikoInput(t)))},
		"kaniko-plain": {must[*batchv1.Job](t)(Kaniko(plain)), must[*batchv1.Job](t)(Kaniko(inline))},
		"secrets":      {BuildSecret(run, "conductor-builds", BuildSecretName(run), "ghs_x", nil), PullSecret(run, []byte(`{"auths":{}}`))},
		"test": {
			Test(TestInput{
				Run: run, Key: evidence.AttemptKey{Suite: "e2e", Number: 1}, Shards: 1, Image: "registry.example.com/acme/shop/tests@sha256:1", Wrapper: own,
				Argv: Literal([]string{"/bin/sh", "-c", "yarn test && echo $(date)"}), JUnit: []string{"junit.xml"}, Artifacts: []string{"shots/**"},
				Env: map[string]string{"BASE_URL": "http://backend:3001", "CI": "1", "CONDUCTOR_RUN": "mine"}, Timeout: 90 * time.Second, Wait: time.Hour,
				PullSecret: PullSecretName(run),
			}),
			Test(TestInput{
				Run: run, Key: evidence.AttemptKey{Suite: "unit", Shard: 1, Number: 2}, Shards: 3, Image: "node:20", Wrapper: own, Argv: []string{"npm", "test"},
				Timeout: time.Minute, Wait: time.Hour,
			}),
			Test(TestInput{
				Run: run, Key: evidence.AttemptKey{Suite: "sut", Number: 1}, Shards: 1, Image: "node:20", Wrapper: own, Argv: []string{"npm", "test"}, Timeout: time.Minute,
				Template: &corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelNetworks: "own", v1alpha1.LabelStage: "stack"}},
					Spec: corev1.PodSpec{
						Volumes: []corev1.Volume{{Name: "files"}},
						Containers: []corev1.Container{{
							Name: "sut", Image: "node:18", Command: []string{"npm"}, Args: []string{"test"}, WorkingDir: "/src",
							Env: []corev1.EnvVar{{Name: "CI", Value: "false"}, {Name: "URL", Value: "http://web"}}, ReadinessProbe: &corev1.Probe{},
						}},
					},
				},
			}),
		},
		"agent": append([]client.Object{AgentBinding(run), AgentSecret(run, tokens)}, Agent(run, AgentInput{Image: own, PullSecret: PullSecretName(run)})...),
		"agent-source": append([]client.Object{SourceSecret(sourced, []byte(`{"auths":{}}`))},
			Agent(sourced, AgentInput{Image: own, Source: true, Credential: true, Insecure: true})...),
		"stack": append([]client.Object{Namespace(run, false), RoleBinding(run, "conductor", "conductor-system")}, must[[]client.Object](t)(Limits(run))...),
		"network": append(
			append([]client.Object{must[client.Object](t)(EgressPolicy(run, []string{"203.0.113.0/24:443", "0.0.0.0/0", "169.254.7.0/24"}))}, IngressPolicies(open, []string{"ingress-nginx"})...),
			IngressPolicies(run, []string{"ingress-nginx"})...),
		"public": {Ingress(public, "nginx"), Ingress(public, ""), HTTPRoute(public, "gateways/public"), HTTPRoute(public, "local")},
	}
}

func TestObjectsAreAsTheGoldenFilesSay(t *testing.T) {
	for name, list := range objects(t) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			for _, o := range list {
				data, err := yaml.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				b.WriteString("---\n")
				b.Write(data)
			}
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", file, diff)
			}
		})
	}
}

// Pod Security enforces nothing if, and only if, the stack uses what the operator allows beyond the baseline.
func TestOnlyAStackThatIsAllowedMoreHasAnOpenNamespace(t *testing.T) {
	for beyond, want := range map[bool]string{false: "baseline", true: "privileged"} {
		if got := Namespace(testRun(), beyond).Labels["pod-security.kubernetes.io/enforce"]; got != want {
			t.Errorf("beyond the baseline %v: %s is enforced", beyond, got)
		}
	}
}

func TestALongDockerfileIsRefused(t *testing.T) {
	in := kanikoInput(t)
	in.Inline = strings.Repeat("#", maxInline)
	if _, err := Kaniko(in); err != nil {
		t.Errorf("one that fits: %v", err)
	}
	in.Inline += "#"
	if _, err := Kaniko(in); !failure.IsTerminal(err) || !strings.Contains(err.Error(), "Move it to a file") {
		t.Errorf("one that does not: %v", err)
	}
}

func TestEverythingIsOursAndHasAKind(t *testing.T) {
	for name, list := range objects(t) {
		for _, o := range list {
			l := o.GetLabels()
			if l[v1alpha1.LabelManaged] != v1alpha1.ManagedValue || l[v1alpha1.LabelRunUID] != string(testRun().UID) || l[v1alpha1.LabelRun] != testRun().Name || l[v1alpha1.LabelRepository] != "7" {
				t.Errorf("%s: labels %v", name, l)
			}
			if gvk := o.GetObjectKind().GroupVersionKind(); gvk.Kind == "" || gvk.Version == "" {
				t.Errorf("%s: %s has no kind, and could not be applied", name, o.GetName())
			}
			for k, v := range l {
				if errs := validation.IsValidLabelValue(v); len(errs) > 0 {
					t.Errorf("%s: label %s=%q: %v", name, k, v, errs)
				}
			}
		}
	}
}

// TestPodsHaveNoRights checks the fields that Pod Security's baseline and the threat model require of every pod with users' code.
func TestPodsHaveNoRights(t *testing.T) {
	for name, list := range objects(t) {
		for _, o := range list {
			job, ok := o.(*batchv1.Job)
			if !ok {
				continue
			}
			p := job.Spec.Template.Spec
			if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken || p.EnableServiceLinks == nil || *p.EnableServiceLinks {
				t.Errorf("%s: %s has a token or service links", name, job.Name)
			}
			if p.HostNetwork || p.HostPID || p.HostIPC || p.RestartPolicy != corev1.RestartPolicyNever || *job.Spec.BackoffLimit != 0 {
				t.Errorf("%s: %s: %+v", name, job.Name, p)
			}
			if p.ActiveDeadlineSeconds == nil || *job.Spec.ActiveDeadlineSeconds <= *p.ActiveDeadlineSeconds {
				t.Errorf("%s: the Job %s ends before its pod, and would take the log with it", name, job.Name)
			}
			if sc := p.Containers[0].SecurityContext; sc != nil || len(p.Containers) != 1 {
				t.Errorf("%s: %s: security context %v", name, job.Name, sc)
			}
			if p.Containers[0].TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
				t.Errorf("%s: %s says nothing of why it failed", name, job.Name)
			}
		}
	}
}

// expand expands $(NAME) in arguments and environment values as the kubelet does.
func expand(s string, vars map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if v, ok := vars[s[i+2:max(i+2, i+end)]]; end > 0 && ok {
				b.WriteString(v)
				i += end
				continue
			}
			b.WriteByte('$')
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

func TestNoArgumentIsExpanded(t *testing.T) {
	vars := map[string]string{"GIT_PASSWORD": "leaked", "": "leaked"}
	if expand("$(GIT_PASSWORD)", vars) != "leaked" {
		t.Fatal("the model does not expand")
	}
	same := func(s string) bool { return expand(Literal([]string{s})[0], vars) == s }
	for _, s := range []string{"$(GIT_PASSWORD)", "$$(GIT_PASSWORD)", "$$$(GIT_PASSWORD)", "$", "$$", "a$", "$(", "$()", "$HOME ${HOME} `x`"} {
		if !same(s) {
			t.Errorf("%q becomes %q", s, expand(Literal([]string{s})[0], vars))
		}
	}
	if err := quick.Check(func(parts []uint8) bool {
		var s strings.Builder
		for _, p := range parts {
			s.WriteString([]string{"$", "(", ")", "GIT_PASSWORD", "x"}[p%5])
		}
		return same(s.String())
	}, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
}

func TestKanikoRefusesWhatIsOutsideTheRepository(t *testing.T) {
	for _, tt := range []struct {
		context, dockerfile string
		ok                  bool
	}{
		{".", "Dockerfile", true}, {"", "", true}, {"a/b", "../Dockerfile", true}, {"./a/../b", "x/Dockerfile", true},
		{"..", "Dockerfile", false}, {"../x", "Dockerfile", false}, {"/etc", "Dockerfile", false}, {".", "../Dockerfile", false},
		{"a", "../../Dockerfile", false}, {".", "/kaniko/.docker/config.json", false}, {".", "https://example.com/Dockerfile", false},
	} {
		in := kanikoInput(t)
		in.Context, in.Dockerfile = tt.context, tt.dockerfile
		_, err := Kaniko(in)
		if (err == nil) != tt.ok {
			t.Errorf("context %q, Dockerfile %q: %v", tt.context, tt.dockerfile, err)
		}
		if err != nil && !failure.IsTerminal(err) {
			t.Errorf("context %q, Dockerfile %q: %v is tried again", tt.context, tt.dockerfile, err)
		}
	}
}

func TestKanikoNamesACommitAndNoSecret(t *testing.T) {
	in := kanikoInput(t)
	job, err := Kaniko(in)
	if err != nil {
		t.Fatal(err)
	}
	c := job.Spec.Template.Spec.Containers[0]
	for _, arg := range c.Args {
		if strings.Contains(arg, "secret") {
			t.Errorf("the clone URL's credential is in %q", arg)
		}
		if strings.HasPrefix(arg, "--build-arg=") && !strings.Contains(strings.TrimPrefix(arg, "--build-arg="), "=") {
			t.Errorf("%q takes its value from Kaniko's environment", arg)
		}
	}
	in.Run.Spec.SHA = strings.Repeat("ab", 32)
	if _, err := Kaniko(in); !failure.IsTerminal(err) {
		t.Errorf("a SHA-256 commit, which Kaniko would take for a ref: %v", err)
	}
	in = kanikoInput(t)
	in.Memory = "lots"
	if _, err := Kaniko(in); err == nil {
		t.Error("a request of lots of memory is no quantity")
	}
}
