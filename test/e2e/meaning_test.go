//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// ofFiles makes a repository of these files, which may be in directories.
func ofFiles(t *testing.T, files map[string]string) *repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "files")
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return repository(t, dir)
}

// meaning is a repository whose suite asserts, from inside its container, what docker compose would have given it.
type meaning struct {
	name  string
	files map[string]string
}

var meanings = []meaning{
	{"a mount that the image does not hold", map[string]string{
		".conductor.yaml": "version: 1\ntests: {files: {service: e2e}}\n",
		"docker-compose.qa.yml": `
services:
  e2e:
    build: {context: ., dockerfile: Dockerfile.plain}
    working_dir: /app
    volumes: [".:/app"]
    command: sh -c 'grep -qx "the file" /app/marker.txt && test -f /app/Dockerfile.plain && test -f /tool'
`,
		"Dockerfile.plain": "FROM busybox:1.36\nRUN touch /tool\n",
		"marker.txt":       "the file\n",
	}},
	{"a mount elsewhere than the image has it", map[string]string{
		".conductor.yaml": "version: 1\ntests: {files: {service: e2e}}\n",
		"docker-compose.qa.yml": `
services:
  db:
    build: ./db
    volumes: ["./db/init:/docker-entrypoint-initdb.d"]
    command: sh -c 'exec httpd -f -p 8080 -h /docker-entrypoint-initdb.d'
    expose: [8080]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:8080/1.sql", interval: 1s, retries: 30}
  e2e:
    image: busybox:1.36
    command: sh -c 'until wget -q -T 5 -O - http://db:8080/1.sql | grep -qx "select 1;"; do sleep 1; done'
`,
		"db/Dockerfile": "FROM busybox:1.36\nCOPY . /tmp/build\n",
		"db/init/1.sql": "select 1;\n",
	}},
	{"a mount of what the target stage does not copy", map[string]string{
		".conductor.yaml": "version: 1\ntests: {files: {service: e2e}}\n",
		"docker-compose.qa.yml": `
services:
  e2e:
    build: {context: ., target: tools}
    working_dir: /src
    volumes: [".:/src"]
    command: sh -c 'grep -qx "the source" /src/source.txt && grep -qx ignored /src/ignored.txt'
`,
		"Dockerfile":    "FROM busybox:1.36 AS tools\nWORKDIR /src\nFROM tools\nCOPY . .\n",
		".dockerignore": "ignored.txt\n",
		"source.txt":    "the source\n",
		"ignored.txt":   "ignored\n",
	}},
	{"a mount that the image holds", map[string]string{
		".conductor.yaml": "version: 1\ntests: {files: {service: e2e}}\n",
		"docker-compose.qa.yml": `
services:
  e2e:
    build: .
    volumes: [".:/src"]
    command: sh -c 'grep -qx "the source" source.txt && echo written > new.txt'
`,
		"Dockerfile": "FROM busybox:1.36\nWORKDIR /src\nCOPY . .\n",
		"source.txt": "the source\n",
	}},
	{"paths of the host", map[string]string{
		".conductor.yaml": "version: 1\ntests: {paths: {service: e2e}}\n",
		"docker-compose.qa.yml": `
services:
  writer:
    image: busybox:1.36
    volumes: ["/tmp/shared-dir:/out", "/dev/shm:/dev/shm", "${PWD}/conf:/conf:ro"]
    command: sh -c 'cp /conf/setting /out/copied && mount | grep -q "tmpfs on /dev/shm" && echo yes > /out/shm && exec httpd -f -p 8080 -h /out'
    expose: [8080]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:8080/shm", interval: 1s, retries: 30}
  e2e:
    image: busybox:1.36
    volumes: ["/tmp/shared-dir:/in"]
    command: sh -c 'until wget -q -T 5 -O - http://writer:8080/shm | grep -qx yes; do sleep 1; done && grep -qx "color = red" /in/copied'
`,
		"conf/setting": "color = red\n",
	}},
	{"names that Kubernetes does not have", map[string]string{
		".conductor.yaml": "version: 1\ntests: {names: {service: e2e}}\n",
		"docker-compose.qa.yml": `
services:
  my_db:
    image: busybox:1.36
    command: sh -c 'mkdir /www && echo found > /www/index.html && exec httpd -f -p 5432 -h /www'
    expose: [5432]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:5432/", interval: 1s, retries: 30}
  e2e:
    image: busybox:1.36
    environment: {NET: "Server=my_db;Database=my_db", DB_HOST: my_db, URL: "http://my_db:5432/", POSTGRES_DB: my_db}
    command:
      - sh
      - -c
      - |
        set -e
        server=$${NET#Server=}; server=$${server%%;*}
        for address in "http://$$server:5432/" "http://$$DB_HOST:5432/" "$$URL"; do until wget -q -T 5 -O - "$$address" | grep -qx found; do sleep 1; done; done
        test "$$POSTGRES_DB" = my_db
        test "$${NET##*=}" = my_db
`,
	}},
	{"a hostname that is another service's name", map[string]string{
		".conductor.yaml": "version: 1\ntests: {names: {service: e2e}}\n",
		"docker-compose.qa.yml": `
services:
  app: {image: busybox:1.36, command: "sh -c 'mkdir /www && echo app > /www/index.html && exec httpd -f -p 8080 -h /www'", expose: [8080], healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:8080/", interval: 1s, retries: 30}}
  other: {image: busybox:1.36, hostname: app, command: "sh -c 'mkdir /www && echo other > /www/index.html && exec httpd -f -p 8080 -h /www'", expose: [8080], healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:8080/", interval: 1s, retries: 30}}
  e2e:
    image: busybox:1.36
    command: sh -c 'until wget -q -T 5 -O - http://app:8080/ | grep -qx app; do sleep 1; done; for i in 1 2 3 4 5 6 7 8 9 10; do if wget -q -T 5 -O - http://app:8080/ | grep -qx other; then exit 1; fi; done'
`,
	}},
	{"a suite that is the service of its name", map[string]string{
		".conductor.yaml": "version: 1\ntests: {integration: 'test \"$MODE\" = qa && grep -qx data /data/file'}\n",
		"docker-compose.qa.yml": `
services:
  app: {image: busybox:1.36, command: sleep 3600, healthcheck: {test: "true", interval: 1s}}
  tests: {image: busybox:1.36, environment: {MODE: qa}, volumes: ["./data:/data:ro"], depends_on: [app], command: "false"}
`,
		"data/file": "data\n",
	}},
	{"a suite that runs in a service that is up", map[string]string{
		".conductor.yaml": "version: 1\ntests: {integration: {run: app, command: 'test \"$MODE\" = qa && until wget -q -T 5 -O - http://app:8080/index.html | grep -qx app; do sleep 1; done && grep -qx app /www/index.html'}}\n",
		"docker-compose.qa.yml": `
services:
  app:
    image: busybox:1.36
    environment: {MODE: qa}
    volumes: ["www:/www"]
    command: sh -c 'echo app > /www/index.html && exec httpd -f -p 8080 -h /www'
    ports: ["80:8080"]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:8080/index.html", interval: 1s, retries: 30}
volumes: {www: {}}
`,
	}},
}

// TestComposeFilesMeanWhatTheyMeanToCompose runs the suites of meanings; each fails if its container has not got what docker compose would give it.
func TestComposeFilesMeanWhatTheyMeanToCompose(t *testing.T) {
	t.Parallel()
	for _, m := range meanings {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			run := ofFiles(t, m.files).test()
			if run.Status.Outcome != v1alpha1.OutcomePassed {
				t.Errorf("outcome %s, want passed: %s", run.Status.Outcome, run.Status.Message)
				log, err := here.Kubectl(t.Context(), "-n", run.Status.Namespace, "logs", "-l", v1alpha1.LabelSuite, "-c", "test", "--tail=-1")
				t.Errorf("the suite's log: %v\n%s", err, log)
			}
		})
	}
}
