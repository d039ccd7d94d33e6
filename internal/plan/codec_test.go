package plan

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// everything is a repository whose plan holds every kind of object.
var everything = map[string]string{
	".conductor.yaml": `version: 1
tests:
  unit: {service: sut, shards: 2, retry: 1}
  smoke: {image: "node:20", command: [npm, test], env: {A: "$B"}}
stack: {public: [{service: my_web, port: 80}]}
build: {images: {tool: {context: tool}}}
keep: 2h
`,
	"docker-compose.qa.yml": `services:
  my_web: {build: ./web, ports: ["80:80"], volumes: ["./conf:/etc/conf:ro", "data:/data"], depends_on: {db: {condition: service_healthy}, seed: {condition: service_completed_successfully}}, networks: [front]}
  db: {image: "postgres:16", healthcheck: {test: [CMD, pg_isready], interval: 2s}, networks: [back, front], hostname: database}
  seed: {image: busybox, command: "true", networks: [back]}
  sut: {build: ., environment: {URL: "http://my_web/"}, command: [run, "$$HOME"], networks: [front]}
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
`,
	"Dockerfile": "FROM scratch\n", "web/Dockerfile": "FROM scratch\n", "tool/Dockerfile": "FROM scratch\n",
	"conf/a.ini": "a = 1\n", "conf/b.bin": "\x00\xff",
}

var testNames = Names{
	Repository: func(build string) string { return "r.example/shop/" + build },
	Reference:  func(build string) string { return "r.example/shop/" + build + "@sha256:1" },
	Argv:       func(*Suite, string) []string { return []string{"own"} },
}

// TestAPlanComesBackAsItWas: a plan makes the same objects after it was encoded and decoded.
func TestAPlanComesBackAsItWas(t *testing.T) {
	set := settings.Default()
	set.Stacks.Host, set.Stacks.Allow = "{service}-{run}.example.com", nil
	in := Input{Dir: checkout(t, everything), Run: testRun(), Settings: set, Images: Images{
		Known: []string{"db", "seed"}, References: map[string]string{"db": "postgres@sha256:2"},
		Configs: map[string]compose.ImageConfig{"postgres@sha256:2": {ExposedPorts: []string{"5432/tcp"}}},
	}}
	made, err := Make(in)
	if err != nil {
		t.Fatal(err)
	}
	var wire bytes.Buffer
	if err := Answered(made, nil).Write(&wire); err != nil {
		t.Fatal(err)
	}
	answer, err := Read(bytes.NewReader(wire.Bytes()), in.Run, set)
	if err != nil {
		t.Fatal(err)
	}
	back := answer.Plan
	if len(back.Contents) != 0 || len(made.Contents) == 0 {
		t.Fatalf("%d contents came with the plan, of %d", len(back.Contents), len(made.Contents))
	}
	if err := ReadContents(bytes.NewReader(wire.Bytes()), func(content *corev1.ConfigMap) error {
		back.Contents = append(back.Contents, content)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want, err := made.Objects(testNames)
	if err != nil {
		t.Fatal(err)
	}
	got, err := back.Objects(testNames)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-made +read):\n%s", diff)
	}
	if diff := cmp.Diff(made, back, cmp.AllowUnexported(Plan{}), cmpopts.EquateEmpty(), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".settings" }, cmp.Ignore())); diff != "" {
		t.Errorf("plan (-made +read):\n%s", diff)
	}
	if _, size, err := Peek(bytes.NewReader(wire.Bytes())); err != nil || size == 0 {
		t.Errorf("peek: %d bytes, %v", size, err)
	}
}

func TestOtherAnswersComeBack(t *testing.T) {
	for name, tc := range map[string]struct {
		answer Answer
		want   string
	}{
		"a refusal":            {Answered(nil, failure.Terminalf(v1alpha1.ReasonNotFound, os.ErrNotExist, "There is no file")), "NotFound There is no file file does not exist"},
		"a failure of no kind": {Answered(nil, os.ErrPermission), "permission denied"},
	} {
		var wire bytes.Buffer
		if err := tc.answer.Write(&wire); err != nil {
			t.Fatal(err)
		}
		answer, size, err := Peek(&wire)
		if err != nil || size != 0 || answer.Refused == nil {
			t.Fatalf("%s: %+v, %d, %v", name, answer, size, err)
		}
		if got := fmt.Sprint(answer.Refused.Reason, " ", answer.Refused.Sentence, " ", answer.Refused.Cause); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestWhatIsNoPlanIsNotRead: a child may end in the middle of its output.
func TestWhatIsNoPlanIsNotRead(t *testing.T) {
	for _, text := range []string{"", "{}\n", "{\"Plan\":", "{\"Plan\":{}}", "[]\n", strings.Repeat("x", MaxAnswer+2)} {
		if _, err := Read(strings.NewReader(text), testRun(), settings.Default()); err == nil {
			t.Errorf("%.20q is read", text)
		}
		if _, _, err := Peek(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q is read", text)
		}
	}
}

func TestAPlanThatIsTooLargeIsRefused(t *testing.T) {
	var wire bytes.Buffer
	if err := Answered(&Plan{Notes: []string{strings.Repeat("x", MaxAnswer)}}, nil).Write(&wire); err != nil {
		t.Fatal(err)
	}
	answer, _, err := Peek(&wire)
	if err != nil || answer.Refused == nil || !strings.Contains(answer.Refused.Sentence, fmt.Sprint(MaxAnswer)) {
		t.Errorf("%+v, %v", answer.Refused, err)
	}
}

// TestWhatAStatusHasNoRoomForIsRefused: each message has the number and the limit.
func TestWhatAStatusHasNoRoomForIsRefused(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, tc := range []struct{ what, config, compose, want string }{
		{"suites", "version: 1\ntests:\n" + repeat(65, "  s%d: {image: a, command: x}\n"), "services: {a: {image: b}}", "65 suites of tests; the limit is 64"},
		{"images", threeLines + "build:\n  images:\n" + repeat(65, "    i%d: {target: t%[1]d}\n"), "services: {a: {image: b}}", "images to build; the limit is 64"},
		{"services", threeLines, "services:\n" + repeat(257, "  s%d: {image: b}\n"), "257 services; the limit is 256"},
	} {
		_, err := makePlan(t, map[string]string{".conductor.yaml": tc.config, "docker-compose.qa.yml": tc.compose, "Dockerfile": "FROM a\n"})
		if f := failure.Of(err); f == nil || f.Kind != failure.Terminal || !strings.Contains(f.Sentence, tc.want) {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
}
