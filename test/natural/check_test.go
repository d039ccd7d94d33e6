package natural

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const shopVerdict = `
outcome: runs
services:
  web:
    is: server
    build: {context: web, dockerfile: web/Dockerfile.web, target: final, args: {DB: my_db}}
    command: [serve, --db=my_db, $HOME]
    workdir: /srv
    env: {URL: "http://my_db:5432/", MODE: a$b, PEER: 172.17.0.1}
    health: [/bin/sh, -c, wget my_db]
    mounts:
      /src: files src ro
      /w: files web
      /image: files web held
      /data: volume data
      /new: volume filled
      /out: empty out
      /dev/shm: tmpfs
      /h: host /tmp/h
    names: [front]
    after: {my_db: started, job: completed}
    ports: [80]
  my_db: {is: server, image: "postgres:16", mounts: {/data: volume data}}
  job: {is: one-shot, image: busybox, command: ["true"]}
  off: {is: not-started}
  t: {is: suite, image: "node:20", command: [npm, test], env: {Q: w}, mounts: {/app: files src ro, /app/reports: empty reports}}
suites:
  t: {service: t, env: {R: x}}
  u: {image: golang, shell: go test}
texts: [{at: "compose.yaml:4", of: web.environment.PEER, name: 172.17.0.1}]
notes: [{at: ["compose.yaml:3"], words: [UNSET]}]
read: ["compose.yaml:5: info: web.labels: labels are annotations"]
`

// shopFindings are what a right plan of the shop prints; the places are those of the compose file below.
const shopFindings = `compose.yaml:2: note: my_db: no Kubernetes Service can have this name: it is my-db in the stack
compose.yaml:3: note: web.environment.X: variable UNSET is not set: it is empty
compose.yaml:4: note: web.environment.PEER: variable NONE is not set, and 172.17.0.1 leads nowhere
compose.yaml:4: note: web.volumes: /w is a copy that cannot be written to
compose.yaml:5: info: web.labels: labels are annotations
`

const shopCompose = "services:\n  my_db: {}\n  web: UNSET\n    PEER: 172.17.0.1\n    more: 1\n  t: {}\n  job: {}\n"

const shopObjects = `# Builds
#   web: context web, Dockerfile.web, target final
# Services, in the order of their start
#   my_db
#   job
#   web, after my_db (service_started), after job (service_completed_successfully)
---
kind: Job
metadata: {name: b}
spec: {template: {spec: {containers: [{name: kaniko, args: [--destination=R/web:1, --build-arg=DB=my-db]}]}}}
---
kind: Service
metadata: {name: web}
spec: {selector: {app: web}}
---
kind: Service
metadata: {name: front}
spec: {selector: {app: web}}
---
kind: Service
metadata: {name: my-db}
spec: {selector: {app: my-db}}
---
kind: Service
metadata: {name: job}
spec: {selector: {app: job}}
---
kind: ConfigMap
metadata: {name: files-src}
data: {a.txt: "use my-db\n", run.sh: "#!/bin/sh\n"}
---
kind: ConfigMap
metadata: {name: files-web}
data: {Dockerfile.web: "FROM x\n"}
---
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: seed, image: REGISTRY/web@sha256:DIGEST, volumeMounts: [{name: new, mountPath: /seed}]}]
      containers:
      - image: REGISTRY/web@sha256:DIGEST
        args: [serve, --db=my-db, $$HOME]
        workingDir: /srv
        env: [{name: URL, value: "http://my-db:5432/"}, {name: MODE, value: a$$b}, {name: PEER, value: 172.17.0.1}]
        readinessProbe: {exec: {command: [/bin/sh, -c, wget my-db]}}
        ports: [{containerPort: 80}]
        volumeMounts:
        - {name: src, mountPath: /src, subPath: files, readOnly: true}
        - {name: w, mountPath: /w, readOnly: true}
        - {name: data, mountPath: /data}
        - {name: new, mountPath: /new}
        - {name: out, mountPath: /out}
        - {name: shm, mountPath: /dev/shm}
        - {name: h, mountPath: /h}
      volumes:
      - {name: src, configMap: {name: files-src, items: [{key: a.txt, path: files/a.txt}, {key: run.sh, path: files/run.sh, mode: 493}]}}
      - {name: w, configMap: {name: files-web}}
      - {name: data, persistentVolumeClaim: {claimName: data}}
      - {name: new, emptyDir: {}}
      - {name: out, emptyDir: {}}
      - {name: shm, emptyDir: {medium: Memory}}
      - {name: h, emptyDir: {}}
---
kind: Deployment
metadata: {name: my-db}
spec:
  template:
    metadata: {labels: {app: my-db}}
    spec:
      containers: [{image: "postgres:16", volumeMounts: [{name: data, mountPath: /data}]}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
kind: Job
metadata: {name: job}
spec: {template: {metadata: {labels: {app: job}}, spec: {containers: [{image: busybox, args: ["true"]}]}}}
---
kind: Job
metadata: {name: conductor-test-t}
spec:
  template:
    spec:
      initContainers: [{name: conductor-files, args: [files, --copy, src=/conductor-files/s], volumeMounts: [{name: s, mountPath: /conductor-files/s}]}]
      containers:
      - image: node:20
        command: [wrap, --suite, t, --, docker-entrypoint, npm, test]
        env: [{name: Q, value: w}, {name: R, value: x}, {name: CI, value: "true"}, {name: CONDUCTOR_RUN, value: r}]
        volumeMounts: [{name: s, mountPath: /app, readOnly: true}, {name: out, mountPath: /app/reports}]
      volumes: [{name: s, emptyDir: {}}, {name: out, emptyDir: {}}]
---
kind: Job
metadata: {name: conductor-test-u}
spec: {template: {spec: {containers: [{image: golang, command: [wrap, --suite, u, --, /bin/sh, -c, go test]}]}}}
`

// shop writes the files of the shop.
func shop(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"compose.yaml": shopCompose, "src/a.txt": "use my_db\n", "src/run.sh": "#!/bin/sh\n", "web/Dockerfile.web": "FROM x\n", ".env": "SET=1\n",
	} {
		mode := os.FileMode(0o644)
		if filepath.Ext(name) == ".sh" {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// check compares objects and findings with a verdict and returns the results that are not kept or noted.
func check(t *testing.T, dir, verdict, objects, findings string, failed bool) []string {
	t.Helper()
	v, err := ParseVerdict([]byte(verdict))
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseOutput(planCommand, objects, findings, servicesOf(v, dir))
	if err != nil {
		t.Fatal(err)
	}
	o.Failed = failed
	var bad []string
	for _, r := range Check(v, o, dir, nil) {
		if r.State != Kept && r.State != Noted {
			bad = append(bad, string(r.State)+": "+r.Fact+": "+r.Detail)
		}
	}
	return bad
}

func TestARightPlanIsRight(t *testing.T) {
	if bad := check(t, shop(t), shopVerdict, shopObjects, shopFindings, false); len(bad) > 0 {
		t.Errorf("%d results:\n%s", len(bad), strings.Join(bad, "\n"))
	}
}

// TestAWrongPlanIsReported changes one thing in a right plan: exactly the fact about it must be reported.
func TestAWrongPlanIsReported(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a missing service":             {"metadata: {name: my-db}\nspec:\n", "metadata: {name: mydb}\nspec:\n", "SILENT: my_db is in the stack"},
		"a service too many":            {"metadata: {name: my-db}\nspec:\n", "metadata: {name: other}\nspec:\n", "SILENT: only the services are in the stack"},
		"a suite in the stack":          {"metadata: {name: conductor-test-u}", "metadata: {name: t}", "SILENT: only the services are in the stack"},
		"a service that may not end":    {"kind: Job\nmetadata: {name: job}", "kind: Deployment\nmetadata: {name: job}", "SILENT: job is one-shot"},
		"another image":                 {`[{image: "postgres:16"`, `[{image: "postgres:15"`, "SILENT: my_db: image"},
		"another build":                 {"target final", "target first", "SILENT: web: build"},
		"another build argument":        {"DB=my-db", "DB=db", "SILENT: web: build.args"},
		"another command":               {"args: [serve, --db", "args: [server, --db", "SILENT: web: command"},
		"a name left in a command":      {"--db=my-db", "--db=my_db", "SILENT: web: command: my_db is left"},
		"an entrypoint from nowhere":    {"args: [\"true\"]", "command: [sh], args: [\"true\"]", "SILENT: job: entrypoint"},
		"an expanded dollar":            {"$$HOME", "/root", "SILENT: web: command"},
		"another directory":             {"workingDir: /srv", "workingDir: /", "SILENT: web: working_dir"},
		"another value":                 {"a$$b", "a", "SILENT: web: MODE"},
		"a name left in a variable":     {"http://my-db:5432/", "http://my_db:5432/", "SILENT: web: URL: my_db is left"},
		"a missing variable":            {"{name: MODE, value: a$$b}, ", "", "SILENT: web: MODE"},
		"a variable too many":           {"env: [{name: URL", "env: [{name: NEW, value: x}, {name: URL", "SILENT: web: only the variables of the file"},
		"another health check":          {"wget my-db", "wget you", "SILENT: web: healthcheck"},
		"no health check":               {"readinessProbe", "livenessProbe", "SILENT: web: healthcheck"},
		"a missing port":                {"containerPort: 80", "containerPort: 81", "SILENT: web: port 80"},
		"a missing mount":               {"- {name: src, mountPath: /src, subPath: files, readOnly: true}", "", "SILENT: web: /src is files src ro: nothing"},
		"another file":                  {"use my-db", "use it", "SILENT: web: /src is files src ro: src/a.txt has another content"},
		"a missing file":                {"{key: a.txt, path: files/a.txt}, ", "", "SILENT: web: /src is files src ro: src/a.txt is missing"},
		"a file too many":               {"{key: a.txt, path: files/a.txt}", "{key: a.txt, path: files/a.txt}, {key: a.txt, path: files/b.txt}", "SILENT: web: /src is files src ro: b.txt is there, too"},
		"a program that cannot run":     {", mode: 493", "", "SILENT: web: /src is files src ro: src/run.sh is executable: false"},
		"a volume of its own":           {"claimName: data}}]", "claimName: other}}]", "SILENT: web: /data is volume data"},
		"a volume that is not filled":   {"image: REGISTRY/web@sha256:DIGEST, volumeMounts", "image: other, volumeMounts", "SILENT: web: /new is volume filled"},
		"a read-only directory":         {"{name: out, mountPath: /out}", "{name: out, mountPath: /out, readOnly: true}", "SILENT: web: /out is empty out: it is writable: false"},
		"shared memory on a disk":       {"{medium: Memory}", "{}", "SILENT: web: /dev/shm is tmpfs"},
		"a mount too many":              {"- {name: h, mountPath: /h}", "- {name: h, mountPath: /h}\n        - {name: h, mountPath: /k}", "SILENT: web: only the mounts of the file"},
		"a mount over the image":        {"- {name: h, mountPath: /h}", "- {name: h, mountPath: /h}\n        - {name: h, mountPath: /image}", "SILENT: web: /image is files web held"},
		"a mount that cannot be made":   {"mountPath: /app, readOnly: true", "mountPath: /app, readOnly: true, subPath: x", "SILENT: t: /app/reports can be mounted"},
		"a missing name":                {"metadata: {name: front}", "metadata: {name: back}", "SILENT: web: the name front"},
		"a name of another pod":         {"metadata: {name: front}\nspec: {selector: {app: web}}", "metadata: {name: front}\nspec: {selector: {app: job}}", "SILENT: web: the name front"},
		"a missing dependency":          {", after my_db (service_started)", "", "SILENT: web: after my_db started"},
		"another condition":             {"service_completed_successfully", "service_started", "SILENT: web: after job completed"},
		"a missing suite":               {"--suite, u", "--suite, v", "SILENT: suite u"},
		"a suite with another command":  {"npm, test]", "npm, install]", "SILENT: suite t: command"},
		"a suite with another shell":    {"-c, go test", "-c, go vet", "SILENT: suite u: command"},
		"a suite with another image":    {"image: golang", "image: node", "SILENT: suite u: image"},
		"a suite without its variables": {"{name: Q, value: w}, ", "", "SILENT: t: Q"},
		"a suite without its own ones":  {"{name: R, value: x}, ", "", "SILENT: t: R"},
		"a suite without its files":     {"src=/conductor-files/s", "web=/conductor-files/s", "SILENT: t: /app is files src ro"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := strings.Replace(shopObjects, c.from, c.to, 1)
			if objects == shopObjects {
				t.Fatal("the plan was not changed")
			}
			wantsResult(t, check(t, shop(t), shopVerdict, objects, shopFindings, false), c.want)
		})
	}
}

func wantsResult(t *testing.T, bad []string, want string) {
	t.Helper()
	if want == "" {
		if len(bad) > 0 {
			t.Errorf("results: %q, want none", bad)
		}
	} else if !slices.ContainsFunc(bad, func(b string) bool { return strings.HasPrefix(b, want) }) {
		t.Errorf("results: %q, want %q", bad, want)
	}
}

// TestAWrongSentenceIsReported changes one finding of a right plan.
func TestAWrongSentenceIsReported(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a place that does not exist":    {"compose.yaml:5:", "compose.yaml:50:", "FALSE: place: compose.yaml:50"},
		"a file that does not exist":     {"compose.yaml:5:", "none.yaml:5:", "FALSE: place: none.yaml:5"},
		"a missing note":                 {"compose.yaml:3: note: web.environment.X: variable UNSET is not set: it is empty\n", "", "SILENT: a note at compose.yaml:3: UNSET"},
		"a note at another line":         {"compose.yaml:3:", "compose.yaml:4:", "SILENT: a note at compose.yaml:3: UNSET"},
		"an address without a finding":   {"and 172.17.0.1", "and it", "SILENT: compose.yaml:4: 172.17.0.1"},
		"a copy without a finding":       {"/w is a copy that cannot be written to", "/x is large", "SILENT: web: /w is files web: it is writable: false"},
		"a copy that can be written to":  {"/w is a copy", "/out is a copy", "FALSE: compose.yaml:4: note: web.volumes: /out is a copy"},
		"a new name without a finding":   {"compose.yaml:2: note: my_db: no Kubernetes Service can have this name: it is my-db in the stack\n", "", "SILENT: my_db: the name my_db"},
		"a name that is possible":        {"web.labels: labels are annotations", `web.labels: no Kubernetes Service can have the name "front"`, "FALSE: compose.yaml:5"},
		"a name that does not resolve":   {"it is my-db in", "it is mydb in", "FALSE: compose.yaml:2"},
		"a variable that is set":         {"UNSET is not set", "SET is not set", "FALSE: compose.yaml:3"},
		"a file that is there":           {"labels are annotations", "src/a.txt is not in the repository", "FALSE: compose.yaml:5"},
		"a directory that has files":     {"labels are annotations", "src holds no files", "FALSE: compose.yaml:5"},
		"an image that holds nothing":    {"labels are annotations", "src is not mounted at /src: the image holds them", "FALSE: compose.yaml:5"},
		"an image that holds it":         {"web.labels: labels are annotations", "web.volumes: web is not mounted at /image: the image holds them", ""},
		"a sentence that is not judged":  {"labels are annotations", "labels are ignored", "unread: compose.yaml:5"},
		"a variable that is not left":    {"labels are annotations", "URL has no value here, and no variable of that name is set: it is left out", "FALSE: compose.yaml:5"},
		"a port that leads nowhere":      {"labels are annotations", "port 8080 is not published on a node: in the stack it is web:80, and web-published:8080", "FALSE: compose.yaml:5"},
		"a refusal of what runs":         {"5: info: web.labels: labels are annotations", "5: refused: web.labels: labels are bad", "REFUSED: nothing else is refused"},
		"a line without a place":         {"compose.yaml:5: info: web.labels: labels are annotations", "labels are annotations", "unread: labels are annotations"},
		"a health check that there is":   {"web.labels: labels are annotations", "my_db.depends_on: web has no healthcheck in the file, and none is known from its image", "FALSE: compose.yaml:5"},
		"a volume that an image fills":   {"labels are annotations", "the volume starts empty: nothing shows a shell to copy its files at /new. Set seed", "FALSE: compose.yaml:5"},
		"files that do not stay":         {"labels are annotations", "the image's own files stay at /data, as Docker", "FALSE: compose.yaml:5"},
		"a host name that is another":    {"labels are annotations", `no pod can have the host name "a_b": it is a-b`, "FALSE: compose.yaml:5"},
		"a condition that is another":    {"labels are annotations", "this waits until job is healthy, not only until it has started", "FALSE: compose.yaml:5"},
		"a build where all are built":    {"labels are annotations", "the image web is not built here: build and push it", "FALSE: compose.yaml:5"},
		"a Deployment that is a Job":     {"web.labels: labels are annotations", "job.image: the image's configuration is not known here, so this is a Deployment", "FALSE: compose.yaml:5"},
		"a test that is restarted":       {"web.labels: labels are annotations", "t.restart: the service runs as a test and is not restarted when it ends", "FALSE: compose.yaml:5"},
		"a container that there is":      {"labels are annotations", `"front" is a name that docker compose gives a container: write web`, "FALSE: compose.yaml:5"},
		"a name that can be resolved":    {"labels are annotations", `"front" is not a name that Kubernetes can resolve: if it is a host, write web here`, "FALSE: compose.yaml:5"},
		"an address that works":          {"labels are annotations", `a stack has no Docker host, so "10.0.0.1" does not lead to its services`, "FALSE: compose.yaml:5"},
		"memory that is a disk":          {"labels are annotations", "/h is memory of this pod alone, as with shm_size", "FALSE: compose.yaml:5"},
		"a volume that is not the pod's": {"web.labels: labels are annotations", "my_db.volumes: the volume lives as long as the pod", "FALSE: compose.yaml:5"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := strings.Replace(shopFindings, c.from, c.to, 1)
			if findings == shopFindings {
				t.Fatal("the findings were not changed")
			}
			wantsResult(t, check(t, shop(t), shopVerdict, shopObjects, findings, false), c.want)
		})
	}
}

func TestRefusals(t *testing.T) {
	const verdict = "outcome: refused\nrefusals: [{at: ['compose.yaml:3', 'compose.yaml:4'], words: [NAME]}, {at: ['compose.yaml:5'], words: [sock], may: true}]"
	const right = "compose.yaml:4: refused: web.image: NAME is not set, so there is no image\n"
	for name, c := range map[string]struct {
		findings string
		failed   bool
		want     string
	}{
		"as expected":                 {right, true, ""},
		"with what may be":            {right + "compose.yaml:5: refused: web.volumes: the socket\n", true, ""},
		"with the word in a note":     {"compose.yaml:4: refused: web.image: invalid\ncompose.yaml:4: note: web.image: variable NAME is not set\n", true, ""},
		"with the word in a far note": {"compose.yaml:4: refused: web.image: invalid\ncompose.yaml:5: note: web.image: variable NAME is not set\n", true, "SILENT: refused at"},
		"not refused":                 {"", false, "SILENT: refused at compose.yaml:3 or compose.yaml:4: NAME"},
		"without the word":            {"compose.yaml:4: refused: web.image: invalid reference\n", true, "SILENT: refused at"},
		"at another line":             {"compose.yaml:2: refused: web.image: NAME is not set\n", true, "SILENT: refused at"},
		"and something else":          {right + "compose.yaml:5: refused: web.labels: no labels\n", true, "REFUSED: nothing else is refused"},
		"without a place":             {right + "invalid project\n", true, "FALSE: place: invalid project"},
		"without a sentence":          {"", true, "SILENT: a failure has a sentence"},
		"as a note, and runs":         {strings.Replace(right, "refused", "note", 1), false, "SILENT: refused at"},
	} {
		t.Run(name, func(t *testing.T) { wantsResult(t, check(t, shop(t), verdict, "", c.findings, c.failed), c.want) })
	}
}

// TestAFalseSentenceExcusesNothing: a mount that is missing stays silent if the reason that is given is false.
func TestAFalseSentenceExcusesNothing(t *testing.T) {
	objects := strings.Replace(shopObjects, "- {name: src, mountPath: /src, subPath: files, readOnly: true}", "", 1)
	const honest, wrong = "web.volumes: src is too large for /src", "web.volumes: src is not mounted at /src: the image holds it"
	for reason, silent := range map[string]bool{honest: false, wrong: true} {
		bad := check(t, shop(t), shopVerdict, objects, shopFindings+"compose.yaml:5: note: "+reason+"\n", false)
		if got := slices.ContainsFunc(bad, func(b string) bool { return strings.HasPrefix(b, "SILENT: web: /src") }); got != silent {
			t.Errorf("%s: silent %t: %q", reason, got, bad)
		}
	}
}

func TestIsPrinted(t *testing.T) {
	const printed = "a.yml:4: note: a.x: P_A is one: set P_A (also Q, R, in line 7)\na.yml:4: note: a.x: /s is two (also /t)\n"
	for reason, want := range map[string]bool{"P_A is one: set P_A": true, "R is one: set R": true, "/t is two": true, "/u is two": false, "Q is two": false} {
		if got := isPrinted(printed, reason); got != want {
			t.Errorf("%s: %t", reason, got)
		}
	}
}

func TestParseFindingsUnfolds(t *testing.T) {
	got := parseFindings("a.yml:3: note: x (2 services: a, b): why\na.yml:3: note: (2 services: a, b): why\na.yml:3:7: note: a.x: why (also in lines 5, b.yml:6)\n"+
		"a.yml:4: note: a.x: /p is one (also /q, /r, in line 7)\na.yml:4: note: a.x: /s is two (also /t)\n", []string{"a", "b"})
	want := []Finding{
		{File: "a.yml", Line: 3, Level: "note", What: "a.x", Service: "a", Field: "x", Reason: "why"},
		{File: "a.yml", Line: 3, Level: "note", What: "b.x", Service: "b", Field: "x", Reason: "why"},
		{File: "a.yml", Line: 3, Level: "note", What: "a", Service: "a", Reason: "why"},
		{File: "a.yml", Line: 3, Level: "note", What: "b", Service: "b", Reason: "why"},
		{File: "a.yml", Line: 3, Level: "note", What: "a.x", Service: "a", Field: "x", Reason: "why"},
		{File: "a.yml", Line: 5, Level: "note", Reason: "why"},
		{File: "b.yml", Line: 6, Level: "note", Reason: "why"},
		{File: "a.yml", Line: 4, Level: "note", What: "a.x", Service: "a", Field: "x", Reason: "/p is one"},
		{File: "a.yml", Line: 7, Level: "note", Reason: "/p is one"},
		{File: "a.yml", Line: 4, Level: "note", What: "a.x", Service: "a", Field: "x", Reason: "/s is two (also /t)"},
	}
	if !slices.Equal(want, got) {
		t.Errorf("findings %+v, want %+v", got, want)
	}
}

func TestParseFindings(t *testing.T) {
	const text = "a.yml:3: note: a.b.environment.X:Y: it is: so\na.yml: refused: a: no\n.conductor.yaml: note: tests.it.command: c\nbroken\n"
	got := parseFindings(text, []string{"a", "a.b"})
	want := []Finding{
		{File: "a.yml", Line: 3, Level: "note", What: "a.b.environment.X:Y", Service: "a.b", Field: "environment.X:Y", Reason: "it is: so"},
		{File: "a.yml", Level: "refused", What: "a", Service: "a", Reason: "no"},
		{File: ".conductor.yaml", Level: "note", What: "tests.it.command", Field: "tests.it.command", Reason: "c"},
		{Reason: "broken"},
	}
	if !slices.Equal(want, got) {
		t.Errorf("findings %+v, want %+v", got, want)
	}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if got[i].String() != line {
			t.Errorf("%q became %q", line, got[i])
		}
	}
}
