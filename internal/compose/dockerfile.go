package compose

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// holdsNothing says whether a directory has no files but those that keep it in git.
func (c *converter) holdsNothing(rel string) bool {
	found := false
	_ = filepath.WalkDir(filepath.Join(c.dir, filepath.FromSlash(rel)), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !slices.Contains([]string{".gitkeep", ".keep", ".gitignore"}, d.Name()) {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return !found
}

// imageHolds says whether a mounted directory is what the service's image is built from: the way to work on sources
// without building. It is when it holds the build context, or when the Dockerfile copies it.
func (c *converter) imageHolds(b *types.BuildConfig, m mount) bool {
	if b == nil {
		return false
	}
	if below(m.Source, b.Context) {
		return true
	}
	if m.ReadOnly || !below(b.Context, m.Source) || b.DockerfileInline != "" {
		return false
	}
	file := join(b.Context, b.Dockerfile)
	if insideOf(c.dir, file) != nil {
		return false
	}
	st, err := os.Stat(file)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxFile {
		return false
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(b.Context, m.Source)
	return err == nil && slices.ContainsFunc(copied(string(data)), func(p string) bool {
		return p == "." || p == filepath.ToSlash(rel) || strings.HasPrefix(filepath.ToSlash(rel), p+"/")
	})
}

// copied are the paths that a Dockerfile's COPY and ADD take from the build context.
// https://docs.docker.com/reference/dockerfile/#copy
func copied(dockerfile string) []string {
	var out []string
	for _, line := range strings.Split(strings.ReplaceAll(dockerfile, "\\\n", " "), "\n") {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r,[]\"", r) })
		if len(words) < 3 || !strings.EqualFold(words[0], "COPY") && !strings.EqualFold(words[0], "ADD") {
			continue
		}
		var args []string
		fromStage := false
		for _, w := range words[1:] {
			if strings.HasPrefix(w, "--") {
				fromStage = fromStage || strings.HasPrefix(w, "--from=")
			} else {
				args = append(args, w)
			}
		}
		if fromStage || len(args) < 2 {
			continue
		}
		for _, a := range args[:len(args)-1] {
			out = append(out, strings.TrimPrefix(path.Clean("/"+a), "/"))
		}
	}
	for i, p := range out {
		if p == "" {
			out[i] = "."
		}
	}
	return out
}
