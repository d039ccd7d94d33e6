package house

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unwelcome matches texts that would tie the repository to one machine or to one source of packages. It is assembled from parts so that
// this file does not match.
var unwelcome = regexp.MustCompile(strings.Join([]string{
	`(^|[^\w./-])/` + `(root|work|home/\w+|Users/\w+)/\w`,
	`/tmp/` + `plan`,
	`proxy\.` + `golang\.org`, `sum\.` + `golang\.org`, `registry\.` + `npmjs\.org`, `registry\.` + `yarnpkg\.com`, `deb\.` + `debian\.org`, `pypi\.` + `org`,
	`-----BEGIN ` + `(RSA |EC |OPENSSH )?PRIVATE KEY-----\n[A-Za-z0-9+/]{40}`,
}, "|"))

// committed are the files in git's index, without those deleted in the work tree.
func committed(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list the files: %v", err)
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(names) < 50 {
		t.Fatalf("git knows only %d files", len(names))
	}
	return names
}

func TestFilesNameNoMachine(t *testing.T) {
	for _, name := range committed(t) {
		data, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) || filepath.Base(name) == "go.sum" || strings.HasSuffix(name, "package-lock.json") {
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if bytes.IndexByte(data, 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(data), "\n") {
			if found := unwelcome.FindString(line); found != "" {
				t.Errorf("%s:%d: %q", name, i+1, found)
			}
		}
	}
}

func TestUnwelcomeTextsAreFound(t *testing.T) {
	for _, s := range []string{"see /root" + "/x", `"/work` + `/main"`, "GOPROXY=https://proxy." + "golang.org"} {
		if !unwelcome.MatchString(s) {
			t.Errorf("%q passes", s)
		}
	}
	for _, s := range []string{"./root" + "/x", "path/work" + "/x", "a work" + "/b"} {
		if found := unwelcome.FindString(s); found != "" {
			t.Errorf("%q: %q is found", s, found)
		}
	}
}

// pinned matches the use of an action by commit hash, with its version in a comment.
var pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$`)

func TestActionsArePinned(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.y*ml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("workflows: %v, %v", files, err)
	}
	shas := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), "\npermissions: {}\n") {
			t.Errorf("%s: the workflow's own permissions are not empty", filepath.Base(f))
		}
		for i, line := range strings.Split(string(data), "\n") {
			_, use, ok := strings.Cut(line, "uses: ")
			if !ok {
				continue
			}
			if !pinned.MatchString(use) {
				t.Errorf("%s:%d: %q is not pinned as owner/action@<40 hex> # vN", filepath.Base(f), i+1, use)
				continue
			}
			name, sha, _ := strings.Cut(use, "@")
			if before := shas[name]; before != "" && before != sha {
				t.Errorf("%s: %s is pinned twice, to %s and %s", filepath.Base(f), name, before, sha)
			}
			shas[name] = sha
		}
	}
}
