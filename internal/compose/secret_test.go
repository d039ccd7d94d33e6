package compose

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// secretStack converts one service, with the secrets A and B declared.
func secretStack(t *testing.T, text string, files map[string]string) (*Stack, error) {
	t.Helper()
	all := map[string]string{DefaultFile: text}
	for k, v := range files {
		all[k] = v
	}
	p, err := Load(write(t, all), LoadOptions{Secrets: []string{"A", "B"}, Env: map[string]string{"A": "never used", "PLAIN": "p"}})
	if err != nil {
		return nil, err
	}
	return Convert(p, Options{})
}

// output runs a probe's command as the kubelet does, with the container's secrets set.
func output(t *testing.T, argv []string, values map[string]string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range values {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", argv, err)
	}
	return string(out)
}

// values are secrets that a shell would take apart.
var values = []string{"plain", `it's "q"`, "a b  c", `$HOME $(id) \x`, "`id`", "*", "-n", "line\nline", "é%s"}

// TestSecretInAProbe runs what a health check becomes, and compares with a command that has the value itself.
func TestSecretInAProbe(t *testing.T) {
	stack, err := secretStack(t, service+`    healthcheck:
      test: ["CMD", "printf", "%s|", "x${A}y", "$$A", "${PLAIN}", "", "it's", "${B:-default}${A:?must be}", "${A:+set}"]
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	argv := podOf(t, stack.Services[0]).Spec.Containers[0].ReadinessProbe.Exec.Command
	for _, v := range values {
		want := strings.Join([]string{"x" + v + "y", "$A", "p", "", "it's", "b" + v, "set"}, "|") + "|"
		if got := output(t, argv, map[string]string{"A": v, "B": "b"}); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// TestSecretInAShellProbe: in a text for a shell a value is read by that shell, as under compose.
func TestSecretInAShellProbe(t *testing.T) {
	const test = `printf '%s|' "a ${A} b" ${A} 'c' $$UNSET; printf %s '${A}' # it's`
	stack, err := secretStack(t, service+"    healthcheck:\n      test: "+fmt.Sprintf("%q", test)+"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	argv := podOf(t, stack.Services[0]).Spec.Containers[0].ReadinessProbe.Exec.Command
	for _, v := range []string{"plain", "a b", "$(echo run)", "*x*", `\\`, "x y;z"[:3]} {
		script := strings.ReplaceAll(strings.ReplaceAll(test, "${A}", v), "$$", "$")
		want := output(t, []string{"/bin/sh", "-c", script}, nil)
		if got := output(t, argv, map[string]string{"A": v}); got != want {
			t.Errorf("%q: got  %q\nwant %q", v, got, want)
		}
	}
}

// kubelet expands $(NAME) in the order of the variables. https://pkg.go.dev/k8s.io/api/core/v1#EnvVar
func kubelet(env []corev1.EnvVar, secrets map[string]string) (map[string]string, func(string) string) {
	known := map[string]string{}
	expand := func(s string) string {
		return expansion.ReplaceAllStringFunc(s, func(m string) string {
			if m == "$$" {
				return "$"
			}
			if v, ok := known[m[2:len(m)-1]]; ok {
				return v
			}
			return m
		})
	}
	for _, e := range env {
		if e.ValueFrom != nil {
			known[e.Name] = secrets[e.ValueFrom.SecretKeyRef.Key]
		} else {
			known[e.Name] = expand(e.Value)
		}
	}
	return known, expand
}

// TestSecretInEnvironmentAndCommand does what the kubelet does, for texts made at random.
func TestSecretInEnvironmentAndCommand(t *testing.T) {
	parts := []string{"${A}", "${B}", "$$", "(A)", "$$(A)", "x", "$$$$", "${A:-d}"}
	plain := strings.NewReplacer("${A}", "$$(B)", "${B}", "secret b", "${A:-d}", "$$(B)", "$$", "$")
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var text strings.Builder
		for range 1 + r.IntN(6) {
			text.WriteString(parts[r.IntN(len(parts))])
		}
		quoted := fmt.Sprintf("%q", text.String())
		stack, err := secretStack(t, service+"    command: [x, "+quoted+"]\n    environment:\n      A: own\n      AA: "+quoted+"\n      B:\n      Z: "+quoted+"\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		c := podOf(t, stack.Services[0]).Spec.Containers[0]
		env, expand := kubelet(c.Env, map[string]string{"A": "$$(B)", "B": "secret b"})
		want := plain.Replace(text.String())
		if got := []string{env["AA"], env["Z"], expand(c.Args[1]), env["A"], env["B"]}; !slices.Equal(got, []string{want, want, want, "own", "secret b"}) {
			t.Fatalf("%s: got %q, want %q", text.String(), got, want)
		}
	}
}

// TestNoMarkIsLeft: what represents a secret inside the converter is never seen outside.
func TestNoMarkIsLeft(t *testing.T) {
	files := map[string]string{".env": "FROM_FILE=<${A}>\n"}
	for _, line := range []string{
		"command: [\"$FROM_FILE\"]", "labels: {a: \"$A\"}", "image: \"x/${A}\"", "mem_limit: ${A}", "ports: [\"${A}:80\"]", "user: ${A}", "volumes: [\"$A:/x\"]",
		"network_mode: \"service:${A}\"", "env_file: ${A}", "hostname: ${A}", "healthcheck: {test: \"$A\", interval: \"$A\"}", "depends_on: [\"$A\"]", "extends: {service: \"$A\"}",
		"pre_stop: [{command: [\"${A}\"], user: \"${A}\"}]", "profiles: [\"$A\"]", "deploy: {replicas: $A}",
	} {
		stack, err := secretStack(t, strings.Replace(service, "    image: nginx\n", "    image: nginx\n    "+line+"\n", 1), files)
		text := fmt.Sprint(err)
		if err == nil {
			data, err := YAML(stack)
			if err != nil {
				t.Fatal(err)
			}
			text = string(data) + fmt.Sprint(stack.Findings)
			for _, s := range stack.Services {
				text += s.Probe
			}
		}
		if strings.ContainsAny(text, secretBegin+secretEnd) || strings.Contains(text, `\ue000`) || strings.Contains(text, "never used") {
			t.Errorf("%s: %s", line, text)
		}
	}
}

// TestSeedScript runs the script that fills a volume.
func TestSeedScript(t *testing.T) {
	image := write(t, map[string]string{"a/.hidden": "1", "a/sub/file": "2"})
	if err := os.Chmod(filepath.Join(image, "a"), 0o751); err != nil {
		t.Fatal(err)
	}
	run := func(from, to string) {
		if out, err := exec.Command("/bin/sh", "-c", seedScript, from, to).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
	}
	fresh := write(t, map[string]string{"lost+found/x": ""})
	run(filepath.Join(image, "a"), fresh)
	for _, f := range []string{".hidden", "sub/file"} {
		if !isFile(filepath.Join(fresh, f)) {
			t.Errorf("%s was not copied", f)
		}
	}
	if st, err := os.Stat(fresh); err != nil || st.Mode().Perm() != 0o751 {
		t.Errorf("the volume has the mode %v: %v", st.Mode(), err)
	}
	used := write(t, map[string]string{"mine": "3"})
	run(filepath.Join(image, "a"), used)
	run(filepath.Join(image, "no such directory"), used)
	if isFile(filepath.Join(used, ".hidden")) {
		t.Error("a volume in use was written to")
	}
}
