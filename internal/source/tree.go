package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Disk usage, in bytes, estimated without asking the file system.
const (
	block     = 4096
	entryCost = 512
)

// Room is the disk space that a Tree may use, in bytes.
type Room struct {
	// Content limits the content of all files, in blocks of 4 KiB, File that of one file.
	Content, File int64
	// Entries limits everything else: 512 bytes for each entry and 4 KiB for each directory.
	Entries int64
	// Sparse omits the content of files that exceed Content or File. Such a file has its size and mode but uses no space, and its path is
	// in Absent. Without Sparse, such a file is an ErrRoom.
	Sparse bool
}

// ErrRoom means that files do not fit into a Tree's room.
var ErrRoom = errors.New("the space limit is reached")

// Tree writes files below a directory. It never writes outside the directory, and no link in it leads outside.
type Tree struct {
	// Absent holds the files without their content.
	Absent map[string]bool
	// Skipped counts the links that were not created because they lead outside or collide with a file.
	Skipped int

	root *os.Root
	room Room
	// content and entries are the used parts of the room.
	content, entries int64
	dirs             map[string]bool
	links            []File
}

// OpenTree opens a Tree in an existing empty directory.
func OpenTree(dir string, room Room) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open a checkout: %w", err)
	}
	return &Tree{Absent: map[string]bool{}, root: root, room: room, dirs: map[string]bool{".": true}}, nil
}

// Create creates a file and returns a writer for its content, which must be exactly Size bytes. Links and submodules have no content;
// Finish creates the links.
func (t *Tree) Create(f File) (io.WriteCloser, error) {
	if err := t.takeEntries(entryCost); err != nil {
		return nil, err
	}
	if f.Mode == ModeLink {
		t.links = append(t.links, f)
		return discard{}, nil
	}
	if f.Mode == ModeSubmodule {
		return discard{}, t.makeDir(f.Path)
	}
	if err := t.makeDir(path.Dir(f.Path)); err != nil {
		return nil, err
	}
	fits := f.Size <= t.room.File && t.content+blocks(f.Size) <= t.room.Content
	if !fits && !t.room.Sparse {
		return nil, fmt.Errorf("%s with %d bytes: %w", f.Path, f.Size, ErrRoom)
	}
	file, err := t.root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(permissions(f.Mode)))
	if err != nil {
		return nil, err
	}
	if fits {
		t.content += blocks(f.Size)
		return file, nil
	}
	t.Absent[f.Path] = true
	return discard{}, errors.Join(file.Truncate(f.Size), file.Close())
}

// Fill adds the content of an absent file. room replaces the Tree's own limit for content and may be larger. A file stays absent unless
// its content is complete.
func (t *Tree) Fill(f File, content io.Reader, room int64) (err error) {
	if t.content+blocks(f.Size) > room {
		return fmt.Errorf("%s with %d bytes: %w", f.Path, f.Size, ErrRoom)
	}
	file, err := t.root.OpenFile(f.Path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Truncate(0), file.Truncate(f.Size))
		}
		err = errors.Join(err, file.Close())
	}()
	if n, err := io.Copy(file, content); err != nil || n != f.Size {
		return errors.Join(err, fmt.Errorf("%s has %d of %d bytes", f.Path, n, f.Size))
	}
	t.content += blocks(f.Size)
	delete(t.Absent, f.Path)
	return nil
}

// Used returns the Tree's disk usage in bytes.
func (t *Tree) Used() int64 { return t.content + t.entries }

func blocks(size int64) int64 { return (size + block - 1) / block * block }

func (t *Tree) takeEntries(n int64) error {
	if t.entries += n; t.entries > t.room.Entries {
		return fmt.Errorf("more than %d bytes for names and directories: %w", t.room.Entries, ErrRoom)
	}
	return nil
}

// makeDir creates a directory and its parents.
func (t *Tree) makeDir(name string) error {
	if t.dirs[name] {
		return nil
	}
	if err := t.makeDir(path.Dir(name)); err != nil {
		return err
	}
	if err := t.takeEntries(block); err != nil {
		return err
	}
	if err := t.root.Mkdir(name, 0o755); err != nil {
		return err
	}
	t.dirs[name] = true
	return nil
}

// Finish creates the symbolic links. It does so after all files are written, so that no file is written through a link. It then removes
// every link that leads outside, directly or through others.
func (t *Tree) Finish() error {
	var made []string
	for _, l := range t.links {
		err := t.makeDir(path.Dir(l.Path))
		if errors.Is(err, ErrRoom) {
			return err
		}
		if err == nil {
			err = t.root.Symlink(l.Link, l.Path)
		}
		if err != nil {
			t.Skipped++
			continue
		}
		made = append(made, l.Path)
	}
	t.links = nil
	for _, name := range made {
		if _, err := t.root.Stat(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		t.Skipped++
		if err := t.root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the directory and keeps its content.
func (t *Tree) Close() error { return t.root.Close() }

// discard ignores content.
type discard struct{}

// Write implements io.Writer.
func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Close implements io.Closer.
func (discard) Close() error { return nil }
