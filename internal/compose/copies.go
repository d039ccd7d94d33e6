package compose

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"
)

// Bounds of the files that mounts, configs and secrets bring, in bytes. ConfigMaps are kept by the API server, in its memory, too, and one
// holds 1 MiB with its keys: https://kubernetes.io/docs/concepts/configuration/configmap/
const (
	// maxContent is the size of one file and of the files of one ConfigMap, maxEntries how many it has, and maxCopied the size of all of a stack.
	maxContent = 900 << 10
	maxEntries = 1000
	maxCopied  = 2 << 20
	// entryCost is what a file takes besides: its key, and its entry in the pods that mount it.
	entryCost = 512
	// maxWalked is how many files and directories are looked at for all mounts together.
	maxWalked = 100_000
)

// copies are the files of one mount, config or secret, with what is known of them without reading any.
type copies struct {
	// key is what the content is called, path the file or directory in the repository with its links followed.
	key, path string
	isDir     bool
	// sub is the path of it all in its volume.
	sub   string
	files []copiedFile
	// count is how many files there are, size what they have in bytes, and cost what they take in ConfigMaps, which have the content of a
	// file for each link to it.
	count      int
	size, cost int64
	// isMore is set when there are more that were not looked at.
	isMore bool
	// isCopied is set when ConfigMaps hold them. Otherwise an init container brings them out of the source artifact.
	isCopied bool
	// notCopied and notBrought explain why one of these cannot be, refused why neither.
	notCopied, notBrought, refused string
}

// copiedFile is one of them: its path in the repository, and in the volume.
type copiedFile struct {
	path, to string
	mode     int32
}

// surveyFiles finds all files that the stack brings, and which of them ConfigMaps hold: what the compose file itself holds, then the smallest
// mounts, so that one that is large pushes no other out.
func (c *converter) surveyFiles() {
	texts := map[string]int64{}
	for _, name := range c.compose.ServiceNames() {
		s := c.services[name]
		c.surveyContainer(s, texts)
		for _, h := range s.PreStart {
			hook, _ := hookOf(s, h)
			c.surveyContainer(hook, texts)
		}
	}
	room := int64(maxCopied)
	for _, n := range texts {
		room -= n
	}
	all := slices.SortedFunc(maps.Values(c.copies), func(a, b *copies) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.key, b.key))
	})
	for _, f := range all {
		if f.refused == "" && f.notCopied == "" && f.cost <= room {
			f.isCopied = true
			room -= f.cost
		}
	}
}

// surveyContainer looks at what one container mounts. Texts are the costs of what the compose file holds, by key.
func (c *converter) surveyContainer(s types.ServiceConfig, texts map[string]int64) {
	for _, v := range s.Volumes {
		if m := c.sort(s, v); m.kind == mountContent {
			c.copiesOf(m.rel, m.rel, "")
		}
	}
	file := func(field, name string, def types.FileObjectConfig) {
		key := field + ":" + name
		if _, isSecret := c.secretOf(field, name, def); isSecret || bool(def.External) {
			return
		}
		if def.File != "" {
			c.copiesOf(key, c.relOf(def.File), "file")
		} else if def.Environment != "" {
			texts[key] = int64(len(c.compose.Environment[def.Environment])) + entryCost
		} else {
			texts[key] = int64(len(def.Content)) + entryCost
		}
	}
	for _, x := range s.Configs {
		file("configs", x.Source, types.FileObjectConfig(c.compose.Configs[x.Source]))
	}
	for _, x := range s.Secrets {
		file("secrets", x.Source, types.FileObjectConfig(c.compose.Secrets[x.Source]))
	}
}

// relOf is an absolute path as one of the repository, or as it is when it leads out of that.
func (c *converter) relOf(file string) string {
	if rel, err := filepath.Rel(c.dir, file); err == nil {
		return filepath.ToSlash(rel)
	}
	return file
}

// copiesOf looks at a file or directory of the repository, once for each key. A file is called sub in its volume, or by its own name.
func (c *converter) copiesOf(key, rel, sub string) *copies {
	if have := c.copies[key]; have != nil {
		return have
	}
	out := &copies{key: key, path: rel, sub: sub}
	c.copies[key] = out
	abs := filepath.Join(c.dir, filepath.FromSlash(rel))
	if err := insideOf(c.dir, abs); err != nil {
		out.refused = "the file " + err.Error()
		return out
	}
	real, err := filepath.EvalSymlinks(abs)
	if os.IsNotExist(err) {
		out.refused = rel + " is not in the repository"
		return out
	}
	root, err2 := os.OpenRoot(c.dir)
	if err != nil || err2 != nil {
		out.refused = rel + " cannot be read"
		return out
	}
	defer root.Close() //nolint:errcheck // it was only read
	out.path = c.relOf(real)
	st, err := root.Stat(filepath.FromSlash(out.path))
	switch {
	case err != nil:
		out.refused = rel + " cannot be read"
	case st.IsDir():
		out.isDir, out.sub = true, strings.TrimSuffix(filesDir, "/")
		if err := c.walkCopies(root, out); err != nil {
			out.refused = err.Error()
		}
	case !st.Mode().IsRegular():
		out.refused = rel + " is neither a file nor a directory"
	default:
		out.sub = cmp.Or(out.sub, path.Base(rel))
		out.add(out.path, out.sub, st, false)
	}
	return out
}

// add takes up a file, or a link to one.
func (f *copies) add(p, to string, st fs.FileInfo, isLink bool) {
	mode := int32(0o644)
	if st.Mode()&0o111 != 0 {
		mode = 0o755
	}
	if f.count++; !isLink {
		f.size += st.Size()
	}
	if f.cost += st.Size() + entryCost; f.cost <= maxCopied {
		f.files = append(f.files, copiedFile{p, to, mode})
	}
	if st.Size() > maxContent && f.notCopied == "" {
		f.notCopied = fmt.Sprintf("%s is larger than %d KiB", p, maxContent>>10)
	}
}

// most is how many bytes of files are of interest: above that they are refused whatever there is besides.
func (c *converter) most() int64 {
	if c.o.Source == nil {
		return maxCopied
	}
	return max(maxCopied, c.o.Source.Limit)
}

// walkCopies takes up the files of a directory. What is not a link lies where it is found; links may lead anywhere.
func (c *converter) walkCopies(root *os.Root, f *copies) error {
	top := filepath.Join(c.dir, filepath.FromSlash(f.path))
	return filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
		p := c.relOf(file)
		if err != nil {
			return fmt.Errorf("%s cannot be read", p)
		}
		if c.walked++; c.walked > maxWalked {
			return fmt.Errorf("the directories that the stack mounts have more than %d files: copy what the services need into images", maxWalked)
		}
		if d.IsDir() {
			// A checkout of Conductor has none, and so a copy elsewhere has none.
			if d.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		st, err := d.Info()
		isLink := d.Type()&fs.ModeSymlink != 0
		if isLink {
			if st, err = root.Stat(filepath.FromSlash(p)); err != nil {
				return fmt.Errorf("%s is a symbolic link that leads out of the repository or nowhere", p)
			}
			f.addLink(c.dir, p, st)
		}
		switch {
		case err != nil:
			return fmt.Errorf("%s cannot be read", p)
		case st.IsDir():
			return nil
		case !st.Mode().IsRegular():
			return fmt.Errorf("%s is neither a file nor a directory", p)
		}
		f.add(p, f.sub+filepath.ToSlash(strings.TrimPrefix(file, top)), st, isLink)
		if f.size > c.most() || c.o.Source == nil && f.cost > maxCopied {
			f.isMore = true
			return fs.SkipAll
		}
		return nil
	})
}

// addLink notes what a symbolic link in a mounted directory is good for: a ConfigMap has the content of a file in its place, and the source
// artifact the link itself, which needs its target beside it.
func (f *copies) addLink(dir, p string, st fs.FileInfo) {
	if st.IsDir() && f.notCopied == "" {
		f.notCopied = p + " is a symbolic link to a directory, which cannot be copied"
	}
	real, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(p)))
	if err != nil || !below(filepath.Join(dir, filepath.FromSlash(f.path)), real) {
		f.notBrought = p + " is a symbolic link to what is not in " + f.path
	}
}

// sizeOf is how much there is, for a reader.
func (c *converter) sizeOf(f *copies) string {
	if f.isMore {
		return "more than " + bytesOf(c.most())
	}
	return bytesOf(f.size)
}

// holdsNothing reports whether a directory has no files but those that keep it in git.
func (c *converter) holdsNothing(rel string) bool {
	if known, ok := c.empty[rel]; ok {
		return known
	}
	found := false
	_ = filepath.WalkDir(filepath.Join(c.dir, filepath.FromSlash(rel)), func(_ string, d fs.DirEntry, err error) error {
		if c.walked++; c.walked > maxWalked || err == nil && !d.IsDir() && !slices.Contains([]string{".gitkeep", ".keep", ".gitignore"}, d.Name()) {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	c.empty[rel] = !found
	return !found
}

// bytesOf is a size for a reader.
func bytesOf(n int64) string {
	return units.CustomSize("%.4g %s", float64(n), 1024, []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}
