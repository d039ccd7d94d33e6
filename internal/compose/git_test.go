package compose

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWhatTheCheckoutLacks has files that git does not have.
func TestWhatTheCheckoutLacks(t *testing.T) {
	const modules = "[submodule \"x\"]\n\tpath = sub/x\n\turl = https://github.com/x/y\n"
	const lacks = "sub/x is a git submodule, and the checkout does not have its files: commit them to this repository, or use an image that is built from them elsewhere"
	const commit = ". Commit a file with values for tests, or write required: false"
	const set = " and set the variables with stack: {env: {NAME: ...}}"
	for name, tt := range map[string]struct {
		files map[string]string
		flags bool
		want  []string
	}{
		"a submodule to build": {
			files: map[string]string{DefaultFile: "services:\n  web:\n    build: sub/x\n", ".gitmodules": modules},
			want:  []string{"3: refused: web.build.context: " + lacks},
		},
		"a directory of a submodule": {
			files: map[string]string{DefaultFile: "services:\n  web:\n    build:\n      context: sub/x/deep\n", ".gitmodules": modules},
			want:  []string{"4: refused: web.build.context: " + lacks},
		},
		"a submodule to mount": {
			files: map[string]string{DefaultFile: service + "    volumes:\n      - ./sub/x/conf:/conf:ro\n", ".gitmodules": modules},
			want:  []string{"5: refused: web.volumes: " + lacks},
		},
		"a submodule with its files": {
			files: map[string]string{DefaultFile: service + "    volumes: [\"./sub/x:/conf:ro\"]\n", ".gitmodules": modules, "sub/x/a": "b"},
		},
		"another directory": {
			files: map[string]string{DefaultFile: "services:\n  web:\n    build: sub/y\n", ".gitmodules": modules},
			want:  []string{"3: refused: web.build.context: sub/y is not a directory of the repository"},
		},
		"an ignored file of variables": {
			files: map[string]string{DefaultFile: service + "    env_file: .env.docker\n", ".gitignore": "# local\nnode_modules/\n.env*\n!.env.example\n", ".env.example": "A=b\n"},
			want: []string{"4: refused: web.env_file: .env.docker is not in the repository: .gitignore leaves it out" + commit + set +
				". The repository has .env.example: env_file can name it"},
		},
		"an ignored directory": {
			files: map[string]string{DefaultFile: service + "    env_file: conf/local/a.env\n", ".gitignore": "/conf/local/\n"},
			want:  []string{"4: refused: web.env_file: conf/local/a.env is not in the repository: .gitignore leaves it out" + commit + set},
		},
		"a file that was forgotten": {
			files: map[string]string{DefaultFile: service + "    env_file: conf/a.env\n", "conf/a.env.dist": "", "conf/a.env.sample": "", ".gitignore": "*.log\n"},
			flags: true,
			want: []string{"4: refused: web.env_file: conf/a.env is not in the repository" + commit +
				". The repository has conf/a.env.dist, conf/a.env.sample: env_file can name one of them"},
		},
		"a file that is kept": {
			files: map[string]string{DefaultFile: service + "    env_file: a.env\n", ".gitignore": "*.env\n!a.env\n"},
			want:  []string{"4: refused: web.env_file: a.env is not in the repository" + commit + set},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, linesOf(t, tt.files, LoadOptions{Flags: tt.flags})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnEmptySubmodule has the directory that an archive of GitHub has for a submodule.
func TestAnEmptySubmodule(t *testing.T) {
	dir := write(t, map[string]string{DefaultFile: "services:\n  web:\n    build: sub\n", ".gitmodules": "[submodule \"x\"]\npath=sub\n"})
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := DefaultFile + ":3: refused: web.build.context: sub is a git submodule, and the checkout does not have its files: " +
		"commit them to this repository, or use an image that is built from them elsewhere"
	if got := refusals(t, dir, LoadOptions{}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUnused(t *testing.T) {
	files := map[string]string{
		DefaultFile: service + "    command: $USED\n    env_file: a.env\n    environment: [PASSED]\n  qa: {image: x, profiles: [qa]}\n",
		"a.env":     "A=${IN_FILE}\n",
	}
	env := map[string]string{"USED": "1", "PASSED": "1", "IN_FILE": "1", "COMPOSE_PROFILES": "qa", "UNUSED": "1"}
	want := []string{
		" note: UNUSED is set by stack.env, and no file uses it",
		" note: profiles: no service has the profile qaa; did you mean qa?",
	}
	if diff := cmp.Diff(want, linesOf(t, files, LoadOptions{Profiles: []string{"qa", "qaa"}, Env: env})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSecretOfAnInclude has the value of a secret in the env_file of an include.
func TestSecretOfAnInclude(t *testing.T) {
	files := map[string]string{
		DefaultFile:        "include:\n  - path: sub/compose.yaml\n    env_file: sub/v.env\n",
		"sub/compose.yaml": service + "    secrets: [my]\nsecrets: {my: {environment: VAR}}\n",
		"sub/v.env":        "VAR=value\n",
	}
	want := []string{"sub/compose.yaml:5: note: secrets.my: a value in the repository is not secret: it is mounted from a ConfigMap"}
	if diff := cmp.Diff(want, linesOf(t, files, LoadOptions{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
