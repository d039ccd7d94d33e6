package githubapp

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// maxArchive bounds an archive in bytes, its own headers included.
const maxArchive = source.MaxBytes

// Archive visits the files of a commit in the order in which GitHub sends them, once: nothing is held, and a visitor need not read a
// file's content. Links and submodules are visited with no content; what is neither is left out. Paths are valid as fs.ValidPath has
// it, and links may lead anywhere. An error of the visitor ends the visit and is returned as it is; the visit cannot go on from where it
// broke off.
func (c *Client) Archive(ctx context.Context, installation int64, repo v1alpha1.Repository, sha string, visit func(source.File, io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, checkoutTimeout)
	defer cancel()
	s := scope{installation: installation, repo: repo, grant: readContents, what: "read the files of " + sha, archive: true}
	a := &archiveReader{sha: sha, visit: visit, maxBytes: maxArchive, maxEntries: source.MaxEntries, maxNames: source.MaxNames}
	var broken error
	_, err := c.callWithin(ctx, checkoutTimeout, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		req, err := gh.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/tarball/%s", escaped(repo), url.PathEscape(sha)), nil)
		if err != nil {
			return nil, err
		}
		resp, err := gh.BareDo(ctx, req)
		if err != nil {
			return resp, err
		}
		defer func() { _ = resp.Body.Close() }()
		// What was visited cannot be visited again, so that this error is not one of the call.
		broken = a.read(resp.Body)
		return resp, nil
	})
	if err != nil {
		return err
	}
	if a.skipped > 0 {
		c.log.Info("An archive has entries that are neither files nor directories nor links; they are left out",
			"repository", repo.FullName(), "sha", sha, "count", a.skipped)
	}
	return a.explain(s, broken)
}

var (
	errTooMuch = errors.New("more than 1 GiB, 100,000 files or 8 MiB of names")
	errUnsafe  = errors.New("an entry outside the archive's own folder")
	errWrong   = errors.New("the archive is of another commit")
)

// archiveReader reads a tarball in which GitHub puts everything below one folder.
type archiveReader struct {
	sha        string
	visit      func(source.File, io.Reader) error
	maxBytes   int64
	maxEntries int
	maxNames   int

	entries, names int
	skipped        int
	// folder is the last one that came, while nothing is known to be in it.
	folder string
}

// visitError is what a visitor returned.
type visitError struct{ error }

// Unwrap gives the visitor's own error.
func (e visitError) Unwrap() error { return e.error }

func (a *archiveReader) explain(s scope, err error) error {
	var visited visitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &visited):
		return visited.error
	case errors.Is(err, errTooMuch):
		return failure.Terminalf(v1alpha1.ReasonRefused, err,
			"The repository %s is too large: Conductor reads at most 1 GiB, 100,000 files and 8 MiB of file names", s.on())
	case errors.Is(err, errUnsafe):
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "The files of %s cannot be unpacked safely", s.on())
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The files of %s could not be read to their end", s.on())
}

func (a *archiveReader) read(r io.Reader) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("the archive: %w", err)
	}
	files := tar.NewReader(&bounded{r: unzipped, left: a.maxBytes})
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return a.leaveFolder("")
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
		a.entries++
		if a.names += len(h.Name) + len(h.Linkname); a.entries > a.maxEntries || a.names > a.maxNames {
			return errTooMuch
		}
		if err := a.entry(h, files); err != nil {
			return err
		}
	}
}

func (a *archiveReader) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		// git archive writes the commit here; only a full SHA can be compared.
		if id := h.PAXRecords["comment"]; len(id) == len(a.sha) && id != "" && id != a.sha {
			return errWrong
		}
		return nil
	}
	_, name, below := strings.Cut(strings.TrimSuffix(h.Name, "/"), "/")
	if !fs.ValidPath(strings.TrimSuffix(h.Name, "/")) || (below && name == "") || len(name) > source.MaxPath {
		return fmt.Errorf("%w: %q", errUnsafe, h.Name)
	}
	if !below {
		return nil
	}
	if err := a.leaveFolder(name); err != nil {
		return err
	}
	f := source.File{Path: name}
	switch {
	case h.Typeflag == tar.TypeDir:
		a.folder = name
		return nil
	case h.Typeflag == tar.TypeReg:
		f.Mode, f.Size = source.ModeFile, h.Size
		if h.FileInfo().Mode()&0o111 != 0 {
			f.Mode = source.ModeExecutable
		}
	case h.Typeflag == tar.TypeSymlink && h.Linkname != "" && source.ValidLink(h.Linkname):
		f.Mode, f.Size, f.Link = source.ModeLink, int64(len(h.Linkname)), h.Linkname
	default:
		a.skipped++
		return nil
	}
	return a.visited(f, content)
}

// leaveFolder visits the last folder if nothing is in it: the archive has submodules as such.
func (a *archiveReader) leaveFolder(next string) error {
	folder := a.folder
	a.folder = ""
	if folder == "" || strings.HasPrefix(next, folder+"/") {
		return nil
	}
	return a.visited(source.File{Path: folder, Mode: source.ModeSubmodule}, strings.NewReader(""))
}

// visited hands a file to the visitor, and keeps its errors apart from those of the archive.
func (a *archiveReader) visited(f source.File, content io.Reader) error {
	in := &remembering{r: content}
	err := a.visit(f, in)
	switch {
	case in.err != nil:
		return fmt.Errorf("the archive: %w", in.err)
	case err != nil:
		return visitError{err}
	}
	return nil
}

// remembering keeps the error that content ended with, other than its end.
type remembering struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// bounded fails when there is more to read than it allows, where io.LimitReader would end early in silence.
type bounded struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
