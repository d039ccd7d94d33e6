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

// OpenSource opens a Run's source artifact in its registry, limited to the files that keep selects. The artifact's layers can be read
// until ctx ends. Its errors are failures.
type OpenSource func(ctx context.Context, keep func(source.File) bool) (*source.Artifact, error)

// sourceTime limits one response to GET /v1/source: a gigabyte at a few megabytes a second.
const sourceTime = 10 * time.Minute

// files responds with a tar of the files at or below a path of the commit. Names are relative to the path; if it is a file, its name is
// the base name. A response that breaks off has no tar end, so the client notices.
func (s *server) files(w http.ResponseWriter, r *http.Request) error {
	root := r.URL.Query().Get("path")
	if !fs.ValidPath(root) {
		return errBadQuery
	}
	// Each response needs a layer's buffers and the index of the files it sends.
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
		panic(http.ErrAbortHandler) // Close the connection, so that the client does not take a part for the whole.
	}
	return nil
}

// below returns name relative to root, and whether it is at or below root. If root is a file, the result is its base name.
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

// patientWriter limits the time in which the client may accept nothing.
type patientWriter struct {
	out  io.Writer
	conn *http.ResponseController
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	// Ignore the error: only a test's recorder has no deadlines, and it cannot hang.
	_ = p.conn.SetWriteDeadline(time.Now().Add(idle))
	return p.out.Write(b)
}

// sourceError is an error of opening the source artifact. Its sentence appears in the log of an init container.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// Unwrap returns the failure.
func (e *sourceError) Unwrap() error { return e.err }

func (e *sourceError) sentence() string { return failure.Of(e.err).Sentence }

// status returns the HTTP status, by which clients decide whether to retry.
func (e *sourceError) status() int {
	if failure.IsTerminal(e.err) && !errors.Is(e.err, context.Canceled) {
		return http.StatusFailedDependency
	}
	return http.StatusServiceUnavailable
}
