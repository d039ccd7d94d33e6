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

// Bounds of the files of mounts, configs and secrets, in bytes. The API server keeps ConfigMaps in memory, and one holds 1 MiB with its keys: https://kubernetes.io/docs/concepts/configuration/configmap/
const (
	// maxContent bounds one file and the files of one ConfigMap, maxEntries their number, and maxCopied all ConfigMaps of a stack.
	maxContent = 900 << 10
	maxEntries = 1000
	maxCopied  = 2 << 20
	// entryCost is the overhead of a file: its key, and its entry in the pods that mount it.
	entryCost = 512
	// maxWalked is how many files and directories are visited for all mounts together.
	maxWalked = 100_000
)

// copies are the files of one mount, config or secret, as known without reading them.
type copies struct {
	// key is that of the content, path the file or directory in the repository, with symbolic links resolved.
	key, path string
	isDir     bool
	// sub is the path in the volume.
	sub   string
	files []copiedFile
	// count is the number of files, size their bytes, and cost their bytes in ConfigMaps, where each link to a file is another copy.
	count      int
	size, cost int64
	// isMore is set when the walk stopped before the last file.
	isMore bool
	// isCopied is set when ConfigMaps hold them. Otherwise an init container fetches them from the source artifact.
	isCopied bool
	// notCopied and notBrought are the reasons why ConfigMaps or an init container cannot hold them; refused is why neither can.
	notCopied, notBrought, refused string
}

// copiedFile is one of them: its path in the repository, and in the volume.
type copiedFile struct {
	path, to string
	mode     int32
}

// surveyFiles finds all files of the stack and decides which of them ConfigMaps hold: first the content in the compose file itself, then
// the smallest mounts, so that a large one does not displace others.
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

// surveyContainer finds the files that one container mounts. Texts collects the costs of content in the compose file, by key.
func (c *converter) surveyContainer(s types.ServiceConfig, texts map[string]int64) {
	for _, m := range c.mountsOf(s) {
		if m.kind == mountContent {
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

// relOf is an absolute path relative to the repository, or unchanged if it cannot be.
func (c *converter) relOf(file string) string {
	if rel, err := filepath.Rel(c.dir, file); err == nil {
		return filepath.ToSlash(rel)
	}
	return file
}

// copiesOf lists a file or the files of a directory of the repository, once for each key. A file is named sub in its volume, or keeps its name.
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

// add adds a file, or a link to one.
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

// most is the size above which files are refused in any case.
func (c *converter) most() int64 {
	if c.o.Source == nil {
		return maxCopied
	}
	return max(maxCopied, c.o.Source.Limit)
}

// walkCopies adds the files of a directory. Links may lead anywhere.
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
			// Conductor's checkout does not have it, so a copy made elsewhere must not either.
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

// addLink records what a symbolic link in a mounted directory rules out: a ConfigMap holds the linked file's content, but not a
// directory's, and the source artifact holds the link itself, whose target must be in the same mount.
func (f *copies) addLink(dir, p string, st fs.FileInfo) {
	if st.IsDir() && f.notCopied == "" {
		f.notCopied = p + " is a symbolic link to a directory, which cannot be copied"
	}
	real, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(p)))
	if err != nil || !below(filepath.Join(dir, filepath.FromSlash(f.path)), real) {
		f.notBrought = p + " is a symbolic link to what is not in " + f.path
	}
}

// sizeOf is the size of the files for a message.
func (c *converter) sizeOf(f *copies) string {
	if f.isMore {
		return "more than " + bytesOf(c.most())
	}
	return bytesOf(f.size)
}

// holdsNothing reports whether a directory has no files besides those that keep it in git.
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

// bytesOf formats a size for a message.
func bytesOf(n int64) string {
	return units.CustomSize("%.4g %s", float64(n), 1024, []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}
