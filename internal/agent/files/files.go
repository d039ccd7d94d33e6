// Package files brings files of a Run's commit into the volumes of a stack's pod, before the pod's own containers start: it asks the
// stack's agent for them. It is what the init container of `conductor files` runs.
package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// Copy is a file or a directory of the repository, and the directory whose content it becomes. A file keeps its base name there.
type Copy struct{ Path, Dir string }

// ParseCopy reads PATH=DIR. A path may hold a =, a directory of ours does not.
func ParseCopy(text string) (Copy, error) {
	i := strings.LastIndexByte(text, '=')
	if i < 1 || i == len(text)-1 {
		return Copy{}, fmt.Errorf("%q is not PATH=DIR", text)
	}
	c := Copy{Path: path.Clean(text[:i]), Dir: text[i+1:]}
	if path.IsAbs(c.Path) || c.Path == ".." || strings.HasPrefix(c.Path, "../") {
		return Copy{}, fmt.Errorf("%q is not a path within the repository", text[:i])
	}
	return c, nil
}

// Options are what is brought, and from where. All are required but Out and HTTP.
type Options struct {
	// Agent is the agent's address, Token reads the token that it takes.
	Agent  string
	Token  func() (string, error)
	Copies []Copy
	// Limit bounds the content of all copies together, in bytes.
	Limit int64
	// Patience is how long the agent may take until it sends everything.
	Patience time.Duration
	// Out is where it says what it does; HTTP makes the requests.
	Out  io.Writer
	HTTP *http.Client
}

// The pauses between two tries grow from the first to the last.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
	// still is how long an answer may go without a byte.
	still = time.Minute
	// maxNames bounds what directories and names may take on disk, in bytes.
	maxNames = 512 << 20
	// maxSentence bounds what is read of a refusal, in bytes.
	maxSentence = 1 << 10
)

// errFinal is in the chain of an error that trying again does not mend.
var errFinal = errors.New("it is of no use to ask again")

// Bring fills the directories, each from its beginning: what an earlier try or an earlier process left in one is removed first. It
// returns when all of them are complete. Its error says which one is not, and why.
func Bring(ctx context.Context, o Options) error {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{
			Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, ResponseHeaderTimeout: still, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	ctx, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	left := o.Limit
	for _, c := range o.Copies {
		used, err := o.bring(ctx, c, left)
		if err != nil {
			return fmt.Errorf("the files of %s: %w", c.Path, err)
		}
		left -= used
	}
	return nil
}

// bring tries one copy until it is complete.
func (o Options) bring(ctx context.Context, c Copy, limit int64) (used int64, err error) {
	began, pause := time.Now(), firstPause
	for {
		got, err := o.try(ctx, c, limit)
		if err == nil {
			fmt.Fprintf(o.Out, "%s: %d files, %d bytes in %s\n", c.Path, got.files, got.bytes, time.Since(began).Round(time.Millisecond))
			if got.skipped > 0 {
				fmt.Fprintf(o.Out, "%s: %d links were left out, since they lead outside of it\n", c.Path, got.skipped)
			}
			return got.bytes, nil
		}
		if errors.Is(err, errFinal) {
			return 0, err
		}
		fmt.Fprintf(o.Out, "%s: %v; trying again\n", c.Path, err)
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("the stack's agent did not send them within %s: %w", o.Patience, err)
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// copied is what a copy has.
type copied struct {
	files, skipped int
	bytes          int64
}

// try fills a directory from its beginning.
func (o Options) try(ctx context.Context, c Copy, limit int64) (copied, error) {
	if err := empty(c.Dir); err != nil {
		return copied{}, fmt.Errorf("%w: empty %s: %w", errFinal, c.Dir, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := o.ask(ctx, c.Path)
	if err != nil {
		return copied{}, err
	}
	defer body.Close()
	timer := time.AfterFunc(still, func() { cancel(fmt.Errorf("nothing came for %s", still)) })
	defer timer.Stop()
	n, err := unpack(&watched{body, timer}, c.Dir, limit)
	if err != nil && context.Cause(ctx) != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return n, err
}

// watched puts a timer off with everything that is read.
type watched struct {
	io.Reader
	timer *time.Timer
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(still)
	return w.Reader.Read(p)
}

// ask asks the agent for the files of a path.
func (o Options) ask(ctx context.Context, of string) (io.ReadCloser, error) {
	token, err := o.Token()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(o.Agent, "/")+evidence.SourcePath(of), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFinal, err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	res, err := o.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the stack's agent does not answer: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxSentence))
	reason := strings.TrimSpace(string(text))
	switch res.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w: the commit does not have them", errFinal)
	case http.StatusFailedDependency:
		return nil, fmt.Errorf("%w: %s", errFinal, reason)
	case http.StatusUnauthorized, http.StatusBadRequest:
		return nil, fmt.Errorf("%w: the stack's agent refuses to send them: %s", errFinal, reason)
	}
	return nil, fmt.Errorf("the stack's agent answers %d: %s", res.StatusCode, reason)
}

// unpack writes a tar into a directory, which is empty.
func unpack(in io.Reader, dir string, limit int64) (n copied, err error) {
	tree, err := source.OpenTree(dir, source.Room{Content: limit + maxNames, File: limit, Entries: maxNames})
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	for files := tar.NewReader(in); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, fmt.Errorf("they did not come to their end: %w", err)
		}
		if n.files++; n.files > source.MaxEntries {
			return n, fmt.Errorf("%w: there are more than %d", errFinal, source.MaxEntries)
		}
		if n.bytes += h.Size; n.bytes > limit {
			return n, fmt.Errorf("%w: they have more than %d bytes, which is what the operator lets a stack mount", errFinal, limit)
		}
		if err := put(tree, h, files); errors.Is(err, source.ErrRoom) {
			return n, fmt.Errorf("%w: %w", errFinal, err)
		} else if err != nil {
			return n, err
		}
	}
	if err := tree.Finish(); err != nil {
		return n, err
	}
	n.skipped = tree.Skipped
	return n, nil
}

// put writes one entry.
func put(tree *source.Tree, h *tar.Header, content io.Reader) error {
	f := source.File{Path: strings.TrimSuffix(h.Name, "/"), Size: h.Size, Mode: source.ModeFile, Link: h.Linkname}
	switch {
	case h.Typeflag == tar.TypeSymlink:
		f.Mode = source.ModeLink
	case h.Typeflag == tar.TypeDir:
		f.Mode = source.ModeSubmodule
	case h.FileInfo().Mode()&0o111 != 0:
		f.Mode = source.ModeExecutable
	}
	if !filepath.IsLocal(f.Path) {
		return fmt.Errorf("%w: %q is not a path within it", errFinal, h.Name)
	}
	out, err := tree.Create(f)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

// empty removes what is in a directory, and not the directory: it is where a volume is mounted.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
