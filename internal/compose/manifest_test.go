package compose

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

// waitImage is what the manifests of these tests wait with.
const waitImage = "registry.example.com/conductor:1"

// manifests are the settings of the cases that need some.
var manifests = map[string]struct {
	convert  Options
	manifest ManifestOptions
}{
	"order":   {convert: Options{Namespace: "qa"}},
	"build":   {convert: Options{Images: map[string]string{"given": "registry.example.com/given:2"}}},
	"strict":  {manifest: ManifestOptions{Strict: true}},
	"volumes": {convert: Options{Namespace: "qa"}},
	"apart":   {convert: Options{Egress: []networkingv1.NetworkPolicyEgressRule{Internet()}}},
}

// manifestOf converts testdata/manifest/CASE; its error is an *Errors.
func manifestOf(t *testing.T, name string) (*Project, *Stack, error) {
	t.Helper()
	p, err := Load(filepath.Join("testdata", "manifest", name), LoadOptions{Files: []string{"compose.yaml"}, Secrets: []string{"DB_PASSWORD", "TOKEN"}})
	if err != nil {
		t.Fatal(err)
	}
	set := manifests[name]
	set.manifest.WaitImage, set.convert.InlineDockerfiles = waitImage, true
	s, err := Manifest(p, set.convert, set.manifest)
	return p, s, err
}

// TestManifestGolden converts testdata/manifest/*/compose.yaml. A case has want.yaml, unless something is refused, findings.txt, and
// report.txt with what became of each field.
func TestManifestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/manifest/*/compose.yaml")
	if err != nil || len(cases) < 6 {
		t.Fatalf("found %d cases: %v", len(cases), err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			p, stack, err := manifestOf(t, filepath.Base(dir))
			var objects, lines string
			var findings []Finding
			if refused := (*Errors)(nil); errors.As(err, &refused) {
				findings = refused.Findings
			} else if err != nil {
				t.Fatal(err)
			} else {
				data, err := YAML(stack)
				if err != nil {
					t.Fatal(err)
				}
				objects, findings = string(data), stack.Findings
			}
			for _, f := range findings {
				lines += f.String() + "\n"
			}
			report := ""
			for _, f := range p.Report(findings) {
				report += fmt.Sprintf("%s:%d %s.%s %s\n", f.File, f.Line, f.Service, f.Field, f.Outcome)
			}
			compare(t, filepath.Join(dir, "want.yaml"), objects)
			compare(t, filepath.Join(dir, "findings.txt"), lines)
			compare(t, filepath.Join(dir, "report.txt"), report)
		})
	}
}

// TestManifestIsTheSameEachTime guards against maps that are walked in any order.
func TestManifestIsTheSameEachTime(t *testing.T) {
	var first []byte
	for range 20 {
		_, s, err := manifestOf(t, "order")
		if err != nil {
			t.Fatal(err)
		}
		data, err := YAML(s)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Fatal("the same files gave another manifest")
		}
	}
}

// TestObjectsDecodeStrictly reads every object of every case into its typed struct, and allows no field that the struct has not.
func TestObjectsDecodeStrictly(t *testing.T) {
	codecs := serializer.NewCodecFactory(clientgoscheme.Scheme, serializer.EnableStrict)
	files, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("testdata/*/*/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects := 0
	for _, file := range append(files, more...) {
		p, err := Load(filepath.Dir(file), LoadOptions{Files: []string{"compose.yaml"}})
		if err != nil {
			continue // Such a case is about what is refused.
		}
		stack, err := Manifest(p, Options{Namespace: "qa"}, ManifestOptions{WaitImage: waitImage})
		if err != nil {
			continue
		}
		data, err := YAML(stack)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range strings.Split(strings.TrimPrefix(string(data), "---\n"), "\n---\n") {
			object, kind, err := codecs.UniversalDeserializer().Decode([]byte(text), nil, nil)
			if err != nil {
				t.Errorf("%s: %v\n%s", file, err, text)
				continue
			}
			if _, unknown := object.(*runtime.Unknown); unknown {
				t.Errorf("%s: nobody knows %s", file, kind)
			}
			objects++
		}
	}
	if objects < 100 {
		t.Errorf("only %d objects were read", objects)
	}
	if _, _, err := codecs.UniversalDeserializer().Decode([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 1}\n"), nil, nil); err == nil {
		t.Error("a field that no Service has was taken")
	}
}

// TestTokensAreForOneJob checks that a token may get only the Jobs that the pod's init containers wait for, and that other containers do
// not have one.
func TestTokensAreForOneJob(t *testing.T) {
	_, stack, err := manifestOf(t, "order")
	if err != nil {
		t.Fatal(err)
	}
	may := map[string][]string{}
	roles := map[string]*rbacv1.Role{}
	for _, o := range stack.Objects() {
		if role, ok := o.(*rbacv1.Role); ok {
			roles[role.Name] = role
		}
	}
	for _, o := range stack.Objects() {
		binding, ok := o.(*rbacv1.RoleBinding)
		if !ok {
			continue
		}
		rule := roles[binding.RoleRef.Name].Rules[0]
		if !slices.Equal(rule.Verbs, []string{"get"}) || len(rule.ResourceNames) != 1 || !slices.Equal(rule.Resources, []string{"jobs"}) {
			t.Errorf("%s allows %+v", binding.RoleRef.Name, rule)
		}
		for _, s := range binding.Subjects {
			if s.Namespace != "qa" {
				t.Errorf("%s is for the namespace %q", binding.Name, s.Namespace)
			}
			may[s.Name] = append(may[s.Name], rule.ResourceNames[0])
		}
	}
	want := map[string][]string{"web": {"migrate", "report", "seed"}, "worker": {"migrate"}, "seed": {"migrate"}}
	if !maps.EqualFunc(may, want, slices.Equal) {
		t.Errorf("accounts may look at %v, want %v", may, want)
	}
	for i := range stack.Services {
		s := &stack.Services[i]
		spec := templateOf(s.Workload).Spec
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			t.Errorf("%s: a token is mounted in every container", s.Name)
		}
		if spec.ServiceAccountName != "" && want[spec.ServiceAccountName] == nil || spec.ServiceAccountName != "" && spec.ServiceAccountName != s.Name {
			t.Errorf("%s runs as %s", s.Name, spec.ServiceAccountName)
		}
		for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
			asks := slices.ContainsFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, "--job=") })
			has := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == tokenVolume })
			if asks != has {
				t.Errorf("%s: container %s asks for a Job: %v, has a token: %v", s.Name, c.Name, asks, has)
			}
		}
	}
}

// TestEveryWaitCanEnd looks up what each init container waits for: a Service that leads to ready pods only, or a Job.
func TestEveryWaitCanEnd(t *testing.T) {
	for _, name := range []string{"order", "names", "volumes", "plain", "apart", "shared"} {
		_, stack, err := manifestOf(t, name)
		if err != nil {
			t.Fatal(err)
		}
		services, jobs, pods := map[string]*corev1.Service{}, map[string]bool{}, map[string]string{}
		for _, o := range stack.Objects() {
			switch o := o.(type) {
			case *corev1.Service:
				services[o.Name] = o
			case *batchv1.Job:
				jobs[o.Name] = true
			case *appsv1.Deployment:
				pods[o.Spec.Template.Labels[labelName]] = o.Name
			}
		}
		waits := 0
		for i := range stack.Services {
			for _, c := range templateOf(stack.Services[i].Workload).Spec.InitContainers {
				waits++
				_, target, _ := strings.Cut(c.Args[1], "=")
				if strings.HasPrefix(c.Args[1], "--job=") {
					if !jobs[target] {
						t.Errorf("%s: %s waits for the Job %s, which is not there", name, c.Name, target)
					}
					continue
				}
				s := services[target]
				if s == nil || s.Spec.PublishNotReadyAddresses || s.Spec.ClusterIP != corev1.ClusterIPNone || pods[s.Spec.Selector[labelName]] == "" {
					t.Errorf("%s: %s waits for %s, which is %+v", name, c.Name, target, s)
				}
			}
		}
		if waits == 0 {
			t.Errorf("%s: nobody waits", name)
		}
	}
}
