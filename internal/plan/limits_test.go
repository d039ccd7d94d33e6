package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

func TestTheOutlineOfAPlanIsWhatTheRunWillList(t *testing.T) {
	p, err := makePlan(t, map[string]string{
		".conductor.yaml":       "version: 1\ntests:\n  e2e: {command: x, image: web, shards: 3, retry: 1}\nstack:\n  public: [{service: web, port: 80}]\n",
		"docker-compose.qa.yml": "services:\n  web: {build: ./web, ports: [\"80\"]}\n  cache: {image: \"redis:7\"}\n  queue: {image: \"redis:7\"}\n",
		"web/Dockerfile":        "FROM scratch\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := p.outline("registry.example.com/acme/shop")
	slices.Sort(got.Services)
	want := compact.Plan{
		Builds: []string{"web"}, Repository: "registry.example.com/acme/shop", Images: []string{"redis:7"}, Services: []string{"cache", "queue", "web"},
		Addresses: map[string]string{"web": "kubectl -n stack-shop-1 port-forward service/web 80:80"}, Suites: []compact.Suite{{Name: "e2e", Shards: 3, Tries: 2}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAPlanThatARunHasNoRoomForIsRefused: each number is within its limit, but all long names together are too large.
func TestAPlanThatARunHasNoRoomForIsRefused(t *testing.T) {
	var services strings.Builder
	for i := range MaxServices {
		fmt.Fprintf(&services, "  s%062d: {image: 'registry.example.com/some/rather/long/path/of/an/image:%d'}\n", i, i)
	}
	config := "version: 1\ntests:\n"
	for i := range MaxSuites {
		config += fmt.Sprintf("  t%062d: {image: a, command: x, shards: 4}\n", i)
	}
	_, err := makePlan(t, map[string]string{".conductor.yaml": config, "docker-compose.qa.yml": "services:\n" + services.String()})
	if f := failure.Of(err); f == nil || f.Kind != failure.Terminal || !strings.Contains(f.Sentence, "64 suites") || !strings.Contains(f.Sentence, "256 services") {
		t.Errorf("%v", err)
	}
}
