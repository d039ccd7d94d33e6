package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"time"
)

// Tree is the content of a repository without a work tree: git reads it as a stream (man git-fast-import), so that many files are cheap
// and equal content is stored once. Write errors are reported when the repository is created.
type Tree struct {
	out   *bufio.Writer
	blobs int
	files bytes.Buffer
}

// Blob is the content of one or more files of a Tree.
type Blob int

// Blob adds content.
func (t *Tree) Blob(content []byte) Blob {
	t.blobs++
	fmt.Fprintf(t.out, "blob\nmark :%d\ndata %d\n", t.blobs, len(content))
	_, _ = t.out.Write(content) // A bufio.Writer remembers its error.
	fmt.Fprintln(t.out)
	return Blob(t.blobs)
}

// File adds a file. Its path must not need quoting by git.
func (t *Tree) File(path string, content Blob) {
	fmt.Fprintf(&t.files, "M 100644 :%d %s\n", content, path)
}

// Text adds a file with a content of its own.
func (t *Tree) Text(path, content string) { t.File(path, t.Blob([]byte(content))) }

// commit writes the commit with all files, and an empty one on top: a push event lists the files of its newest commit, which are usually
// few.
func (t *Tree) commit(name, email string) error {
	by := fmt.Sprintf("committer %s <%s> %d +0000", name, email, time.Now().Unix())
	fmt.Fprintf(t.out, "commit refs/heads/main\n%s\ndata 5\nBegin\n%s\ncommit refs/heads/main\n%s\ndata 6\nChange\n\ndone\n", by, t.files.Bytes(), by)
	return t.out.Flush()
}

// ImportRepository creates a repository like NewRepository, from the tree that fill writes. Its clone has no work tree: it can push tags
// but cannot change files.
func (l *Lab) ImportRepository(ctx context.Context, name string, fill func(*Tree)) (*Repository, error) {
	return l.newRepository(ctx, name, func(r *Repository) error {
		var problems bytes.Buffer
		cmd := r.git(ctx, "-c", "core.compression=1", "fast-import", "--quiet", "--done", "--depth=0")
		cmd.Stderr = &problems
		in, err := cmd.StdinPipe()
		if err != nil {
			return fmt.Errorf("git fast-import: %w", err)
		}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("git fast-import: %w", err)
		}
		tree := &Tree{out: bufio.NewWriterSize(in, 1<<20)}
		fill(tree)
		written := tree.commit(r.User.Login, r.User.Email)
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("git fast-import: %w: %s", err, problems.String())
		}
		return written
	})
}
