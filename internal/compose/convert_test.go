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

// TestEveryPod checks in all pods what a file must not be able to change.
func TestEveryPod(t *testing.T) {
	for name, stack := range stacks(t) {
		if settings[name].convert.Allow != nil {
			continue
		}
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
		"host namespaces": pod.HostNetwork || pod.HostPID || pod.HostIPC,
		"a profile":       pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault,
		"a node":          pod.NodeName != "" || pod.RuntimeClassName != nil || pod.PriorityClassName != "",
	} {
		if wrong {
			t.Errorf("%s: %s", where, what)
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		known := v.ConfigMap != nil || v.EmptyDir != nil || v.PersistentVolumeClaim != nil || v.Projected != nil || v.Secret != nil && (v.Secret.SecretName == DefaultSecretName || v.Name == sourceVolume)
		if !known || volumes[v.Name] || len(validation.IsDNS1123Label(v.Name)) > 0 {
			t.Errorf("%s: volume %+v", where, v)
		}
		volumes[v.Name] = true
	}
	names := map[string]bool{}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		if names[c.Name] || len(validation.IsDNS1123Label(c.Name)) > 0 {
			t.Errorf("%s: a container named %q", where, c.Name)
		}
		names[c.Name] = true
		checkContainer(t, where+"/"+c.Name, c, volumes)
	}
	for _, c := range pod.InitContainers {
		if c.ReadinessProbe != nil || c.StartupProbe != nil || c.Lifecycle != nil {
			t.Errorf("%s: init containers cannot have probes or hooks", where)
		}
	}
}

func checkContainer(t *testing.T, where string, c corev1.Container, volumes map[string]bool) {
	t.Helper()
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
	paths := map[string]bool{}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] || paths[m.MountPath] {
			t.Errorf("%s: mount %s of %q", where, m.MountPath, m.Name)
		}
		paths[m.MountPath] = true
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

// TestYAMLKeepsEveryCharacter writes characters that YAML has to escape and reads them back.
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

// TestContentIsBounded: a mount may take several ConfigMaps, and each is small enough for the API server.
func TestContentIsBounded(t *testing.T) {
	half := strings.Repeat("x", maxContent/2)
	files := map[string]string{DefaultFile: service + "    volumes:\n      - ./in:/x\n", "in/a": half, "in/b": half, "in/c": "\x00\xff", "in/d": half}
	p, err := Load(write(t, files), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := Convert(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, o := range stack.Shared {
		m := o.(*corev1.ConfigMap)
		size := 0
		for k, v := range m.Data {
			got[k]++
			size += len(v)
		}
		for k, v := range m.BinaryData {
			got[k]++
			size += len(v)
		}
		if size > maxContent {
			t.Errorf("%s holds %d bytes", m.Name, size)
		}
	}
	if fmt.Sprint(got) != "map[a:1 b:1 c:1 d:1]" {
		t.Errorf("the ConfigMaps hold %v", got)
	}
	pod := podOf(t, stack.Services[0]).Spec
	if pr := pod.Volumes[0].Projected; pr == nil || len(pr.Sources) != 2 || len(pr.Sources[0].ConfigMap.Items)+len(pr.Sources[1].ConfigMap.Items) != 4 {
		t.Errorf("the volume is %+v", pod.Volumes[0])
	}
	files["in/large"] = strings.Repeat("x", maxContent+1)
	if got := refusals(t, write(t, files), LoadOptions{}); !strings.HasPrefix(got, DefaultFile+":5: refused: web.volumes: in/large is larger than 900 KiB") {
		t.Errorf("got %q", got)
	}
	delete(files, "in/large")
	for i := range 9 {
		files[fmt.Sprintf("in/more%d", i)] = half
	}
	if got := refusals(t, write(t, files), LoadOptions{}); !strings.HasPrefix(got, DefaultFile+":5: refused: web.volumes: in has more than 2 MiB: what a stack mounts is copied into ConfigMaps") {
		t.Errorf("got %q", got)
	}
}

// TestImagesOfOthers: a registry that holds the images of many repositories lets a stack have its own.
func TestImagesOfOthers(t *testing.T) {
	for image, want := range map[string]bool{
		"registry.example.com/builds/acme/shop/api:1": true, "registry.example.com/builds/acme/other:1": false, "registry.example.com/builds/acme/shop-2:1": false,
		"nginx": true, "registry.example.com/public/x": true, "registry.example.com/builds": false,
	} {
		p, err := Load(write(t, map[string]string{DefaultFile: "services:\n  web:\n    image: " + image + "\n"}), LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Convert(p, Options{OwnRegistry: "registry.example.com/builds", OwnProject: "registry.example.com/builds/acme/shop"})
		if (err == nil) != want {
			t.Errorf("%s: %v", image, err)
		}
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
	want := "[{api api Dockerfile.prod run  map[VERSION:1]} {inline .   FROM scratch map[]} {named api Dockerfile   map[]}]"
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
