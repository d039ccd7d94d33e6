package source

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // git names blobs by it
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
)

// offsetKey is the PAX record of an entry that continues a file from an earlier layer. Its value is the offset in the file, in bytes.
const offsetKey = "CONDUCTOR.offset"

// entryRoom is the most that a tar entry needs besides its content and name: a header for the PAX records, the records rounded up to a
// block, a header for the file, and the rounding of the content. The records have fewer than 512 bytes besides the name.
const entryRoom = 5 * 512

// bufferSize is how much of a file's content is held in memory, in bytes.
const bufferSize = 64 << 10

// tarEnd is the length of the end of a tar.
const tarEnd = 2 * 512

// Packer writes files into layers, in the order in which they are added.
type Packer struct {
	next  func() (io.WriteCloser, error)
	index Index
	// layers is the number of layers so far.
	layers int
	// max limits one layer.
	max int64

	out  io.WriteCloser
	gzip *gzip.Writer
	tar  *tar.Writer
	// buffer is reused for copying all files.
	buffer []byte
	// used is the uncompressed size of the current layer, in bytes.
	used int64
}

// NewPacker creates a Packer. It writes each layer to a writer from next and closes that before it calls next again.
func NewPacker(sha string, next func() (io.WriteCloser, error)) *Packer {
	return &Packer{next: next, index: Index{SHA: sha}, max: MaxLayer, buffer: make([]byte, bufferSize)}
}

// Add adds a file with its path, mode, size and target. A file that fits into one layer is not split.
func (p *Packer) Add(f File, content io.Reader) error {
	f.Blob = ""
	if f.IsRegular() {
		sum := blobHash(f.Size)
		if err := p.addContent(&f, io.TeeReader(content, sum)); err != nil {
			return fmt.Errorf("pack %s: %w", f.Path, err)
		}
		f.Blob = hex.EncodeToString(sum.Sum(nil))
	}
	if f.Mode == ModeLink {
		f.Size = int64(len(f.Link))
		sum := blobHash(f.Size)
		_, _ = io.WriteString(sum, f.Link) // a hash never returns an error
		f.Blob = hex.EncodeToString(sum.Sum(nil))
	}
	p.index.Files = append(p.index.Files, f)
	return nil
}

// blobHash returns the hash with which git names a blob of a size, before the content is written to it.
func blobHash(size int64) hash.Hash {
	h := sha1.New() //nolint:gosec // as above
	_, _ = io.WriteString(h, "blob "+strconv.FormatInt(size, 10)+"\x00")
	return h
}

func (p *Packer) addContent(f *File, content io.Reader) error {
	overhead := entryRoom + int64(len(f.Path))
	if p.tar == nil || p.used+overhead+f.Size+tarEnd > p.max {
		if err := p.nextLayer(); err != nil {
			return err
		}
	}
	f.Layer = p.layers - 1
	for offset := int64(0); ; {
		piece := min(f.Size-offset, p.max-p.used-overhead-tarEnd)
		h := &tar.Header{Name: f.Path, Typeflag: tar.TypeReg, Size: piece, Mode: permissions(f.Mode), Format: tar.FormatPAX}
		if offset > 0 {
			h.PAXRecords = map[string]string{offsetKey: strconv.FormatInt(offset, 10)}
		}
		if err := p.tar.WriteHeader(h); err != nil {
			return err
		}
		if n, err := io.CopyBuffer(p.tar, io.LimitReader(content, piece), p.buffer); err != nil || n != piece {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		p.used += overhead + piece
		if offset += piece; offset == f.Size {
			break
		}
		if err := p.nextLayer(); err != nil {
			return err
		}
	}
	if layers := p.layers - f.Layer; layers > 1 {
		f.Layers = layers
	}
	return nil
}

func permissions(mode string) int64 {
	if mode == ModeExecutable {
		return 0o755
	}
	return 0o644
}

func (p *Packer) nextLayer() error {
	if err := p.closeLayer(); err != nil {
		return err
	}
	out, err := p.next()
	if err != nil {
		return err
	}
	if p.gzip == nil {
		// The fastest level shrinks text to about a third; better levels cost more time than they save.
		if p.gzip, err = gzip.NewWriterLevel(out, gzip.BestSpeed); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	p.gzip.Reset(out)
	p.out, p.tar, p.used = out, tar.NewWriter(p.gzip), 0
	p.layers++
	return nil
}

func (p *Packer) closeLayer() error {
	if p.tar == nil {
		return nil
	}
	err := errors.Join(p.tar.Close(), p.gzip.Close())
	p.tar = nil
	return errors.Join(err, p.out.Close())
}

// Close ends the last layer and returns the index.
func (p *Packer) Close() (*Index, error) {
	if err := p.closeLayer(); err != nil {
		return nil, fmt.Errorf("pack files: %w", err)
	}
	slices.SortFunc(p.index.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	for i := 1; i < len(p.index.Files); i++ {
		if p.index.Files[i].Path == p.index.Files[i-1].Path {
			return nil, invalid("duplicate path %q", p.index.Files[i].Path)
		}
	}
	return &p.index, nil
}
