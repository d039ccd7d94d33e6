package agent

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/docker/go-units"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Kinds of uploads.
const (
	junitKind     = "junit"
	artifactsKind = "artifacts"
)

// MaxJUnit limits the JUnit files of one attempt, in bytes.
const MaxJUnit = 64 << 20

const (
	// maxFiles is the most files of one upload.
	maxFiles = 10000
	// maxShown is the length to which a path in a message is truncated, in bytes.
	maxShown = 300
)

// upload is one tar that is being received.
type upload struct {
	kind    string
	limit   int64
	masks   *masks
	out     *archive
	spool   *os.File
	kept    blob
	content int64
	// Files that were left out, by the reason.
	overLimit, noRoom, unfit leftOut
}

// leftOut are files that were left out for one reason.
type leftOut struct {
	count int
	first string
}

func (l *leftOut) add(name string) {
	if l.count++; l.count == 1 {
		l.first = name
	}
}

func (l *leftOut) sentence(kind, why string) string {
	if l.count == 1 {
		return fmt.Sprintf("One file of the %s was left out because %s: %s.", kind, why, l.first)
	}
	return fmt.Sprintf("%d files of the %s were left out because %s; the first is %s.", l.count, kind, why, l.first)
}

// keep stores a tar. A complete one replaces an earlier one. An incomplete one is stored only if none exists yet, with a problem that
// names the cause. JUnit files are masked; artifacts are not, because they are binary.
func (s *store) keep(key evidence.AttemptKey, kind, root string, limit int64, m *masks, body io.Reader) error {
	if err := s.open(key, kind); err != nil {
		return err
	}
	file, err := os.CreateTemp(s.path("tmp"), kind+"-*")
	if err != nil {
		return fmt.Errorf("store the %s: %w", kind, err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it was renamed by then, or is deleted at the next start
	defer file.Close()
	u := &upload{kind: kind, limit: limit, masks: m, kept: blob{Root: root}}
	if u.out, err = newArchive(file); err != nil {
		return err
	}
	if kind == junitKind {
		if u.spool, err = os.CreateTemp(s.path("tmp"), "spool-*"); err != nil {
			return fmt.Errorf("store the %s: %w", kind, err)
		}
		defer os.Remove(u.spool.Name()) //nolint:errcheck // as above
		defer u.spool.Close()
	}
	broken := u.read(tar.NewReader(body))
	if u.kept.Size, err = u.out.finish(); err != nil {
		return fmt.Errorf("store the %s: %w", kind, err)
	}
	u.explain(broken)
	err = s.change(key, func(a *attempt) error {
		if kind == junitKind && a.Ended || a.Complete {
			return errEnded
		}
		place := &a.Artifacts
		if kind == junitKind {
			place = &a.JUnit
		}
		if broken != nil && *place != nil {
			return nil
		}
		*place = &u.kept
		return moveFile(file.Name(), s.attemptPath(key, kind+".tar.gz"))
	})
	if broken != nil {
		return errors.Join(errBadBody, broken, err)
	}
	return err
}

// open returns an error if an attempt no longer accepts uploads of a kind.
func (s *store) open(key evidence.AttemptKey, kind string) error {
	if a := s.get(key); a.Complete || kind == junitKind && a.Ended {
		return errEnded
	}
	return nil
}

// read stores the files of a tar and returns the error that interrupted it.
func (u *upload) read(in *tar.Reader) error {
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the %s: %w", u.kind, err)
		}
		if err := u.take(header, in); err != nil {
			return fmt.Errorf("read the %s: %w", u.kind, err)
		}
	}
}

// take stores one file, or counts it as left out.
func (u *upload) take(header *tar.Header, content io.Reader) error {
	name := path.Clean(u.masks.string(strings.ToValidUTF8(header.Name, "?")))
	shown := text.Head(name, maxShown)
	if header.Typeflag == tar.TypeDir {
		return nil
	}
	if header.Typeflag != tar.TypeReg || name == "." || name == ".." || path.IsAbs(name) || strings.HasPrefix(name, "../") || len(name) > 4096 {
		u.unfit.add(shown)
		return nil
	}
	if header.Size > u.limit-u.content || u.kept.Count >= maxFiles {
		u.overLimit.add(shown)
		return nil
	}
	size := header.Size
	if u.spool != nil {
		var err error
		if size, err = u.mask(content); err == nil {
			content = io.NewSectionReader(u.spool, 0, size)
		} else if !errors.Is(err, syscall.ENOSPC) {
			return err
		} else {
			u.noRoom.add(shown)
			return nil
		}
	}
	err := u.out.add(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: header.ModTime, Typeflag: tar.TypeReg}, content)
	if errors.Is(err, syscall.ENOSPC) {
		u.noRoom.add(shown)
		return nil
	}
	if err != nil {
		return err
	}
	u.content += size
	u.kept.add(name, size)
	return nil
}

// mask writes content to the spool with its secrets masked, and returns the new size.
func (u *upload) mask(content io.Reader) (int64, error) {
	if err := u.spool.Truncate(0); err != nil {
		return 0, err
	}
	if _, err := u.spool.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	w := u.masks.writer(u.spool)
	if _, err := io.Copy(w, content); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	return u.spool.Seek(0, io.SeekCurrent)
}

// explain adds a problem for everything that is missing.
func (u *upload) explain(broken error) {
	add := func(l *leftOut, why string) {
		if l.count > 0 {
			u.kept.Problems = append(u.kept.Problems, l.sentence(u.kind, why))
		}
	}
	add(&u.overLimit, fmt.Sprintf("at most %s in %d files are kept", units.BytesSize(float64(u.limit)), maxFiles))
	add(&u.noRoom, "the disk of the stack's agent is full")
	add(&u.unfit, "only regular files with a relative path are kept")
	if broken == nil {
		return
	}
	why := "the connection broke"
	if tooLarge := new(http.MaxBytesError); errors.As(broken, &tooLarge) {
		why = "they exceed the size limit"
	}
	u.kept.Problems = append(u.kept.Problems, fmt.Sprintf("The %s are incomplete: %s after %d files.", u.kind, why, u.kept.Count))
}
