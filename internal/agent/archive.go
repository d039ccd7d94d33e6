package agent

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// archive writes a tar.gz in which each file is a gzip member of its own (RFC 1952, 2.2: members follow each other). The archive can
// therefore be truncated to its last complete member when the next one breaks off or the disk is full.
type archive struct {
	file *os.File
	gz   *gzip.Writer
	// whole is the offset at which the last complete member ends.
	whole int64
}

func newArchive(f *os.File) (*archive, error) {
	gz, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return &archive{file: f, gz: gz}, nil
}

// add writes one file. On error it restores the archive to its previous state.
func (a *archive) add(header *tar.Header, content io.Reader) error {
	return a.member(func(w *tar.Writer) error {
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(w, content); err != nil {
			return err
		}
		return w.Flush()
	})
}

// finish writes the end of the tar, syncs the file to disk and returns its size.
func (a *archive) finish() (int64, error) {
	err := a.member(func(w *tar.Writer) error { return w.Close() })
	if errors.Is(err, syscall.ENOSPC) {
		// The end of a tar is two blocks of zeros, which readers do not require.
		err = nil
	}
	return a.whole, errors.Join(err, a.file.Sync())
}

func (a *archive) member(write func(*tar.Writer) error) error {
	a.gz.Reset(a.file)
	err := write(tar.NewWriter(a.gz))
	if err == nil {
		err = a.gz.Close()
	}
	if err != nil {
		if back := a.file.Truncate(a.whole); back != nil {
			return errors.Join(err, back)
		}
		_, back := a.file.Seek(a.whole, io.SeekStart)
		return errors.Join(err, back)
	}
	a.whole, err = a.file.Seek(0, io.SeekCurrent)
	return err
}
