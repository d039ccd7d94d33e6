// Package files copies files of a Run's commit into the volumes of a stack's pod, before the pod's own containers start. It fetches
// them from the stack's agent. The init container of `conductor files` runs it.
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

// Copy names a file or a directory of the repository, and the directory that receives its content. A file keeps its base name there.
type Copy struct{ Path, Dir string }

// ParseCopy parses PATH=DIR. The path may contain a =; Conductor's own directories do not.
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

// Options are the arguments of Bring. Only Out and HTTP are optional.
type Options struct {
	// Agent is the agent's address, Token returns the token for it.
	Agent  string
	Token  func() (string, error)
	Copies []Copy
	// Limit is the total size of all copies, in bytes.
	Limit int64
	// Patience is how long the agent may take to send everything.
	Patience time.Duration
	// Out receives progress messages; HTTP makes the requests.
	Out  io.Writer
	HTTP *http.Client
}

// Pauses between two attempts.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
	// still is how long a response may deliver nothing.
	still = time.Minute
	// maxNames limits the disk space of directories and names, in bytes.
	maxNames = 512 << 20
	// maxSentence limits how much of an error response is read, in bytes.
	maxSentence = 1 << 10
)

// errFinal means that a retry cannot succeed.
var errFinal = errors.New("not retried")

// Bring fills the directories and returns when all of them are complete. It first removes what an earlier attempt left in a directory.
// Its error names the path that could not be copied, and the cause.
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

// bring retries one copy until it is complete.
func (o Options) bring(ctx context.Context, c Copy, limit int64) (used int64, err error) {
	began, pause := time.Now(), firstPause
	for {
		got, err := o.try(ctx, c, limit)
		if err == nil {
			fmt.Fprintf(o.Out, "%s: %d files, %d bytes in %s\n", c.Path, got.files, got.bytes, time.Since(began).Round(time.Millisecond))
			if got.skipped > 0 {
				fmt.Fprintf(o.Out, "%s: %d links were left out because they lead outside of it\n", c.Path, got.skipped)
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

// copied counts the content of a copy.
type copied struct {
	files, skipped int
	bytes          int64
}

// try fills a directory from scratch.
func (o Options) try(ctx context.Context, c Copy, limit int64) (copied, error) {
	if err := empty(c.Dir); err != nil {
		return copied{}, fmt.Errorf("empty %s: %w (%w)", c.Dir, err, errFinal)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := o.ask(ctx, c.Path)
	if err != nil {
		return copied{}, err
	}
	defer body.Close()
	timer := time.AfterFunc(still, func() { cancel(fmt.Errorf("no data for %s", still)) })
	defer timer.Stop()
	n, err := unpack(&watched{body, timer}, c.Dir, limit)
	if err != nil && context.Cause(ctx) != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return n, err
}

// watched resets a timer on each read.
type watched struct {
	io.Reader
	timer *time.Timer
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(still)
	return w.Reader.Read(p)
}

// ask requests the files of a path from the agent.
func (o Options) ask(ctx context.Context, of string) (io.ReadCloser, error) {
	token, err := o.Token()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(o.Agent, "/")+evidence.SourcePath(of), nil)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", err, errFinal)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	res, err := o.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the stack's agent did not answer: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxSentence))
	reason := strings.TrimSpace(string(text))
	switch res.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("the commit does not have these files (%w)", errFinal)
	case http.StatusFailedDependency:
		return nil, fmt.Errorf("%s (%w)", reason, errFinal)
	case http.StatusUnauthorized, http.StatusBadRequest:
		return nil, fmt.Errorf("the stack's agent refused the request: %s (%w)", reason, errFinal)
	}
	return nil, fmt.Errorf("the stack's agent answered %d: %s", res.StatusCode, reason)
}

// unpack writes a tar into an empty directory.
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
			return n, fmt.Errorf("the response is incomplete: %w", err)
		}
		if n.files++; n.files > source.MaxEntries {
			return n, fmt.Errorf("more than %d files (%w)", source.MaxEntries, errFinal)
		}
		if n.bytes += h.Size; n.bytes > limit {
			return n, fmt.Errorf("more than %d bytes, the operator's limit for files mounted in a stack (%w)", limit, errFinal)
		}
		if err := put(tree, h, files); errors.Is(err, source.ErrRoom) {
			return n, fmt.Errorf("%w (%w)", err, errFinal)
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
		return fmt.Errorf("%q is not a path within the directory (%w)", h.Name, errFinal)
	}
	out, err := tree.Create(f)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

// empty removes the content of a directory, but not the directory itself, which is a mount point.
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
