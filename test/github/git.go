package githubtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const zeroSHA = "0000000000000000000000000000000000000000"

// gitEnv keeps a user's and the machine's configuration away.
func gitEnv() []string {
	return append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
}

// git runs git in the repository and returns its output.
func (r *repository) git(args ...string) (string, error) { return r.gitInput(nil, args...) }

func (r *repository) gitInput(input io.Reader, args ...string) (string, error) {
	command := exec.Command("git", append([]string{"--git-dir", r.dir}, args...)...)
	command.Env, command.Stdin = gitEnv(), input
	var problem bytes.Buffer
	command.Stderr = &problem
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(problem.String()))
	}
	return string(out), nil
}

// gitSettings make the repository behave as one on GitHub: clients may push, fetch any object by its SHA, and not
// write to refs/pull.
var gitSettings = map[string]string{
	"http.receivepack":              "true",
	"uploadpack.allowAnySHA1InWant": "true",
	"uploadpack.allowFilter":        "true",
	"receive.hideRefs":              "refs/pull",
	"receive.denyDeleteCurrent":     "ignore",
	"receive.autogc":                "false",
	"gc.auto":                       "0",
	"core.fsync":                    "none", // nothing here outlives its test
}

// initGit makes the bare repository; with a parent it begins as a copy of that one.
func (r *repository) initGit() error {
	if err := os.MkdirAll(filepath.Dir(r.dir), 0o755); err != nil {
		return err
	}
	args := []string{"init", "--quiet", "--bare", "--initial-branch", r.defaultBranch, r.dir}
	if r.parent != nil {
		args = []string{"clone", "--quiet", "--bare", r.parent.dir, r.dir}
	}
	command := exec.Command("git", args...)
	command.Env = gitEnv()
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	config, err := os.OpenFile(filepath.Join(r.dir, "config"), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer config.Close()
	for name, value := range gitSettings {
		section, key, _ := strings.Cut(name, ".")
		fmt.Fprintf(config, "[%s]\n\t%s = %s\n", section, key, value)
	}
	return nil
}

// gitObject is an object's name, type and size.
type gitObject struct {
	sha, kind string
	size      int64
}

// lookup resolves a revision to an object; false when there is none.
func (r *repository) lookup(revision string) (gitObject, bool) {
	if revision == "" || strings.ContainsAny(revision, "\n\x00") {
		return gitObject{}, false
	}
	out, err := r.gitInput(strings.NewReader(revision+"\n"), "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
	fields := strings.Fields(out)
	if err != nil || len(fields) != 3 || fields[1] == "missing" || fields[1] == "ambiguous" {
		return gitObject{}, false
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	return gitObject{sha: fields[0], kind: fields[1], size: size}, err == nil
}

// commitOf resolves what GitHub's API calls a ref: a SHA, a branch, a tag or a full ref. Branches come before tags.
func (r *repository) commitOf(ref string) (string, bool) {
	for _, revision := range []string{"refs/heads/" + ref, "refs/tags/" + ref, ref} {
		if strings.HasPrefix(revision, "-") {
			continue
		}
		if o, found := r.lookup(revision + "^{commit}"); found {
			return o.sha, true
		}
	}
	return "", false
}

// hasCommit reports whether the repository holds a commit with exactly this SHA.
func (r *repository) hasCommit(sha string) bool {
	o, found := r.lookup(sha + "^{commit}")
	return found && o.sha == sha
}

func (r *repository) blob(sha string) ([]byte, error) {
	out, err := r.git("cat-file", "blob", sha)
	return []byte(out), err
}

// entry is one line of a tree.
type entry struct {
	mode, kind, sha, path string
	size                  int64
}

// tree lists a tree, with its subtrees when recursive.
func (r *repository) tree(revision string, recursive bool) ([]entry, error) {
	args := []string{"ls-tree", "-z", "-l"}
	if recursive {
		args = append(args, "-r", "-t")
	}
	out, err := r.git(append(args, revision)...)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		head, path, ok := strings.Cut(line, "\t")
		fields := strings.Fields(head)
		if !ok || len(fields) != 4 {
			continue
		}
		size, _ := strconv.ParseInt(fields[3], 10, 64) // "-" for what has no size
		entries = append(entries, entry{mode: fields[0], kind: fields[1], sha: fields[2], path: path, size: size})
	}
	return entries, nil
}

// readRefs are the branches and tags and what they point to: for an annotated tag, the tag object.
func (r *repository) readRefs() (map[string]string, error) {
	out, err := r.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		name, sha, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[name] = sha
	}
	return refs, nil
}

// isAncestor reports whether one commit can be reached from the other.
func (r *repository) isAncestor(ancestor, of string) bool {
	_, err := r.git("merge-base", "--is-ancestor", ancestor, of)
	return err == nil
}

type signature struct {
	name, email string
	when        time.Time
}

type commit struct {
	sha, tree, message string
	parents            []string
	author, committer  signature
}

const commitFormat = "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x1e"

// commits runs git log with arguments that select commits.
func (r *repository) commits(args ...string) ([]commit, error) {
	out, err := r.git(append([]string{"log", "--no-decorate", commitFormat}, args...)...)
	if err != nil {
		return nil, err
	}
	var all []commit
	for record := range strings.SplitSeq(out, "\x1e") {
		f := strings.Split(strings.TrimPrefix(record, "\n"), "\x00")
		if len(f) != 10 {
			continue
		}
		authored, err1 := time.Parse(time.RFC3339, f[5])
		committed, err2 := time.Parse(time.RFC3339, f[8])
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		all = append(all, commit{
			sha: f[0], tree: f[1], parents: strings.Fields(f[2]), message: strings.TrimSuffix(f[9], "\n"),
			author: signature{f[3], f[4], authored}, committer: signature{f[6], f[7], committed},
		})
	}
	return all, nil
}

func (r *repository) commit(sha string) (commit, bool) {
	all, err := r.commits("-1", sha)
	if err != nil || len(all) != 1 {
		return commit{}, false
	}
	return all[0], true
}

// change is what happened to one file.
type change struct {
	status, path, from   string // status is added, removed, modified or renamed
	additions, deletions int
	sha                  string
}

var statusWords = map[byte]string{'A': "added", 'D': "removed", 'M': "modified", 'R': "renamed", 'C': "copied", 'T': "changed"}

// changes compares two trees; with base empty, a commit with its first parent.
func (r *repository) changes(base, head string) ([]change, error) {
	args := []string{"diff-tree", "-r", "-z", "-M", "--root", "--no-commit-id"}
	if base != "" {
		args = append(args, base)
	}
	raw, err := r.git(append(slices.Clone(args), "--raw", "--no-abbrev", head)...)
	if err != nil {
		return nil, err
	}
	counts, err := r.git(append(slices.Clone(args), "--numstat", head)...)
	if err != nil {
		return nil, err
	}
	all := parseRaw(raw)
	addCounts(all, counts)
	return all, nil
}

// touched are the paths that each commit of git log touched, by SHA. A renamed file is removed and added.
func (r *repository) touched(args ...string) (map[string][]change, error) {
	all := []string{"-c", "core.quotePath=false", "log", "--no-renames", "--name-status", "--format=%x1e%H"}
	out, err := r.git(append(all, args...)...)
	if err != nil {
		return nil, err
	}
	touched := map[string][]change{}
	for record := range strings.SplitSeq(out, "\x1e") {
		sha, lines, _ := strings.Cut(record, "\n")
		for line := range strings.SplitSeq(lines, "\n") {
			status, path, ok := strings.Cut(line, "\t")
			if !ok {
				continue
			}
			if unquoted, err := strconv.Unquote(path); err == nil {
				path = unquoted
			}
			touched[sha] = append(touched[sha], change{status: statusWords[status[0]], path: path})
		}
	}
	return touched, nil
}

// parseRaw reads git's raw diff: ":mode mode sha sha status" NUL path NUL, and a second path for a rename.
func parseRaw(out string) []change {
	var all []change
	fields := strings.Split(out, "\x00")
	for i := 0; i+1 < len(fields); i++ {
		parts := strings.Fields(fields[i])
		if len(parts) != 5 || parts[4] == "" {
			continue
		}
		c := change{status: statusWords[parts[4][0]], sha: parts[3], path: fields[i+1]}
		if c.sha == zeroSHA {
			c.sha = parts[2]
		}
		i++
		if c.status == "renamed" || c.status == "copied" {
			c.from, c.path = c.path, fields[i+1]
			i++
		}
		all = append(all, c)
	}
	return all
}

// addCounts reads "added TAB deleted TAB path" NUL, or with an empty path and two more fields for a rename.
func addCounts(all []change, out string) {
	fields := strings.Split(out, "\x00")
	for i, n := 0, 0; i < len(fields) && n < len(all); i++ {
		parts := strings.SplitN(fields[i], "\t", 3)
		if len(parts) != 3 {
			continue
		}
		all[n].additions, _ = strconv.Atoi(parts[0]) // "-" for a binary file
		all[n].deletions, _ = strconv.Atoi(parts[1])
		if parts[2] == "" {
			i += 2
		}
		n++
	}
}
