package compose

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// exposing is what A2 of the hostile review was found with: few bytes that ask for many ports.
func exposing(services, ranges int) string {
	var b strings.Builder
	b.WriteString("x-e: &e [")
	for i := range ranges {
		fmt.Fprintf(&b, "%d-%d,", i*1000+1, min((i+1)*1000, 65535))
	}
	b.WriteString("]\nservices:\n")
	for i := range services {
		fmt.Fprintf(&b, "  s%d: {image: x, expose: *e}\n", i)
	}
	return b.String()
}

// mounting is what A1 was found with: many mounts of large files, each in a directory of its own.
func mounting(t testing.TB, mounts int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(service + "    volumes:\n")
	for i := range mounts {
		fmt.Fprintf(&b, "      - ./d%d:/m/d%d:ro\n", i, i)
	}
	dir := write(t, map[string]string{DefaultFile: b.String()})
	for i := range mounts {
		for j := range 4 {
			sparse(t, dir, fmt.Sprintf("d%d/f%d", i, j), 890<<10)
		}
	}
	return dir
}

// sparse makes a file that has a size and nothing else.
func sparse(t testing.TB, dir, name string, size int64) {
	t.Helper()
	file := filepath.Join(dir, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, nil, 0o644)
	}
	if err == nil {
		err = os.Truncate(file, size)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// numbered is a text for each number.
func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "N", fmt.Sprint(i)))
	}
	return b.String()
}

// beyond are files that exceed a bound, and the refusals with file, line and number.
var beyond = map[string]struct {
	files   map[string]string
	load    LoadOptions
	convert Options
	want    []string
}{
	"ports": {
		files: map[string]string{DefaultFile: service + "    ports:\n      - 80:80\n      - \"1000-60000\"\n"},
		want:  []string{DefaultFile + ":6: refused: web.ports: the service lists 59002 ports; at most 250 are allowed"},
	},
	"ports by variable": {
		files: map[string]string{DefaultFile: service + "    ports: [\"${P}\"]\n"}, load: LoadOptions{Env: map[string]string{"P": "127.0.0.1:1-9000:1-9000/udp"}},
		want: []string{DefaultFile + ":4: refused: web.ports: the service lists 9000 ports; at most 250 are allowed"},
	},
	"ports by anchor": {
		files: map[string]string{DefaultFile: "x-p: &p\n  ports: [1-200, 201-400]\nservices:\n  web: {image: x, <<: *p}\n"},
		want:  []string{DefaultFile + ":2: refused: web.ports: the service lists 400 ports; at most 250 are allowed"},
	},
	"ports that are extended": {
		files: map[string]string{DefaultFile: "services:\n  web: {extends: {file: base.yaml, service: b}}\n", "base.yaml": "services:\n  b: {image: x, ports: [1-300]}\n"},
		want:  []string{"base.yaml:2: refused: b.ports: the service lists 300 ports; at most 250 are allowed"},
	},
	"ports and expose": {
		files: map[string]string{DefaultFile: service + "    ports: [1-200]\n    expose:\n      - 190-220\n      - 1000-1040\n"},
		want:  []string{DefaultFile + ":7: refused: web.expose: the service has more than 250 ports, with those that its image exposes and those of services that share its network"},
	},
	"expose": {
		files: map[string]string{DefaultFile: service + "    expose:\n      - 1-1000\n"},
		want:  []string{DefaultFile + ":5: refused: web.expose: the service lists 1000 ports; at most 250 are allowed"},
	},
	"ports of the image": {
		files:   map[string]string{DefaultFile: service},
		convert: Options{ImageConfigs: map[string]ImageConfig{"nginx": {ExposedPorts: strings.Fields(numbered(300, "1N/tcp "))}}},
		want:    []string{DefaultFile + ":2: refused: web.expose: the service has more than 250 ports, with those that its image exposes and those of services that share its network"},
	},
	"mounts": {
		files: map[string]string{DefaultFile: service + "    volumes:\n" + numbered(260, "      - /aN\n")},
		want:  []string{DefaultFile + ":4: refused: web.volumes: the service has 260 mounts; a service has at most 250"},
	},
	"mounts of others": {
		files: map[string]string{DefaultFile: "services:\n  a:\n    image: x\n    volumes:\n" + numbered(200, "      - /aN\n") +
			"  b:\n    image: x\n    volumes_from: [a]\n    volumes:\n" + numbered(100, "      - /bN\n")},
		want: []string{DefaultFile + ":208: refused: b.volumes: the service has 300 mounts; a service has at most 250"},
	},
	"objects": {
		files: map[string]string{DefaultFile: "services:\n" + numbered(501, "  sN: {image: x}\n")},
		want:  []string{DefaultFile + ":1: refused: services: the stack has 1002 objects (501 Deployments and Jobs, 501 Services); a stack has at most 1000. Leave out services, or further names of theirs"},
	},
	"objects of further names": {
		files: map[string]string{DefaultFile: service + "    networks:\n      default:\n        aliases:\n" + numbered(1000, "          - aN\n")},
		want:  []string{DefaultFile + ":1: refused: services: the stack has 1002 objects (1 Deployments and Jobs, 1001 Services); a stack has at most 1000. Leave out services, or further names of theirs"},
	},
	"objects of volumes": {
		files: map[string]string{DefaultFile: "services:\n" + numbered(250, "  sN: {image: x, volumes: [aN:/a, bN:/b, cN:/c]}\n") + "volumes:\n" + numbered(250, "  aN:\n  bN:\n  cN:\n")},
		want:  []string{DefaultFile + ":1: refused: services: the stack has 1250 objects (250 Deployments, 750 PersistentVolumeClaims, 250 Services); a stack has at most 1000. Leave out services, or further names of theirs"},
	},
	"one large object": {
		files: map[string]string{DefaultFile: service + "    environment:\n" + numbered(1100, "      AN: $A\n")}, load: LoadOptions{Env: map[string]string{"A": strings.Repeat("x", 1000)}},
		want: []string{DefaultFile + ":2: refused: web: the Deployment web has 1.062 MiB; the API server takes objects of at most 1 MiB. " +
			"Its variables, commands, labels and mounts are too long"},
	},
	"all objects": {
		files: map[string]string{DefaultFile: "x-e: &e\n" + numbered(40, "  AN: "+strings.Repeat("x", 600)+"\n") + "services:\n" + numbered(140, "  sN: {image: x, environment: *e, pre_start: [{command: a}, {command: b}]}\n")},
		want: []string{DefaultFile + ":42: refused: services: the objects of the stack have 9.891 MiB together; at most 8 MiB. " +
			"Its variables, commands, labels and mounts are too long"},
	},
	"values": {
		files: map[string]string{DefaultFile: "x-a: &a [" + numbered(1000, "N,") + "]\nx-b: &b [" + strings.Repeat("*a,", 100) + "]\n" + service},
		want:  []string{DefaultFile + ":1: refused: the compose files expand to more than 50000 values: aliases, extends, includes and port ranges count each time"},
	},
	"values by extends": {
		files: map[string]string{DefaultFile: "services:\n  b:\n    image: x\n    dns_opt: [" + numbered(300, "aN,") + "]\n" + numbered(400, "  sN: {extends: b}\n")},
		want:  []string{DefaultFile + ":1: refused: services: the compose files expand to more than 50000 values: aliases, extends, includes and port ranges count each time"},
	},
	"values of hooks": {
		files: map[string]string{DefaultFile: service + "    environment: {" + numbered(400, "AN: b,") + "}\n    pre_start: [" + strings.Repeat("{command: x},", 300) + "]\n"},
		want:  []string{DefaultFile + ":1: refused: services: the compose files expand to more than 50000 values: aliases, extends, includes and port ranges count each time"},
	},
	"texts by alias": {
		files: map[string]string{DefaultFile: "x-a: &a " + strings.Repeat("x", 100<<10) + "\nx-b: [" + strings.Repeat("*a,", 50) + "]\n" + service},
		want:  []string{DefaultFile + ":1: refused: the compose files and variables expand to more than 4 MiB of text"},
	},
	"texts by variable": {
		files: map[string]string{DefaultFile: service + "    command: [" + strings.Repeat("\"$A$A\",", 50) + "]\n"}, load: LoadOptions{Env: map[string]string{"A": strings.Repeat("x", 50<<10)}},
		want: []string{DefaultFile + ":1: refused: the compose files and variables expand to more than 4 MiB of text"},
	},
	"variables of variables": {
		files: map[string]string{DefaultFile: service, ".env": "A0=xxxxxxxxxx\n" + doubled(40)},
		want:  []string{".env: refused: env_file: the compose files and variables expand to more than 4 MiB of text"},
	},
	"variables of a service": {
		files: map[string]string{DefaultFile: service + "    env_file: a.env\n", "a.env": "A0=xxxxxxxxxx\n" + doubled(40)},
		want:  []string{"a.env: refused: web.env_file: the compose files and variables expand to more than 4 MiB of text"},
	},
	"variables of many services": {
		files: map[string]string{DefaultFile: "services:\n" + numbered(50, "  sN: {image: x, env_file: a.env}\n"), "a.env": "A=" + strings.Repeat("x", 100<<10) + "\n"},
		want:  []string{"a.env: refused: s45.env_file: the compose files and variables expand to more than 4 MiB of text"},
	},
	"lines of variables": {
		files: map[string]string{DefaultFile: service, ".env": numbered(10_001, "AN=b\n")},
		want:  []string{".env: refused: env_file: the file has 10001 lines; at most 10000 are read"},
	},
	"variables in a line": {
		files: map[string]string{DefaultFile: service, ".env": "A=b\nB=" + strings.Repeat("${A}", 201) + "\n"},
		want:  []string{".env:2: refused: env_file: one line has more than 200 variables"},
	},
	"variables in a port": {
		files: map[string]string{DefaultFile: service + "    ports: [\"" + strings.Repeat("${A:-}", 20_000) + "80\"]\n"},
		want:  []string{DefaultFile + ":4: refused: services.web.ports: one line has more than 200 variables"},
	},
	"long keys": {
		files: map[string]string{DefaultFile: service + "x-" + strings.Repeat("k", 50_000) + ": [" + numbered(400, "N,") + "]\n"},
		want:  []string{DefaultFile + ":1: refused: the keys of the compose files are too long or nested too deep: their paths take more than 16 MiB"},
	},
	"deep lists": {
		files: map[string]string{DefaultFile: service + "x-a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n"},
		want:  []string{DefaultFile + ":1: refused: the keys of the compose files are too long or nested too deep: their paths take more than 16 MiB"},
	},
	"keys": {
		files: map[string]string{DefaultFile: service + "    labels:\n" + numbered(10_001, "      aN: b\n")},
		want:  []string{DefaultFile + ":5: refused: the mapping has 10001 keys; a mapping has at most 10000"},
	},
	"services": {
		files: map[string]string{DefaultFile: "services:\n" + numbered(5001, "  sN: {image: x}\n")},
		want:  []string{DefaultFile + ":2: refused: services: the file has 5001 services; at most 5000 are read"},
	},
	"files": {
		files: map[string]string{
			DefaultFile: "include: [a.yaml, b.yaml, c.yaml, d.yaml, e.yaml]\n", "a.yaml": service + "#" + strings.Repeat("x", 1<<20-100) + "\n", "b.yaml": "#" + strings.Repeat("x", 1<<20-100),
			"c.yaml": "#" + strings.Repeat("x", 1<<20-100), "d.yaml": "#" + strings.Repeat("x", 1<<20-100), "e.yaml": "#" + strings.Repeat("x", 1<<20-100),
		},
		want: []string{DefaultFile + ":1: refused: include: the compose files and those of variables have more than 4 MiB together"},
	},
	"includes": {
		files: map[string]string{
			DefaultFile: "include:\n" + numbered(90, "  - fN.yaml\n"), "all.yaml": "services:\n" + numbered(3000, "  sN: {image: x}\n"),
		},
		want: []string{"f89.yaml:3: refused: services: merging the compose files takes too many steps, in which more than 100000 values are read again: name fewer files, or include them in one place"},
	},
	"includes again": {
		files: map[string]string{
			DefaultFile: "include:\n" + strings.Repeat("  - all.yaml\n", 199), "all.yaml": "services:\n" + numbered(3000, "  sN: {image: x}\n"),
		},
		want: []string{DefaultFile + ":164: refused: include: too many files include the same files again: include each in one place"},
	},
	"documents": {
		files: map[string]string{DefaultFile: strings.Repeat(service+"---\n", 20) + service},
		want:  []string{DefaultFile + ": refused: the file has 21 YAML documents; at most 20 are read"},
	},
	"contents of the compose file": {
		files: map[string]string{DefaultFile: service + "    configs: [a, b, c]\nconfigs:\n  a: {content: \"$A\"}\n  b: {content: \"$A\"}\n  c: {content: \"$A\"}\n"},
		load:  LoadOptions{Env: map[string]string{"A": strings.Repeat("x", 800<<10)}},
		want:  []string{DefaultFile + ":4: refused: web.configs: with it the ConfigMaps of the stack hold more than 2 MiB: build the larger files into an image"},
	},
}

// doubled are variables that are each the one before, twice.
func doubled(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "A%d=${A%d}${A%d}\n", i+1, i, i)
	}
	return b.String()
}

// TestBounds: what is beyond a bound is refused with its place and the numbers, and costs little until then.
func TestBounds(t *testing.T) {
	for i := range 90 {
		beyond["includes"].files[fmt.Sprintf("f%d.yaml", i)] = "include:\n  - all.yaml\nservices: {web: {image: x}}\n"
	}
	for name, tt := range beyond {
		t.Run(name, func(t *testing.T) {
			dir := write(t, tt.files)
			var err error
			bounded(t, func() {
				var p *Project
				if p, err = Load(dir, tt.load); err == nil {
					_, err = Convert(p, tt.convert)
				}
			})
			refused := (*Errors)(nil)
			if !errors.As(err, &refused) {
				t.Fatalf("not refused: %v", err)
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestFindingsAreBounded: of a thousand and more findings the first are kept and the others counted, and a refusal is never lost.
func TestFindingsAreBounded(t *testing.T) {
	letters := strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j")
	ulimits := "    restart: always\n    ulimits:\n"
	for i := range 3000 {
		ulimits += "      x" + letters.Replace(fmt.Sprint(i)) + ": 1\n"
	}
	p, err := Load(write(t, map[string]string{DefaultFile: service + ulimits}), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := Convert(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(stack.Findings); n != maxFindings+1 || !slices.ContainsFunc(stack.Findings, func(f Finding) bool { return f.Reason == "2000 more findings of this level are not listed" }) {
		t.Errorf("%d findings, the first is %v", n, stack.Findings[0])
	}
	if _, err := Convert(p, Options{Strict: true}); err == nil || !strings.Contains(err.Error(), "2000 more findings") {
		t.Errorf("strict: %.300v", err)
	}
}

// TestManyHooksWithVolumesOfOneName: volumes that differ have names of their own, however many there are.
func TestManyHooksWithVolumesOfOneName(t *testing.T) {
	file := service + "    pre_start:\n" + numbered(25, "      - {command: x, tmpfs: \"/x:size=1Nm\"}\n")
	p, err := Load(write(t, map[string]string{DefaultFile: file}), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := Convert(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, v := range podOf(t, stack.Services[0]).Spec.Volumes {
		names[v.Name] = true
	}
	if len(names) != 25 {
		t.Errorf("there are %d volumes", len(names))
	}
}

// sourceMounts is how a Run gets files that ConfigMaps have no room for.
func sourceMounts() *SourceMounts {
	return &SourceMounts{
		Image: "conductor@sha256:0", Args: []string{"files", "--agent", "http://conductor-agent:7070", "--token-file", SourceTokenFile},
		Secret: "conductor-agent", Key: "source", Limit: 256 << 20,
	}
}

// TestBrought converts testdata/bounds/brought, whose large files are there in size alone.
func TestBrought(t *testing.T) {
	const from = "testdata/bounds/brought"
	data, err := os.ReadFile(filepath.Join(from, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{"compose.yaml": string(data), "small/a.conf": "a", "data/latest": "->v1.bin", "linked": "->data"})
	absent := map[string]bool{"data/v1.bin": true, "model.bin": true, "dump.sql": true}
	for name := range absent {
		sparse(t, dir, name, 20<<20)
	}
	objects, lines := convertDir(t, dir, LoadOptions{Files: []string{"compose.yaml"}, Absent: absent}, Options{Source: sourceMounts(), Namespace: "qa", Allow: []Allowance{v1alpha1.AllowPrivileged}})
	compare(t, filepath.Join(from, "want.yaml"), objects)
	compare(t, filepath.Join(from, "findings.txt"), lines)
}

// TestBroughtIsRefused: what a pod cannot be given is refused where it is mounted.
func TestBroughtIsRefused(t *testing.T) {
	less := sourceMounts()
	less.Limit = 30 << 20
	for name, tt := range map[string]struct {
		file   string
		source *SourceMounts
		links  map[string]string
		want   string
	}{
		"convert": {
			file: service + "    volumes: [\"./data:/data:ro\"]\n",
			want: "web.volumes: data/v1.bin is larger than 900 KiB: what a stack mounts is copied into ConfigMaps, one file of at most 900 KiB and 2 MiB in all, the smallest first. " +
				"Build it into an image (COPY in a Dockerfile), or put it into a named volume",
		},
		"no network": {
			file: service + "    network_mode: none\n    volumes: [\"./data:/data:ro\"]\n", source: sourceMounts(),
			want: "web.volumes: data/v1.bin is larger than 900 KiB, so an init container has to fetch it, which network_mode: none does not allow: " +
				"build it into an image (COPY in a Dockerfile)",
		},
		"many pods": {
			file: service + "    deploy: {replicas: 2}\n    volumes: [\"./data:/data:ro\"]\n", source: less,
			want: "web.volumes: with 40 MiB of data the pods of the stack get 40 MiB of repository files that do not fit into ConfigMaps; " +
				"the operator's limit for a stack is 30 MiB (stacks.files). Build them into an image (COPY in a Dockerfile)",
		},
		"a link to elsewhere": {
			file: service + "    volumes: [\"./data:/data:ro\"]\n", source: sourceMounts(), links: map[string]string{"data/link": "->../small", "small/a": "a"},
			want: "web.volumes: data/link is a symbolic link to a directory, which cannot be copied, and data/link is a symbolic link to what is not in data",
		},
		"config": {
			file: service + "    configs: [c]\nconfigs:\n  c: {file: data/v1.bin}\n",
			want: "web.configs: data/v1.bin is larger than 900 KiB: what a stack mounts is copied into ConfigMaps, one file of at most 900 KiB and 2 MiB in all, the smallest first. " +
				"Build it into an image (COPY in a Dockerfile), or put it into a named volume",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.links = merged(map[string]string{DefaultFile: tt.file}, tt.links)
			dir := write(t, tt.links)
			sparse(t, dir, "data/v1.bin", 20<<20)
			p, err := Load(dir, LoadOptions{Absent: map[string]bool{"data/v1.bin": true}})
			if err == nil {
				_, err = Convert(p, Options{Source: tt.source})
			}
			_, got, _ := strings.Cut(fmt.Sprint(err), ": refused: ")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestLargeMountsPushNoOthersOut: ConfigMaps hold the smallest, whatever large ones there are besides, and a file that many services mount once.
func TestLargeMountsPushNoOthersOut(t *testing.T) {
	text := "services:\n" + numbered(60, "  sN:\n    image: x\n    volumes: [\"./small:/small:ro\", \"./middle:/middle:ro\"]\n")
	files := map[string]string{"small/a": strings.Repeat("a", 300<<10), "middle/b": strings.Repeat("b", 800<<10)}
	held := func(more string) (names []string) {
		t.Helper()
		files[DefaultFile] = text + more
		dir := write(t, files)
		sparse(t, dir, "aaa/large", 850<<10)
		sparse(t, dir, "aaa/larger", 600<<10)
		p, err := Load(dir, LoadOptions{Absent: map[string]bool{"aaa/large": true, "aaa/larger": true}})
		if err != nil {
			t.Fatal(err)
		}
		stack, err := Convert(p, Options{Source: sourceMounts()})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range stack.Shared {
			if m, ok := o.(*corev1.ConfigMap); ok {
				names = append(names, m.Name)
			}
		}
		return names
	}
	want := []string{"files-middle", "files-small"}
	if diff := cmp.Diff(want, held("")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, held("  web:\n    image: x\n    volumes: [\"./aaa:/aaa:ro\"]\n")); diff != "" {
		t.Errorf("with a large one (-want +got)\n%s", diff)
	}
}

// TestAbsentFilesAreAskedFor: Load and Convert name the files whose content they need, and no others.
func TestAbsentFilesAreAskedFor(t *testing.T) {
	files := map[string]string{
		DefaultFile: "include: [more.yaml]\nservices:\n  web:\n    build: app\n    env_file: link.env\n    volumes: [\"./small:/small:ro\", \"./large:/large:ro\", \"./app/src:/src\"]\n",
		"more.yaml": "services:\n  more: {image: x}\n", "link.env": "->real.env", "real.env": "A=b\n", "small/a": "a", "small/b": "b", "large/c": "", "app/Dockerfile": "FROM x\n", "app/src/x": "x",
	}
	dir := write(t, files)
	sparse(t, dir, "large/c", 1<<20)
	absent := map[string]bool{"more.yaml": true, "real.env": true, "small/b": true, "large/c": true, "app/Dockerfile": true, "not/named": true}
	var asked []string
	for range 10 {
		p, err := Load(dir, LoadOptions{Absent: absent})
		if err == nil {
			_, err = Convert(p, Options{Source: sourceMounts()})
		}
		missing := (*AbsentError)(nil)
		if !errors.As(err, &missing) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		asked = append(asked, strings.Join(missing.Paths, " "))
		for _, p := range missing.Paths {
			delete(absent, p)
		}
	}
	if diff := cmp.Diff([]string{"more.yaml", "real.env", "app/Dockerfile small/b"}, asked); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "large/c")); err != nil {
		t.Fatal(err)
	}
}

// TestAttacksOfTheReviewAreCheap holds the two that the hostile review was made with to a tenth of a child's budget.
func TestAttacksOfTheReviewAreCheap(t *testing.T) {
	for name, dir := range map[string]string{"60 mounts of 4 MiB": mounting(t, 60), "1 KiB of ranges": write(t, map[string]string{DefaultFile: exposing(250, 65)})} {
		for _, o := range []Options{{}, {Source: sourceMounts()}} {
			spent := measured(t, func() {
				// The ranges are refused before they are converted; refusing has to be cheap, too.
				if p, err := Load(dir, LoadOptions{}); err == nil {
					newConverter(p, o).convert()
				} else if name == "60 mounts of 4 MiB" {
					t.Error(err)
				}
			})
			if spent.time > mostTime/20 || spent.allocated > 64<<20 {
				t.Errorf("%s: %s and %d MiB", name, spent.time, spent.allocated>>20)
			}
		}
	}
}
