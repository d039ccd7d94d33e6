package compose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPWD mounts the checkout by its variable, and finds no path of this machine in what comes of it, wherever the checkout is.
func TestPWD(t *testing.T) {
	files := map[string]string{
		"sub/compose.yaml": "services:\n  web:\n    image: x\n    volumes: [\"${PWD}:/src:ro\", \"$PWD/sub/conf:/conf:ro\"]\n    environment: {A: \"$PWD/x:${PWD}\", PWD: }\n    labels: {at: \"${PWD}\"}\n",
		"sub/conf/app":     "1", "main.go": "1",
	}
	var first string
	for range 2 {
		dir := write(t, files)
		objects, lines := convertDir(t, dir, LoadOptions{Files: []string{"sub/compose.yaml"}}, Options{})
		got := objects + lines
		if strings.Contains(got, dir) {
			t.Errorf("it has the path %s:\n%s", dir, got)
		}
		for _, want := range []string{
			"files/main.go", "files/sub/conf/app", "mountPath: /conf", "value: /conductor-checkout/x:/conductor-checkout\n",
			"5: note: web.environment.A: PWD is /conductor-checkout here", "6: note: web.labels.at: PWD is /conductor-checkout here",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing in:\n%s", want, got)
			}
		}
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("another directory gives another result:\n%s\n%s", first, got)
		}
	}
}

// TestPWDIsOverridden has another PWD among the variables.
func TestPWDIsOverridden(t *testing.T) {
	for name, o := range map[string]LoadOptions{"variables": {Env: map[string]string{"PWD": "/srv"}}, "file": {EnvFiles: []string{"vars"}}} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{DefaultFile: service + "    volumes: [\"${PWD}/x:/x\"]\n    command: $PWD\n", "vars": "PWD=/srv\n", "x": "1"})
			o.Files = []string{DefaultFile}
			_, got := convertDir(t, dir, o, Options{})
			if !strings.Contains(got, "note: web.volumes: /srv/x") || strings.Contains(got, "PWD is") {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestPlacesOutside finds out what a source outside of the repository is by how it is written, wherever the repository is.
func TestPlacesOutside(t *testing.T) {
	for source, want := range map[string]string{
		"/tmp/x": "note: web.volumes: /tmp/x is", "/opt/me/x/": "note: web.volumes: /opt/me/x is", "DIR/x": "note: web.volumes: DIR/x is",
		"~/.ssh": "note: web.volumes: ~/.ssh is", "~": "note: web.volumes: ~ is", "${A}": "note: web.volumes: /data/x (${A} in .env) is",
		"${A:-x}/y": "note: web.volumes: /data/x/y (${A} in .env) is", "../x": "refused: web.volumes: ../x leads out", "/usr/x": "refused: web.volumes: /usr/x is a path",
		"/library": "note: web.volumes: /library is", "/var": "refused: web.volumes: /var is a path", "/var/www": "note: web.volumes: /var/www is",
		"/dev/shm": "note: web.volumes: /dev/shm is memory", "/dev/shmx": "refused: web.volumes: /dev/shmx is a path",
		"/run/podman/podman.sock": "refused: web.volumes: /run/podman/podman.sock is the container engine's", "~/x.sock": "refused: web.volumes: ~/x.sock is a socket",
		"${B:?b is needed}/x": "refused: web.volumes: /etc/x (${B} in .env) is",
	} {
		t.Run(source, func(t *testing.T) {
			dir := write(t, map[string]string{".env": "A=/data/x\nB=/etc\n"})
			compose := "services:\n  base:\n    image: x\n    volumes:\n      - type: bind\n        source: \"" + strings.ReplaceAll(source, "DIR", dir) +
				"\"\n        target: /t/\n  web:\n    extends: base\n    volumes: [\"/tmp/y:/t/2\"]\n"
			if err := os.WriteFile(filepath.Join(dir, DefaultFile), []byte(compose), 0o600); err != nil {
				t.Fatal(err)
			}
			_, got := convertDir(t, dir, LoadOptions{Files: []string{DefaultFile}}, Options{})
			if want := strings.ReplaceAll(want, "DIR", dir); !strings.Contains(got, want) {
				t.Errorf("%s:\n%s", want, got)
			}
		})
	}
}
