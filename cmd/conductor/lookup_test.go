//go:build linux

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Images are looked up only on request, and a note is printed for each that cannot be read.
func TestLookUp(t *testing.T) {
	project(t, map[string]string{"compose.yaml": "services:\n  web:\n    image: nginx:1.27\n    restart: always\n  own:\n    image: REGISTRY/x\n    restart: always\n"})
	for _, c := range []struct {
		args   []string
		probed bool
		notes  string
	}{
		{nil, false, ""},
		{[]string{"--lookup"}, true, "the image REGISTRY/x could not be looked up"},
	} {
		out, notes, status := convert(t, c.args...)
		if status != 0 || strings.Contains(out, "readinessProbe") != c.probed || (c.notes == "") != (notes == "") || !strings.Contains(notes, c.notes) {
			t.Errorf("%v: status %d, probed %v, notes %q", c.args, status, strings.Contains(out, "readinessProbe"), notes)
		}
	}
}

// planWith runs `plan` or `validate`.
func planWith(t *testing.T, cmd *cobra.Command, args ...string) (out, notes string, err error) {
	t.Helper()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var o, n bytes.Buffer
	cmd.SetOut(&o)
	cmd.SetErr(&n)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return o.String(), n.String(), err
}

func TestPlanShowsWhatTheOperatorAllows(t *testing.T) {
	project(t, map[string]string{
		".conductor.yaml":       "version: 1\ntests: {integration: {image: 'busybox:1.36', command: x}}\n",
		"docker-compose.qa.yml": "services:\n  a:\n    image: busybox\n    privileged: true\n  b:\n    build: {dockerfile_inline: FROM busybox}\n",
	})
	for name, cmd := range map[string]func() *cobra.Command{"plan": planCommand, "validate": validateCommand} {
		var code exitCode
		if _, notes, err := planWith(t, cmd()); !errors.As(err, &code) || code != 1 || !strings.Contains(notes, "docker-compose.qa.yml:4: refused: a.privileged: ") || !strings.Contains(notes, "stacks.allow: privileged") {
			t.Errorf("%s: %v: %s", name, err, notes)
		}
		if _, _, err := planWith(t, cmd(), "--allow", "root"); err == nil || errors.As(err, &code) {
			t.Errorf("%s --allow root: %v", name, err)
		}
	}
	out, notes, err := planWith(t, planCommand(), "--allow", "privileged")
	if err != nil || notes != "" {
		t.Fatalf("%v: %s", err, notes)
	}
	for _, want := range []string{
		"pod-security.kubernetes.io/enforce: privileged", "privileged: true", "b: context ., the Dockerfile in the compose file", "--dockerfile=/kaniko/inline/Dockerfile",
		"conductor.digitalservic.es/dockerfile: FROM busybox",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the plan does not say %q:\n%s", want, out)
		}
	}
}

// The plan of a suite that is a compose service shows what the service has, as the run's Job will have it.
func TestPlanShowsSuitesThatAreServices(t *testing.T) {
	project(t, map[string]string{
		".conductor.yaml": "version: 1\ntests:\n  api: npm test\n  e2e: {service: e2e, env: {B: mine}}\n  unit: {run: app, command: [npm, test]}\n  web: {image: wbe, command: x}\n",
		"docker-compose.qa.yml": "services:\n  app: {image: a, ports: ['80'], environment: {KEY: of-the-app}}\n  web: {image: w}\n  tests: {image: t, environment: {KEY: of-the-tests}}\n" +
			"  e2e: {image: e, command: [cypress, run], environment: {B: other}, volumes: ['./conf:/conf:ro']}\n",
		"conf/a.ini": "a = 1\n",
	})
	out, notes, err := planWith(t, planCommand())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Services, in the order of their start\n#   app\n#   web\n# Suites\n",
		"#   api: service tests, image t, sh -c \"npm test\", at most 30m0s\n",
		"#   e2e: service e2e, image e, [\"ENTRYPOINT-OF-THE-IMAGE\" \"cypress\" \"run\"], at most 30m0s\n",
		"#   unit: as in service app, which is up as well, image a, [\"npm\" \"test\"], at most 30m0s\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out[:min(len(out), 1000)])
		}
	}
	for suite, want := range map[string][]string{
		"api": {"value: of-the-tests", "image: t\n"}, "unit": {"value: of-the-app", "image: a\n"},
		"e2e": {"value: mine", "mountPath: /conf", "- ENTRYPOINT-OF-THE-IMAGE\n        - cypress\n        - run\n"},
	} {
		_, job, _ := strings.Cut(out, "  name: conductor-test-"+suite+"\n")
		job, _, _ = strings.Cut(job, "\n---\n")
		for _, w := range want {
			if !strings.Contains(job, w) {
				t.Errorf("%s: no %q in %s", suite, w, job)
			}
		}
	}
	if !strings.Contains(notes, ".conductor.yaml:6:16: note: tests.web.image: wbe is neither in build.images nor a service") {
		t.Errorf("notes %s", notes)
	}
}
