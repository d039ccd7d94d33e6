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

// Limits of what a wrapper can fill the agent with: a stack's tests are not trusted.
const (
	maxAttempts = 1000
	maxNumber   = 10000
	// reserve is held back on disk, in bytes, so that the end of an attempt can be recorded when the disk is full.
	reserve = 256 << 10
)

// suitePattern is what names a suite: a key of `tests` or a compose service.
var suitePattern = regexp.MustCompile(`^[A-Za-z0-9._][-A-Za-z0-9._]{0,254}$`)

var (
	errBadKey  = errors.New("there is no such attempt: a suite's name, a shard from 0 and a number from 1 make one")
	errTooMany = errors.New("the agent holds as many attempts as it can")
	errEnded   = errors.New("the attempt has ended")
)

func checkKey(key evidence.AttemptKey) error {
	if !suitePattern.MatchString(key.Suite) || key.Shard < 0 || key.Shard > maxNumber || key.Number < 1 || key.Number > maxNumber {
		return errBadKey
	}
	return nil
}

// attempt is what the store knows of one attempt; its exported fields are on disk.
type attempt struct {
	Key       evidence.AttemptKey
	Allowed   bool
	Ended     bool
	Complete  bool
	Attempt   *evidence.Attempt
	JUnit     *blob
	Artifacts *blob
	// ready says that a wrapper asked. It asks again after a restart.
	ready bool
}

// blob is a tar.gz of an attempt.
type blob struct {
	Size int64
	listing
	Problems []string
	// Root is the working directory that the JUnit files came from, as the wrapper says.
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

// openStore reads the attempts that are below dir.
func openStore(dir string, c *changes, log *slog.Logger) (*store, error) {
	s := &store{dir: dir, changes: c, log: log, attempts: map[evidence.AttemptKey]*attempt{}}
	if err := os.RemoveAll(s.path("tmp")); err != nil {
		return nil, fmt.Errorf("clear the uploads that broke off: %w", err)
	}
	for _, d := range []string{"tmp", "attempts"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("make the agent's directory: %w", err)
		}
	}
	states, err := filepath.Glob(s.path("attempts", "*", "state.json"))
	if err != nil {
		return nil, fmt.Errorf("look for attempts: %w", err)
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

// attemptPath is where an attempt's file is. The two numbers at the end keep the names of two keys apart.
func (s *store) attemptPath(key evidence.AttemptKey, file string) string {
	return s.path("attempts", fmt.Sprintf("%s.%d.%d", key.Suite, key.Shard, key.Number), file)
}

// change finds or makes an attempt, changes it by edit, saves it and wakes who waits. When edit returns an error, nothing changed.
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

// get is a copy of an attempt; one that is not known is empty.
func (s *store) get(key evidence.AttemptKey) attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.attempts[key]; a != nil {
		return *a
	}
	return attempt{Key: key}
}

// ask notes that a wrapper asks for leave to start.
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

// end notes how the test ended, or with complete that nothing more comes. The first report counts, so that a repetition is a no-op.
func (s *store) end(key evidence.AttemptKey, how evidence.Attempt, complete bool) error {
	if a := s.get(key); a.Complete || a.Ended && !complete {
		return nil
	}
	return s.change(key, func(a *attempt) error {
		a.Ended, a.Complete, a.Attempt = true, complete, &how
		return nil
	})
}

// states are all attempts in the order of their keys, with what the agent itself has to add to each.
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

// state is the attempt for Conductor: its files are those that the agent has.
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

// save writes an attempt's state. When the disk is full even without the reserve, the state lives in memory only, which is
// better than not to know how a test ended.
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
		s.log.Error("the disk is full; an attempt is known in memory only", "suite", a.Key.Suite, "shard", a.Key.Shard, "number", a.Key.Number)
		return nil
	}
	if err != nil {
		return fmt.Errorf("save the state of an attempt: %w", err)
	}
	return nil
}

// holdBack makes the reserve where there is none. Without room for it there is none.
func (s *store) holdBack() {
	name := s.path("reserve")
	if st, err := os.Stat(name); err == nil && st.Size() == reserve {
		return
	}
	if err := os.WriteFile(name, make([]byte, reserve), 0o600); err != nil {
		_ = os.Remove(name)
	}
}

// writeFile writes a file that is whole or not there, and is on disk when it returns.
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

// moveFile gives a file that is on disk its name, for good.
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

// openBlob opens a tar.gz of an attempt and knows its size. It does not change while it is read: another one takes its name.
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
