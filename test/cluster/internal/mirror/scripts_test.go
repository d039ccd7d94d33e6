package mirror

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// script copies an image's script to a directory, with the absolute paths in
// it replaced, so that it can be run here.
func script(t *testing.T, name string, replace ...string) string {
	t.Helper()
	text, err := files.ReadFile("files/" + name)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), strings.TrimSuffix(name, ".sh"))
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func runScript(t *testing.T, env string, args ...string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", args...)
	cmd.Env = append(os.Environ(), env)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, output)
	}
	return strings.TrimSpace(string(output))
}

func TestWgetKeepsItsTimeLimit(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "busybox")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	wget := script(t, "wget.sh", "/bin/busybox", fake)
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"-q", "-O", "-", "http://x/a b"}, "wget -q -O - http://x/a b"},
		{[]string{"-T", "5", "-q", "http://x"}, "timeout 5 " + fake + " wget -q http://x"},
		{[]string{"-q", "--timeout=3", "http://x"}, "timeout 3 " + fake + " wget -q http://x"},
		{[]string{"-q", "-t", "1", "-T2", "--spider", "http://x"}, "timeout 2 " + fake + " wget -q --spider http://x"},
	}
	for _, tt := range tests {
		if got := runScript(t, "", append([]string{wget}, tt.args...)...); got != tt.want {
			t.Errorf("wget %q runs %q, want %q", tt.args, got, tt.want)
		}
	}
}

// TestAccounts runs what Dockerfiles commonly run, on account files of its own.
func TestAccounts(t *testing.T) {
	etc, home := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n"} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	replace := []string{"/etc/", etc + "/", "/home/", home + "/", "chown ", ": "}
	adduser, addgroup := script(t, "adduser.sh", replace...), script(t, "addgroup.sh", replace...)
	path := "PATH=" + filepath.Dir(addgroup) + ":" + os.Getenv("PATH")

	runScript(t, path, addgroup, "-g", "1001", "-S", "nodejs")
	runScript(t, path, adduser, "-S", "nextjs", "-u", "1001", "-G", "nodejs")
	runScript(t, path, adduser, "-D", "-u", "5000", "app")
	runScript(t, path, adduser, "-SDH", "quiet")
	runScript(t, path, addgroup, "app", "nodejs")

	want := "root:x:0:0:root:/root:/bin/sh\n" +
		"nextjs:x:1001:1001::" + home + "/nextjs:/bin/sh\n" +
		"app:x:5000:5000::" + home + "/app:/bin/sh\n" +
		"quiet:x:100:100::" + home + "/quiet:/bin/sh\n"
	if diff := cmp.Diff(want, read(t, filepath.Join(etc, "passwd"))); diff != "" {
		t.Errorf("passwd (-want +got):\n%s", diff)
	}
	want = "root:x:0:\nnodejs:x:1001:app\napp:x:5000:\nquiet:x:100:\n"
	if diff := cmp.Diff(want, read(t, filepath.Join(etc, "group"))); diff != "" {
		t.Errorf("group (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(home, "quiet")); err == nil {
		t.Error("-H made a home")
	}
	if output, err := exec.Command("/bin/sh", adduser, "app").CombinedOutput(); err == nil {
		t.Errorf("a second user app was made: %s", output)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
