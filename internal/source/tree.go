package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// What things take on disk, in bytes, as far as it can be known without asking a file system.
const (
	block     = 4096
	entryCost = 512
)

// Room is what a Tree may take on disk, in bytes.
type Room struct {
	// Content is for the content of files, in whole blocks of 4 KiB, File for that of one file.
	Content, File int64
	// Entries is for what there is besides: 512 for each entry and 4 KiB for each directory.
	Entries int64
	// Sparse leaves the content out of files that Content and File have no room for: such a file has its size and mode and takes no room,
	// and its path is in Absent. Without Sparse such a file is an ErrRoom.
	Sparse bool
}

// ErrRoom is in the chain of an error when files do not fit into a Tree's room.
var ErrRoom = errors.New("there is no room for it")

// Tree puts files below a directory. Nothing is ever written outside of it, and no link in it leads outside.
type Tree struct {
	// Absent are the files without their content.
	Absent map[string]bool
	// Skipped counts the links that are not there, since they lead outside or a file is in their place.
	Skipped int

	root *os.Root
	room Room
	// content and entries are what was taken of the room.
	content, entries int64
	dirs             map[string]bool
	links            []File
}

// OpenTree makes a Tree of a directory that exists and is empty.
func OpenTree(dir string, room Room) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open a checkout: %w", err)
	}
	return &Tree{Absent: map[string]bool{}, root: root, room: room, dirs: map[string]bool{".": true}}, nil
}

// Create makes a file and gives what takes its content: all of Size bytes, or the file is to be given up. Links and submodules have no
// content; links are made by Finish.
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

// Fill brings the content of a file that is absent, within a room for content that may be larger than the Tree's own. A file that does
// not get all of its content stays absent.
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

// Used is what the Tree takes on disk, in bytes.
func (t *Tree) Used() int64 { return t.content + t.entries }

func blocks(size int64) int64 { return (size + block - 1) / block * block }

func (t *Tree) takeEntries(n int64) error {
	if t.entries += n; t.entries > t.room.Entries {
		return fmt.Errorf("more than %d bytes for names and directories: %w", t.room.Entries, ErrRoom)
	}
	return nil
}

// makeDir makes a directory and those above it.
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

// Finish makes the symbolic links when every file is written, so that none is written through a link. Then each is followed within
// the root: one that leads outside, by itself or through others, is removed.
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

// Close gives the directory up. What is in it stays.
func (t *Tree) Close() error { return t.root.Close() }

// discard takes content that is not kept.
type discard struct{}

// Write implements io.Writer.
func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Close implements io.Closer.
func (discard) Close() error { return nil }
