//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// project lays files into a new directory and makes that the working directory.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

// convert runs the command: what it wrote, and its exit status.
func convert(t *testing.T, args ...string) (out, notes string, status int) {
	t.Helper()
	cmd := convertAsking(func() (imageConfig, error) { return everyImage, nil })
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var o, n bytes.Buffer
	cmd.SetOut(&o)
	cmd.SetErr(&n)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	var code exitCode
	switch {
	case errors.As(err, &code):
		status = int(code)
	case err != nil:
		status = 2
		n.WriteString(err.Error())
	}
	return o.String(), n.String(), status
}

const twoServices = "services:\n  web:\n    image: nginx:1.27\n    depends_on: [api]\n  api:\n    image: ${API:-nginx:1.26}\n"

func TestConvertExitStatus(t *testing.T) {
	files := map[string]string{
		"compose.yaml": twoServices,
		"refused.yaml": "services:\n  web:\n    image: nginx:1.27\n    privileged: true\n",
		"note.yaml":    "services:\n  web:\n    image: nginx:1.27\n    restart: \"no\"\n",
		"broken.yaml":  "services: [",
	}
	for name, c := range map[string]struct {
		args   []string
		status int
		notes  string
	}{
		"converted":             {nil, 0, ""},
		"refused":               {[]string{"-f", "refused.yaml"}, 1, "refused.yaml:4: refused: web.privileged: "},
		"allowed":               {[]string{"-f", "refused.yaml", "--allow", "privileged"}, 0, ""},
		"allowed otherwise":     {[]string{"-f", "refused.yaml", "--allow", "devices"}, 1, "(--allow: privileged)"},
		"no such allowance":     {[]string{"--allow", "all"}, 2, "must be one of privileged, "},
		"note":                  {[]string{"-f", "note.yaml"}, 0, "note.yaml:4: note: web.restart: "},
		"strict":                {[]string{"-f", "note.yaml", "--strict"}, 1, "note.yaml:4: refused: web.restart: "},
		"broken":                {[]string{"-f", "broken.yaml"}, 1, "broken.yaml"},
		"no such file":          {[]string{"-f", "none.yaml"}, 2, "none.yaml"},
		"directory":             {[]string{"-f", "."}, 2, "is a directory"},
		"no such flag":          {[]string{"--what"}, 2, "--what"},
		"no such output":        {[]string{"-o", "json"}, 2, "json"},
		"helm without a place":  {[]string{"-o", "helm"}, 2, "requires a directory"},
		"yaml with a place":     {[]string{"there"}, 2, "-f"},
		"namespace":             {[]string{"-n", "No Name"}, 2, "No Name"},
		"variable":              {[]string{"--env", "novalue"}, 2, "NAME=VALUE"},
		"image that is none":    {[]string{"--image", "web=UPPER/Case:x"}, 2, `--image web: "UPPER/Case:x" is not a valid image reference`},
		"image of no service":   {[]string{"--image", "db=postgres"}, 2, "the service does not exist. The compose files have api, web"},
		"timeout":               {[]string{"--wait-timeout", "0s"}, 2, "--wait-timeout"},
		"variables from beyond": {[]string{"--env-file", "../other.env"}, 2, "only files inside are read"},
	} {
		t.Run(name, func(t *testing.T) {
			project(t, files)
			out, notes, status := convert(t, c.args...)
			if status != c.status || !strings.Contains(notes, c.notes) {
				t.Errorf("status %d, want %d; the notes are %q, want %q", status, c.status, notes, c.notes)
			}
			if (out != "") != (c.status == 0) {
				t.Errorf("status %d with %d bytes of objects", status, len(out))
			}
		})
	}
}

func TestConvertPrintsOneLineForEachCause(t *testing.T) {
	project(t, map[string]string{"compose.yaml": "x-a: &a {image: \"nginx:1\", pull_policy: never, expose: [80], environment: [GONE]}\nservices: {a: *a, b: *a, c: *a}\n"})
	info := "compose.yaml:1: info: pull_policy (3 services: a, b, c): never: the image is pulled when the node does not have it\n"
	note := "compose.yaml:1: note: environment (3 services: a, b, c): GONE has no value here, and no variable of that name is set: it is left out. Set it with --env GONE=...\n"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, note + info + "converted: 3 notes, 3 infos (--quiet hides infos)\n"},
		{[]string{"--quiet"}, note + "converted: 3 notes, 3 infos\n"},
		{[]string{"--env", "GONE=x", "-q"}, "converted: 3 infos\n"},
	} {
		if _, notes, status := convert(t, tt.args...); notes != tt.want || status != 0 {
			t.Errorf("%v: status %d\n got %s\nwant %s", tt.args, status, notes, tt.want)
		}
	}
}

func TestConvertSuggestsFiles(t *testing.T) {
	project(t, map[string]string{"docker-compose-local.yml": twoServices, "compose.test.yaml": twoServices})
	_, notes, status := convert(t)
	if want := "no compose file with a usual name found. Name a file with -f: this directory has compose.test.yaml, docker-compose-local.yml"; notes != want || status != 2 {
		t.Errorf("status %d\n got %s\nwant %s", status, notes, want)
	}
}

func TestConvertTakesNoEnvironment(t *testing.T) {
	project(t, map[string]string{"compose.yaml": twoServices, "mine.env": "API=from-file:1\n"})
	t.Setenv("API", "from-environment:1")
	for want, args := range map[string][]string{
		"image: nginx:1.26":      nil,
		"image: from-file:1":     {"--env-file", "mine.env"},
		"image: from-flag:1":     {"--env-file", "mine.env", "--env", "API=from-flag:1"},
		"image: given@sha256:12": {"--image", "api=given@sha256:12"},
	} {
		out, notes, status := convert(t, args...)
		if status != 0 || !strings.Contains(out, want+"\n") {
			t.Errorf("%q: status %d, %s: no %s in\n%s", args, status, notes, want, out)
		}
	}
}

func TestConvertFindsFiles(t *testing.T) {
	web := func(image string) string { return "services:\n  web:\n    image: " + image + "\n" }
	for name, c := range map[string]struct {
		files []string
		args  []string
		want  string
	}{
		"compose's own":     {files: []string{"compose.yaml", "docker-compose.yml"}, want: "compose.yaml"},
		"the old name":      {files: []string{"docker-compose.yml"}, want: "docker-compose.yml"},
		"Conductor's":       {files: []string{"docker-compose.qa.yml", "compose.yaml"}, want: "docker-compose.qa.yml"},
		"its override":      {files: []string{"compose.yaml", "compose.override.yaml"}, want: "compose.override.yaml"},
		"in the order of f": {files: []string{"a.yaml", "b.yaml"}, args: []string{"-f", "b.yaml", "-f", "a.yaml"}, want: "a.yaml"},
		"below":             {files: []string{"deploy/c.yaml"}, args: []string{"-f", "deploy/c.yaml"}, want: "deploy/c.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for _, f := range c.files {
				files[f] = web(strings.ReplaceAll(f, "/", "-"))
			}
			dir := project(t, files)
			for range 2 {
				out, notes, _ := convert(t, c.args...)
				if want := "image: " + strings.ReplaceAll(c.want, "/", "-") + "\n"; !strings.Contains(out, want) {
					t.Errorf("no %s: %s\n%s", want, notes, out)
				}
				// Convert again from another directory, with absolute names.
				t.Chdir(t.TempDir())
				c.args = nil
				for _, f := range c.files {
					if f == c.want {
						c.args = []string{"-f", filepath.Join(dir, f)}
					}
				}
			}
		})
	}
	dir := project(t, map[string]string{"compose.yaml": web("usual"), "a.yaml": web("a"), "b.yaml": web("b"), ".env": "COMPOSE_FILE=a.yaml:b.yaml\n"})
	if out, notes, _ := convert(t); !strings.Contains(out, "image: b\n") {
		t.Errorf("COMPOSE_FILE of %s is not taken: %s\n%s", dir, notes, out)
	}
	if out, notes, _ := convert(t, "--env", "COMPOSE_FILE=a.yaml"); !strings.Contains(out, "image: a\n") {
		t.Errorf("--env does not win over .env: %s\n%s", notes, out)
	}
	if out, notes, _ := convert(t, "-f", "compose.yaml"); !strings.Contains(out, "image: usual\n") {
		t.Errorf("-f does not win over .env: %s\n%s", notes, out)
	}
	project(t, nil)
	if _, notes, status := convert(t); status != 2 || !strings.Contains(notes, "compose.yaml") {
		t.Errorf("without a file: status %d, %s", status, notes)
	}
}

func TestConvertReport(t *testing.T) {
	project(t, map[string]string{"compose.yaml": "services:\n  web:\n    image: nginx:1.27\n    restart: \"no\"\n    logging: {driver: none}\n    working_dir: /app\n"})
	for name, c := range map[string]struct {
		args []string
		want map[string]string
	}{
		"converted": {nil, map[string]string{"image": "converted", "restart": "approximated", "logging": "dropped", "working_dir": "converted"}},
		"refused":   {[]string{"--strict"}, map[string]string{"image": "converted", "restart": "refused", "logging": "dropped", "working_dir": "converted"}},
	} {
		t.Run(name, func(t *testing.T) {
			convert(t, append(c.args, "--report", "report.json")...)
			data, err := os.ReadFile("report.json")
			if err != nil {
				t.Fatal(err)
			}
			var report struct {
				Totals map[string]int
				Fields []struct {
					Service, Field, Outcome, File, Reason string
					Line                                  int
				}
			}
			if err := json.Unmarshal(data, &report); err != nil {
				t.Fatal(err)
			}
			totals := map[string]int{}
			for _, f := range report.Fields {
				if f.Service != "web" || f.File != "compose.yaml" || f.Line == 0 || f.Reason == "" {
					t.Errorf("%+v does not say where or why", f)
				}
				if want := c.want[f.Field]; f.Outcome != want {
					t.Errorf("%s is %s, want %q", f.Field, f.Outcome, want)
				}
				totals[f.Outcome]++
			}
			if len(report.Fields) != len(c.want) {
				t.Errorf("%d fields are reported, want %d", len(report.Fields), len(c.want))
			}
			for outcome, n := range report.Totals {
				if totals[outcome] != n {
					t.Errorf("%d are %s, and the total is %d", totals[outcome], outcome, n)
				}
			}
		})
	}
}

func TestConvertWritesFilesOfItsOwnOnly(t *testing.T) {
	project(t, map[string]string{"compose.yaml": twoServices})
	files := func() []string {
		var all []string
		_ = filepath.WalkDir("out", func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				all = append(all, path)
			}
			return err
		})
		return all
	}
	must := func(status int, want string, args ...string) {
		t.Helper()
		if _, notes, got := convert(t, args...); got != status || !strings.Contains(notes, want) {
			t.Fatalf("%q: status %d, want %d: %s", args, got, status, notes)
		}
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(0, "", "-o", "helm", "out")
	must(0, "", "-o", "helm", "out")
	if !slices.Contains(files(), filepath.Join("out", "templates", "api-deployment.yaml")) {
		t.Errorf("there are %q", files())
	}

	// Files that are not needed anymore are removed; other files stay.
	write("compose.yaml", "services:\n  web:\n    image: nginx:1.28\n")
	write(filepath.Join("out", "templates", "mine.yaml"), "mine")
	must(0, "", "-o", "helm", "out")
	if all := files(); slices.Contains(all, filepath.Join("out", "templates", "api-deployment.yaml")) || !slices.Contains(all, filepath.Join("out", "templates", "mine.yaml")) {
		t.Errorf("there are %q", all)
	}

	// A changed file stays, and then nothing is written.
	write(filepath.Join("out", "values.yaml"), "services: {web: {image: mine, replicas: 9}}\n")
	write("compose.yaml", "services:\n  web:\n    image: nginx:1.29\n  new:\n    image: nginx:1.29\n")
	before := files()
	must(2, "values.yaml", "-o", "helm", "out")
	if after := files(); !slices.Equal(before, after) {
		t.Errorf("there were %q, and now there are %q", before, after)
	}
	if data, _ := os.ReadFile(filepath.Join("out", "values.yaml")); !strings.Contains(string(data), "mine") {
		t.Error("a changed file was overwritten")
	}

	// A directory that already has other files of these names.
	write("values.yaml", "theirs")
	must(2, "values.yaml", "-o", "helm", ".")
	must(0, "", "-o", "kustomize", "other")
	if _, err := os.Stat(filepath.Join("other", "kustomization.yaml")); err != nil {
		t.Error(err)
	}
}
