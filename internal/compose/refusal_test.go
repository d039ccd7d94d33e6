package compose

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkFaultless fails if faults or references are found in a project that compose-go accepts.
func checkFaultless(t *testing.T, p *Project) {
	t.Helper()
	r := newReader(p.dir, p.absent)
	r.sources = p.sources
	r.checkFiles()
	r.checkReferences(p.compose)
	if err := r.findings.err(); err != nil {
		t.Fatalf("compose-go accepts what is refused here:\n%v", err)
	}
}

// TestAcceptedFilesHaveNoFaults checks the files of all other tests that compose-go accepts.
func TestAcceptedFilesHaveNoFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, file := range append(files, "../../examples/shop/docker-compose.qa.yml") {
		dir := filepath.Dir(file)
		load := settings[filepath.Base(dir)].load
		if load.Files == nil {
			load.Files = []string{filepath.Base(file)}
		}
		if p, err := Load(dir, load); err == nil {
			accepted++
			checkFaultless(t, p)
		}
	}
	if accepted < 25 {
		t.Errorf("only %d projects were accepted", accepted)
	}
}

// linesOf are the lines that a load or conversion prints, without the name of the default file.
func linesOf(t *testing.T, files map[string]string, o LoadOptions) []string {
	t.Helper()
	dir := write(t, files)
	p, err := Load(dir, o)
	var findings []Finding
	if err == nil {
		var stack *Stack
		if stack, err = Convert(p, Options{ImageConfigs: serverImages(p)}); err == nil {
			findings = stack.Findings
		}
	}
	if e := (*Errors)(nil); errors.As(err, &e) {
		findings = e.Findings
	} else if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range findings {
		if strings.Contains(f.String(), dir) {
			t.Errorf("a path of this machine is shown: %s", f)
		}
		out = append(out, strings.TrimPrefix(f.String(), DefaultFile+":"))
	}
	return out
}

// serverImages are configurations that make every image of a project that of a server.
func serverImages(p *Project) map[string]ImageConfig {
	out := map[string]ImageConfig{}
	for _, name := range p.Services() {
		image, _ := p.Image(name)
		out[image], out[p.builtName(name)] = ImageConfig{ExposedPorts: []string{"80/tcp"}}, ImageConfig{ExposedPorts: []string{"80/tcp"}}
	}
	return out
}

// TestRefusals has mistakes and all findings that they make.
func TestRefusals(t *testing.T) {
	qa := func(text string) map[string]string { return map[string]string{DefaultFile: text} }
	for name, tt := range map[string]struct {
		files map[string]string
		o     LoadOptions
		want  []string
	}{
		"a cast and a required variable": {
			files: qa("services:\n  web:\n    image: x:${TAG:?set TAG}\n    cpus: lots\n"),
			want: []string{
				"3: refused: web.image: TAG has no value: set TAG (stack.env, or .env)",
				`4: refused: web.cpus: "lots" is not a number such as 0.5`,
			},
		},
		"two required variables": {
			files: qa("services:\n  web:\n    image: ${A?}:${B:?}\n"),
			o:     LoadOptions{Flags: true},
			want: []string{
				"3: refused: web.image: A has no value: it is required (--env, or .env)",
				"3: refused: web.image: B has no value: it is required (--env, or .env)",
			},
		},
		"a field beside services": {
			files: qa("services:\n  web: {image: x}\n  command: serve\n  wbe: serve\n"),
			want: []string{
				`3: refused: command: a mapping is expected here, and this is "serve": if command is a field of a service, indent it below the service`,
				`4: refused: wbe: a mapping is expected here, and this is "serve"`,
			},
		},
		"no space after a colon": {
			files: qa(service + "    environment:\n      A:b\n"),
			want:  []string{`5: refused: web.environment: a list or a mapping is expected here, and this is "A:b": write a space after the colon`},
		},
		"a field of a list's item": {
			files: qa(service + "    volumes:\n      - {type: bind, src: ., target: /x}\n"),
			want:  []string{"5: refused: web.volumes.src: compose has no such field; the fields are bind, consistency, image, read_only, source, target, tmpfs, type, volume"},
		},
		"a quote in a command": {
			files: qa(service + "    command: echo 'a\n"),
			want:  []string{"4: refused: web.command: invalid command line string"},
		},
		"a dollar sign": {
			files: qa(service + "    command: echo ${\n"),
			want:  []string{`4: refused: web.command: "echo ${" has a $ that does not begin a variable: write $$ for a dollar sign`},
		},
		"sizes, durations and numbers": {
			files: qa(service + "    mem_limit: 10 gigs\n    shm_size: x\n    stop_grace_period: 5 minutes\n    scale: two\n" +
				"    healthcheck: {test: x, interval: 10, retries: many}\n    deploy: {resources: {limits: {memory: 1 x}}}\n"),
			want: []string{
				`4: refused: web.mem_limit: "10 gigs" is not a size such as 512m or 2g`,
				`5: refused: web.shm_size: "x" is not a size such as 512m or 2g`,
				`6: refused: web.stop_grace_period: "5 minutes" is not a duration such as 30s or 1m30s`,
				`7: refused: web.scale: "two" is not a whole number`,
				`8: refused: web.healthcheck.interval: "10" is not a duration such as 30s or 1m30s`,
				`8: refused: web.healthcheck.retries: "many" is not a whole number`,
				`9: refused: web.deploy.resources.limits.memory: "1 x" is not a size such as 512m or 2g`,
			},
		},
		"ports": {
			files: qa(service + "    ports:\n    - 80:http\n    - 99999:80\n    - 80:99999\n    - 1.2.3:80:80\n"),
			want: []string{
				`5: refused: web.ports: "80:http": the container's port, "http", must be a number between 1 and 65535, or a range such as 8000-8010`,
				`6: refused: web.ports: "99999:80": the published port, "99999", must be a number between 1 and 65535, or a range such as 8000-8010`,
				`7: refused: web.ports: "80:99999": the container's port, "99999", must be a number between 1 and 65535, or a range such as 8000-8010`,
				`8: refused: web.ports: "1.2.3:80:80" is not a port such as "8080", "8080:80" or "127.0.0.1:8080:80/tcp"`,
			},
		},
		"an image without a value": {
			files: qa("services:\n  web:\n    image: ${IMAGE}\n"),
			want: []string{
				"3: refused: web.image: there is no image: a service needs image or build. IMAGE has no value: set it with stack: {env: {IMAGE: ...}}",
				"3: note: web.image: variable IMAGE is not set: it is empty. Set it with stack: {env: {IMAGE: ...}}",
			},
		},
		"an image of variables without values": {
			files: qa("services:\n  web:\n    image: ${REG}/app:qa-${SHA}\n"),
			o:     LoadOptions{Flags: true},
			want: []string{
				`3: refused: web.image: "/app:qa-" is not a valid image reference: invalid reference format. REG and SHA have no value: ` +
					"set them with --env REG=... --env SHA=...",
				"3: note: web.image: variable REG is not set: it is empty. Set it with --env REG=...",
				"3: note: web.image: variable SHA is not set: it is empty. Set it with --env SHA=...",
			},
		},
		"neither image nor build": {
			files: qa("services:\n  web:\n    command: x\n"),
			want:  []string{"2: refused: web.image: there is no image: a service needs image or build"},
		},
		"fields beside their service": {
			files: qa("services:\n  web:\n  image: x\n"),
			want: []string{
				"2: refused: web: a mapping is expected here, and this is empty",
				`3: refused: image: a mapping is expected here, and this is "x": if image is a field of a service, indent it below the service`,
			},
		},
		"a list and a mapping at once": {
			files: qa(service + "    depends_on:\n      - db\n      - db: {condition: service_healthy}\n  db: {image: x}\n"),
			want:  []string{"6: refused: web.depends_on: a string is expected here, and this is a mapping: leave out the dashes to write keys"},
		},
		"a file of Compose 1": {
			files: qa("web:\n  image: x\n  links: [db]\ndb:\n  image: postgres\n"),
			want: []string{
				"1: refused: web: this is a service of a Compose 1 file, or one with a wrong indentation: put it below services:",
				"4: refused: db: this is a service of a Compose 1 file, or one with a wrong indentation: put it below services:",
			},
		},
		"unknown fields": {
			files: qa("services:\n  web:\n    imgae: x\n    build: {context: ., dokerfile: x}\n    healthcheck: {test: x, intervall: 3s}\n" +
				"    deploy: {resources: {limit: {cpus: 1}}}\n    dockerfile: x\n    max_attempts: 3\n    frobnicate: 1\n" +
				"    depends_on: {db: {when: up}}\nvolume:\n  data:\nnetworks: {a/b: {}}\n"),
			want: []string{
				"3: refused: web.imgae: compose has no such field; did you mean image?",
				"4: refused: web.build.dokerfile: compose has no such field; did you mean dockerfile?",
				"5: refused: web.healthcheck.intervall: compose has no such field; did you mean interval?",
				"6: refused: web.deploy.resources.limit: compose has no such field; did you mean limits?",
				"7: refused: web.dockerfile: this is a field of Compose 1: use build.dockerfile",
				"8: refused: web.max_attempts: compose has no such field here; did you mean deploy.restart_policy.max_attempts?",
				"9: refused: web.frobnicate: compose has no such field",
				"10: refused: web.depends_on.db: the field condition is missing",
				"10: refused: web.depends_on.db.when: compose has no such field; the fields are condition, required, restart",
				"11: refused: volume: compose has no such field; did you mean volumes?",
				"13: refused: networks.a/b: a name consists of letters, digits, dots, dashes and underscores",
			},
		},
		"kinds of values": {
			files: qa("services:\n  web:\n    image: 5\n    ports: {}\n    environment: [{a: b}]\n    volumes: x:/y\n    privileged: maybe\n  db: postgres\n  e:\n"),
			want: []string{
				"3: refused: web.image: a string is expected here, and this is 5, which needs quotes",
				"4: refused: web.ports: a list is expected here, and this is a mapping",
				"5: refused: web.environment: a string is expected here, and this is a mapping: leave out the dashes to write keys",
				`6: refused: web.volumes: a list is expected here, and this is "x:/y"`,
				`7: refused: web.privileged: "maybe" is not true or false`,
				`8: refused: db: a mapping is expected here, and this is "postgres"`,
				"9: refused: e: a mapping is expected here, and this is empty",
			},
		},
		"words": {
			files: qa(service + "    pull_policy: allways\n    cgroup: none\n    depends_on: {db: {condition: service_health}}\n  db: {image: x}\n"),
			want: []string{
				`4: refused: web.pull_policy: "allways" is not one of always, never, missing, if_not_present, build, refresh, daily, weekly, every_12h; did you mean always?`,
				`5: refused: web.cgroup: "none" is not one of host, private`,
				`6: refused: web.depends_on.db.condition: "service_health" is not one of service_started, service_healthy, service_completed_successfully; did you mean service_healthy?`,
			},
		},
		"a short container_name": {
			files: qa(service + "    container_name: w\n"),
			want:  []string{`4: refused: web.container_name: "w" is not a name of at least two letters, digits, dots, dashes and underscores`},
		},
		"twice": {
			files: qa(service + "    image: y\n    dns: [1.1.1.1, 1.1.1.1]\n"),
			want: []string{
				"4: refused: web.image: image is already in line 3: YAML takes a key once",
				`5: refused: web.dns: "1.1.1.1" is already in line 5 of the list`,
			},
		},
		"what is not defined": {
			files: qa(service + "    volumes: [\"data:/d\"]\n    networks: [frnt]\n    configs: [c]\n    secrets: [s]\n    depends_on: [dbb]\n" +
				"  db: {image: x, depends_on: [cache]}\n  cache: {image: x, depends_on: [db]}\nnetworks: {front: }\n"),
			want: []string{
				"4: refused: web.volumes: the volume data is not defined: add it to volumes at the top level",
				"5: refused: web.networks: the network frnt is not defined; did you mean front?",
				"6: refused: web.configs: the config c is not defined: add it to configs at the top level",
				"7: refused: web.secrets: the secret s is not defined: add it to secrets at the top level",
				"8: refused: web.depends_on: the service dbb is not defined; did you mean db?",
				"9: refused: db.depends_on: the services depend on each other in a cycle: cache -> db -> cache",
			},
		},
		"a path without ./": {
			files: qa(service + "    volumes: [\"src/conf:/conf\"]\n"),
			want:  []string{"4: refused: web.volumes: src/conf is the name of a volume, which has no slashes: for a path of the repository write ./src/conf"},
		},
		"a service of another file": {
			files: map[string]string{DefaultFile: service + "    depends_on: [database]\n", "docker-compose.yml": "services:\n  database:\n    image: x\n"},
			want:  []string{"4: refused: web.depends_on: the service database is not defined: docker-compose.yml defines it: add it to stack.compose"},
		},
		"a service of another profile": {
			files: qa(service + "    depends_on: [db]\n  db: {image: x, profiles: [qa]}\n"),
			want:  []string{"4: refused: web.depends_on: the service db needs a profile: enable it with stack: {profiles: [qa]}, or write required: false"},
		},
		"fields that exclude each other": {
			files: qa(service + "    container_name: web-1\n    scale: 2\n    network_mode: none\n    networks: [front]\n    healthcheck: {test: [curl, x]}\n" +
				"    cpus: 1\n    deploy: {replicas: 3, resources: {limits: {cpus: \"2\"}}}\nnetworks: {front: }\n"),
			want: []string{
				"4: refused: web.container_name: 2 containers cannot have one name: remove container_name, or the number of replicas",
				"5: refused: web.scale: it differs from deploy.replicas: set one of them",
				"6: refused: web.network_mode: network_mode and networks exclude each other: remove one of them",
				`8: refused: web.healthcheck.test: a list begins with CMD, CMD-SHELL or NONE, and not with "curl"`,
				"9: refused: web.cpus: it differs from deploy.resources.limits.cpus: set one of them",
			},
		},
		"two files": {
			files: map[string]string{"a.yaml": service + "    prots: [\"80\"]\n", "b.yaml": "services:\n  web:\n    mem_limit: lots\n"},
			o:     LoadOptions{Files: []string{"a.yaml", "b.yaml"}},
			want: []string{
				"a.yaml:4: refused: web.prots: compose has no such field; did you mean ports?",
				`b.yaml:3: refused: web.mem_limit: "lots" is not a size such as 512m or 2g`,
			},
		},
		"an extended file": {
			files: map[string]string{
				DefaultFile: "services:\n  web: {extends: {file: base.yaml, service: base}}\n",
				"base.yaml": "services:\n  base:\n    imgae: x\n  other:\n    imgae: x\n",
			},
			want: []string{"base.yaml:3: refused: base.imgae: compose has no such field; did you mean image?"},
		},
		"an anchor": {
			files: qa("x-web: &web\n  imgae: x\nservices:\n  a: {<<: *web}\n  b: {<<: *web}\n"),
			want: []string{
				"2: refused: a.imgae: compose has no such field; did you mean image?",
				"2: refused: b.imgae: compose has no such field; did you mean image?",
			},
		},
		"an empty file": {files: qa("# nothing\n"), want: []string{" refused: the compose file is empty: it needs services"}},
		"nothing before the colon": {
			files: qa(service + "    volumes: [\"${DIR}:/src\"]\n"),
			want: []string{
				`4: refused: web.volumes: ":/src": nothing is before the first colon: a volume is SOURCE:TARGET or SOURCE:TARGET:ro. ` +
					"DIR has no value: set it with stack: {env: {DIR: ...}}",
				"4: note: web.volumes: variable DIR is not set: it is empty. Set it with stack: {env: {DIR: ...}}",
			},
		},
		"YAML that is not valid, beside other mistakes": {
			files: map[string]string{"a.yaml": "services:\n  web:\n\timage: x\n", "b.yaml": service + "    imgae: x\n"},
			o:     LoadOptions{Files: []string{"a.yaml", "b.yaml"}},
			want: []string{
				"a.yaml:3: refused: invalid YAML: a tab: YAML is indented with spaces",
				"b.yaml:4: refused: web.imgae: compose has no such field; did you mean image?",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, linesOf(t, tt.files, tt.o)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
