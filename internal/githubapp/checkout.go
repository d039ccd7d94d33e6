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

// maxArchive limits an archive including its headers, in bytes.
const maxArchive = source.MaxBytes

// Archive calls visit once for each file of a commit, in the order in which GitHub sends them. Nothing is buffered, and visit need not
// read a file's content. Links and submodules have no content; entries of other types are skipped. Paths satisfy fs.ValidPath; links
// may point anywhere. An error of visit ends Archive, which returns it unchanged. A broken transfer cannot be resumed.
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
		// The call must not be retried once files were visited, so its function does not return this error.
		broken = a.read(resp.Body)
		return resp, nil
	})
	if err != nil {
		return err
	}
	if a.skipped > 0 {
		c.log.Info("Skipped archive entries that are not files, directories or links",
			"repository", repo.FullName(), "sha", sha, "count", a.skipped)
	}
	return a.explain(s, broken)
}

var (
	errTooMuch = errors.New("more than 1 GiB, 100,000 files or 8 MiB of names")
	errUnsafe  = errors.New("an entry outside the archive's top-level folder")
	errWrong   = errors.New("the archive belongs to another commit")
)

// archiveReader reads a tarball of GitHub, which has a single top-level folder.
type archiveReader struct {
	sha        string
	visit      func(source.File, io.Reader) error
	maxBytes   int64
	maxEntries int
	maxNames   int

	entries, names int
	skipped        int
	// folder is the latest folder as long as no entry in it has been read.
	folder string
}

// visitError is an error of the visitor.
type visitError struct{ error }

// Unwrap returns the visitor's error.
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
			"The repository %s is too large: the limits are 1 GiB, 100,000 files and 8 MiB of file names", s.on())
	case errors.Is(err, errUnsafe):
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "Cannot unpack the files of %s: an entry has an unsafe path", s.on())
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "Could not read all files of %s from GitHub", s.on())
}

func (a *archiveReader) read(r io.Reader) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	files := tar.NewReader(source.Bounded(unzipped, a.maxBytes, errTooMuch))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return a.leaveFolder("")
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
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
		// git archive writes the commit here. Only full SHAs can be compared.
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
	return a.callVisit(f, content)
}

// leaveFolder visits the latest folder if it is empty: submodules are empty folders in an archive.
func (a *archiveReader) leaveFolder(next string) error {
	folder := a.folder
	a.folder = ""
	if folder == "" || strings.HasPrefix(next, folder+"/") {
		return nil
	}
	return a.callVisit(source.File{Path: folder, Mode: source.ModeSubmodule}, strings.NewReader(""))
}

// callVisit calls the visitor, and distinguishes its errors from those of the archive.
func (a *archiveReader) callVisit(f source.File, content io.Reader) error {
	in := &remembering{r: content}
	err := a.visit(f, in)
	switch {
	case in.err != nil:
		return fmt.Errorf("read the archive: %w", in.err)
	case err != nil:
		return visitError{err}
	}
	return nil
}

// remembering keeps the error with which reading content failed.
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
