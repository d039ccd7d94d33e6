package compose

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// Bounds of the comparison of mounts with what images hold. Mounts beyond them are treated as if the image did not hold them.
const (
	// maxCompared is how often files are compared with instructions of Dockerfiles and patterns of .dockerignore.
	maxCompared = 10_000_000
	// maxPatterns is how many patterns a .dockerignore has.
	maxPatterns = 2000
)

// buildFiles is what is known of the files that a build puts into its image.
type buildFiles struct {
	steps   []step
	ignored *ignoredFiles
}

// ignoredFiles are the patterns of a .dockerignore.
type ignoredFiles struct {
	*patternmatcher.PatternMatcher
	number int
}

// held is what is known of the files of a mount in an image.
type held struct {
	// all is set if the image has each of them at its place.
	all bool
	// ignored is one that the image would have without .dockerignore.
	ignored string
}

// imageHolds reports whether the image has the same files at the target as a mount of a file or directory of the build context: the
// Dockerfile copies each of them there, and nothing over it. Such mounts serve to edit sources without a rebuild; a read-only
// one of a part does not, and a copy is as good there. What RUN does to the files is not known; most builds only add to them.
func (c *converter) imageHolds(s types.ServiceConfig, m mount) held {
	b := s.Build
	if b == nil || !below(b.Context, m.Source) {
		return held{}
	}
	rel, err := filepath.Rel(b.Context, m.Source)
	if err != nil || m.ReadOnly && rel != "." {
		return held{}
	}
	rel = filepath.ToSlash(rel)
	build := buildKey(b)
	key := strings.Join([]string{build, rel, m.Target}, "\x00")
	if known, ok := c.holds[key]; ok {
		return known
	}
	files, read := c.builds[build]
	if !read {
		if files, err = c.readBuild(s.Name, b); errors.Is(err, errAbsent) {
			// The conversion ends without a result. The files of the mount need not be asked for yet.
			return held{all: true}
		}
		c.builds[build] = files
	}
	if files == nil {
		c.holds[key] = held{}
	} else {
		c.holds[key] = c.compare(files, b.Context, rel, path.Clean(m.Target))
	}
	return c.holds[key]
}

// buildKey identifies what the files of an image depend on.
func buildKey(b *types.BuildConfig) string {
	key := []string{b.Context, b.Dockerfile, b.DockerfileInline, b.Target}
	for _, name := range slices.Sorted(maps.Keys(b.Args)) {
		if v := b.Args[name]; v != nil {
			key = append(key, name+"="+*v)
		}
	}
	return fmt.Sprintf("%q", key)
}

// readBuild reads the Dockerfile and the .dockerignore of a build. It fails if what they do is not known.
func (c *converter) readBuild(service string, b *types.BuildConfig) (*buildFiles, error) {
	file := join(b.Context, b.Dockerfile)
	ignoring := []string{filepath.Join(b.Context, ".dockerignore")}
	if b.DockerfileInline == "" {
		ignoring = slices.Insert(ignoring, 0, file+".dockerignore")
	}
	d, err := c.readDockerfile(service, file, b.DockerfileInline)
	if err != nil {
		return nil, err
	}
	if c.compared > maxCompared {
		return nil, errNotKnown
	}
	steps, work, ok := stepsOf(d, b)
	if c.compared += work; !ok {
		return nil, errNotKnown
	}
	for _, f := range ignoring {
		patterns, err := c.readIgnored(service, f)
		switch {
		case err == nil:
			return &buildFiles{steps, patterns}, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return &buildFiles{steps: steps}, nil
}

// readDockerfile reads a Dockerfile, or takes it from the compose file, once.
func (c *converter) readDockerfile(service, file, inline string) (*dockerfile, error) {
	key := cmp.Or(inline, file)
	d, known := c.dockerfiles[key]
	if !known {
		text := []byte(inline)
		if inline == "" {
			data, err := c.readBuildFile(service, file)
			if err != nil {
				return nil, err
			}
			text = data
		}
		d = parseDockerfile(text)
		c.dockerfiles[key] = d
	}
	if d == nil {
		return nil, errNotKnown
	}
	return d, nil
}

// readIgnored reads the patterns of a .dockerignore, once.
func (c *converter) readIgnored(service, file string) (*ignoredFiles, error) {
	i, known := c.ignored[file]
	if !known {
		data, err := c.readBuildFile(service, file)
		if err != nil {
			return nil, err
		}
		if lines, err := ignorefile.ReadAll(bytes.NewReader(data)); err == nil && len(lines) <= maxPatterns {
			if matcher, err := patternmatcher.New(lines); err == nil {
				i = &ignoredFiles{matcher, len(lines)}
			}
		}
		c.ignored[file] = i
	}
	if i == nil {
		return nil, errNotKnown
	}
	return i, nil
}

var (
	// errNotKnown is the error of a file that exists and is not read, and of one that the image does not hold.
	errNotKnown = errors.New("not known")
	// errAbsent is the error of a file whose content is missing here, and now needed.
	errAbsent = errors.New("absent")
)

// readBuildFile reads a Dockerfile or .dockerignore of the repository. The error is fs.ErrNotExist if there is none.
func (c *converter) readBuildFile(service, file string) ([]byte, error) {
	if insideOf(c.dir, file) != nil {
		return nil, errNotKnown
	}
	st, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	case err != nil || !st.Mode().IsRegular() || st.Size() > maxFile:
		return nil, errNotKnown
	case c.absences.isAbsent(file):
		return nil, errAbsent
	}
	if c.buildFiles += int(st.Size()); c.buildFiles > maxRead {
		c.refuse(service, "build.dockerfile", "", "the Dockerfiles and .dockerignores that decide what is mounted or built have more than %d MiB together", maxRead>>20)
		return nil, errNotKnown
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, errNotKnown
	}
	return data, nil
}

// compare compares the files that the image has at target with those at or below the path rel of the build context.
func (c *converter) compare(build *buildFiles, context, rel, target string) (out held) {
	top := filepath.Join(context, filepath.FromSlash(rel))
	if real, err := filepath.EvalSymlinks(top); err != nil || real != top {
		return out
	}
	exists := func(p string) bool {
		_, err := os.Lstat(filepath.Join(context, filepath.FromSlash(p)))
		return err == nil && !c.isIgnored(build.ignored, p)
	}
	files := 0
	err := filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
		if c.compared += len(build.steps) + 1; err != nil || c.compared > maxCompared {
			return errNotKnown
		}
		if d.IsDir() {
			if d.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		files++
		below := filepath.ToSlash(strings.TrimPrefix(file, top))
		at, from := path.Join(target, below), path.Join(rel, below)
		if build.origin(at, exists) == from {
			return nil
		}
		if c.isIgnored(build.ignored, from) && build.origin(at, func(string) bool { return true }) == from {
			out.ignored = from
		}
		return errNotKnown
	})
	out.all = err == nil && files > 0
	return out
}

// isIgnored reports whether .dockerignore leaves a path out of the build context.
func (c *converter) isIgnored(by *ignoredFiles, p string) bool {
	if by == nil {
		return false
	}
	c.compared += by.number * (1 + strings.Count(p, "/"))
	is, err := by.MatchesOrParentMatches(filepath.FromSlash(p))
	return is || err != nil
}

// origin is the path of the build context whose content the image has at a path; empty if it has none or it is not known.
func (f *buildFiles) origin(at string, exists func(p string) bool) string {
	for _, s := range slices.Backward(f.steps) {
		if from, isWritten, isKnown := s.writes(at, exists); isWritten {
			if !isKnown {
				return ""
			}
			return from
		}
	}
	return ""
}
