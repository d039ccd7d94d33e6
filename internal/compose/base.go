package compose

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// base is an image that a Dockerfile starts from or copies from, in the form of Project.builders, and its line.
type base struct {
	image string
	line  int
}

// basesOf are the images that a build needs. Stages after the target are not built.
func basesOf(d *dockerfile, b *types.BuildConfig) []base {
	r := &imageReader{args: b.Args, env: variables{}, lex: shell.NewLex(d.escape)}
	global := variables{}
	for _, a := range d.global {
		r.arg(a.Args, global, nil)
	}
	var out []base
	last := stageIndex(d.stages, b.Target)
	if last < 0 {
		last = len(d.stages) - 1
	}
	add := func(stage int, name string, at []parser.Range) {
		image, ok := r.word(name, visible{args: global})
		if _, err := strconv.Atoi(image); ok && err != nil && image != "" && stageIndex(d.stages[:stage], image) < 0 && len(at) > 0 {
			out = append(out, base{strings.TrimSuffix(image, ":latest"), at[0].Start.Line})
		}
	}
	for i, s := range d.stages[:last+1] {
		add(i, s.BaseName, s.Location)
		for _, command := range s.Commands {
			if c, ok := command.(*instructions.CopyCommand); ok {
				add(i, c.From, c.Location())
			}
		}
	}
	return out
}

// checkBases refuses builds that need the image of another service: the builder would look for it in a registry. A service that gives its image
// the name of the image that it starts from, as in `image: nginx` and FROM nginx, does not hide that one.
func (c *converter) checkBases() {
	if !c.o.SeparateBuilds || len(c.builders) < 2 {
		return
	}
	bases := map[string][]base{}
	for _, name := range c.compose.ServiceNames() {
		b := c.compose.Services[name].Build
		if b == nil {
			continue
		}
		if d, err := c.readDockerfile(name, join(b.Context, b.Dockerfile), b.DockerfileInline); err == nil {
			bases[name] = basesOf(d, b)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(bases)) {
		b := c.compose.Services[name].Build
		for _, need := range bases[name] {
			builder, ok := c.builders[need.image]
			isOwn := slices.ContainsFunc(bases[builder], func(other base) bool { return other.image == need.image })
			if !ok || builder == name || isOwn || c.absences.err() != nil {
				continue
			}
			at := "dockerfile_inline"
			if b.DockerfileInline == "" {
				at, _ = filepath.Rel(c.dir, join(b.Context, b.Dockerfile))
			}
			c.refuse(name, "build", "", "%s:%d needs the image %s of the service %s, which is not in a registry: every image is built by itself. "+
				"Make both stages of one Dockerfile, and select each with build.target", filepath.ToSlash(at), need.line, need.image, builder)
		}
	}
}
