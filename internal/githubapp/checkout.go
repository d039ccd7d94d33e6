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
	"os"
	"path"
	"strings"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// The bounds of a checkout: what is unpacked in bytes, how many entries, and the largest file that is kept, in bytes.
const (
	maxArchive = 1 << 30
	maxEntries = 100_000
	maxFile    = 1 << 20
)

// Checkout writes the files of a commit below dir, which exists and is empty. Files over 1 MiB are left out, and so is
// a symbolic link that leads out of dir. Nothing is ever written outside dir.
func (c *Client) Checkout(ctx context.Context, installation int64, repo v1alpha1.Repository, sha, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, checkoutTimeout)
	defer cancel()
	s := scope{installation: installation, repo: repo, grant: readContents, what: "read the files of " + sha, archive: true}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("check out: %w", err)
	}
	defer func() { _ = root.Close() }()
	u := &unpacker{root: root, sha: sha, maxBytes: maxArchive, maxEntries: maxEntries}
	_, err = c.callWithin(ctx, checkoutTimeout, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		req, err := gh.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/tarball/%s", escaped(repo), url.PathEscape(sha)), nil)
		if err != nil {
			return nil, err
		}
		resp, err := gh.BareDo(ctx, req)
		if err != nil {
			return resp, err
		}
		defer func() { _ = resp.Body.Close() }()
		if err := u.unpack(resp.Body); err != nil {
			// What is half written cannot be written again, so the caller starts over in a new directory.
			return resp, u.explain(s, err)
		}
		return resp, nil
	})
	if err == nil && u.skipped > 0 {
		c.log.Info("A checkout left out files over 1 MiB, links that lead outside, or what is no file",
			"repository", repo.FullName(), "sha", sha, "count", u.skipped)
	}
	return err
}

var (
	errTooMuch = errors.New("more than 1 GiB or 100,000 files")
	errUnsafe  = errors.New("an entry outside the archive's own folder")
	errWrong   = errors.New("the archive is of another commit")
)

// unpacker writes a tarball in which GitHub puts everything below one folder.
type unpacker struct {
	root       *os.Root
	sha        string
	maxBytes   int64
	maxEntries int

	entries int
	skipped int
	links   []link
}

type link struct{ name, target string }

func (u *unpacker) explain(s scope, err error) error {
	switch {
	case errors.Is(err, errTooMuch):
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "The repository %s is too large: Conductor reads at most 1 GiB and 100,000 files", s.on())
	case errors.Is(err, errUnsafe):
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "The files of %s cannot be unpacked safely", s.on())
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The files of %s could not be read to their end", s.on())
}

func (u *unpacker) unpack(r io.Reader) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("the archive: %w", err)
	}
	files := tar.NewReader(&bounded{r: unzipped, left: u.maxBytes})
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return u.makeLinks()
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
		if u.entries++; u.entries > u.maxEntries {
			return errTooMuch
		}
		if err := u.entry(h, files); err != nil {
			return err
		}
	}
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		// git archive writes the commit here; only a full SHA can be compared.
		if id := h.PAXRecords["comment"]; len(id) == len(u.sha) && id != "" && id != u.sha {
			return errWrong
		}
		return nil
	}
	_, name, below := strings.Cut(strings.TrimSuffix(h.Name, "/"), "/")
	if !fs.ValidPath(strings.TrimSuffix(h.Name, "/")) || (below && name == "") {
		return fmt.Errorf("%w: %q", errUnsafe, h.Name)
	}
	if !below {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		if h.Size > maxFile {
			u.skipped++
			return nil
		}
		return u.file(name, h.FileInfo().Mode()&0o111 != 0, content)
	case tar.TypeSymlink:
		u.links = append(u.links, link{name, h.Linkname})
	default:
		u.skipped++
	}
	return nil
}

func (u *unpacker) file(name string, executable bool, content io.Reader) error {
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// makeLinks makes the symbolic links when every file is written, so that none is written through a link. Then each
// is followed within the root: one that leads outside, by itself or through others, is removed.
func (u *unpacker) makeLinks() error {
	var made []string
	for _, l := range u.links {
		if err := u.root.MkdirAll(path.Dir(l.name), 0o755); err != nil {
			u.skipped++
			continue
		}
		if err := u.root.Symlink(l.target, l.name); err != nil {
			u.skipped++
			continue
		}
		made = append(made, l.name)
	}
	for _, name := range made {
		if _, err := u.root.Stat(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		u.skipped++
		if err := u.root.Remove(name); err != nil {
			return err
		}
	}
	return nil
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
