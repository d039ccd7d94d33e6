package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// Limits on the data of wrappers: a stack's tests are not trusted.
const (
	maxAttempts = 1000
	maxNumber   = 10000
	// reserve is disk space kept free, in bytes, so that the end of an attempt can be recorded when the disk is full.
	reserve = 256 << 10
)

// suitePattern matches a suite: a key of `tests` or a compose service.
var suitePattern = regexp.MustCompile(`^[A-Za-z0-9._][-A-Za-z0-9._]{0,254}$`)

var (
	errBadKey  = errors.New("invalid attempt: it needs a suite's name, a shard from 0 and a number from 1")
	errTooMany = errors.New("the agent has reached its limit of attempts")
	errEnded   = errors.New("the attempt has ended")
)

func checkKey(key evidence.AttemptKey) error {
	if !suitePattern.MatchString(key.Suite) || key.Shard < 0 || key.Shard > maxNumber || key.Number < 1 || key.Number > maxNumber {
		return errBadKey
	}
	return nil
}

// attempt is the state of one attempt. Its exported fields are stored on disk.
type attempt struct {
	Key       evidence.AttemptKey
	Allowed   bool
	Ended     bool
	Complete  bool
	Attempt   *evidence.Attempt
	JUnit     *blob
	Artifacts *blob
	// ready means that a wrapper has asked. It asks again after a restart of the agent.
	ready bool
}

// blob is a tar.gz of an attempt.
type blob struct {
	Size int64
	listing
	Problems []string
	// Root is the working directory of the JUnit files, as reported by the wrapper.
	Root string
}

// store keeps the attempts on disk. It is safe for concurrent use.
type store struct {
	dir     string
	changes *changes
	log     *slog.Logger

	mu       sync.Mutex
	attempts map[evidence.AttemptKey]*attempt
}

// openStore reads the attempts below dir.
func openStore(dir string, c *changes, log *slog.Logger) (*store, error) {
	s := &store{dir: dir, changes: c, log: log, attempts: map[evidence.AttemptKey]*attempt{}}
	if err := os.RemoveAll(s.path("tmp")); err != nil {
		return nil, fmt.Errorf("delete incomplete uploads: %w", err)
	}
	for _, d := range []string{"tmp", "attempts"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("create the agent's directory: %w", err)
		}
	}
	states, err := filepath.Glob(s.path("attempts", "*", "state.json"))
	if err != nil {
		return nil, fmt.Errorf("list the attempts: %w", err)
	}
	for _, name := range states {
		a := &attempt{}
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, a)
		}
		if err != nil {
			return nil, fmt.Errorf("read the state of an attempt: %w", err)
		}
		s.attempts[a.Key] = a
	}
	s.holdBack()
	return s, nil
}

func (s *store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// attemptPath returns the path of an attempt's file. Two numbers follow the suite, so different keys cannot have the same path.
func (s *store) attemptPath(key evidence.AttemptKey, file string) string {
	return s.path("attempts", fmt.Sprintf("%s.%d.%d", key.Suite, key.Shard, key.Number), file)
}

// change finds or creates an attempt, edits a copy, saves it and wakes the waiting requests. If edit returns an error nothing changes.
func (s *store) change(key evidence.AttemptKey, edit func(*attempt) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.attempts[key]
	if a == nil && len(s.attempts) >= maxAttempts {
		return errTooMany
	}
	changed := attempt{Key: key}
	if a != nil {
		changed = *a
	}
	if err := edit(&changed); err != nil {
		return err
	}
	if err := s.save(&changed); err != nil {
		return err
	}
	s.attempts[key] = &changed
	s.changes.bump()
	return nil
}

// get returns a copy of an attempt; an unknown one is empty.
func (s *store) get(key evidence.AttemptKey) attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.attempts[key]; a != nil {
		return *a
	}
	return attempt{Key: key}
}

// ask records that a wrapper waits to start.
func (s *store) ask(key evidence.AttemptKey) error {
	if s.get(key).ready {
		return nil
	}
	return s.change(key, func(a *attempt) error { a.ready = true; return nil })
}

// allow lets an attempt start.
func (s *store) allow(key evidence.AttemptKey) error {
	if s.get(key).Allowed {
		return nil
	}
	return s.change(key, func(a *attempt) error { a.Allowed = true; return nil })
}

// end records how the test ended or, if complete is set, that the wrapper is finished. It is idempotent: the first report counts.
func (s *store) end(key evidence.AttemptKey, how evidence.Attempt, complete bool) error {
	if a := s.get(key); a.Complete || a.Ended && !complete {
		return nil
	}
	return s.change(key, func(a *attempt) error {
		a.Ended, a.Complete, a.Attempt = true, complete, &how
		return nil
	})
}

// states returns all attempts in the order of their keys, including the files and problems that the agent itself recorded.
func (s *store) states() []evidence.AttemptState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]evidence.AttemptState, 0, len(s.attempts))
	for _, a := range s.attempts {
		out = append(out, a.state())
	}
	slices.SortFunc(out, func(a, b evidence.AttemptState) int {
		return cmp.Or(cmp.Compare(a.Key.Suite, b.Key.Suite), a.Key.Shard-b.Key.Shard, a.Key.Number-b.Key.Number)
	})
	return out
}

// state converts the attempt for Conductor. It lists the files that the agent holds.
func (a *attempt) state() evidence.AttemptState {
	st := evidence.AttemptState{Key: a.Key, Ready: a.ready || a.Ended, Allowed: a.Allowed, Ended: a.Ended, Complete: a.Complete}
	if a.Attempt != nil {
		with := *a.Attempt
		with.Problems = slices.Clone(with.Problems)
		st.Attempt = &with
	}
	add := func(b *blob, size *int64, files func(*evidence.Attempt) (*[]evidence.File, *int)) {
		if b == nil {
			return
		}
		*size = b.Size
		if st.Attempt == nil {
			return
		}
		list, count := files(st.Attempt)
		if *list = b.Files; b.Count > len(b.Files) {
			*count = b.Count
		}
		st.Attempt.Problems = append(st.Attempt.Problems, b.Problems...)
	}
	add(a.JUnit, &st.JUnitSize, func(e *evidence.Attempt) (*[]evidence.File, *int) { return &e.JUnit, &e.JUnitFiles })
	add(a.Artifacts, &st.ArtifactsSize, func(e *evidence.Attempt) (*[]evidence.File, *int) { return &e.Artifacts, &e.ArtifactFiles })
	return st
}

// save writes an attempt's state. If the disk is full even without the reserve, the state is kept in memory only, which is better than
// losing how a test ended.
func (s *store) save(a *attempt) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the state of an attempt: %w", err)
	}
	name := s.attemptPath(a.Key, "state.json")
	err = writeFile(name, data)
	if errors.Is(err, syscall.ENOSPC) && os.Remove(s.path("reserve")) == nil {
		err = writeFile(name, data)
		s.holdBack()
	}
	if errors.Is(err, syscall.ENOSPC) {
		s.log.Error("the disk is full; an attempt's state is in memory only", "suite", a.Key.Suite, "shard", a.Key.Shard, "number", a.Key.Number)
		return nil
	}
	if err != nil {
		return fmt.Errorf("save the state of an attempt: %w", err)
	}
	return nil
}

// holdBack creates the reserve if it is missing and the disk has room.
func (s *store) holdBack() {
	name := s.path("reserve")
	if st, err := os.Stat(name); err == nil && st.Size() == reserve {
		return
	}
	if err := os.WriteFile(name, make([]byte, reserve), 0o600); err != nil {
		_ = os.Remove(name)
	}
}

// writeFile writes and syncs a file. The file appears complete or not at all.
func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return moveFile(f.Name(), name)
}

// moveFile renames a file that is on disk, and syncs the directory.
func moveFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// openBlob opens a tar.gz of an attempt and returns its size. The content does not change while it is read: a new upload is a new file.
func (s *store) openBlob(key evidence.AttemptKey, kind string) (io.ReadSeekCloser, int64, error) {
	f, err := os.Open(s.attemptPath(key, kind+".tar.gz"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, evidence.ErrAbsent
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open the %s: %w", kind, err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("open the %s: %w", kind, err)
	}
	return f, st.Size(), nil
}
