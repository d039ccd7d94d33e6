package cache

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestOnceMakesOnce(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			path, err := Once(dir, "things", "key", func(tmp string) error {
				made.Add(1)
				return os.WriteFile(filepath.Join(tmp, "thing"), []byte("made"), 0o644)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(filepath.Join(path, "thing")); err != nil || string(text) != "made" {
				t.Errorf("got %q, %v: the thing was answered before it was whole", text, err)
			}
		})
	}
	wait.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("made %d times, want once", n)
	}
}

func TestOnceAfterFailureAndKill(t *testing.T) {
	dir := t.TempDir()
	failure := errors.New("no")
	if _, err := Once(dir, "things", "key", func(tmp string) error {
		_ = os.WriteFile(filepath.Join(tmp, "half"), nil, 0o644)
		return failure
	}); !errors.Is(err, failure) {
		t.Fatalf("got %v, want the failure", err)
	}
	if path, ok := Have(dir, "things", "key"); ok {
		t.Fatalf("a failure left %s", path)
	}
	// A killed process leaves what it had, and no lock.
	half := filepath.Join(dir, "things", "key.tmp")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "half"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := Once(dir, "things", "key", func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, "half")); err == nil {
		t.Error("what the killed one had made is part of the result")
	}
}

func TestKeyTellsInputsApart(t *testing.T) {
	if Key([]byte("ab"), []byte("c")) == Key([]byte("a"), []byte("bc")) {
		t.Error("two lists of inputs have one key")
	}
}
