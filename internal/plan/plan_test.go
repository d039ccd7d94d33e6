package plan

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// checkout writes files and returns their directory.
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

// makePlan plans a run of files.
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
		".conductor.yaml": "version: 1\ntests:\n  shell: {image: x, command: 'curl http://my_api:80/ my_api', env: {API_URL: 'http://my_api/', DB_HOST: my_db, DB_NAME: my_db, PLAIN: web}}\n" +
			"  words: {image: x, command: [psql, 'postgres://u@my_db/x']}\n  same: {image: x, command: 'curl http://web http://the_web/'}\n",
		"docker-compose.qa.yml": "services: {my_api: {image: a}, my_db: {image: b}, web: {image: c, container_name: the_web}}",
	})
	if err != nil {
		t.Fatal(err)
	}
	same, shell, words := p.Suites[0].Test, p.Suites[1].Test, p.Suites[2].Test
	if shell.Command.Shell != "curl http://my-api:80/ my_api" || words.Command.Args[1] != "postgres://u@my-db/x" || same.Command.Shell != "curl http://web http://web/" {
		t.Errorf("commands %q, %q and %q", shell.Command.Shell, words.Command.Args, same.Command.Shell)
	}
	if want := map[string]string{"API_URL": "http://my-api/", "DB_HOST": "my-db", "DB_NAME": "my_db", "PLAIN": "web"}; !maps.Equal(shell.Env, want) {
		t.Errorf("variables %v, want %v", shell.Env, want)
	}
	want := []string{
		`.conductor.yaml: note: tests.same.command: no Kubernetes Service can have the name "the_web": it is written web`,
		`.conductor.yaml: note: tests.shell.command: no Kubernetes Service can have the name "my_api": it is written my-api`,
		`.conductor.yaml: note: tests.shell.env.API_URL: no Kubernetes Service can have the name "my_api": it is written my-api`,
		`.conductor.yaml: note: tests.shell.env.DB_HOST: no Kubernetes Service can have the name "my_db": it is written my-db`,
		`.conductor.yaml: note: tests.words.command: no Kubernetes Service can have the name "my_db": it is written my-db`,
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
		{"no file", nil, nil, v1alpha1.ReasonNotFound, []string{"There is no .conductor.yaml"}},
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
