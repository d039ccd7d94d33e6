package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// checkout writes files into a new directory and returns it.
func checkout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// makePlan plans a run of a checkout with these files.
func makePlan(t *testing.T, files map[string]string, only ...string) (*Plan, error) {
	t.Helper()
	return Make(Input{Dir: checkout(t, files), Run: testRun(only...), Settings: settings.Default()})
}

func testRun(only ...string) *v1alpha1.Run {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "u-1"}}
	run.Spec.Repository = v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop", CloneURL: "https://github.com/acme/shop.git"}
	run.Spec.SHA, run.Spec.Suites, run.Spec.Trust = strings.Repeat("a", 40), only, v1alpha1.TrustUnprotected
	run.Spec.Ceilings = settings.Default().Ceilings()
	return run
}

const threeLines = "version: 1\ntests:\n  integration: yarn test\n"

func TestThreeLinesAreEnough(t *testing.T) {
	p, err := makePlan(t, map[string]string{
		".conductor.yaml":       threeLines,
		"docker-compose.qa.yml": "services:\n  web:\n    build: ./web\n  again:\n    build: {context: web}\n  redis:\n    image: redis:7\n",
		"web/Dockerfile":        "FROM scratch\n",
		"Dockerfile.test":       "FROM scratch\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Builds) != 2 || p.BuildOf("web") != p.BuildOf("again") || p.BuildOf("web") == "" {
		t.Errorf("builds %+v, uses %+v: equal builds are one image", p.Builds, p.Uses)
	}
	if len(p.Suites) != 1 || p.Suites[0].Build != "tests" {
		t.Errorf("suites %+v: Dockerfile.test holds the tests", p.Suites)
	}
}

// The most frequent mistakes are answered with the file that was probably meant, or with what to write.
// TestPodsShowWhichContainersMayEnd: a kept stack is judged by its pods alone, and what a plan knows of a service reaches another process.
func TestPodsShowWhichContainersMayEnd(t *testing.T) {
	p, err := makePlan(t, map[string]string{".conductor.yaml": threeLines, "Dockerfile": "FROM x\n", "docker-compose.qa.yml": `services:
  web: {image: x, expose: [80]}
  helper: {image: x, network_mode: 'service:web'}
  db: {image: x, restart: always}
  seed: {image: x, command: [seed], restart: 'on-failure:2'}
  last: {image: x, restart: always, depends_on: {seed: {condition: service_completed_successfully}}}
`})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"web": "web,helper", "db": "", "seed": "", "last": ""}
	for _, svc := range p.Services {
		annotations := map[string]string{}
		if d, ok := svc.Workload.(*appsv1.Deployment); ok {
			annotations = d.Spec.Template.Annotations
		}
		if got := annotations[v1alpha1.AnnotationMayEnd]; got != want[svc.Name] {
			t.Errorf("%s: the containers %q may end, want %q", svc.Name, got, want[svc.Name])
		}
		data, err := json.Marshal(svc)
		if err != nil {
			t.Fatal(err)
		}
		var read Service
		if err := json.Unmarshal(data, &read); err != nil {
			t.Fatal(err)
		}
		if read.OneShot != (svc.Name == "seed") || read.Awaited != read.OneShot || read.OneShot && read.MaxFailures != 3 || !slices.Equal(read.MayEnd, svc.MayEnd) {
			t.Errorf("%s is read as one-shot: %t, awaited: %t, with %d failures, may end: %q", svc.Name, read.OneShot, read.Awaited, read.MaxFailures, read.MayEnd)
		}
	}
}

func TestAMissingFileIsExplained(t *testing.T) {
	const config, services = "version: 1\ntests: {smoke: {image: busybox, command: x}}\n", "services:\n  web: {image: nginx}\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":               {map[string]string{"README": ""}, "The repository's root has no .conductor.yaml. Three lines are enough, besides a docker-compose.qa.yml with the services that the tests need:\nversion: 1\ntests:\n  integration: YOUR TEST COMMAND"},
		"the other extension":   {map[string]string{".conductor.yml": config}, "The repository's root has no .conductor.yaml. It has .conductor.yml: rename it to .conductor.yaml"},
		"no compose file":       {map[string]string{".conductor.yaml": config}, "The repository's root has no docker-compose.qa.yml. It defines the services that the tests need. Name another file with stack: {compose: [FILE]} in .conductor.yaml"},
		"the usual one":         {map[string]string{".conductor.yaml": config, "compose.yaml": services}, "The repository's root has no docker-compose.qa.yml. It has compose.yaml: name it with stack: {compose: [compose.yaml]} in .conductor.yaml"},
		"an unusual one":        {map[string]string{".conductor.yaml": config, "docker-compose-local.yml": services}, "The repository's root has no docker-compose.qa.yml. It has docker-compose-local.yml: name it with stack: {compose: [docker-compose-local.yml]} in .conductor.yaml"},
		"the usual one, named":  {map[string]string{".conductor.yaml": config + "stack: {compose: [compose.yaml]}\n", "compose.yaml": services}, ""},
		"another one, mistyped": {map[string]string{".conductor.yaml": config + "stack: {compose: [compse.yaml]}\n", "compose.yaml": services}, "compse.yaml: refused: compse.yaml is not in the repository; did you mean compose.yaml?"},
	} {
		_, err := Make(Input{Dir: checkout(t, tc.files), Run: &v1alpha1.Run{}, Settings: settings.Default()})
		if got := fmt.Sprint(err); tc.want == "" && err != nil || tc.want != "" && got != tc.want && !strings.Contains(got, tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// The suggested file is valid, and is all that the repository lacks where it has a compose file.
func TestTheSuggestedFileIsAllThatIsMissing(t *testing.T) {
	const services = "services:\n  tests: {image: node}\n"
	for _, tc := range []struct {
		files    map[string]string
		sentence string
		file     string
	}{
		{map[string]string{}, "Three lines are enough", "version: 1\ntests:\n  integration: YOUR TEST COMMAND"},
		{map[string]string{"go.mod": "module a", "Makefile": "test:"}, "Three lines are enough", "version: 1\ntests:\n  integration: go test ./... # a guess from go.mod"},
		{map[string]string{"docker-compose.qa.yml": "", "compose.yml": services, "package.json": "{}"}, "These lines are enough", "version: 1\ntests:\n  integration: npm test # a guess from package.json\nstack: {compose: [compose.yml]}"},
	} {
		files := map[string]string{"docker-compose.qa.yml": services}
		for name, content := range tc.files {
			if files[name] = content; content == "" {
				delete(files, name)
			}
		}
		_, err := makePlan(t, files)
		f := failure.Of(err)
		if f == nil {
			t.Fatalf("%v: a plan without a configuration: %v", tc.files, err)
		}
		first, file, _ := strings.Cut(f.Sentence, "\n")
		if !strings.HasSuffix(first, ". "+tc.sentence+":") || file != tc.file || f.Reason != v1alpha1.ReasonNotFound {
			t.Errorf("%v: %s: %q", tc.files, f.Reason, f.Sentence)
		}
		files[ConfigFile] = file
		if _, err := makePlan(t, files); err != nil {
			t.Errorf("with the suggested file:\n%s\n%v", file, err)
		}
	}
}

func TestTheImageOfASuiteIsFoundInOrder(t *testing.T) {
	base := map[string]string{"Dockerfile": "FROM scratch\n", "Dockerfile.test": "FROM scratch\n"}
	for _, tc := range []struct{ name, config, compose, build, image string }{
		{"a compose service called sut", threeLines, "services: {sut: {build: .}}", "sut", ""},
		{"the service called as the suite goes first", threeLines, "services: {sut: {build: .}, integration: {build: {context: ., target: x}}}", "integration", ""},
		{"a build of the file", "version: 1\nbuild: {images: {e2e: {dockerfile: Dockerfile.test}}}\ntests: {integration: {image: e2e, command: x}}\n", "services: {a: {image: b}}", "e2e", ""},
		{"a service's image", "version: 1\ntests: {integration: {image: a, command: x}}\n", "services: {a: {image: 'b:1'}}", "", "b:1"},
		{"what a service builds under that name", "version: 1\ntests: {integration: {image: 'shop/app:latest', command: x}}\n", "services: {a: {build: ., image: shop/app}}", "a", ""},
		{"a service that names what another one builds", "version: 1\ntests: {integration: {image: b, command: x}}\n", "services: {a: {build: ., image: shop/app}, b: {image: shop/app}}", "a", ""},
		{"a reference", "version: 1\ntests: {integration: {image: 'node:20', command: x}}\n", "services: {a: {image: b}}", "", "node:20"},
	} {
		files := map[string]string{".conductor.yaml": tc.config, "docker-compose.qa.yml": tc.compose}
		for k, v := range base {
			files[k] = v
		}
		p, err := makePlan(t, files)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if s := p.Suites[0]; s.Build != tc.build || s.Image != tc.image {
			t.Errorf("%s: build %q, image %q", tc.name, s.Build, s.Image)
		}
	}
}

func TestSuitesUseNamesThatResolve(t *testing.T) {
	p, err := makePlan(t, map[string]string{
		".conductor.yaml": "version: 1\ntests:\n  shell: {image: 'x:1', command: 'curl http://my_api:80/ my_api', env: {API_URL: 'http://my_api/', DB_HOST: my_db, DB_NAME: my_db, PLAIN: web}}\n" +
			"  words: {image: 'x:1', command: [psql, 'postgres://u@my_db/x', -h, my_db, -d, my_db]}\n  local: {image: 'x:1', command: 'curl http://localhost:8080/', env: {DB: my_db}}\n  same: {image: 'x:1', command: 'curl http://web http://the_web/'}\n",
		"docker-compose.qa.yml": "services: {my_api: {image: a}, my_db: {image: b}, web: {image: c, container_name: the_web, ports: ['8080:80']}}",
	})
	if err != nil {
		t.Fatal(err)
	}
	local, same, shell, words := p.Suites[0].Test, p.Suites[1].Test, p.Suites[2].Test, p.Suites[3].Test
	if shell.Command.Shell != "curl http://my-api:80/ my_api" || words.Command.Args[1] != "postgres://u@my-db/x" || same.Command.Shell != "curl http://web http://web/" ||
		words.Command.Args[3] != "my-db" || words.Command.Args[5] != "my_db" || local.Command.Shell != "curl http://localhost:8080/" {
		t.Errorf("commands %q, %q, %q and %q", shell.Command.Shell, words.Command.Args, same.Command.Shell, local.Command.Shell)
	}
	if want := map[string]string{"API_URL": "http://my-api/", "DB_HOST": "my-db", "DB_NAME": "my_db", "PLAIN": "web"}; !maps.Equal(shell.Env, want) {
		t.Errorf("variables %v, want %v", shell.Env, want)
	}
	want := []string{
		`.conductor.yaml:5:34: note: tests.local.command: in the stack localhost is the container itself, and port 8080 is that of web: write web:80`,
		`.conductor.yaml:5:75: note: tests.local.env.DB: "my_db" is not a name that Kubernetes can resolve: if it is a host, write my-db here`,
		`.conductor.yaml:6:33: note: tests.same.command: no Kubernetes Service can have the name "the_web": it is written web`,
		`.conductor.yaml:3:34: note: tests.shell.command: no Kubernetes Service can have the name "my_api": it is written my-api`,
		`.conductor.yaml:3:34: note: tests.shell.command: "my_api" is not a name that Kubernetes can resolve: if it is a host, write my-api here`,
		`.conductor.yaml:3:82: note: tests.shell.env.API_URL: no Kubernetes Service can have the name "my_api": it is written my-api`,
		`.conductor.yaml:3:109: note: tests.shell.env.DB_HOST: no Kubernetes Service can have the name "my_db": it is written my-db`,
		`.conductor.yaml:4:34: note: tests.words.command: no Kubernetes Service can have the name "my_db": it is written my-db`,
	}
	if !slices.Equal(p.Notes, want) {
		t.Errorf("notes:\n%s", strings.Join(p.Notes, "\n"))
	}
}

func TestWhatCannotRunIsRefusedBeforeAnythingIsBuilt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		files  map[string]string
		only   []string
		reason string
		say    []string
	}{
		{"no file", nil, nil, v1alpha1.ReasonNotFound, []string{"has no .conductor.yaml"}},
		{"an unknown key", map[string]string{".conductor.yaml": "version: 1\ntest:\n  a: b\n"}, nil, v1alpha1.ReasonInvalidConfig, []string{".conductor.yaml:2", "tests"}},
		{"no compose file", map[string]string{".conductor.yaml": threeLines}, nil, v1alpha1.ReasonInvalidCompose, []string{"docker-compose.qa.yml"}},
		{"a refused field", map[string]string{
			".conductor.yaml": threeLines, "Dockerfile": "FROM scratch\n",
			"docker-compose.qa.yml": "services:\n  a:\n    image: b\n    privileged: true\n",
		}, nil, v1alpha1.ReasonInvalidCompose, []string{"docker-compose.qa.yml:4", "privileged"}},
		{"no Dockerfile", map[string]string{"gone/readme": "x",
			".conductor.yaml": threeLines, "Dockerfile": "FROM scratch\n", "docker-compose.qa.yml": "services: {a: {build: ./gone}}",
		}, nil, v1alpha1.ReasonNotFound, []string{"gone/Dockerfile"}},
		{"no image for the tests", map[string]string{
			".conductor.yaml": threeLines, "docker-compose.qa.yml": "services: {a: {image: b}}",
		}, nil, v1alpha1.ReasonInvalidConfig, []string{"tests.integration", "Dockerfile.test"}},
		{"an unknown suite", map[string]string{
			".conductor.yaml": threeLines, "Dockerfile": "FROM scratch\n", "docker-compose.qa.yml": "services: {a: {image: b}}",
		}, []string{"smoke"}, v1alpha1.ReasonInvalidConfig, []string{`"smoke"`, "integration"}},
		{"a public port that no Service has", map[string]string{
			".conductor.yaml": threeLines + "stack: {public: [{service: a, port: 81}]}\n", "Dockerfile": "FROM scratch\n",
			"docker-compose.qa.yml": "services: {a: {image: b, expose: [80]}}",
		}, nil, v1alpha1.ReasonInvalidConfig, []string{"port 81 of a", "expose"}},
		{"an unknown public service", map[string]string{
			".conductor.yaml": threeLines + "stack: {public: [{service: web, port: 80}]}\n", "Dockerfile": "FROM scratch\n",
			"docker-compose.qa.yml": "services: {a: {image: b}}",
		}, nil, v1alpha1.ReasonInvalidConfig, []string{"web", "a"}},
	} {
		_, err := makePlan(t, tc.files, tc.only...)
		f := failure.Of(err)
		if f == nil || f.Kind != failure.Terminal || f.Reason != tc.reason {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		for _, want := range tc.say {
			if !strings.Contains(f.Sentence, want) {
				t.Errorf("%s: %q does not say %q", tc.name, f.Sentence, want)
			}
		}
	}
}

func TestAllowancesHoldWhileBothSayThem(t *testing.T) {
	const allow = "stacks.allow"
	for name, c := range map[string]struct {
		began, now []v1alpha1.Allowance
		trust      v1alpha1.TrustLevel
		says       string
	}{
		"allowed":                       {[]v1alpha1.Allowance{"privileged", "devices"}, []v1alpha1.Allowance{"privileged"}, v1alpha1.TrustUnprotected, ""},
		"taken back since":              {[]v1alpha1.Allowance{"privileged"}, []v1alpha1.Allowance{"devices"}, v1alpha1.TrustProtected, allow + ": privileged"},
		"given since":                   {nil, []v1alpha1.Allowance{"privileged"}, v1alpha1.TrustProtected, allow + ": privileged"},
		"a fork, whatever is allowed":   {[]v1alpha1.Allowance{"privileged"}, []v1alpha1.Allowance{"privileged"}, v1alpha1.TrustFork, allow + ", but not for forks: privileged"},
		"by default nothing is allowed": {nil, nil, v1alpha1.TrustProtected, allow + ": privileged"},
	} {
		run, set := testRun(), settings.Default()
		run.Spec.Trust, run.Spec.Ceilings.Allow = c.trust, c.began
		set.Stacks.Allow = c.now
		_, err := Make(Input{Run: run, Settings: set, Dir: checkout(t, map[string]string{
			".conductor.yaml": threeLines, "docker-compose.qa.yml": "services: {a: {image: b, privileged: true}}", "Dockerfile.test": "FROM a",
		})})
		if (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func TestImagesOfOtherRepositoriesAreRefusedBeforeAnythingIsBuilt(t *testing.T) {
	set := settings.Default()
	set.Registry.Host = "registry.example"
	for image, refused := range map[string]bool{"registry.example/acme/shop/web:1": false, "registry.example/acme/other:1": true, "redis": false} {
		_, err := Make(Input{Run: testRun(), Settings: set, OwnProject: "registry.example/acme/shop", Dir: checkout(t, map[string]string{
			".conductor.yaml": threeLines, "docker-compose.qa.yml": "services: {a: {image: '" + image + "'}}", "Dockerfile.test": "FROM a",
		})})
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "belongs to another repository") {
			t.Errorf("%s: %v", image, err)
		}
	}
}

func TestADockerfileInTheComposeFileIsBuiltOnItsOwn(t *testing.T) {
	p, err := makePlan(t, map[string]string{
		".conductor.yaml": threeLines, "Dockerfile.test": "FROM a",
		"docker-compose.qa.yml": "services: {a: {build: {dockerfile_inline: FROM x}}, b: {build: {dockerfile_inline: FROM y}}, c: {build: {dockerfile_inline: FROM x}}}",
	})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, b := range p.Builds {
		texts[b.Name] = b.Inline
	}
	want := map[string]string{"a": "FROM x", "b": "FROM y", "tests": ""}
	if !maps.Equal(texts, want) || p.BuildOf("c") != "a" {
		t.Errorf("builds %v, services %v", texts, p.Uses)
	}
}

// TestAddressesNameTheObject: kubectl and ingress controllers use the name of the object, not of the compose service.
func TestAddressesNameTheObject(t *testing.T) {
	for name, object := range map[string]string{"my_api": "my-api", "Web": "web", "my_web.1": "my-web-1"} {
		p, err := makePlan(t, map[string]string{
			".conductor.yaml":       threeLines + "stack: {public: [{service: " + name + ", port: 80}]}\n",
			"docker-compose.qa.yml": "services: {" + name + ": {image: b, expose: [80]}}", "Dockerfile": "FROM a",
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.Addresses()[0].PortForward, "kubectl -n stack-shop-1 port-forward service/"+object+" 80:80"; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		p.settings.Stacks.Host = "{service}-{run}.example.com"
		ingress := p.Addresses()[0].Object.(*networkingv1.Ingress)
		if got := ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name; got != object {
			t.Errorf("%s: the Ingress leads to %q", name, got)
		}
	}
}

func TestKeepForStaysWithinTheCeilings(t *testing.T) {
	hours := func(h int) metav1.Duration { return metav1.Duration{Duration: time.Duration(h) * time.Hour} }
	ttl := func(h int) repoconfig.Keep {
		return repoconfig.Keep{TTL: repoconfig.Duration{Duration: hours(h).Duration}}
	}
	idle := repoconfig.Keep{Forever: true, Idle: repoconfig.Duration{Duration: hours(5).Duration}}
	for _, tc := range []struct {
		name  string
		keep  repoconfig.Keep
		asked string
		c     v1alpha1.Ceilings
		want  string
		idle  int
	}{
		{"the operator's default", repoconfig.Keep{}, "", v1alpha1.Ceilings{}, "24h0m0s", 0},
		{"the operator's default of both", repoconfig.Keep{}, "", v1alpha1.Ceilings{KeepIdle: hours(2)}, "24h0m0s", 2},
		{"shorter", ttl(1), "", v1alpha1.Ceilings{}, "1h0m0s", 0},
		{"longer than allowed", ttl(100), "", v1alpha1.Ceilings{}, "72h0m0s", 0},
		{"forever where it is not allowed", repoconfig.Keep{Forever: true}, "", v1alpha1.Ceilings{}, "72h0m0s", 0},
		{"forever where it is allowed", repoconfig.Keep{Forever: true}, "", v1alpha1.Ceilings{KeepForever: true}, v1alpha1.Forever, 0},
		{"forever while it is used", idle, "", v1alpha1.Ceilings{KeepForever: true, KeepIdle: hours(2)}, v1alpha1.Forever, 5},
		{"asked for", idle, "4h", v1alpha1.Ceilings{KeepIdle: hours(2)}, "4h0m0s", 0},
		{"asked for beyond the ceiling", ttl(1), "1000h", v1alpha1.Ceilings{}, "72h0m0s", 0},
		{"asked for beyond all time", ttl(1), "99999999999h", v1alpha1.Ceilings{KeepForever: true}, "72h0m0s", 0},
		{"asked for forever where it is not allowed", ttl(1), "forever", v1alpha1.Ceilings{}, "72h0m0s", 0},
		{"asked for forever where it is allowed", ttl(1), "forever", v1alpha1.Ceilings{KeepForever: true}, v1alpha1.Forever, 0},
	} {
		tc.c.Keep, tc.c.KeepMax = hours(24), hours(72)
		if got, after := keepFor(tc.keep, v1alpha1.RunSpec{Keep: tc.asked, Ceilings: tc.c}); got != tc.want || after != hours(tc.idle).Duration {
			t.Errorf("%s: %s, idle after %s", tc.name, got, after)
		}
	}
}

// heavyMount is a stack that mounts more than ConfigMaps can hold, into a service and into the suite.
func heavyMount(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		".conductor.yaml":       "version: 1\ntests: {unit: {service: sut}}\n",
		"docker-compose.qa.yml": "services:\n  web: {image: a, volumes: [\"./data:/data:ro\", \"./web.conf:/web.conf:ro\"]}\n  sut: {image: b, command: x, volumes: [\"./data:/data:ro\"]}\n",
		"data/big":              strings.Repeat("x", 3<<20), "web.conf": "listen 80\n",
	}
}

func TestWhatConfigMapsDoNotCarryComesFromTheSourceArtifact(t *testing.T) {
	p, err := makePlan(t, heavyMount(t))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Source || len(p.Contents) != 1 || p.Contents[0].Data["web.conf"] == "" {
		t.Errorf("source %t, contents %v", p.Source, p.Contents)
	}
	job := p.TestJob(&p.Suites[0], 0, 1, "b", []string{"x"})
	for name, pod := range map[string]*corev1.PodSpec{"web": podOf(p.Services[0].Workload), "sut": &job.Spec.Template.Spec} {
		i := slices.IndexFunc(pod.InitContainers, func(c corev1.Container) bool { return c.Name == compose.SourceContainer })
		if i < 0 || !strings.Contains(strings.Join(pod.InitContainers[i].Args, " "), "--copy data=") {
			t.Errorf("%s: init containers %+v", name, pod.InitContainers)
		}
	}
	p.run.Status.Source = &v1alpha1.SourceStatus{Reference: "r.example/sources/acme/shop:shop-1", Digest: "sha256:" + strings.Repeat("a", 64)}
	if data, err := json.Marshal(p.Agent()); err != nil || !strings.Contains(string(data), "sources/acme/shop") {
		t.Errorf("the agent does not serve it: %s, %v", data, err)
	}
	run := testRun()
	run.Spec.Ceilings.Files = ""
	_, err = Make(Input{Dir: checkout(t, heavyMount(t)), Run: run, Settings: settings.Default()})
	if f := failure.Of(err); f == nil || f.Kind != failure.Terminal || !strings.Contains(f.Sentence, "2 MiB") {
		t.Errorf("without a limit: %v", err)
	}
}

// TestContentThatIsNotThereIsAskedFor: an absent file has its size on disk but not its content.
func TestContentThatIsNotThereIsAskedFor(t *testing.T) {
	files := map[string]string{
		".conductor.yaml": threeLines + "stack: {env_file: [ci.env]}\n", "ci.env": "TAG=1\n", "Dockerfile": "FROM a",
		"docker-compose.qa.yml": "services: {web: {image: 'a:$TAG', volumes: ['./web.conf:/web.conf:ro', './huge:/huge:ro']}}", "web.conf": "x", "huge/f": strings.Repeat("x", 3<<20),
	}
	dir := checkout(t, files)
	for _, tc := range []struct{ absent, want []string }{
		{[]string{".conductor.yaml"}, []string{".conductor.yaml"}},
		{[]string{"ci.env", "Dockerfile"}, []string{"ci.env"}},
		{[]string{"huge/f", "web.conf"}, []string{"web.conf"}},
		{[]string{"huge/f"}, nil},
	} {
		p, err := Make(Input{Dir: dir, Absent: tc.absent, Run: testRun(), Settings: settings.Default()})
		if answer := Answered(p, err); !slices.Equal(answer.Absent, tc.want) || (answer.Plan == nil) != (tc.want != nil) {
			t.Errorf("without %v: %v is asked for, %v", tc.absent, answer.Absent, err)
		}
	}
}
