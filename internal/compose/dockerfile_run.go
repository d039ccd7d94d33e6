package compose

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// commandEnds separates the commands of a shell script.
var commandEnds = regexp.MustCompile(`&&|\|\||[;|&(){}\n]`)

// shellWords are words that may be before the name of a command.
var shellWords = []string{"!", "then", "do", "else", "exec", "sudo", "time", "sh", "bash", "/bin/sh", "/bin/bash", "-c"}

// run adds the steps of what a RUN removes, moves or edits, as far as its text names it. Otherwise it is taken to add files only.
func (r *imageReader) run(c *instructions.RunCommand) {
	script := strings.Join(c.CmdLine, " ")
	for _, f := range c.Files {
		script += "\n" + f.Data
	}
	if r.work += len(script); r.work > maxWork {
		return
	}
	workdir := r.workdir
	defer func() { r.workdir = workdir }()
	for _, command := range commandEnds.Split(script, -1) {
		words := strings.Fields(command)
		for len(words) > 0 && slices.Contains(shellWords, words[0]) {
			words = words[1:]
		}
		if len(words) == 0 {
			continue
		}
		switch name, args := words[0], words[1:]; name {
		case "cd":
			if len(args) > 0 {
				r.workdir, _ = r.abs(args[0])
			}
		case "rm", "mv", "unlink":
			r.change(args)
		case "sed":
			if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-i") }) {
				r.change(args)
			}
		}
	}
}

// change adds a step for each path among the arguments of a command that changes them.
func (r *imageReader) change(args []string) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			continue
		}
		if i := strings.IndexAny(a, "*?["); i >= 0 {
			a = strings.TrimLeft(a[:i], `"'`)
			if a = a[:strings.LastIndex(a, "/")+1]; a == "" {
				a = "."
			}
		}
		if at, ok := r.abs(a); ok && path.Clean(at) != "/" {
			r.steps = append(r.steps, step{dest: at})
		}
	}
}
