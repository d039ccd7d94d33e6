package agent

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// OpenSource finds a Run's source artifact in its registry, with the files that keep names. Its layers can be opened until ctx ends. Its
// errors are failures.
type OpenSource func(ctx context.Context, keep func(source.File) bool) (*source.Artifact, error)

// sourceTime bounds one answer to GET /v1/source: a gigabyte at a few megabytes a second.
const sourceTime = 10 * time.Minute

// files answers with a tar of the files at or below a path of the commit, by names relative to it; a file's own is its base name. An answer
// that breaks off has no end, and the other side sees it.
func (s *server) files(w http.ResponseWriter, r *http.Request) error {
	root := r.URL.Query().Get("path")
	if !fs.ValidPath(root) {
		return errBadQuery
	}
	// Each answer takes a layer's buffers and the index of what it sends.
	select {
	case s.sources <- struct{}{}:
		defer func() { <-s.sources }()
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	ctx, cancel := context.WithTimeout(r.Context(), sourceTime)
	defer cancel()
	artifact, err := s.source(ctx, func(f source.File) bool { _, ok := below(root, f.Path); return ok })
	if err != nil {
		return &sourceError{err}
	}
	if len(artifact.Index.Files) == 0 {
		return evidence.ErrAbsent
	}
	w.Header().Set("Content-Type", "application/x-tar")
	out := tar.NewWriter(&patientWriter{w, http.NewResponseController(w)})
	err = artifact.Read(func(f source.File, content io.Reader) error {
		f.Path, _ = below(root, f.Path)
		return writeFileTo(out, f, content)
	})
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		s.log.Warn("could not send the source to its end", "path", root, "error", s.masks.string(err.Error()))
		panic(http.ErrAbortHandler) // Whatever was sent must not be taken for the whole.
	}
	return nil
}

// below is a path relative to a root, if it is at or below it. A root that is a file has its base name.
func below(root, name string) (string, bool) {
	switch {
	case root == ".":
		return name, true
	case name == root:
		return path.Base(name), true
	}
	return strings.CutPrefix(name, root+"/")
}

func writeFileTo(out *tar.Writer, f source.File, content io.Reader) error {
	h := &tar.Header{Name: f.Path, Typeflag: tar.TypeReg, Size: f.Size, Mode: 0o644, Format: tar.FormatPAX}
	switch f.Mode {
	case source.ModeExecutable:
		h.Mode = 0o755
	case source.ModeLink:
		h.Typeflag, h.Size, h.Linkname, h.Mode = tar.TypeSymlink, 0, f.Link, 0o777
	case source.ModeSubmodule:
		h.Typeflag, h.Size, h.Mode = tar.TypeDir, 0, 0o755
	}
	if err := out.WriteHeader(h); err != nil {
		return fmt.Errorf("send %s: %w", f.Path, err)
	}
	if _, err := io.Copy(out, content); err != nil {
		return fmt.Errorf("send %s: %w", f.Path, err)
	}
	return nil
}

// patientWriter bounds the time that a reader may take nothing.
type patientWriter struct {
	out  io.Writer
	conn *http.ResponseController
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	// Where there is no deadline to set, as in a test's recorder, there is no connection to hang either.
	_ = p.conn.SetWriteDeadline(time.Now().Add(idle))
	return p.out.Write(b)
}

// sourceError is why the source artifact could not be opened. Its sentence is for those who read the log of an init container.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// Unwrap gives the failure.
func (e *sourceError) Unwrap() error { return e.err }

func (e *sourceError) sentence() string { return failure.Of(e.err).Sentence }

// status reports whether it is of use to ask again.
func (e *sourceError) status() int {
	if failure.IsTerminal(e.err) && !errors.Is(e.err, context.Canceled) {
		return http.StatusFailedDependency
	}
	return http.StatusServiceUnavailable
}
