//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestRunsRefusesACommandThatDoesNotExist(t *testing.T) {
	var out strings.Builder
	cmd := rootCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"runs", "lst"})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), `unknown command "lst" for "conductor runs"; did you mean list?`) {
		t.Errorf("conductor runs lst: %v\n%s", err, out.String())
	}
	cmd = rootCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"runs"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "watch") {
		t.Errorf("conductor runs: %v\n%s", err, out.String())
	}
}

func TestRunsNamesTheMissingArgument(t *testing.T) {
	for _, args := range [][]string{{"get"}, {"watch", "a", "b"}, {"cancel"}, {"extend"}, {"down"}, {"record"}} {
		cmd := rootCommand()
		cmd.SetArgs(append([]string{"runs"}, args...))
		want := "conductor runs " + args[0] + " requires the name of one run: conductor runs " + args[0] + " RUN"
		if err := cmd.Execute(); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), ". See conductor runs list") {
			t.Errorf("%v: got %v, want %s", args, err, want)
		}
	}
}

func TestExtendExplainsWhatItDid(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 5, time.UTC)
	for _, tc := range []struct {
		length string
		expiry time.Time
		want   string
	}{
		{"4h", now.Add(4 * time.Hour).Truncate(time.Second), "the stack of run r1 is kept until 2026-03-04 16:00 UTC"},
		{"4h", now.Add(9 * time.Hour), "the stack of run r1 is kept until 2026-03-04 21:00 UTC"},
		{"4h", now.Add(2 * time.Hour), "the stack of run r1 is kept until 2026-03-04 14:00 UTC, the longest time that the operator allows (keep.max)"},
		{"forever", now.Add(2 * time.Hour), "the stack of run r1 is kept until 2026-03-04 14:00 UTC, the longest time that the operator allows (keep.max)"},
		{"forever", time.Time{}, "the stack of run r1 is kept until it is deleted"},
	} {
		e, err := extension("ada", tc.length, now)
		if got := extended("r1", e, tc.expiry); err != nil || got != tc.want {
			t.Errorf("--for %s: %q, %v, want %q", tc.length, got, err, tc.want)
		}
	}
	for _, length := range []string{"", "4 h", "-1h", "0s", "long"} {
		if _, err := extension("ada", length, now); err == nil || !strings.Contains(err.Error(), "neither a duration such as 4h nor forever") {
			t.Errorf("--for %q: %v", length, err)
		}
	}
}

func TestValidatePrintsNotes(t *testing.T) {
	project(t, map[string]string{
		".conductor.yaml":       "version: 1\ntests:\n  smoke: {image: busybox, command: \"true\"}\n",
		"docker-compose.qa.yml": "services:\n  web:\n    image: nginx:1.27\n    container_name: shop\n    environment: [NOWHERE]\n",
	})
	var out, notes strings.Builder
	cmd := rootCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	cmd.SetArgs([]string{"validate"})
	if err := cmd.Execute(); err != nil || out.String() != "valid: 0 images to build, 1 suite; 1 note\n" {
		t.Errorf("%v: %s", err, out.String())
	}
	if !strings.Contains(notes.String(), "docker-compose.qa.yml:5: note: web.environment") || !strings.Contains(notes.String(), "NOWHERE") {
		t.Errorf("notes:\n%s", notes.String())
	}
}

func TestConvertRefusesASecretThatIsNotUsed(t *testing.T) {
	files := map[string]string{
		".env": "DB_PASSWORD=hunter2\n",
		"compose.yaml": "services:\n  db:\n    image: postgres:17\n    environment: {PGPASSWORD: \"${DB_PASSWORD}\"}\n  mail:\n    image: mail:1\n" +
			"    profiles: [mail]\n    environment: [MAIL_KEY]\n    secrets: [token]\nsecrets:\n  token: {file: ./token.txt}\n",
	}
	for _, tc := range []struct {
		secrets []string
		want    string
		status  int
	}{
		{[]string{"DB_PASWORD"}, "--secret DB_PASWORD: the compose files do not use this variable; did you mean DB_PASSWORD?", 2},
		{[]string{"DB_PASSWORD", "OTHER"}, "--secret OTHER: the compose files do not use this variable", 2},
		{[]string{"DB_PASSWORD", "MAIL_KEY", "TOKEN"}, "", 0},
	} {
		project(t, files)
		var args []string
		for _, s := range tc.secrets {
			args = append(args, "--secret", s)
		}
		out, notes, status := convert(t, args...)
		if status != tc.status || !strings.Contains(notes, tc.want) || strings.Contains(out, "hunter2") || status != 0 && out != "" {
			t.Errorf("%v: exit status %d, notes %s\n%s", tc.secrets, status, notes, out)
		}
	}
}

func TestVersion(t *testing.T) {
	var out strings.Builder
	cmd := rootCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"version"})
	if err := cmd.Execute(); err != nil || !strings.HasPrefix(out.String(), "conductor "+version+" ") || version == "" {
		t.Errorf("%v: %q", err, out.String())
	}
}

func TestWithoutAKubeconfigTheFileIsNamed(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nonexistent/config")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	cmd := rootCommand()
	cmd.SetArgs([]string{"runs", "list"})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "no cluster is configured: /nonexistent/config does not exist") {
		t.Errorf("%v", err)
	}
}
