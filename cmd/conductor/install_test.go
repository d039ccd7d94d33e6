//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(t.TempDir(), "program")
	for _, text := range []string{"#!/first\n", "#!/second\n"} {
		if err := os.WriteFile(program, []byte(text), 0o500); err != nil {
			t.Fatal(err)
		}
		if err := install(program, dir); err != nil {
			t.Fatal(err)
		}
		os.Remove(program)
		got, err := os.ReadFile(filepath.Join(dir, "conductor"))
		if err != nil || !bytes.Equal(got, []byte(text)) {
			t.Errorf("installed %q, %v", got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "conductor")); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
	if err := install(program, dir); err == nil {
		t.Error("no error for a program that is not there")
	}
	if err := install(dir, dir); err == nil {
		t.Error("no error for a program that cannot be read")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left over after an error: %v, %v", entries, err)
	}
}
