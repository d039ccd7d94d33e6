// Package cache keeps what is slow to make: each thing is made once, under a
// key that holds everything it is made from. It survives a process that is
// killed half-way, and two processes that want the same thing at once.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir is where things are kept: CONDUCTOR_CACHE, else `conductor` in the
// user's cache directory.
func Dir() (string, error) {
	if dir := os.Getenv("CONDUCTOR_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "conductor"), nil
}

// Key is a short name for all of its inputs.
func Key(inputs ...[]byte) string {
	h := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(h, "%d:", len(in)) // so that no two lists of inputs run together
		h.Write(in)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Have answers the path of a thing that has been made.
func Have(dir, kind, key string) (string, bool) {
	path := filepath.Join(dir, kind, key)
	_, err := os.Stat(path)
	return path, err == nil
}

// Once answers the directory <dir>/<kind>/<key>, made by fill if it is not
// there. Fill writes into an empty directory that gets its name only when fill
// has succeeded. Anyone who comes second waits for the first.
func Once(dir, kind, key string, fill func(tmp string) error) (string, error) {
	path, ok := Have(dir, kind, key)
	if ok {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, kind), 0o755); err != nil {
		return "", err
	}
	unlock, err := Lock(filepath.Join(dir, kind, "."+key+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, ok := Have(dir, kind, key); ok {
		return path, nil
	}
	tmp := path + ".tmp"
	if err := os.RemoveAll(tmp); err != nil { // of one who was killed
		return "", err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", err
	}
	return path, os.Rename(tmp, path)
}

// Lock waits for the exclusive lock of the file path, which it makes, and
// answers what releases it. The kernel releases it when the process ends, and
// no child inherits it.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// WriteFile writes a file that is either whole or not there, whenever the
// writer is killed.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(tmp.Chmod(mode), write(tmp, data)); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func write(f *os.File, data []byte) error {
	_, err := f.Write(data)
	return errors.Join(err, f.Close())
}
