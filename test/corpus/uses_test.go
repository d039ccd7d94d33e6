package corpus

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const shop = `services:
  web:
    image: nginx
    container_name: shop-web
    ports: ["8080:80", "53:53/udp"]
    networks: [front]
    configs: [{source: site, target: /etc/nginx/conf.d/default.conf}]
    links: ["api_server:backend"]
  api_server:
    image: api
    command: serve --db=postgres://u:p@store:5432/x --cache redis-of-nobody
    environment: {OTHER: "http://webs:1/", LOG: jobs}
    networks: {front: , back: }
    expose: ["9000"]
  db:
    image: postgres
    networks: {back: {aliases: [store]}}
    environment: {HINT: "http://web:80/"}
  jobs:
    image: jobs
    network_mode: service:db
configs:
  site: {file: site.conf}
networks: {front: , back: }
`

func TestUses(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"compose.yaml": shop, "site.conf": "proxy_pass http://api_server:9000;"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Load(t.Context(), Project{Name: "shop", Dir: dir, Files: []string{"compose.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Use{
		{From: "api_server", To: "db", Name: "db"}, {From: "api_server", To: "db", Name: "store", Port: 5432}, {From: "api_server", To: "web", Name: "web"},
		{From: "db", To: "api_server", Name: "api_server"}, {From: "jobs", To: "api_server", Name: "api_server"},
		{From: "web", To: "api_server", Name: "api_server", Port: 9000}, {From: "web", To: "api_server", Name: "backend"},
	}
	if diff := cmp.Diff(want, Uses(p)); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{80}, Ports(p.Services["web"])); diff != "" {
		t.Errorf("ports of web (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{9000}, Ports(p.Services["api_server"])); diff != "" {
		t.Errorf("ports of api_server (-want +got):\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); err == nil {
		t.Error("an empty directory is a corpus")
	}
	for name, content := range map[string]string{"b/compose.yml": "", "a/docker-compose.yml": "", "none/README": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Read(dir)
	want := []Project{
		{Name: "a", Dir: filepath.Join(dir, "a"), Files: []string{"docker-compose.yml"}}, {Name: "b", Dir: filepath.Join(dir, "b"), Files: []string{"compose.yml"}},
	}
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := os.WriteFile(filepath.Join(dir, "corpus.json"), []byte(`[{"name": "b", "files": ["x.yaml", "y.yaml"], "profiles": ["p"]}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err = Read(dir)
	want = []Project{{Name: "b", Dir: filepath.Join(dir, "b"), Files: []string{"x.yaml", "y.yaml"}, Profiles: []string{"p"}}}
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
