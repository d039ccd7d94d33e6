package compose

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// stacks converts every golden case, also those where something is refused, and the shop.
func stacks(t *testing.T) map[string]*Stack {
	t.Helper()
	out := map[string]*Stack{}
	files, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range append(files, "../../examples/shop/"+DefaultFile) {
		dir := filepath.Dir(file)
		set := settings[filepath.Base(dir)]
		if set.load.Files == nil && strings.HasPrefix(dir, "testdata") {
			set.load.Files = []string{"compose.yaml"}
		}
		p, err := Load(dir, set.load)
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		out[filepath.Base(dir)] = newConverter(p, set.convert).convert()
	}
	return out
}

func podOf(t *testing.T, s Service) corev1.PodTemplateSpec {
	t.Helper()
	switch w := s.Workload.(type) {
	case *appsv1.Deployment:
		return w.Spec.Template
	case *batchv1.Job:
		return w.Spec.Template
	}
	t.Fatalf("the workload of %s is a %T", s.Name, s.Workload)
	return corev1.PodTemplateSpec{}
}

// TestEveryPod holds all pods, whatever the file says, to what no file may change.
func TestEveryPod(t *testing.T) {
	for name, stack := range stacks(t) {
		for _, s := range stack.Services {
			pod := podOf(t, s)
			where := name + "/" + s.Name
			if pod.Labels[v1alpha1.LabelService] == "" || pod.Labels[labelName] == "" {
				t.Errorf("%s: labels %v", where, pod.Labels)
			}
			checkPod(t, where, pod.Spec)
		}
	}
}

func checkPod(t *testing.T, where string, pod corev1.PodSpec) {
	t.Helper()
	for what, wrong := range map[string]bool{
		"service links":   pod.EnableServiceLinks == nil || *pod.EnableServiceLinks,
		"a token":         pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || pod.ServiceAccountName != "",
		"host namespaces": pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.ShareProcessNamespace != nil,
		"a profile":       pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault,
		"one container":   len(pod.Containers) != 1 || len(pod.InitContainers) != 0,
		"a node":          pod.NodeName != "" || pod.RuntimeClassName != nil || pod.PriorityClassName != "",
	} {
		if wrong {
			t.Errorf("%s: %s", where, what)
		}
	}
	c := pod.Containers[0]
	sc := c.SecurityContext
	for what, wrong := range map[string]bool{
		"a liveness probe": c.LivenessProbe != nil,
		"no request":       c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero(),
		"limit < request":  !c.Resources.Limits.Memory().IsZero() && c.Resources.Limits.Memory().Cmp(*c.Resources.Requests.Memory()) < 0,
		"privileges":       sc != nil && (sc.Privileged != nil || sc.ProcMount != nil),
		"a host port":      slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 || p.HostIP != "" }),
		"messages":         c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError,
		"no gentle start":  (c.ReadinessProbe == nil) != (c.StartupProbe == nil),
	} {
		if wrong {
			t.Errorf("%s: %s", where, what)
		}
	}
	if sc != nil && sc.Capabilities != nil {
		for _, k := range sc.Capabilities.Add {
			if !slices.Contains(baselineCaps, string(k)) {
				t.Errorf("%s: capability %s", where, k)
			}
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		if v.ConfigMap == nil && v.EmptyDir == nil && v.PersistentVolumeClaim == nil || volumes[v.Name] || len(validation.IsDNS1123Label(v.Name)) > 0 {
			t.Errorf("%s: volume %+v", where, v)
		}
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s: mount %s of nothing", where, m.MountPath)
		}
	}
}

// TestObjectsHaveNamesOfTheirOwn: two objects of a kind with one name would be one object.
func TestObjectsHaveNamesOfTheirOwn(t *testing.T) {
	for name, stack := range stacks(t) {
		seen := map[string]bool{}
		for _, o := range stack.Objects() {
			key := o.GetObjectKind().GroupVersionKind().Kind + "/" + o.GetName()
			if seen[key] {
				t.Errorf("%s: %s is there twice", name, key)
			}
			if len(validation.IsDNS1035Label(o.GetName())) > 0 && !strings.HasPrefix(key, "ConfigMap") && !strings.HasPrefix(key, "PersistentVolumeClaim") {
				t.Errorf("%s: %s is no name", name, key)
			}
			seen[key] = true
		}
	}
}

func TestServicesComeAfterWhatTheyDependOn(t *testing.T) {
	for name, stack := range stacks(t) {
		done := map[string]bool{}
		for _, s := range stack.Services {
			for _, d := range s.DependsOn {
				if !done[d.Service] {
					t.Errorf("%s: %s comes before %s", name, s.Name, d.Service)
				}
			}
			done[s.Name] = true
		}
	}
}

func TestConversionIsTheSameEachTime(t *testing.T) {
	first := stacks(t)
	for range 5 {
		for name, s := range stacks(t) {
			a, err1 := YAML(first[name])
			b, err2 := YAML(s)
			if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
				t.Errorf("%s differs: %v, %v", name, err1, err2)
			}
			if fmt.Sprint(first[name].Findings) != fmt.Sprint(s.Findings) {
				t.Errorf("the findings of %s differ", name)
			}
		}
	}
}

// TestConvertLeavesTheProject: a run converts one project several times, with more images each time.
func TestConvertLeavesTheProject(t *testing.T) {
	p, err := Load("../../examples/shop", LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var before []byte
	for _, images := range []map[string]string{{}, {"backend": "r/backend@sha256:1"}, {}} {
		s, err := Convert(p, Options{Images: images, Labels: map[string]string{"a": "b"}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := YAML(s)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case before == nil:
			before = data
		case len(images) > 0 && !bytes.Contains(data, []byte("image: r/backend@sha256:1\n")):
			t.Error("the image given was not used")
		case len(images) == 0 && !bytes.Equal(before, data):
			t.Error("a conversion changed the project")
		}
	}
}

var expansion = regexp.MustCompile(`\$\$|\$\([^()]*\)`)

// expand does to a text what the kubelet does when every variable is known and empty.
func expand(s string) string {
	return expansion.ReplaceAllStringFunc(s, func(m string) string {
		if m == "$$" {
			return "$"
		}
		return ""
	})
}

func TestLiteralSurvivesExpansion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = "$$$()AB"[r.IntN(7)]
		}
		if s := string(b); expand(literal(s)) != s {
			t.Fatalf("%q became %q", s, expand(literal(s)))
		}
	}
}

// TestYAMLKeepsEveryCharacter writes what YAML does not take as it stands and reads it again.
func TestYAMLKeepsEveryCharacter(t *testing.T) {
	text := "a\x7fb\u0085c\u2028d\ufeffe\U0001F600f\tg\x1bh\u00e9\r\ni\"j: '{k}\\"
	m := &corev1.ConfigMap{TypeMeta: typeMeta("v1", "ConfigMap"), Data: map[string]string{"k": text}}
	data, err := YAML(&Stack{Shared: []client.Object{m}})
	if err != nil {
		t.Fatal(err)
	}
	var got corev1.ConfigMap
	if err := yaml.UnmarshalStrict(data, &got); err != nil || got.Data["k"] != text {
		t.Errorf("%q became %q: %v\n%s", text, got.Data["k"], err, data)
	}
}

func TestObjectNamesDiffer(t *testing.T) {
	raws := []string{"a_b", "a-b", "a.b", "A-b", "a--b", "-a-b", "", "_", strings.Repeat("x", 80), strings.Repeat("x", 81)}
	seen := map[string]string{}
	for _, raw := range raws {
		name := objectName("files-", raw)
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q are both %s", raw, other, name)
		}
		if len(validation.IsDNS1123Label(name)) > 0 {
			t.Errorf("%q became %q", raw, name)
		}
		seen[name] = raw
	}
}

func TestContentIsBounded(t *testing.T) {
	half := strings.Repeat("x", maxContent/2)
	files := map[string]string{DefaultFile: service + "    volumes:\n      - ./in:/x\n", "in/a": half, "in/b": half}
	if got := refusals(t, write(t, files), LoadOptions{}); got != "" {
		t.Errorf("two halves are refused: %s", got)
	}
	files["in/c"] = "x"
	if got := refusals(t, write(t, files), LoadOptions{}); !strings.HasPrefix(got, DefaultFile+":5: refused: web.volumes: the files are larger than 900 KiB") {
		t.Errorf("got %q", got)
	}
}

func TestStrictRefusesDrops(t *testing.T) {
	p, err := Load(write(t, map[string]string{DefaultFile: service + "    stop_signal: SIGINT\n    logging: {driver: none}\n"}), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Convert(p, Options{}); err != nil {
		t.Errorf("not strict: %v", err)
	}
	if _, err := Convert(p, Options{Strict: true}); err == nil || strings.Contains(err.Error(), "logging") || !strings.Contains(err.Error(), "web.stop_signal") {
		t.Errorf("strict: %v", err)
	}
}

func TestBuilds(t *testing.T) {
	p, err := Load("testdata/build", LoadOptions{Files: []string{"compose.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(p.Builds())
	want := "[{api api Dockerfile.prod run map[VERSION:1]} {inline .   map[]} {named api Dockerfile  map[]}]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if image, ok := p.Image("named"); !ok || image != "registry.example.com/named:2" {
		t.Errorf("the image of named is %q, %v", image, ok)
	}
	if _, ok := p.Image("api"); ok {
		t.Error("api has an image")
	}
}
