//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// badInput is a repository that cannot be tested, and the report about it.
type badInput struct {
	name  string
	files map[string]string
	// conclusion is that of the check run; failure if empty.
	conclusion string
	outcome    v1alpha1.Outcome
	// want is in the comment and in every check run.
	want []string
	// stack means that the stack is kept.
	stack bool
}

// TestBadInputIsExplained checks that each run ends with a message about what to fix, on the check run and on the issue.
func TestBadInputIsExplained(t *testing.T) {
	t.Parallel()
	for _, c := range append(badFiles, badContainers...) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := small(t, c.files)
			run := r.test()
			if c.outcome == "" {
				c.outcome = v1alpha1.OutcomeError
			}
			if run.Status.Outcome != c.outcome {
				t.Errorf("outcome %s, want %s: %s", run.Status.Outcome, c.outcome, run.Status.Message)
			}
			r.explains(run, c)
			if !c.stack {
				if run.Status.Namespace == "" {
					r.gone(run)
				}
				return
			}
			if len(pods(t, run.Status.Namespace)) == 0 || run.Status.ExpiresAt == nil {
				t.Errorf("the stack is not there to be looked at; it expires at %v", run.Status.ExpiresAt)
			}
		})
	}
}

// explains checks the report of a run that did not pass, without Markdown's backslashes.
func (r *repo) explains(run *v1alpha1.Run, c badInput) {
	r.t.Helper()
	if c.conclusion == "" {
		c.conclusion = "failure"
	}
	checks := r.checks(run)
	if len(checks) == 0 {
		r.t.Errorf("run %s has no check run", run.Name)
	}
	for _, check := range checks {
		if check.Status != "completed" || check.Conclusion != c.conclusion {
			r.t.Errorf("check run %s is %s %s, want %s", check.Name, check.Status, check.Conclusion, c.conclusion)
		}
		contains(r.t, "check run", strings.ReplaceAll(check.Title+"\n"+check.Summary+"\n"+check.Text, `\`, ""), c.want...)
	}
	contains(r.t, "comment", strings.ReplaceAll(r.comment(run), `\`, ""), c.want...)
}

const webService = "services:\n  web:\n    image: busybox:1.36\n    command: sleep 300\n    stop_grace_period: 1s\n"

// badFiles are mistakes that are found before anything is built.
var badFiles = []badInput{
	{
		name:  "no file",
		files: map[string]string{".conductor.yaml": ""},
		want:  []string{"The repository's root has no .conductor.yaml. Three lines are enough"},
	},
	{
		name:  "bad YAML",
		files: map[string]string{".conductor.yaml": "version: 1\ntests:\n  smoke: [sh\n"},
		want:  []string{".conductor.yaml:"},
	},
	{
		name:  "unknown key",
		files: map[string]string{".conductor.yaml": "version: 1\ntest:\n  smoke: sh /test.sh\n"},
		want:  []string{".conductor.yaml:2:", "test", "did you mean", "tests"},
	},
	{
		name:  "no compose file",
		files: map[string]string{"docker-compose.qa.yml": ""},
		want:  []string{"docker-compose.qa.yml"},
	},
	{
		name:  "invalid compose file",
		files: map[string]string{"docker-compose.qa.yml": webService + "    portz:\n      - 80\n"},
		want:  []string{"docker-compose.qa.yml:6", "portz"},
	},
	{
		name:  "refused compose field",
		files: map[string]string{"docker-compose.qa.yml": webService + "    privileged: true\n"},
		want:  []string{"docker-compose.qa.yml:6", "privileged"},
	},
	{
		name: "public service that is not there",
		files: map[string]string{
			".conductor.yaml": "version: 1\nstack:\n  public:\n    - service: wep\n      port: 80\ntests:\n  smoke: sh /test.sh\n",
		},
		want: []string{"wep"},
	},
}

// badContainers are mistakes that only the kubelet finds.
var badContainers = []badInput{
	{
		name:  "Dockerfile fails",
		files: map[string]string{"Dockerfile.test": "FROM busybox:1.36\nRUN for i in $(seq 40); do echo step-$i of the build; done; exit 3\n"},
		want:  []string{"The image tests could not be built", "step-40 of the build", "step-20 of the build"},
	},
	{
		name:  "image cannot be pulled",
		files: map[string]string{"docker-compose.qa.yml": "services:\n  web:\n    image: busybox:no-such-tag\n"},
		want:  []string{"The service web cannot start", "busybox:no-such-tag", "cannot be pulled"},
	},
	{
		name: "never healthy",
		files: map[string]string{
			"docker-compose.qa.yml": sick,
			".conductor.yaml":       "version: 1\nstack:\n  ready:\n    timeout: 15s\ntests:\n  smoke: sh /test.sh\n",
		},
		stack: true,
		want:  []string{"The stack was not up 15s after its images were built", "web: It runs, but its health check has not passed yet", "http://127.0.0.1:8080/nothing"},
	},
	{
		name: "service crashes",
		files: map[string]string{
			"docker-compose.qa.yml": "services:\n  web:\n    image: busybox:1.36\n    command: sh -c 'echo no database; exit 4'\n    restart: always\n    healthcheck:\n      test: [\"CMD\", \"true\"]\n",
			".conductor.yaml":       "version: 1\nstack:\n  ready:\n    timeout: 60s\ntests:\n  smoke: sh /test.sh\n",
		},
		stack: true,
		want:  []string{"web", "crash", "exit code 4"},
	},
	{
		name: "one-shot service fails",
		files: map[string]string{"docker-compose.qa.yml": strings.Replace(webService, "    command", "    depends_on:\n      migrate:\n        condition: service_completed_successfully\n    command", 1) +
			"  migrate:\n    image: busybox:1.36\n    command: sh -c 'echo schema is broken; exit 5'\n"},
		stack: true,
		want:  []string{"migrate", "exit code 5", "schema is broken"},
	},
	{
		name:    "tests fail",
		files:   map[string]string{"test.sh": "echo 2 of 3 tests passed\nexit 3\n"},
		outcome: v1alpha1.OutcomeFailed,
		stack:   true,
		want:    []string{"exit code 3", "2 of 3 tests passed"},
	},
	{
		name: "tests take too long",
		files: map[string]string{
			"test.sh":         "echo still waiting\ntrap 'exit 1' TERM\nsleep 300 & wait\n",
			".conductor.yaml": "version: 1\ntests:\n  smoke:\n    command: sh /test.sh\n    timeout: 3s\n",
		},
		conclusion: "timed_out", stack: true,
		want: []string{"did not end within 3s (tests.smoke.timeout)", "still waiting"},
	},
}

// TestUnknownSuite requests a suite that the file does not have.
func TestUnknownSuite(t *testing.T) {
	t.Parallel()
	r := small(t, nil)
	r.commentAs(r.User.Login, r.Issue, "/conductor test smok")
	run := r.finished(1)
	want := `The suite "smok" does not exist. .conductor.yaml has smoke`
	if run.Status.Outcome != v1alpha1.OutcomeError || run.Status.Message != want {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	r.explains(run, badInput{want: []string{want}})
	r.gone(run)
}

// TestSuitesOfOneRun runs two suites, one of which fails: each has its own check run.
func TestSuitesOfOneRun(t *testing.T) {
	t.Parallel()
	r := small(t, map[string]string{".conductor.yaml": `version: 1
tests:
  smoke: sh /test.sh
  broken:
    command: ["sh", "-c", "echo broken in $WHERE; exit 7"]
    env:
      WHERE: e2e
`})
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomeFailed {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	if c := r.check(run, "smoke"); c.Conclusion != "success" || !strings.Contains(c.Text, "web says: hello from web") {
		t.Errorf("check run of smoke: %+v", c)
	}
	if c := r.check(run, "broken"); c.Conclusion != "failure" || !strings.Contains(c.Text, "broken in e2e") || !strings.Contains(c.Title, "exit code 7") {
		t.Errorf("check run of broken: %+v", c)
	}
	contains(t, "comment", r.comment(run), "❌ Integration tests failed: `broken`", "/conductor test broken")
}
