package compose

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// TestDetails covers what the golden cases do not: edges, and other options. Each case lists parts of the findings and of the objects;
// with ! they must not occur.
func TestDetails(t *testing.T) {
	service := func(fields string) string { return "services:\n  web: {image: x, " + fields + "}\n" }
	for name, tc := range map[string]struct {
		file     string
		files    map[string]string
		load     LoadOptions
		convert  Options
		findings []string
		objects  []string
	}{
		"profiles of the variables": {
			file:    "services: {a: {image: x, profiles: [one]}, b: {image: x, profiles: [two]}, c: {image: x, profiles: [three]}}",
			files:   map[string]string{".env": "COMPOSE_PROFILES=one,two"},
			objects: []string{"name: a\n", "name: b\n", "!name: c\n"},
		},
		"profiles that are given win": {
			file:    "services: {a: {image: x, profiles: [one]}, c: {image: x, profiles: [three]}}",
			files:   map[string]string{".env": "COMPOSE_PROFILES=one"},
			load:    LoadOptions{Profiles: []string{"three"}},
			objects: []string{"!name: a\n", "name: c\n"},
		},
		"a hook's label_file outside": {
			file:     service("pre_start: [{command: [a], label_file: ../labels}]"),
			findings: []string{"refused: web.pre_start: the file leads out of the repository"},
		},
		"fixed addresses": {
			file: "services:\n  my_db: {image: x, networks: {n: {ipv4_address: 10.0.0.2}}, command: [serve, --bind, 10.0.0.2]}\n" +
				"  web: {image: x, networks: [n], environment: {DB: 10.0.0.2, URL: 'http://10.0.0.2:80/', NET: 10.0.0.2/24, OTHER: 10.0.0.3}}\n" +
				"networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}\n",
			findings: []string{
				"note: my_db.command: no pod has the address 10.0.0.2, so my_db cannot listen on it: write 0.0.0.0",
				"note: web.environment.DB: no pod has the address 10.0.0.2: write my-db", "note: web.environment.URL: no pod has the address 10.0.0.2: write my-db",
				"!web.environment.NET", "!web.environment.OTHER",
			},
		},
		"a variable in a list": {
			file:     service(`command: ["$$KEPT", "$NOWHERE"]`),
			findings: []string{"note: web.command: variable NOWHERE is not set: it is empty", "!KEPT"},
		},
		"the last port": {file: service(`expose: ["65535"]`), objects: []string{"port: 65535\n"}},
		"ports beyond the last": {
			file: service(`expose: ["65535-65536"]`), findings: []string{`refused: web.expose: "65535-65536" is not a port or a range`},
		},
		"a number that no port has": {file: service("ports: [{target: 65536}]"), findings: []string{"refused: web.ports: 65536 is not a port"}},
		"a protocol of its own": {
			file: service(`ports: [{target: 80, protocol: quic}]`), findings: []string{"refused: web.ports: port 80 has none of the protocols tcp, udp and sctp"},
		},
		"ports with one name": {
			file:    service("ports: [{target: 80, name: web}, {target: 81, name: web}, {target: 82, name: 'No Name'}]"),
			objects: []string{"- name: web\n    port: 80\n", "- name: tcp-81\n    port: 81\n", "- name: tcp-82\n"},
		},
		"within the ceilings": {
			file:    service("mem_limit: 1g, cpus: 1, scale: 2"),
			convert: Options{Ceilings: v1alpha1.Ceilings{Memory: "1Gi", CPU: "1", Pods: 2, Registries: []string{"docker.io/library/"}}},
			objects: []string{"memory: 1Gi\n"},
		},
		"above the ceilings": {
			file:     service("mem_limit: 1025m, cpus: 1.1, scale: 3"),
			convert:  Options{Ceilings: v1alpha1.Ceilings{Memory: "1Gi", CPU: "1", Pods: 2}},
			findings: []string{"is above the operator's limit of 1Gi", "is above the operator's limit of 1 for", "are 3 pods; the operator allows a stack 2"},
		},
		"an empty directory that is only read": {
			file: service("volumes: ['./void:/a:ro', './void:/b']"), files: map[string]string{"void/.gitkeep": ""},
			findings: []string{"void holds no files: it is an empty volume"},
		},
		"volumes of a container by its name": {
			file: "services:\n  db: {image: x, container_name: the-db, volumes: ['data:/data']}\n  backup: {image: x, volumes_from: ['container:the-db:ro']}\nvolumes: {data: }\n",
			objects: []string{
				"- mountPath: /data\n          name: data\n          readOnly: true\n", "- mountPath: /data\n          name: data\n      ",
			},
		},
		"a name with dots that somebody uses": {
			file:     "services:\n  api: {image: x, networks: {default: {aliases: [api.test]}}}\n  web: {image: x, environment: {API_HOST: api.test}}\n",
			findings: []string{`note: api.networks.default.aliases: no Kubernetes Service can have the name "api.test"`, "!refused"},
			objects:  []string{"value: api-test\n", "name: api-test\n"},
		},
		"a name with dots that nobody uses": {
			file: "services:\n  api: {image: x, networks: {default: {aliases: [api.test]}}}\n" +
				"  web: {image: x, environment: {TITLE: api.test, API_HOST: }}\n",
			findings: []string{`note: api.networks.default.aliases: no Kubernetes Service can have the name "api.test", so it does not resolve in the stack: api-test does`, "!refused"},
		},
		"the size of a volume": {
			file:    "services: {web: {image: x, volumes: ['aa:/a']}}\nvolumes: {aa: {x-conductor: {size: 5Gi}}}\n",
			objects: []string{"storage: 5Gi\n"},
		},
		"no size of a volume": {
			file:     "services: {web: {image: x, volumes: ['aa:/a', 'bb:/b', 'cc:/c']}}\nvolumes: {aa: {x-conductor: {size: '0'}}, bb: {x-conductor: {size: 1Gi, more: 1}}, cc: {x-conductor: {size: much}}}\n",
			findings: []string{"refused: volumes.aa.x-conductor", "refused: volumes.bb.x-conductor", "refused: volumes.cc.x-conductor"},
		},
		"names of files that are no keys": {
			file: service("volumes: ['./files:/files']"), files: map[string]string{"files/aA zZ~09-_.é": "x"},
			objects: []string{"-aA_zZ_09-_._: x\n", "path: files/aA zZ~09-_.é\n"},
		},
		"a config with a secret's name": {
			file:  "services: {web: {image: x, configs: [KEY]}}\nconfigs: {KEY: {file: ./key}}\n",
			files: map[string]string{"key": "of the file"}, load: LoadOptions{Secrets: []string{"KEY"}},
			objects: []string{"file: of the file\n", "!secretName"},
		},
		"a secret of the file that is declared": {
			file:  "services: {web: {image: x, secrets: [KEY]}}\nsecrets: {KEY: {file: ./key}}\n",
			files: map[string]string{"key": "of the file"}, load: LoadOptions{Secrets: []string{"KEY"}},
			objects: []string{"!of the file", "secretName: stack-secrets\n"},
		},
		"a hook without a command": {file: service("post_start: [{user: root}]"), findings: []string{"refused: web.post_start"}},
		"the image of a hook": {
			file:    service("build: ., pre_start: [{command: [a], image: x}, {command: [b], image: other}, {command: [c]}]"),
			convert: Options{Images: map[string]string{"web": "built@sha256:1"}},
			objects: []string{
				"- a\n        image: built@sha256:1\n", "- b\n        image: other\n", "- c\n        image: built@sha256:1\n",
			},
		},
		"an image that another service builds": {
			file: "services:\n  app: {build: ., image: shop/app}\n  worker: {image: 'shop/app:latest', pre_start: [{command: [a], image: shop/app}, {command: [b], image: tool}]}\n" +
				"  plain: {build: .}\n  after: {image: stack-plain}\n",
			convert: Options{
				Images: map[string]string{"app": "built@sha256:1", "plain": "built@sha256:2"}, HookImages: map[string]string{"tool": "tool@sha256:3"},
				Ceilings: v1alpha1.Ceilings{Registries: []string{"docker.io/library"}},
			},
			objects: []string{
				"image: built@sha256:1\n        imagePullPolicy: IfNotPresent\n        name: worker\n", "- a\n        image: built@sha256:1\n",
				"- b\n        image: tool@sha256:3\n", "image: built@sha256:2\n        imagePullPolicy: IfNotPresent\n        name: after\n", "!shop/app",
			},
		},
		"the shell of an image": {
			file:    "services:\n  plain: {image: x, healthcheck: {test: check it}}\n  blind: {image: x, healthcheck: {test: 'check ${KEY}'}}\n  other: {image: z, healthcheck: {test: check z}}\n",
			load:    LoadOptions{Secrets: []string{"KEY"}},
			convert: Options{ImageConfigs: map[string]ImageConfig{"x": {Shell: []string{"/bin/bash", "-ec"}}}},
			objects: []string{
				"- /bin/bash\n            - -ec\n            - check it\n", "- /bin/sh\n            - -c\n            - check z\n",
				"- /bin/sh\n            - -c\n            - exec '/bin/bash' '-ec' 'check '\"${KEY}\"\n",
			},
		},
		"an include with a directory of its own": {
			file:    "include: [{path: part/f.yaml, project_directory: other}]\nservices: {web: {image: x}}\n",
			files:   map[string]string{"part/f.yaml": "services: {db: {image: 'a:${X}', volumes: ['./conf:/conf']}}\n", "other/.env": "X=1\n", "other/conf": "here", "part/conf": "not here"},
			objects: []string{"image: a:1\n", "conf: here\n"}, findings: []string{"!among the variables"},
		},
		"a name that another service's ports have": {
			file:     "services:\n  web: {image: x, ports: ['8080:80']}\n  other: {image: x, networks: {default: {aliases: [web-published]}}}\n",
			findings: []string{`refused: other.networks.default.aliases: the name "web-published" is taken by another service's published ports: use another`},
		},
		"no ports": {
			file:     service(`expose: ["a", "5-b", "0", "200-10"]`),
			findings: []string{`refused: web.expose: "a" is not`, `refused: web.expose: "5-b" is not`, `refused: web.expose: "0" is not`, `refused: web.expose: "200-10" is not a port or a range of ports`},
		},
		"a health check of many texts": {
			file:     service(`healthcheck: {test: [CMD-SHELL, pg_isready, -U, app]}`),
			findings: []string{`note: web.healthcheck: with CMD-SHELL only the first text is a command: "pg_isready" runs without "-U app", as with Docker. Write one text, or CMD`},
			objects:  []string{"- /bin/sh\n            - -c\n            - pg_isready\n            - -U\n            - app\n"},
		},
		"a health check without its text": {
			file: service(`healthcheck: {test: [CMD-SHELL]}`), findings: []string{"refused: web.healthcheck: CMD-SHELL needs a text"},
		},
		"a health check of none": {file: service(`healthcheck: {test: [CMD]}`), findings: []string{"refused: web.healthcheck: CMD needs a command"}},
		"a path with a mistake": {
			file: "services: {web: {extends: {file: '${X', service: a}}}", findings: []string{"refused: web.extends.file: "},
		},
		"a guest on another platform": {
			file:    "services: {a: {image: x}, b: {image: x, network_mode: 'service:a', platform: linux/arm64, volumes: ['data:/data']}}\nvolumes: {data: }\n",
			objects: []string{"kubernetes.io/arch: arm64\n", "claimName: data\n"},
		},
		"a guest that waits longer": {
			file: "services:\n  db: {image: x, healthcheck: {test: a}}\n  host: {image: x, depends_on: {db: {condition: service_started, required: false}}}\n" +
				"  guest: {image: x, network_mode: 'service:host', depends_on: {db: {condition: service_healthy}}}\n",
			objects: []string{"depends-on: db (healthy)\n"},
		},
		"users in part": {
			file:     "services:\n  a: {image: x, user: ':'}\n  b: {image: x, user: ':1000'}\n  c: {image: x, user: '1001:'}\n  d: {image: x, user: 'node:1002'}\n  e: {image: x, user: '1003:staff'}\n  f: {image: x, user: 'node:staff'}\n",
			findings: []string{"!a.user", "!b.user", "!c.user", "note: d.user: node: ignored", "note: e.user: staff: ignored", "note: f.user: node and staff: ignored"},
			objects:  []string{"runAsGroup: 1000\n", "!runAsUser: 1000\n", "runAsUser: 1001\n", "!runAsGroup: 1001\n", "runAsGroup: 1002\n", "!runAsUser: 1002", "runAsUser: 1003\n"},
		},
		"what is there and empty": {
			file:     "services: {web: {image: x, devices: [], cap_add: [], sysctls: {}, ulimits: {}, secrets: [], volumes: ['data:/data']}}\nvolumes: {data: {driver_opts: {}, labels: {}}}\n",
			findings: []string{"!web.devices", "!driver_opts", "!labels"},
		},
		"a further name that must change": {
			file:     "services:\n  api: {image: x, networks: {default: {aliases: [my_api, unused_name]}}}\n  web: {image: x, environment: {URL: 'http://my_api/'}}\n",
			findings: []string{`note: api.networks.default.aliases: no Kubernetes Service can have the name "my_api", so it does not resolve in the stack: my-api does`, `note: api.networks.default.aliases: no Kubernetes Service can have the name "unused_name"`},
			objects:  []string{"name: my-api\n", "value: http://my-api/\n"},
		},
		"a container's name with dots": {
			file: service("container_name: my.web"), findings: []string{`info: web.container_name: no Kubernetes Service can have the name "my.web"`, "!refused"},
		},
		"a container's name that only a file uses": {
			file:     "services: {db: {image: x, container_name: shop_db}, web: {image: x, volumes: ['./conf:/conf']}}",
			files:    map[string]string{"conf": "upstream: http://shop_db:80\ndatabase: shop_db\n"},
			findings: []string{`info: db.container_name: no Kubernetes Service can have the name "shop_db"`, `conf: note: no Kubernetes Service can have the name "shop_db": it is written db`},
			objects:  []string{"upstream: http://db:80\n", "database: shop_db\n", "!name: shop-db\n"},
		},
		"profiles of security": {
			file:     service("security_opt: ['seccomp=unconfined', 'apparmor=unconfined', 'seccomp=./mine.json', 'credentialspec=x', 'systempaths=unconfined']"),
			findings: []string{"without a profile: seccomp=unconfined", "without a profile: apparmor=unconfined", "seccomp=./mine.json", "credentialspec=x", "systempaths=unconfined"},
		},
		"paths within volumes": {
			file: "services:\n  web:\n    image: x\n    volumes:\n      - {type: volume, source: data, target: /a, volume: {subpath: ../a}}\n      - {type: volume, source: data, target: /b, volume: {subpath: /b}}\n" +
				"      - {type: volume, source: data, target: /c, volume: {subpath: c/d}}\nvolumes: {data: }\n",
			findings: []string{"qa.yml:5: refused: web.volumes", "qa.yml:6: refused: web.volumes", "!qa.yml:7: refused"},
			objects:  []string{"subPath: c/d\n"},
		},
		"parameters of a pod that two containers set": {
			file:    "services:\n  a: {image: x, sysctls: {net.ipv4.tcp_syncookies: 1}}\n  b: {image: x, network_mode: 'service:a', sysctls: {net.ipv4.tcp_syncookies: 1, net.ipv4.tcp_fin_timeout: 5}}\n",
			objects: []string{"sysctls:\n        - name: net.ipv4.tcp_syncookies\n          value: \"1\"\n        - name: net.ipv4.tcp_fin_timeout\n          value: \"5\"\n"},
		},
		"drivers of volumes": {
			file:     "services: {web: {image: x, volumes: ['aa:/a', 'bb:/b']}}\nvolumes: {aa: {driver: local}, bb: {driver: nfs}}\n",
			findings: []string{"!volumes.aa", "refused: volumes.bb.driver: the cluster's storage class decides"},
		},
		"a guest's user writes to its volumes": {
			file:    "services: {a: {image: x}, b: {image: x, network_mode: 'service:a', user: '1001', volumes: ['data:/data']}}\nvolumes: {data: }\n",
			objects: []string{"fsGroup: 1001\n"},
		},
		"a link by its own name": {
			file: "services: {db: {image: x}, web: {image: x, links: ['db:db', 'db:store']}}", objects: []string{"name: store\n"}, findings: []string{"!web.links"},
		},
		"a port of an image without a number": {
			file: service("stop_grace_period: 1s"), convert: Options{ImageConfigs: map[string]ImageConfig{"x": {ExposedPorts: []string{"0/tcp", "70000/tcp", "5/quic", "6", "7/udp"}}}},
			objects: []string{"!port: 0\n", "!70000", "!port: 5\n", "port: 6\n    protocol: TCP\n", "port: 7\n    protocol: UDP\n"},
		},
		"a mistake in a file of variables": {
			file: service("env_file: [good.env, bad.env], label_file: bad.env"), files: map[string]string{"good.env": "X=1\n", "bad.env": "A=${X:?}\n\nB C=x\n"},
			findings: []string{"bad.env:3: refused: web.env_file: key cannot contain a space", "bad.env: refused: web.label_file: required variable X is missing a value", "!qa.yml"},
		},
		"a mistake in a raw file of variables": {
			file: service("env_file: [{path: bad.env, format: raw}]"), files: map[string]string{"bad.env": "A=1\n=x\n"},
			findings: []string{"bad.env:2: refused: web.env_file: no variable name before ="},
		},
		"a mistake in the project's variables": {
			file: service("user: root"), files: map[string]string{".env": "A='x\n"}, findings: []string{".env:2: refused: env_file: unterminated quoted value"},
		},
		"a variable that no container can have": {file: service("environment: {'ä': x}"), findings: []string{`refused: web.environment: "ä" cannot be the name of a variable`}},
		"two services with one name": {
			file: "services: {my_db: {image: x}, my-db: {image: x}}", findings: []string{"has the same DNS name, my-db: rename one of them"},
		},
		"memory that others may share": {file: service("ipc: shareable"), findings: []string{"!ipc"}},
		"memory of another": {
			file: "services: {web: {image: x}, other: {image: x, ipc: 'service:web'}}", findings: []string{"refused: other.ipc"},
		},
		"processes of another": {
			file: "services: {web: {image: x}, other: {image: x, pid: 'service:web'}}", convert: Options{Allow: Allowances()}, findings: []string{"refused: other.pid: service:web: pods cannot see each other's processes"},
		},
		"profiles of security that are allowed": {
			file: service("security_opt: ['seccomp=unconfined', 'apparmor=unconfined']"), convert: Options{Allow: Allowances()},
			objects: []string{"appArmorProfile:\n            type: Unconfined\n", "seccompProfile:\n            type: Unconfined\n"},
		},
		"models": {file: "services: {web: {image: x, models: [m]}}\nmodels: {m: {model: y}}\n", findings: []string{"refused: web.models", "refused: models"}},
		"a name with dots in a health check": {
			file:     "services:\n  api: {image: x, networks: {default: {aliases: [api.test]}}}\n  web: {image: x, healthcheck: {test: 'curl http://api.test:80/'}}\n",
			findings: []string{`note: web.healthcheck: no Kubernetes Service can have the name "api.test": it is written api-test here`, "!refused"},
			objects:  []string{"curl http://api-test:80/"},
		},
		"a name in a file that must change": {
			file: "services: {my_api: {image: x}, web: {image: x, volumes: ['./conf:/conf']}}", files: map[string]string{"conf": "proxy_pass http://my_api:80;\n"},
			findings: []string{`conf: note: no Kubernetes Service can have the name "my_api": it is written my-api in the copy of this file`},
			objects:  []string{"proxy_pass http://my-api:80;"},
		},
		"a guest's hooks": {
			file: "services: {a: {image: x}, b: {image: y, network_mode: 'service:a', pre_start: [{command: [hook]}]}}", objects: []string{"- hook\n        image: \"y\"\n"},
		},
		"volumes of nobody": {
			file: "services: {web: {image: x, volumes_from: ['container:none']}}", findings: []string{"refused: web.volumes_from: container:none does not name a service of the stack"},
		},
		"no path of a file": {file: "services: {web: {extends: {file: [a], service: b}}}", findings: []string{"refused: web.extends.file: a path is expected here"}},
		"a directory that has to be there": {
			file:     service("volumes: [{type: bind, source: ./none, target: /a, bind: {create_host_path: false}}, {type: bind, source: ./nor, target: /b}]"),
			findings: []string{"refused: web.volumes: none is not in the repository", "note: web.volumes: nor is not in the repository: it is an empty directory"},
		},
		"limits below what is asked when nothing is said": {
			file: service("mem_limit: 16m, cpus: 0.005"), objects: []string{"requests:\n            cpu: 5m\n            memory: 16Mi\n"},
		},
		"user 0": {file: service(`user: "0:0"`), objects: []string{"runAsGroup: 0\n", "runAsUser: 0\n"}},
		"jobs":   {file: "services: {web: {image: x}}\njobs: {a: {image: x}}\n", findings: []string{"refused: jobs"}},
		"what is known of an image yields to the file": {
			file: service("healthcheck: {start_interval: 2s, interval: 3s}"),
			convert: Options{ImageConfigs: map[string]ImageConfig{"x": {
				Healthcheck: &Healthcheck{Test: []string{"CMD", "look"}, Interval: 7e9, StartInterval: 9e9, Timeout: 4e9, Retries: 6},
			}}},
			objects: []string{"- look\n          failureThreshold: 6\n          periodSeconds: 3\n", "periodSeconds: 2\n          successThreshold: 1\n          timeoutSeconds: 4\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{DefaultFile: tc.file}
			maps.Copy(files, tc.files)
			dir := write(t, files)
			if _, ok := files["void/.gitkeep"]; ok {
				if err := os.Remove(filepath.Join(dir, "void/.gitkeep")); err != nil {
					t.Fatal(err)
				}
			}
			var findings []Finding
			var objects []byte
			p, err := Load(dir, tc.load)
			if err == nil {
				stack := newConverter(p, tc.convert).convert()
				findings = stack.Findings
				if objects, err = YAML(stack); err != nil {
					t.Fatal(err)
				}
			} else if e := (*Errors)(nil); errors.As(err, &e) {
				findings = e.Findings
			}
			var told strings.Builder
			for _, f := range findings {
				told.WriteString(f.String() + "\n")
			}
			for text, pieces := range map[string][]string{told.String(): tc.findings, string(objects): tc.objects} {
				for _, piece := range pieces {
					absent, no := strings.CutPrefix(piece, "!")
					if strings.Contains(text, absent) == no {
						t.Errorf("%q in\n%s", piece, text)
					}
				}
			}
			if len(tc.findings) == 0 && slices.ContainsFunc(findings, func(f Finding) bool { return f.Level == LevelRefused }) {
				t.Errorf("refused:\n%s", told.String())
			}
		})
	}
}

// TestFactsOfServices checks what is not in the objects: a service's health check in words, and its ports.
func TestFactsOfServices(t *testing.T) {
	stack, err := Convert(loadText(t, `services:
  vpn: {image: x, ports: ["80", "53/udp", "90/sctp"], healthcheck: {test: [CMD, look]}}
  client: {image: x, network_mode: "service:vpn", expose: [8080, 80], healthcheck: {test: check it}}
  plain: {image: x}
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	vpn, plain := stack.Services[1], stack.Services[0]
	if vpn.Name != "vpn" || !slices.Equal(vpn.Ports, []int32{53, 80, 8080}) || !slices.Equal(vpn.Shares, []string{"client"}) {
		t.Errorf("%s has the ports %v and shares its pod with %v", vpn.Name, vpn.Ports, vpn.Shares)
	}
	if vpn.Probe != "look, every 30s, at most 30s; check it, every 30s, at most 30s" || plain.Probe != "" {
		t.Errorf("probes %q and %q", vpn.Probe, plain.Probe)
	}
}
