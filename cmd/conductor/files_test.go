//go:build linux

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesAsksTheAgentWithItsToken(t *testing.T) {
	asked := ""
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Authorization") + " " + r.URL.String()
		http.NotFound(w, r)
	}))
	defer agent.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := rootCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"files", "--agent", agent.URL, "--token-file", token, "--copy", "data/a b=" + t.TempDir()})
	if err := cmd.Execute(); err == nil || err.Error() != exitCode(1).Error() {
		t.Errorf("ended with %v", err)
	}
	if asked != "Bearer secret /v1/source?path=data%2Fa+b" || !strings.Contains(out.String(), "the files of data/a b: ") || !strings.Contains(out.String(), "the commit does not have these files") {
		t.Errorf("asked %q, printed %q", asked, out.String())
	}
}

func TestFilesRefusesWhatItCannotDo(t *testing.T) {
	for name, args := range map[string][]string{
		"no copy":            {"--agent", "http://x", "--token-file", "/t"},
		"no agent":           {"--token-file", "/t", "--copy", "a=/b"},
		"no token":           {"--agent", "http://x", "--copy", "a=/b"},
		"no time":            {"--agent", "http://x", "--token-file", "/t", "--copy", "a=/b", "--timeout", "0s"},
		"a path outside":     {"--agent", "http://x", "--token-file", "/t", "--copy", "../a=/b"},
		"a limit in letters": {"--agent", "http://x", "--token-file", "/t", "--copy", "a=/b", "--limit", "much"},
	} {
		cmd := rootCommand()
		cmd.SetArgs(append([]string{"files"}, args...))
		if err := cmd.Execute(); err == nil || err.Error() == exitCode(1).Error() {
			t.Errorf("%s: ended with %v", name, err)
		}
	}
}

func TestAnAgentServesASourceByItsDigestOnly(t *testing.T) {
	if open, err := openSource(agentFlags{}); open != nil || err != nil {
		t.Errorf("without --source: %t, %v", open != nil, err)
	}
	if _, err := openSource(agentFlags{source: "not a host/x@sha256:0"}); err == nil {
		t.Error("a host that is none is taken")
	}
	open, err := openSource(agentFlags{source: "r.example/sources/acme/shop:run"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "host/path@digest") {
		t.Errorf("a tag: %v", err)
	}
}
