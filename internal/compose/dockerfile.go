package compose

import (
	"bytes"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Bounds of what is read from a Dockerfile. What exceeds them is treated as not known.
const (
	// maxWord is the length of a path and of a variable's value: variables can double each other.
	maxWord = 1 << 10
	// maxDockerfileSteps is how many instructions write files, maxStages how many stages there are.
	maxDockerfileSteps = 500
	maxStages          = 200
	// maxWork is how many bytes variables are expanded in and to.
	maxWork = 1 << 20
)

// step is one instruction that writes files into an image: the sources, relative to the build context, to dest.
type step struct {
	// dest is absolute. isDir is set if it is certainly a directory.
	dest  string
	isDir bool
	// sources are empty if it is not known what the instruction writes: then it may be anything at dest or below.
	sources []contextPath
}

// contextPath is a file or a directory of the build context.
type contextPath struct {
	path  string
	isDir bool
}

// anyStep is the step of an instruction that may write to any path.
var anyStep = step{dest: "/"}

// imageReader follows the instructions of a Dockerfile that decide which files of the build context the image holds, and where.
// https://docs.docker.com/reference/dockerfile/
type imageReader struct {
	// context is the directory of the build context.
	context string
	args    types.MappingWithEquals
	stages  []instructions.Stage
	// global are the ARGs before the first FROM.
	global variables
	lex    *shell.Lex
	// env and local are the ENVs and ARGs so far, workdir is empty while it is not known: base images may have one.
	env, local variables
	workdir    string
	steps      []step
	// work is how many bytes variables were expanded in and to.
	work int
}

// variables are those of a Dockerfile whose values are known.
type variables map[string]string

// visible are the variables that an instruction sees: an ENV hides an ARG.
type visible struct{ env, args variables }

// Get implements shell.EnvGetter.
func (v visible) Get(name string) (string, bool) {
	value, ok := v.env[name]
	if !ok {
		value, ok = v.args[name]
	}
	return value, ok
}

// Keys implements shell.EnvGetter. Expanding a word does not need it.
func (v visible) Keys() []string { return nil }

// dockerfile is a parsed Dockerfile.
type dockerfile struct {
	stages []instructions.Stage
	// global are the ARGs before the first FROM.
	global []instructions.ArgCommand
	escape rune
}

// parseDockerfile parses a Dockerfile. It is nil if it cannot be understood.
func parseDockerfile(text []byte) *dockerfile {
	file, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil
	}
	stages, global, err := instructions.Parse(file.AST, nil)
	if err != nil || len(stages) > maxStages {
		return nil
	}
	return &dockerfile{stages, global, file.EscapeToken}
}

// stepsOf are the steps of a Dockerfile's target, of all stages that it is based on, in their order, and the work to find them. Without ok
// they are not known.
func stepsOf(d *dockerfile, b *types.BuildConfig) (steps []step, work int, ok bool) {
	r := &imageReader{context: b.Context, args: b.Args, stages: d.stages, global: variables{}, env: variables{}, lex: shell.NewLex(d.escape)}
	for _, a := range d.global {
		r.arg(a.Args, r.global, nil)
	}
	target := stageIndex(d.stages, b.Target)
	if b.Target == "" {
		target = len(d.stages) - 1
	} else if n, err := strconv.Atoi(b.Target); target < 0 && err == nil && n >= 0 && n < len(d.stages) {
		target = n
	}
	if target < 0 {
		return nil, r.work, false
	}
	var volumes []step
	chain := r.chain(target)
	for i, n := range chain {
		volumes = append(volumes, r.stage(d.stages[n], i < len(chain)-1)...)
		if len(r.steps)+len(volumes) > maxDockerfileSteps || r.work > maxWork {
			return nil, r.work, false
		}
	}
	// What a volume shows at run time is the runtime's matter, wherever the instruction is.
	return append(r.steps, volumes...), r.work, true
}

// stageIndex is the last stage with a name; -1 if there is none.
func stageIndex(stages []instructions.Stage, name string) int {
	for i, s := range slices.Backward(stages) {
		if s.Name != "" && strings.EqualFold(s.Name, name) {
			return i
		}
	}
	return -1
}

// chain are the stages that a stage is based on, from the first to itself.
func (r *imageReader) chain(target int) []int {
	chain := []int{target}
	for {
		base, ok := r.word(r.stages[chain[0]].BaseName, visible{args: r.global})
		n := stageIndex(r.stages[:chain[0]], base)
		if !ok || n < 0 {
			if ok && base == "scratch" {
				r.workdir = "/"
			}
			return chain
		}
		chain = slices.Insert(chain, 0, n)
	}
}

// stage adds the steps of one stage, and returns those of its volumes. IsBase is set if another stage is based on it.
func (r *imageReader) stage(s instructions.Stage, isBase bool) (volumes []step) {
	r.local = variables{}
	triggers := false
	for _, command := range s.Commands {
		switch c := command.(type) {
		case *instructions.ArgCommand:
			r.arg(c.Args, r.local, r.global)
		case *instructions.EnvCommand:
			r.setEnv(c.Env)
		case *instructions.WorkdirCommand:
			r.workdir, _ = r.abs(c.Path)
		case *instructions.CopyCommand:
			r.copy(c.SourcesAndDest, c.From != "" || c.Parents || len(c.ExcludePatterns) > 0, false)
		case *instructions.AddCommand:
			r.copy(c.SourcesAndDest, len(c.ExcludePatterns) > 0, true)
		case *instructions.RunCommand:
			r.run(c)
		case *instructions.VolumeCommand:
			for _, v := range c.Volumes {
				dest, ok := r.abs(v)
				if !ok {
					dest = "/"
				}
				volumes = append(volumes, step{dest: dest})
			}
		case *instructions.OnbuildCommand:
			triggers = true
		}
	}
	if triggers && isBase {
		r.steps = append(r.steps, anyStep)
	}
	return volumes
}

// word expands the variables in a word. It is not known if one of them is not.
func (r *imageReader) word(text string, env visible) (string, bool) {
	if r.work += len(text) + 1; len(text) > maxWord || r.work > maxWork {
		return "", false
	}
	out, missing, err := r.lex.ProcessWord(text, env)
	r.work += len(out)
	return out, err == nil && len(missing) == 0 && len(out) <= maxWord
}

// setEnv sets the variables of one ENV, which see those before it. One whose value is not known hides what was known.
func (r *imageReader) setEnv(pairs []instructions.KeyValuePair) {
	set := variables{}
	for _, pair := range pairs {
		if value, ok := r.word(pair.Value, r.visible()); ok {
			set[pair.Key] = value
		}
	}
	for _, pair := range pairs {
		delete(r.env, pair.Key)
		delete(r.local, pair.Key)
	}
	maps.Copy(r.env, set)
}

func (r *imageReader) visible() visible { return visible{r.env, r.local} }

// arg declares build arguments: the value is that of the build, the default, or that of the same argument before the first FROM.
func (r *imageReader) arg(args []instructions.KeyValuePairOptional, to, outer variables) {
	for _, a := range args {
		given, isGiven := r.args[a.Key]
		value, ok := outer[a.Key]
		switch {
		case isGiven && given != nil:
			to[a.Key] = *given
		case a.Value != nil:
			if value, ok = r.word(*a.Value, visible{r.env, to}); ok {
				to[a.Key] = value
			} else {
				delete(to, a.Key)
			}
		case ok:
			to[a.Key] = value
		default:
			delete(to, a.Key)
		}
	}
}

// abs is a path of the image, absolute. It is not known if a variable in it or the working directory is not.
func (r *imageReader) abs(text string) (string, bool) {
	p, ok := r.word(text, r.visible())
	switch {
	case !ok || strings.Contains(p, `\`):
		return "", false
	case path.IsAbs(p):
		return path.Clean(p), true
	case r.workdir == "":
		return "", false
	}
	return path.Join(r.workdir, p), true
}

// copy adds the step of a COPY or an ADD. IsForeign is set if the files do not all come from the context, as they are. ADD unpacks archives.
func (r *imageReader) copy(c instructions.SourcesAndDest, isForeign, unpacks bool) {
	dest, ok := r.abs(c.DestPath)
	if !ok {
		r.steps = append(r.steps, anyStep)
		return
	}
	s := step{dest: dest, isDir: len(c.SourcePaths) > 1 || below(dest, r.workdir) || strings.HasSuffix(strings.TrimSuffix(c.DestPath, "."), "/")}
	isKnown := !isForeign && len(c.SourceContents) == 0
	for _, text := range c.SourcePaths {
		source, ok := r.source(text)
		if isKnown = isKnown && ok && (source.isDir || !unpacks); !isKnown {
			break
		}
		s.sources = append(s.sources, source)
	}
	if !isKnown {
		s.sources = nil
	}
	r.steps = append(r.steps, s)
}

// source is a path of the context that a COPY or an ADD names. Patterns and links are not followed.
func (r *imageReader) source(text string) (contextPath, bool) {
	p, ok := r.word(text, r.visible())
	if !ok || remote.MatchString(p) || strings.ContainsAny(p, `*?[\`) {
		return contextPath{}, false
	}
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	st, err := os.Lstat(filepath.Join(r.context, filepath.FromSlash(p)))
	if err != nil || !st.IsDir() && !st.Mode().IsRegular() {
		return contextPath{}, false
	}
	return contextPath{p, st.IsDir()}, true
}

// writes returns the path of the context whose content a step writes to the image's path at. IsKnown is false if it may write there what is
// not known. Exists reports whether the context has a path.
func (s step) writes(at string, exists func(p string) bool) (from string, isWritten, isKnown bool) {
	if !below(s.dest, at) {
		return "", false, true
	}
	if len(s.sources) == 0 {
		return "", true, false
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(at, s.dest), "/")
	for _, source := range slices.Backward(s.sources) {
		switch name := path.Base(source.path); {
		case source.isDir:
			if from := path.Join(source.path, rest); exists(from) {
				return from, true, true
			}
		case s.isDir && rest == name, !s.isDir && rest == "":
			return source.path, true, true
		case !s.isDir && rest == name:
			// It depends on whether the image has a directory there.
			return "", true, false
		}
	}
	return "", false, true
}
