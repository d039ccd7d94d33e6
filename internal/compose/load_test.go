package compose

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write makes a directory with files; a content that begins with -> is the target of a symbolic link.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		if to, ok := strings.CutPrefix(content, "->"); ok && err == nil {
			err = os.Symlink(to, p)
		} else if err == nil {
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// refusals are the refused findings of a load and conversion, as lines.
func refusals(t testing.TB, dir string, o LoadOptions) string {
	t.Helper()
	p, err := Load(dir, o)
	if err == nil {
		_, err = Convert(p, Options{})
	}
	if err == nil {
		return ""
	}
	if e := (*Errors)(nil); !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	return err.Error()
}

const service = "services:\n  web:\n    image: nginx\n"

const outside = "leads out of the repository"

// ways lead out of a repository that has one service.
var ways = map[string]struct {
	files map[string]string
	o     LoadOptions
	want  string // the beginning of the refusal, and a part of it after |
}{
	"compose file":            {o: LoadOptions{Files: []string{"../outside/secret.yaml"}}, want: "../outside/secret.yaml: refused:|" + outside},
	"absolute compose file":   {o: LoadOptions{Files: []string{"OUTSIDE/secret.yaml"}}, want: "OUTSIDE/secret.yaml: refused:|" + outside},
	"symbolic compose file":   {files: map[string]string{DefaultFile: "->../outside/secret.yaml"}, want: DefaultFile + ": refused:|" + outside},
	"env file option":         {o: LoadOptions{EnvFiles: []string{"../outside/secret.env"}}, want: "the file: refused:|" + outside},
	".env is a link":          {files: map[string]string{".env": "->../outside/secret.env"}, want: ".env: refused:|" + outside},
	"include":                 {files: map[string]string{DefaultFile: "include:\n  - ../outside/secret.yaml\n" + service}, want: DefaultFile + ":2: refused: include:|" + outside},
	"include by variable":     {files: map[string]string{DefaultFile: "include:\n  - ${P}\n" + service}, o: LoadOptions{Env: map[string]string{"P": "../outside/secret.yaml"}}, want: DefaultFile + ":2: refused: include:|" + outside},
	"include by alias":        {files: map[string]string{DefaultFile: "x-p: &p ../outside/secret.yaml\ninclude: [*p]\n" + service}, want: DefaultFile + ":1: refused: include:|" + outside},
	"include by merge":        {files: map[string]string{DefaultFile: "x-p: &p\n  path: ../outside/secret.yaml\ninclude:\n  - <<: *p\n" + service}, want: DefaultFile + ":2: refused: include:|" + outside},
	"include long form":       {files: map[string]string{DefaultFile: "include:\n  - path: [in.yaml, ../outside/secret.yaml]\n" + service, "in.yaml": service}, want: DefaultFile + ":2: refused: include:|" + outside},
	"include's directory":     {files: map[string]string{DefaultFile: "include:\n  - path: in.yaml\n    project_directory: ../outside\n" + service, "in.yaml": service}, want: DefaultFile + ":3: refused: include.project_directory:|" + outside},
	"include's env_file":      {files: map[string]string{DefaultFile: "include:\n  - path: in.yaml\n    env_file: ../outside/secret.env\n" + service, "in.yaml": service}, want: DefaultFile + ":3: refused: include.env_file:|" + outside},
	"include's .env":          {files: map[string]string{DefaultFile: "include: [sub/in.yaml]\n" + service, "sub/in.yaml": service, "sub/.env": "->../../outside/secret.env"}, want: DefaultFile + ": refused: include.env_file:|" + outside},
	"nested include":          {files: map[string]string{DefaultFile: "include: [sub/in.yaml]\n", "sub/in.yaml": "include: [../../outside/secret.yaml]\n" + service}, want: "sub/in.yaml:1: refused: include:|" + outside},
	"nested include's files":  {files: map[string]string{DefaultFile: "include: [sub/in.yaml]\n", "sub/in.yaml": "include:\n  - path: two.yaml\n    env_file: ../../proc/self/environ\n" + service, "sub/two.yaml": service}, want: "sub/in.yaml:2: refused: include:|an included file cannot include with"},
	"remote include":          {files: map[string]string{DefaultFile: "include: [\"https://example.com/x.git\"]\n" + service}, want: DefaultFile + ":1: refused: include:|is remote"},
	"oci include":             {files: map[string]string{DefaultFile: "include: [\"oci:docker.io/x\"]\n" + service}, want: DefaultFile + ":1: refused: include:|is remote"},
	"extends":                 {files: map[string]string{DefaultFile: "services:\n  web:\n    extends:\n      file: ../outside/secret.yaml\n      service: web\n"}, want: DefaultFile + ":4: refused: web.extends.file:|" + outside},
	"extends in the extended": {files: map[string]string{DefaultFile: "services:\n  web:\n    extends: {file: sub/base.yaml, service: web}\n", "sub/base.yaml": "services:\n  web:\n    extends: {file: ../../outside/secret.yaml, service: web}\n"}, want: "sub/base.yaml:3: refused: web.extends.file:|" + outside},
	"extends through a link":  {files: map[string]string{DefaultFile: "services:\n  web:\n    extends: {file: sub/secret.yaml, service: web}\n", "sub": "->../outside"}, want: DefaultFile + ":3: refused: web.extends.file:|" + outside},
	"env_file":                {files: map[string]string{DefaultFile: service + "    env_file: ../outside/secret.env\n"}, want: DefaultFile + ":4: refused: web.env_file:|" + outside},
	"absolute env_file":       {files: map[string]string{DefaultFile: service + "    env_file:\n      - OUTSIDE/secret.env\n"}, want: DefaultFile + ":5: refused: web.env_file:|" + outside},
	"env_file at home":        {files: map[string]string{DefaultFile: service + "    env_file: ~/secret.env\n"}, want: DefaultFile + ":4: refused: web.env_file:|" + outside},
	"env_file is a link":      {files: map[string]string{DefaultFile: service + "    env_file: app.env\n", "app.env": "->../outside/secret.env"}, want: DefaultFile + ":4: refused: web.env_file:|" + outside},
	"optional env_file":       {files: map[string]string{DefaultFile: service + "    env_file:\n      - path: ../outside/secret.env\n        required: false\n"}, want: DefaultFile + ":5: refused: web.env_file:|" + outside},
	"label_file":              {files: map[string]string{DefaultFile: service + "    label_file: ../outside/secret.env\n"}, want: DefaultFile + ":4: refused: web.label_file:|" + outside},
	"hook's env_file":         {files: map[string]string{DefaultFile: service + "    pre_start:\n      - command: x\n        env_file: ../outside/secret.env\n"}, want: DefaultFile + ":5: refused: web.pre_start:|" + outside},
	"build context":           {files: map[string]string{DefaultFile: "services:\n  web:\n    build: ../outside\n"}, want: DefaultFile + ":3: refused: web.build.context:|" + outside},
	"context is a link":       {files: map[string]string{DefaultFile: "services:\n  web:\n    build:\n      context: in\n", "in": "->../outside"}, want: DefaultFile + ":4: refused: web.build.context:|" + outside},
	"remote build context":    {files: map[string]string{DefaultFile: "services:\n  web:\n    build: https://github.com/x/y.git\n"}, want: DefaultFile + ":3: refused: web.build.context:|is remote"},
	"Dockerfile":              {files: map[string]string{DefaultFile: "services:\n  web:\n    build:\n      context: .\n      dockerfile: ../outside/Dockerfile\n"}, want: DefaultFile + ":5: refused: web.build.dockerfile:|" + outside},
	"bind mount":              {files: map[string]string{DefaultFile: service + "    volumes:\n      - ../outside:/x\n"}, want: DefaultFile + ":5: refused: web.volumes:|../outside leads out of the repository"},
	"bind mount is a link":    {files: map[string]string{DefaultFile: service + "    volumes:\n      - ./in:/x\n", "in": "->../outside"}, want: DefaultFile + ":5: refused: web.volumes:|" + outside},
	"link in a bind mount":    {files: map[string]string{DefaultFile: service + "    volumes:\n      - ./in:/x\n", "in/a": "a", "in/b": "->../../outside/secret.env"}, want: DefaultFile + ":5: refused: web.volumes:|in/b is a symbolic link that leads out"},
	"config":                  {files: map[string]string{DefaultFile: service + "    configs: [c]\nconfigs:\n  c:\n    file: ../outside/secret.env\n"}, want: DefaultFile + ":4: refused: web.configs:|" + outside},
	"secret is a link":        {files: map[string]string{DefaultFile: service + "    secrets: [c]\nsecrets:\n  c:\n    file: c\n", "c": "->../outside/secret.env"}, want: DefaultFile + ":4: refused: web.secrets:|" + outside},
}

// TestNothingOutsideTheDirectory plants a secret beside the repository and tries every way to it.
func TestNothingOutsideTheDirectory(t *testing.T) {
	for name, tt := range ways {
		t.Run(name, func(t *testing.T) {
			parent := write(t, map[string]string{
				"outside/secret.env": "TOKEN=s3cr3t\n", "outside/secret.yaml": "services:\n  web:\n    image: s3cr3t\n", "outside/Dockerfile": "FROM s3cr3t\n", "outside/x": "s3cr3t",
			})
			outsideDir := filepath.Join(parent, "outside")
			files := map[string]string{DefaultFile: service}
			for f, content := range tt.files {
				files[f] = strings.ReplaceAll(content, "OUTSIDE", outsideDir)
			}
			repo := filepath.Join(parent, "repo")
			if err := os.Rename(write(t, files), repo); err != nil {
				t.Fatal(err)
			}
			for i, f := range tt.o.Files {
				tt.o.Files[i] = strings.ReplaceAll(f, "OUTSIDE", outsideDir)
			}
			got := refusals(t, repo, tt.o)
			begin, part, _ := strings.Cut(strings.ReplaceAll(tt.want, "OUTSIDE", outsideDir), "|")
			if !strings.HasPrefix(got, begin) || !strings.Contains(got, part) {
				t.Errorf("got  %s\nwant %s ... %s", got, begin, part)
			}
			if strings.Contains(got, "s3cr3t") {
				t.Errorf("the refusal shows what lies outside: %s", got)
			}
		})
	}
}

func TestLoadNeverReadsTheProcessEnvironment(t *testing.T) {
	t.Setenv("LEAKED", "leaked")
	t.Setenv("COMPOSE_PROFILES", "leaked")
	dir := write(t, map[string]string{DefaultFile: "services:\n  web:\n    image: nginx\n    command: [\"${LEAKED-not set}\"]\n    environment: [LEAKED]\n  other:\n    image: nginx\n    profiles: [leaked]\n"})
	p, err := Load(dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := Convert(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := YAML(stack)
	if err != nil {
		t.Fatal(err)
	}
	if len(stack.Services) != 1 || strings.Contains(string(data), "leaked") || !strings.Contains(string(data), "not set") {
		t.Errorf("the process's environment was used:\n%s", data)
	}
}

func TestVariables(t *testing.T) {
	files := map[string]string{
		"deploy/compose.yaml": "services:\n  web:\n    image: nginx\n    command: [\"$A\", \"$B\", \"$C\"]\n",
		"deploy/.env":         "A=dotenv\nB=dotenv\nC=dotenv\n",
		"one.env":             "A=one\nB=one\nC=one\n",
		"two.env":             "B=two\nC=${A}+two\n",
	}
	cases := map[string]struct {
		o    LoadOptions
		want []string
	}{
		".env beside the first file": {LoadOptions{}, []string{"dotenv", "dotenv", "dotenv"}},
		"files instead of .env":      {LoadOptions{EnvFiles: []string{"one.env", "two.env"}}, []string{"one", "two", "one+two"}},
		"the map wins":               {LoadOptions{EnvFiles: []string{"one.env"}, Env: map[string]string{"B": "map"}}, []string{"one", "map", "one"}},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			tt.o.Files = []string{"deploy/compose.yaml"}
			p, err := Load(write(t, files), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, []string(p.compose.Services["web"].Command)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProjectName(t *testing.T) {
	for _, tc := range []struct{ env, name, want string }{
		{"", "", "stack"},
		{"", "name: Of Files\n", "offiles"},
		{"COMPOSE_PROJECT_NAME=of-Variables\n", "", "of-variables"},
		{"COMPOSE_PROJECT_NAME=of-variables\n", "name: files\n", "of-variables"},
		{"COMPOSE_PROJECT_NAME=\n", "name: files\n", "files"},
	} {
		dir := write(t, map[string]string{DefaultFile: tc.name + "services:\n  web: {image: x, command: [\"${COMPOSE_PROJECT_NAME}\"]}\n", ".env": tc.env})
		p, err := Load(dir, LoadOptions{})
		if err != nil {
			t.Fatalf("%+v: %v", tc, err)
		}
		if p.compose.Name != tc.want || p.compose.Services["web"].Command[0] != tc.want {
			t.Errorf("%+v: the project is %s, in the file %s", tc, p.compose.Name, p.compose.Services["web"].Command[0])
		}
	}
}

// TestErrorsHaveAPlace lists mistakes and where they are reported.
func TestErrorsHaveAPlace(t *testing.T) {
	cases := map[string]struct{ file, want string }{
		"no file":           {"", DefaultFile + ": refused: docker-compose.qa.yml is not in the repository"},
		"empty":             {"# nothing\n", DefaultFile + ": refused: "},
		"not YAML":          {"services:\n  web:\n  image: [\n", DefaultFile + ":3: refused: invalid YAML: "},
		"unknown key":       {service + "    imagee: x\n", DefaultFile + ":4: refused: web.imagee: compose has no such field"},
		"wrong type":        {service + "    ports: {}\n", DefaultFile + ":4: refused: web.ports: "},
		"duplicate key":     {service + "    image: y\n", DefaultFile + ":4: refused: web.image: image is already in line 3"},
		"required variable": {service + "    command: ${X:?set X}\n", DefaultFile + ":4: refused: web.command: "},
		"no such volume":    {service + "    volumes: [\"data:/data\"]\n", DefaultFile + ":4: refused: web.volumes: "},
		"no such service":   {service + "    depends_on: [db]\n", DefaultFile + ":4: refused: web.depends_on: "},
		"a circle":          {service + "    depends_on: [db]\n  db:\n    image: x\n    depends_on: [web]\n", DefaultFile + ":"},
		"no image":          {"services:\n  web:\n    command: x\n", DefaultFile + ":2: refused: web.image: "},
		"missing env_file":  {service + "    env_file: no.env\n", DefaultFile + ":4: refused: web.env_file: no.env is not in the repository"},
		"missing context":   {"services:\n  web:\n    build: ./no\n", DefaultFile + ":3: refused: web.build.context: no is not a directory"},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{DefaultFile: tt.file}
			if tt.file == "" {
				files = nil
			}
			dir := write(t, files)
			got := refusals(t, dir, LoadOptions{})
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %s\nwant %s...", got, tt.want)
			}
			if strings.Contains(got, dir) {
				t.Errorf("the refusal shows a path of this machine: %s", got)
			}
		})
	}
}

// TestBombs are files that are small and large at once.
func TestBombs(t *testing.T) {
	aliases, merges := "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n", "x-0: &a0 {k: v}\n"
	for i := 1; i < 12; i++ {
		aliases += fmt.Sprintf("x-%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10))
		merges += fmt.Sprintf("x-%d: &a%d\n  <<: [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	circle := "services:\n  web:\n    image: nginx\n    extends: {file: other.yaml, service: web}\n"
	cases := map[string]map[string]string{
		"aliases":        {DefaultFile: aliases + service + "    command: *a11\n"},
		"merges":         {DefaultFile: merges + "services:\n  web:\n    <<: *a11\n"},
		"10 MiB":         {DefaultFile: service + "    command: " + strings.Repeat("x", 10<<20)},
		"include circle": {DefaultFile: "include: [other.yaml]\n" + service, "other.yaml": "include: [" + DefaultFile + "]\n"},
		"extends circle": {DefaultFile: circle, "other.yaml": strings.ReplaceAll(circle, "other.yaml", DefaultFile)},
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			dir := write(t, files)
			bounded(t, func() {
				if got := refusals(t, dir, LoadOptions{}); !strings.Contains(got, DefaultFile) {
					t.Errorf("not refused: %q", got)
				}
			})
		})
	}
}

func TestManyIncludes(t *testing.T) {
	files := map[string]string{DefaultFile: "include:\n"}
	for i := range maxFiles + 10 {
		files[DefaultFile] += fmt.Sprintf("  - f%d.yaml\n", i)
		files[fmt.Sprintf("f%d.yaml", i)] = strings.ReplaceAll(service, "web", fmt.Sprintf("web%d", i))
	}
	if got := refusals(t, write(t, files), LoadOptions{}); !strings.Contains(got, "more than 200 compose files") || strings.Count(got, "\n") > 0 {
		t.Errorf("got %s", got)
	}
}
