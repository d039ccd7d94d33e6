package compose

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

// bothWays loads files by both ways: without compose-go's loader, nil when they are not plain, and with it.
func bothWays(dir string, o LoadOptions) (plain, full *types.Project, err error) {
	files := o.Files
	if len(files) == 0 {
		files = []string{DefaultFile}
	}
	r := newReader(dir, nil)
	base := filepath.Dir(join(dir, files[0]))
	env := r.environment(base, o)
	var paths []string
	for _, f := range files {
		paths = append(paths, join(dir, f))
		r.file(join(dir, f), scope{base: base, env: env}, place{file: f, text: f}, "")
	}
	if err := r.findings.err(); err != nil {
		return nil, nil, err
	}
	plain = parsePlain(r.sources.files, len(paths), base, env, o.Profiles)
	full, err = parse(paths, base, env, o.Profiles)
	return plain, full, err
}

// samePlain fails unless what was read without the loader is what the loader makes of it.
func samePlain(t *testing.T, plain, full *types.Project, err error) {
	t.Helper()
	if plain == nil || err == nil && reflect.DeepEqual(plain, full) {
		return
	}
	if err != nil {
		t.Fatalf("compose-go refuses what was taken for plain: %v", err)
	}
	t.Fatalf("(-compose-go +plain)\n%s", cmp.Diff(full, plain, cmp.Exporter(func(reflect.Type) bool { return true })))
}

// TestPlain compares both ways over the golden cases; most of them are plain.
func TestPlain(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range cases {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			o := settings[filepath.Base(dir)].load
			if o.Files == nil {
				o.Files = []string{"compose.yaml"}
			}
			plain, full, err := bothWays(dir, o)
			samePlain(t, plain, full, err)
			if plain != nil {
				count++
			}
		})
	}
	if count < len(cases)/2 {
		t.Errorf("only %d of %d cases are plain", count, len(cases))
	}
}

// asPlain are parts of files, below a service or at the top, that are read without the loader.
var asPlain = map[string][]string{
	"service": {
		"command: a 'b c' $$D", "command: []", "command: ''", "command: [a, '']", "environment: [A, B=, C=x=y, D]", "environment: {A: , B: 1, C: 1.5, D: true, E: 0x10}",
		"environment: {}", "environment: []", "ports: [80, '81', '82:83/udp', '127.0.0.1:84:85', '90-91:92-93']", "ports: [{target: 80, published: 8080}, {target: '81', mode: host, name: x}]",
		"expose: [1, '2-3']", "volumes: ['data:/d', './x:/x:ro', '/anon', '/abs:/y/../z:rw,z']", "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}, {type: bind, source: ., target: /b, bind: {propagation: shared}}]",
		"volumes: [{type: volume, source: data, target: /d, volume: {nocopy: true, subpath: s}}, {type: volume, target: /e}]", "networks: [back]", "networks: {back: {aliases: [a, b]}, default: }",
		"network_mode: host", "network_mode: service:other", "ipc: service:other", "links: [other, 'other:o']", "volumes_from: [other, 'container:x:ro']", "depends_on: [other]", "deploy: {replicas: 0}", "mem_reservation: 1g\n    deploy: {resources: {reservations: {memory: 1g}}}", "deploy: {resources: {reservations: {memory: 1g}}}", "mem_limit: 1g\n    deploy: {resources: {limits: {memory: 1g}}}",
		"depends_on: {other: {condition: service_healthy, required: false, restart: true}}", "healthcheck: {test: x, interval: 1m30s, retries: '3', start_period: 1s}", "healthcheck: {disable: true}",
		"deploy: {replicas: 2, resources: {limits: {cpus: '0.5', memory: 1g}, reservations: {cpus: 0.1}}, restart_policy: {condition: any, max_attempts: 3, delay: 1s}}", "deploy: {}",
		"scale: 2\n    deploy: {mode: replicated}", "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}, {capabilities: [gpu], count: all}, {capabilities: [x], device_ids: ['0']}]}}}",
		"secrets: [key, {source: key, target: k, mode: 0440}]", "configs: [conf, {source: conf, target: /c, uid: '1'}]", "env_file: a.env", "env_file: [a.env, {path: b.env, required: false, format: raw}]",
		"labels: {a: 1, b: , c: x}", "labels: [a=b, c]", "extra_hosts: ['a:1.2.3.4', 'b=::1']", "extra_hosts: {a: 1.2.3.4, b: ['[::1]', '::2']}", "ulimits: {nofile: 5, nproc: {soft: 1, hard: 2}}",
		"sysctls: [net.core.somaxconn=1]", "sysctls: {net.core.somaxconn: 1}", "logging: {driver: x, options: {a: 1, b: c}}", "build: .", "build: {args: [A, B=1, NONE], cache_from: [x], target: t}", "build: {args: {A: , NONE: , C: 1}, dockerfile_inline: FROM x}",
		"mem_limit: 1g\n    shm_size: 64m\n    cpus: '0.5'\n    cpu_shares: 5\n    pids_limit: 7", "init: true\n    privileged: 'true'\n    tty: true\n    read_only: false\n    attach: false",
		"tmpfs: /t:size=1\n    dns: 1.1.1.1\n    dns_search: ''\n    dns_opt: [a]", "x-conductor: {seed: true, l: [1, a, null]}", "profiles: [off]", "profiles: [qa, b]", "pull_policy: if_not_present", "group_add: [1, staff]",
		"platform: ''\n    user: ''\n    hostname: h\n    stop_grace_period: 1m\n    cap_add: [A]\n    security_opt: [no-new-privileges:true]", "<<: {command: a, user: b}\n    user: c", "<<: [*one, *two]", "<<: *one\n    environment: *vars",
		"command: ${A:-x} ${NONE} ${NONE-y} $A", "container_name: ab",
	},
	"top": {
		"name: My_Name", "version: '3'", "x-a: {b: [1, 2.5, true, null, '']}", "volumes: {a: , b: {name: n, labels: [x=y]}, c: {external: true}, d: {external: true, name: e}}", "networks: {a: , b: {internal: true, driver: bridge, ipam: {config: [{subnet: 10.0.0.0/8}]}}, c: {external: true}}",
		"secrets: {a: {file: ./a}, b: {environment: A}, c: {environment: NONE}, d: {external: true}}", "configs: {a: {content: x $A}, b: {environment: A}, c: {external: true, name: x}}", "networks: {default: {name: x}}",
	},
}

// notAsPlain are those that are left to the loader: it refuses them, or makes something of them that is not known here.
var notAsPlain = map[string][]string{
	"service": {
		"commands: x", "command: {a: b}", "command: [1]", "environment: {'': x}", "environment: ['A =1']", "environment: [A=1, A=2]", "environment: {x-a: b}", "environment: null", "ports: ['x']", "ports: ['80', '80']", "ports: [{published: 1}]", "ports: {}",
		"volumes: ['~/a:/b']", "volumes: ['nodata:/d']", "volumes: ['data:/d', '/d']", "volumes: [{type: bind, target: /b}]", "volumes: [{type: image, source: x, target: /x}]", "networks: [none]", "networks: [back]\n    network_mode: host", "network_mode: ''",
		"network_mode: service:nobody", "depends_on: [nobody]", "depends_on: {nobody: {condition: service_started, required: false}}", "networks: {'a b': }", "expose: [1.5]",
		"mem_limit: 1g\n    deploy: {resources: {limits: {memory: 2g}}}", "mem_reservation: 1g\n    deploy: {resources: {reservations: {memory: 2g}}}", "cpus: '1e39'", "depends_on: [web]", "depends_on: {other: {}}", "depends_on: {other: {condition: often}}", "healthcheck: {test: [a]}", "healthcheck: {interval: 5}", "healthcheck: {retries: -1}", "deploy: {replicas: -1}",
		"deploy: {replicas: x}", "deploy: {resources: {limits: {memory: 5}}}", "deploy: {resources: {limits: {devices: [{capabilities: [gpu]}]}}}", "scale: 2\n    deploy: {replicas: 3}", "scale: 2\n    container_name: ab", "container_name: a", "cpus: 1\n    deploy: {resources: {limits: {cpus: 2}}}",
		"secrets: [nokey]", "secrets: [key, key]", "configs: [noconf]", "env_file: [a.env, a.env]", "labels: [a=b, a=c]", "extra_hosts: [a]", "extra_hosts: {'a:b': 1.1.1.1}", "ulimits: {X: 1}", "ulimits: {nofile: {soft: 1}}", "build: {}\n    platform: x\n    gpus: all", "build: https://x/y.git",
		"build: {context: ., ssh: [default]}", "mem_limit: 1.5", "privileged: 'maybe'", "privileged: 1", "image: ''", "restart: false", "user: 5", "pull_policy: sometimes", "profiles: [a, a]", "<<: *one\n    environment: {<<: *one}", "develop: {}", "extends: other", "user: !reset null",
		"user: !!str x", "user: a\n    user: b", "command: ${A:?}${NONE:?}", "command: ${", "? [a]\n    : b", "5: x", "pids_limit: 1\n    deploy: {resources: {limits: {pids: 2}}}", "tmpfs: [/t]\n    volumes: ['/t']", "stop_grace_period: soon", "cap_add: [A, A]", "dns: ['']",
	},
	"top": {
		"name: 5", "version: 3", "services: {b: {image: x}}", "models: {}", "nothing: x", "volumes: {a: {external: true, driver: x}}", "volumes: {a: {driver_opts: {a: b}}}", "volumes: []", "volumes: {'a b': }", "networks: {a: {external: {name: x}}}", "secrets: {a: {}}",
		"secrets: {a: {file: x, environment: y}}", "secrets: {a: {file: ~/x}}", "configs: {a: {content: x, file: y}}", "x-a: ${", "x-a: 2001-01-01", "secrets: {a: {external: false, file: x}}",
	},
}

func TestPlainParts(t *testing.T) {
	for want, all := range map[bool]map[string][]string{true: asPlain, false: notAsPlain} {
		for where, parts := range all {
			for _, part := range parts {
				file := "x-one: &one {command: one, environment: {B: b}}\nx-two: &two {command: two, user: two}\nx-vars: &vars {A: , C: c}\n"
				if where == "top" {
					file += service + "  other: {image: x}\n" + part + "\n"
				} else {
					file += strings.Replace(service, "    image: nginx\n", "    image: nginx\n    "+part+"\n", 1) +
						"  other: {image: x}\nvolumes: {data: }\nnetworks: {back: }\nsecrets: {key: {file: k}}\nconfigs: {conf: {file: c}}\n"
				}
				t.Run(part, func(t *testing.T) {
					dir := write(t, map[string]string{DefaultFile: file, ".env": "A=a\nD=d d\n"})
					plain, full, err := bothWays(dir, LoadOptions{Profiles: []string{"qa"}})
					if samePlain(t, plain, full, err); (plain != nil) != want {
						t.Errorf("plain: %v, want %v (%v)\n%s", plain != nil, want, err, file)
					}
				})
			}
		}
	}
}

// TestPlainFiles merges two files, and one with what it includes.
func TestPlainFiles(t *testing.T) {
	overlays := map[string]map[string]bool{ // The first file's part, the second one's, and whether both are read without the loader.
		"environment: {A: , B: 1, C: x}":                        {"environment: {B: 2, D: 1.5}": true, "environment: [B=2]": false, "environment: {A: , C: }": false, "environment: {}": true},
		"environment: [A, B=1, C=x]":                            {"environment: [B=2, A]": true, "environment: ['$A=2']": false, "environment: {B: 2}": false},
		"command: [a, b]":                                       {"command: [c]": true, "command: c": false, "entrypoint: [c]": true},
		"command: a":                                            {"command: b c": true, "command: ${NONE:?}": false},
		"user: ${NONE:?}":                                       {"user: a": false},
		"ports: ['80:80']":                                      {"ports: ['81:80']": true, "ports: ['80:80']": false, "ports: [{target: 80, published: '80'}]": false},
		"volumes: ['data:/a', './x:/b']":                        {"volumes: ['data:/c']": true, "volumes: ['./y:/a']": false},
		"depends_on: [other]":                                   {"depends_on: {third: {condition: service_healthy}}": true, "depends_on: [third]": true, "depends_on: {other: {condition: service_healthy}}": false, "depends_on: {}": true},
		"depends_on: {other: {condition: service_started}}":     {"depends_on: [other, third]": false, "depends_on: [third]": true},
		"healthcheck: {test: a, interval: 1s}":                  {"healthcheck: {test: b, retries: 3}": true, "healthcheck: {disable: true}": true, "healthcheck: {test: [CMD, b]}": false},
		"build: ./a":                                            {"build: ./b": true, "build: {context: ./b}": false},
		"build: {context: ./a, args: {A: 1}}":                   {"build: {args: {B: 2}}": true, "build: {target: x}": true},
		"labels: {a: b}":                                        {"labels: {a: c, d: }": true},
		"logging: {driver: a}":                                  {"logging: {driver: b}": false},
		"deploy: {replicas: 1, resources: {limits: {cpus: 1}}}": {"deploy: {replicas: 2, resources: {limits: {memory: 1g}}}": false},
		"networks: [back]":                                      {"networks: {default: }": false},
		"networks: {back: }":                                    {"networks: {default: }": true, "networks: {back: }": true, "networks: {back: {aliases: [a]}}": false},
		"secrets: [key]":                                        {"secrets: [key]": false, "configs: [conf]": true},
		"pull_policy: always":                                   {"pull_policy: never": false, "restart: always": true},
		"ulimits: {nofile: 1}":                                  {"ulimits: {nofile: 2, nproc: 3}": true},
		"tmpfs: /a":                                             {"tmpfs: /b": false, "tmpfs: [/b]": false},
		"env_file: a.env\n    dns: 1.1.1.1":                     {"env_file: b.env": false, "dns: 1.1.1.2": false, "dns_search: a": true},
		"privileged: 5":                                         {"privileged: true": false},
		"profiles: [qa]":                                        {"profiles: [b]": false},
		"x-a: [1]":                                              {"x-a: [2]": false, "x-a: 1": false},
	}
	common := "  other: {image: x}\n  third: {image: x}\nvolumes: {data: }\nnetworks: {back: }\nsecrets: {key: {file: k}}\nconfigs: {conf: {file: c}}\n"
	for first, seconds := range overlays {
		for second, want := range seconds {
			t.Run(first+" "+second, func(t *testing.T) {
				dir := write(t, map[string]string{DefaultFile: service + "    " + first + "\n" + common, "over.yaml": "services:\n  web:\n    " + second + "\n  more: {image: y}\nvolumes: {data: }\n"})
				plain, full, err := bothWays(dir, LoadOptions{Files: []string{DefaultFile, "over.yaml"}})
				if samePlain(t, plain, full, err); (plain != nil) != want {
					t.Errorf("plain: %v, want %v (%v)", plain != nil, want, err)
				}
			})
		}
	}
	includes := map[string]struct {
		include, included string
		want              bool
	}{
		"one":                  {"[part/f.yaml]", "services: {db: {image: 'x:$A', volumes: ['./d:/d', 'v:/v'], env_file: e.env, build: .}}\nvolumes: {v: }\nconfigs: {c: {file: ./c}}\nx-a: $B\n", true},
		"by path":              {"[{path: ./part/f.yaml}]", "services: {db: {image: x, environment: [A]}}\n", true},
		"other variables":      {"[part/f.yaml]", "services: {db: {image: x, environment: {ONLY: }}}\n", false},
		"the same name":        {"[part/f.yaml]", "services: {web: {image: x}}\n", false},
		"the same network":     {"[part/f.yaml]", "services: {db: {image: x}}\nnetworks: {back: {internal: true}}\n", false},
		"a directory":          {"[{path: part/f.yaml, project_directory: .}]", "services: {db: {image: x}}\n", false},
		"its own variables":    {"[{path: part/f.yaml, env_file: .env}]", "services: {db: {image: x}}\n", false},
		"more than one":        {"[{path: [part/f.yaml, other.yaml]}]", "services: {db: {image: x}}\n", false},
		"a mistake in it":      {"[part/f.yaml]", "services: {db: {image: x, nothing: y}}\n", false},
		"a name, and includes": {"[part/f.yaml]", "name: part\ninclude: [../other.yaml]\nservices: {db: {image: $COMPOSE_PROJECT_NAME}}\n", true},
	}
	for name, tt := range includes {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{
				DefaultFile: "name: main\ninclude: " + tt.include + "\n" + service + "networks: {back: }\n", "part/f.yaml": tt.included, "other.yaml": "services: {third: {image: x}}\n",
				".env": "A=a\n", "part/.env": "A=b\nB=c\nONLY=d\n", "part/e.env": "",
			})
			plain, full, err := bothWays(dir, LoadOptions{})
			if samePlain(t, plain, full, err); (plain != nil) != tt.want {
				t.Errorf("plain: %v, want %v (%v)", plain != nil, tt.want, err)
			}
		})
	}
}
