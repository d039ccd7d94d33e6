package compose

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// imageHolds reports whether the image already contains a mounted directory: it contains the build context, or the Dockerfile copies it.
// Such mounts serve to edit sources without a rebuild.
func (c *converter) imageHolds(s types.ServiceConfig, m mount) bool {
	b := s.Build
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
	key := strings.Join([]string{file, b.Context, m.Source}, "\x00")
	if known, ok := c.holds[key]; ok {
		return known
	}
	rel, err := filepath.Rel(b.Context, m.Source)
	c.holds[key] = err == nil && slices.ContainsFunc(c.copiedBy(s.Name, file), func(p string) bool {
		return p == "." || p == filepath.ToSlash(rel) || strings.HasPrefix(filepath.ToSlash(rel), p+"/")
	})
	return c.holds[key]
}

// copiedBy are the paths that a Dockerfile of the repository copies, cached.
func (c *converter) copiedBy(service, file string) []string {
	if found, ok := c.copied[file]; ok {
		return found
	}
	c.copied[file] = nil
	if insideOf(c.dir, file) != nil {
		return nil
	}
	st, err := os.Stat(file)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxFile || c.absences.isAbsent(file) {
		return nil
	}
	if c.dockerfiles += int(st.Size()); c.dockerfiles > maxRead {
		c.refuse(service, "build.dockerfile", "", "the Dockerfiles of services that mount files have more than %d MiB together", maxRead>>20)
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	c.copied[file] = copied(string(data))
	return c.copied[file]
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
