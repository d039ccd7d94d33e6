package source

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Artifact is a source artifact in a registry.
type Artifact struct {
	// Index lists the files that Read visits, which may be fewer than the artifact contains.
	Index *Index
	// Open opens a layer by its number. Its last read fails if the content does not match the layer's digest.
	Open func(number int) (io.ReadCloser, error)
}

// Read calls visit for each file of the index: links and submodules first, then the others in the order of their layers. visit need not
// read a file's content. The content is verified only once Read has returned nil.
func (a *Artifact) Read(visit func(File, io.Reader) error) error {
	files := map[int]map[string]File{}
	for _, f := range a.Index.Files {
		if !f.IsRegular() {
			if err := visit(f, strings.NewReader("")); err != nil {
				return err
			}
			continue
		}
		if files[f.Layer] == nil {
			files[f.Layer] = map[string]File{}
		}
		files[f.Layer][f.Path] = f
	}
	c := &cursor{artifact: a, number: -1, buffer: make([]byte, bufferSize)}
	defer c.close()
	for _, number := range slices.Sorted(maps.Keys(files)) {
		if err := c.readLayer(number, files[number], visit); err != nil {
			return err
		}
		delete(files, number)
	}
	return c.finish()
}

// cursor is a position in the layers of an artifact.
type cursor struct {
	artifact *Artifact
	number   int
	body     io.ReadCloser
	plain    io.Reader
	tar      *tar.Reader
	// buffer is reused for all files.
	buffer []byte
}

// readLayer visits the files that start in a layer.
func (c *cursor) readLayer(number int, files map[string]File, visit func(File, io.Reader) error) error {
	if err := c.open(number); err != nil {
		return err
	}
	for len(files) > 0 {
		if c.number != number {
			return invalid("%d files of layer %d follow one that continues in the next layer", len(files), number)
		}
		h, err := c.tar.Next()
		if errors.Is(err, io.EOF) {
			return invalid("layer %d does not contain %d of its files", number, len(files))
		}
		if err != nil {
			return fmt.Errorf("read layer %d: %w", number, err)
		}
		f, wanted := files[h.Name]
		if !wanted || h.PAXRecords[offsetKey] != "" {
			continue
		}
		delete(files, h.Name)
		if h.Size > f.Size || h.Size < f.Size && f.Layers < 2 {
			return invalid("%s has %d bytes in its layer and %d in the index", f.Path, h.Size, f.Size)
		}
		if err := visit(f, &pieces{cursor: c, file: f}); err != nil {
			return err
		}
	}
	return nil
}

// open moves to a layer, unless the cursor is there already.
func (c *cursor) open(number int) error {
	if c.number == number {
		return nil
	}
	if err := c.finish(); err != nil {
		return err
	}
	body, err := c.artifact.Open(number)
	if err != nil {
		return err
	}
	c.body, c.number = body, number
	unzipped, err := gzip.NewReader(body)
	if err != nil {
		return fmt.Errorf("read layer %d: %w", number, err)
	}
	c.plain = Bounded(unzipped, MaxLayer+1, invalid("layer %d has more than %d bytes", number, MaxLayer))
	c.tar = tar.NewReader(c.plain)
	return nil
}

// finish reads the rest of the current layer, at whose end the digest is checked.
func (c *cursor) finish() error {
	if c.body == nil {
		return nil
	}
	defer c.close()
	if _, err := io.Copy(io.Discard, c.plain); err != nil {
		return fmt.Errorf("read layer %d: %w", c.number, err)
	}
	if _, err := io.Copy(io.Discard, c.body); err != nil {
		return fmt.Errorf("read layer %d: %w", c.number, err)
	}
	return nil
}

func (c *cursor) close() {
	if c.body != nil {
		c.body.Close()
		c.body = nil
	}
}

// pieces reads the content of one file, which may span several layers.
type pieces struct {
	cursor *cursor
	file   File
	read   int64
}

// Read implements io.Reader.
func (p *pieces) Read(b []byte) (int, error) {
	for {
		n, err := p.cursor.tar.Read(b)
		p.read += int64(n)
		switch {
		case p.read > p.file.Size:
			return n, invalid("%s has more than %d bytes", p.file.Path, p.file.Size)
		case !errors.Is(err, io.EOF) || p.read == p.file.Size:
			return n, err
		case n > 0:
			return n, nil
		}
		if err := p.next(); err != nil {
			return 0, err
		}
	}
}

// WriteTo implements io.WriterTo.
func (p *pieces) WriteTo(w io.Writer) (written int64, err error) {
	for {
		n, err := p.Read(p.cursor.buffer)
		m, werr := w.Write(p.cursor.buffer[:n])
		written += int64(m)
		switch {
		case werr != nil:
			return written, werr
		case errors.Is(err, io.EOF):
			return written, nil
		case err != nil:
			return written, err
		}
	}
}

// next moves to the file's next piece, which is the first entry of the next layer.
func (p *pieces) next() error {
	if p.cursor.number+1 >= p.file.Layer+max(p.file.Layers, 1) {
		return invalid("%s has %d bytes in its layers and %d in the index", p.file.Path, p.read, p.file.Size)
	}
	if err := p.cursor.open(p.cursor.number + 1); err != nil {
		return err
	}
	h, err := p.cursor.tar.Next()
	if err != nil {
		return fmt.Errorf("read layer %d: %w", p.cursor.number, err)
	}
	if h.Name != p.file.Path || h.PAXRecords[offsetKey] != fmt.Sprint(p.read) {
		return invalid("layer %d does not continue %s", p.cursor.number, p.file.Path)
	}
	return nil
}
