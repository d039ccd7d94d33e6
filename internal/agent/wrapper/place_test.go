package wrapper

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// workTree is a working directory with traps in it.
func workTree(t *testing.T) *place {
	base := t.TempDir()
	dir := filepath.Join(base, "work")
	for _, name := range []string{"junit.xml", "reports/a.xml", "reports/deep/er/b.xml", "reports/b.txt", ".hidden/c.xml", "token/token", "we [ird]/d.xml"} {
		write(t, filepath.Join(dir, name), name)
	}
	write(t, filepath.Join(base, "secret.xml"), "secret")
	write(t, filepath.Join(dir, "src/app/reports/a.xml"), "")
	link(t, "../secret.xml", filepath.Join(dir, "outside.xml"))
	link(t, filepath.Join(base, "secret.xml"), filepath.Join(dir, "absolute.xml"))
	link(t, "..", filepath.Join(dir, "up"))
	link(t, ".", filepath.Join(dir, "loop"))
	link(t, "reports/a.xml", filepath.Join(dir, "latest.xml"))
	link(t, "reports", filepath.Join(dir, "linked"))
	link(t, "nowhere", filepath.Join(dir, "dangling.xml"))
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.xml"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return openPlace(filepath.Join(dir, "token", "token"))
}

// names lists the names of files in an archive.
func names(files []match) []string {
	var all []string
	for _, f := range files {
		all = append(all, f.name)
	}
	return all
}

func TestFind(t *testing.T) {
	p := workTree(t)
	for pattern, want := range map[string][]string{
		"*.xml":                                 {"junit.xml", "latest.xml"},
		"./reports//*.xml":                      {"reports/a.xml"},
		"reports/**":                            {"reports/a.xml", "reports/b.txt", "reports/deep/er/b.xml"},
		"reports":                               nil,
		"**/*.xml":                              {".hidden/c.xml", "junit.xml", "latest.xml", "reports/a.xml", "reports/deep/er/b.xml", "src/app/reports/a.xml", "we [ird]/d.xml"},
		"{reports,we*}/*.{xml,txt}":             {"reports/a.xml", "reports/b.txt", "we [ird]/d.xml"},
		"linked/*.xml":                          {"linked/a.xml"},
		"loop/junit.xml":                        {"loop/junit.xml"},
		"up/*.xml":                              nil,
		"up/secret.xml":                         nil,
		"token/*":                               nil,
		"**/token":                              nil,
		"pipe.xml":                              nil,
		p.dir + "/reports/?.xml":                {"reports/a.xml"},
		"{reports,*/reports,*/*/reports}/*.xml": {"reports/a.xml", "src/app/reports/a.xml"},
	} {
		files, problems := p.find(t.Context(), "test reports", []string{pattern})
		if diff := cmp.Diff(want, names(files)); diff != "" {
			t.Errorf("%s: -want +got\n%s", pattern, diff)
		}
		if (len(want) == 0) != (len(problems) == 1) || len(problems) == 1 && !strings.Contains(problems[0], "matches "+pattern+" in "+p.dir+".") {
			t.Errorf("%s: problems %q", pattern, problems)
		}
	}
}

func TestFindMany(t *testing.T) {
	p := workTree(t)
	files, problems := p.find(t.Context(), "artifacts", []string{"reports/b.txt", "../*", "none/*", "/proc/version", "/**", "[", "reports/*"})
	if want := []string{"reports/b.txt", "reports/a.xml"}; !slices.Equal(names(files), want) {
		t.Errorf("files %q", names(files))
	}
	want := []string{
		`The pattern "../*" for artifacts cannot be used: it leads out of the working directory.`,
		`The pattern "/proc/version" for artifacts cannot be used: it begins in a directory of the kernel or of Conductor.`,
		`The pattern "/**" for artifacts cannot be used: it searches the whole file system; begin it with a directory, as in /out/**.`,
		`The pattern "[" for artifacts cannot be used: syntax error in pattern.`,
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if files, problems := p.find(ended, "artifacts", []string{"**"}); len(files) > 0 || len(problems) != 1 {
		t.Errorf("after the end of its time: %q, %q", names(files), problems)
	}
	if files, problems := p.find(t.Context(), "artifacts", nil); files != nil || problems != nil {
		t.Errorf("without patterns: %q, %q", names(files), problems)
	}
}

// matches are files of the working directory.
func (p *place) matches(paths ...string) []match {
	var all []match
	for _, name := range paths {
		all = append(all, match{tree: &p.tree, path: name, name: name})
	}
	return all
}

// TestFindAbsolute searches outside the working directory, in directories that the test has made.
func TestFindAbsolute(t *testing.T) {
	p := workTree(t)
	base := filepath.Dir(p.dir)
	out := filepath.Join(base, "out")
	write(t, filepath.Join(out, "a.xml"), "a")
	write(t, filepath.Join(out, "deep/b.xml"), "b")
	write(t, "rootfs"+out+"/deep/b.xml", "another")
	link(t, "../secret.xml", filepath.Join(out, "leads-out.xml"))
	link(t, "a.xml", filepath.Join(out, "latest.xml"))
	link(t, out, filepath.Join(base, "linked"))
	link(t, "/proc/self", filepath.Join(base, "kernel"))
	name := func(path string) string { return "rootfs" + filepath.Join(base, path) }
	for pattern, want := range map[string][]string{
		out + "/*.xml":           {name("out/a.xml"), name("out/latest.xml")},
		out + "/**/b.xml":        {name("out/deep/b.xml")},
		out + "/{a,c}.xml":       {name("out/a.xml")},
		out + "/a.xml":           {name("out/a.xml")},
		base + "/linked/a.xml":   {name("linked/a.xml")},
		base + "/**/a.xml":       {"reports/a.xml", name("out/a.xml"), "src/app/reports/a.xml"},
		base + "/none/**":        nil,
		p.dir + "/token/*":       nil,
		base + "/*/../out/a.xml": {name("out/a.xml")},
	} {
		files, problems := p.find(t.Context(), "test reports", []string{pattern})
		if diff := cmp.Diff(want, names(files)); diff != "" {
			t.Errorf("%s: -want +got\n%s", pattern, diff)
		}
		if (len(want) == 0) != (len(problems) == 1) {
			t.Errorf("%s: problems %q", pattern, problems)
		}
	}
	files, problems := p.find(t.Context(), "artifacts", []string{"rootfs/**", out + "/**/b.xml", base + "/kernel/*", out + "/a.xml", p.dir + "/junit.xml", "junit.xml"})
	if diff := cmp.Diff([]string{name("out/deep/b.xml"), name("out/a.xml"), "junit.xml"}, names(files)); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"A file for artifacts was left out: another one has its name in the record, " + name("out/deep/b.xml") + ".",
		fmt.Sprintf("The pattern %q for artifacts cannot be used: it begins in a directory of the kernel or of Conductor.", base+"/kernel/*"),
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
	var data bytes.Buffer
	if _, err := (archive{files[1:], 1 << 20}).write(&data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{name("out/a.xml"): "a", "junit.xml": "junit.xml"}, read(t, data.Bytes())); diff != "" {
		t.Error(diff)
	}
}

// TestFindLimits ends the search of a tree that is too large or too deep, and keeps what was found by then.
func TestFindLimits(t *testing.T) {
	p := workTree(t)
	for n := range 50 {
		write(t, fmt.Sprintf("many/%d", n), "")
	}
	write(t, strings.Repeat("d/", maxDepth+1)+"a.xml", "")
	write(t, strings.Repeat("d/", maxDepth-10)+"a.xml", "")
	for pattern, want := range map[string]int{"many/*": 0, "reports/**": 3, "d/**": 1} {
		p.walk = 40
		if pattern == "d/**" {
			p.walk = maxWalk
		}
		files, problems := p.find(t.Context(), "artifacts", []string{pattern})
		if len(files) != want {
			t.Errorf("%s: files %q", pattern, names(files))
		}
		if limited := pattern != "reports/**"; limited != (len(problems) == 1) || limited && !strings.Contains(problems[0], "was searched only in part: it searches more than 1000000 files") {
			t.Errorf("%s: problems %q", pattern, problems)
		}
	}
}

// TestRoot is an image without a working directory: the kernel's files are not looked through.
func TestRoot(t *testing.T) {
	t.Chdir("/")
	p := openPlace("/conductor-token/token")
	if files, _ := p.find(t.Context(), "artifacts", []string{"proc/self/*", "proc/version", "*/version", "sys/**"}); len(files) > 0 {
		t.Errorf("found %q", names(files))
	}
	if files, _ := p.find(t.Context(), "artifacts", []string{"etc/hostname"}); len(files) != 1 {
		t.Errorf("found %q, want etc/hostname", names(files))
	}
}

func TestStale(t *testing.T) {
	p := workTree(t)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes("reports/a.xml", old, old); err != nil {
		t.Fatal(err)
	}
	if got := stale(p.matches("junit.xml", "reports/a.xml"), time.Now()); got != "reports/a.xml" {
		t.Errorf("stale: %q", got)
	}
	if got := stale(p.matches("junit.xml"), time.Now()); got != "" {
		t.Errorf("stale: %q", got)
	}
}

// read returns the files of an archive.
func read(t *testing.T, data []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}

func TestArchive(t *testing.T) {
	p := workTree(t)
	long := strings.Repeat("long/", 60) + "ünï.txt"
	write(t, long, "deep")
	write(t, "large", strings.Repeat("x", 200<<10))
	var data bytes.Buffer
	got, err := archive{p.matches("junit.xml", "large", "gone.xml", "pipe.xml", "outside.xml", long), 100 << 10}.write(&data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"junit.xml": "junit.xml", long: "deep"}, read(t, data.Bytes())); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"3 files could not be read: gone.xml (no such file or directory), pipe.xml (it is not a regular file), outside.xml (path escapes from parent).",
		"1 file left out because of the limit of 100KiB in all: large (200KiB).",
	}
	if diff := cmp.Diff(want, got.problems); diff != "" {
		t.Error(diff)
	}
	if len(got.files) != 2 || got.files[1].Size != 4 || data.Len() > 100<<10 {
		t.Errorf("files %v in %d bytes", got.files, data.Len())
	}
}

// TestArchiveLimit fills an archive to the brim with small files.
func TestArchiveLimit(t *testing.T) {
	p := workTree(t)
	var names []string
	for n := range 200 {
		name := filepath.Join("many", strings.Repeat("n", n))
		write(t, name+"x", "y")
		names = append(names, name+"x")
	}
	var data bytes.Buffer
	got, err := archive{p.matches(names...), 80 << 10}.write(&data)
	if err != nil || data.Len() > 80<<10 || len(got.files) == 0 || len(got.problems) != 1 || !strings.Contains(got.problems[0], " and ") {
		t.Errorf("%d files in %d bytes, problems %q, error %v", len(got.files), data.Len(), got.problems, err)
	}
}

// TestFill is a file that is cut off while it is read.
func TestFill(t *testing.T) {
	var out bytes.Buffer
	err := fill(&out, strings.NewReader("short"), 300<<10, make([]byte, 128<<10))
	var cut *cutError
	if !errors.As(err, &cut) || cut.missing != 300<<10-5 || out.Len() != 300<<10 || !bytes.HasPrefix(out.Bytes(), []byte("short\x00\x00")) || bytes.Count(out.Bytes(), []byte("s")) != 1 {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
	out.Reset()
	if err := fill(&out, strings.NewReader("grown"), 3, make([]byte, 10)); err != nil || out.String() != "gro" {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestUsage(t *testing.T) {
	two, one, none := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(two, "memory.peak"), "12345678\n")
	write(t, filepath.Join(two, "cpu.stat"), "user_usec 1\nusage_usec 2500000\nsystem_usec 3\n")
	write(t, filepath.Join(one, "memory/memory.max_usage_in_bytes"), "12345678\n")
	write(t, filepath.Join(one, "cpuacct/cpuacct.usage"), "2500000000\n")
	for _, dir := range []string{two, one} {
		if u := usage(dir, 0.5); u == nil || u.MemoryPeak != 12345678 || u.CPUSeconds != 2 || u.Source != "cgroup" {
			t.Errorf("usage %+v", u)
		}
	}
	if u := usage(none, 0); u != nil {
		t.Errorf("usage %+v where nothing is counted", u)
	}
}
