//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// github is a fake GitHub; it outlives every process of Conductor. Its methods implement the controllers' interfaces, with effects that
// a test can inspect and faults that a test can inject.
type github struct {
	now func() time.Time

	mu sync.Mutex
	// calls are the times of the calls by operation.
	calls map[string][]time.Time
	// faults are the answers of the next calls of an operation, one each.
	faults map[string][]fault
	// files are the files of a commit.
	files map[string]string

	checks   map[int64]v1alpha1.CheckRun
	comments map[int64]comment
	next     int64
	// reactions are "comment:content".
	reactions map[string]int

	hints       v1alpha1.CommitHints
	permissions map[string]v1alpha1.Permission
	head        v1alpha1.Head
	repos       []v1alpha1.Repository
	tags        map[string]string
	commits     map[string]string
}

// fault is the error of one call.
type fault struct {
	err error
	// after means that the effect happened before the error: the response was lost.
	after bool
}

type comment struct {
	issue    int
	body     string
	versions int
}

func newGitHub() *github {
	return &github{
		calls: map[string][]time.Time{}, faults: map[string][]fault{}, checks: map[int64]v1alpha1.CheckRun{}, comments: map[int64]comment{},
		reactions: map[string]int{}, permissions: map[string]v1alpha1.Permission{}, next: 100, tags: map[string]string{}, commits: map[string]string{},
	}
}

// fail makes the next calls of an operation return these faults, one each.
func (g *github) fail(op string, faults ...fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults[op] = append(g.faults[op], faults...)
}

// failAlways makes an operation return err until mend is called.
func (g *github) failAlways(op string, err error) {
	g.fail(op, slices.Repeat([]fault{{err: err}}, 100_000)...)
}

func (g *github) mend(op string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.faults, op)
}

// count is how often an operation was called.
func (g *github) count(op string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls[op])
}

// times are when an operation was called.
func (g *github) times(op string) []time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls[op])
}

// call applies an effect, unless a fault prevents it.
func (g *github) call(op string, effect func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls[op] = append(g.calls[op], g.now())
	var f fault
	if q := g.faults[op]; len(q) > 0 {
		f, g.faults[op] = q[0], q[1:]
	}
	if f.err == nil || f.after {
		effect()
	}
	return f.err
}

// commentsOn are the bodies of the comments on an issue, in order of their creation.
func (g *github) commentsOn(issue int) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var bodies []string
	for _, id := range slices.Sorted(maps.Keys(g.comments)) {
		if c := g.comments[id]; c.issue == issue {
			bodies = append(bodies, c.body)
		}
	}
	return bodies
}

// checkRuns are the check runs by name. Two of one name are an error in the text.
func (g *github) checkRuns() map[string]v1alpha1.CheckRun {
	g.mu.Lock()
	defer g.mu.Unlock()
	by := map[string]v1alpha1.CheckRun{}
	for _, c := range g.checks {
		if _, ok := by[c.Name]; ok {
			c.Name += " TWICE"
		}
		by[c.Name] = c
	}
	return by
}

func (g *github) Archive(_ context.Context, _ int64, _ v1alpha1.Repository, _ string, visit func(source.File, io.Reader) error) error {
	var files map[string]string
	if err := g.call("Archive", func() { files = maps.Clone(g.files) }); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := source.File{Path: name, Mode: source.ModeFile, Size: int64(len(files[name]))}
		if err := visit(f, strings.NewReader(files[name])); err != nil {
			return err
		}
	}
	return nil
}

func (g *github) CloneToken(context.Context, int64, v1alpha1.Repository) (string, time.Time, error) {
	return "ghs_clonetokenclonetokenclonetokenclone", time.Now().Add(time.Hour), g.call("CloneToken", func() {})
}

func (g *github) Hints(context.Context, int64, v1alpha1.Repository, string, string) (h v1alpha1.CommitHints, err error) {
	err = g.call("Hints", func() { h = g.hints })
	return h, err
}

// UpsertCheckRun behaves like the adapter: with id 0 it searches for the external id first.
func (g *github) UpsertCheckRun(_ context.Context, _ int64, _ v1alpha1.Repository, id int64, c v1alpha1.CheckRun) (int64, error) {
	err := g.call("UpsertCheckRun", func() {
		if id == 0 {
			for have, o := range g.checks {
				if o.ExternalID == c.ExternalID {
					id = have
				}
			}
		}
		if id == 0 {
			g.next++
			id = g.next
		}
		g.checks[id] = c
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// UpsertComment behaves like the adapter: with id 0 it searches for the mark first.
func (g *github) UpsertComment(_ context.Context, _ int64, _ v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error) {
	err := g.call("UpsertComment", func() {
		if id == 0 {
			for have, o := range g.comments {
				if first, _, _ := strings.Cut(o.body, "\n"); o.issue == issue && strings.Contains(first, mark) {
					id = have
				}
			}
		}
		if id == 0 {
			g.next++
			id = g.next
		}
		g.comments[id] = comment{issue: issue, body: body, versions: g.comments[id].versions + 1}
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

func (g *github) Permission(_ context.Context, _ int64, _ v1alpha1.Repository, login string) (p v1alpha1.Permission, err error) {
	err = g.call("Permission", func() {
		if p = g.permissions[login]; p == "" {
			p = "none"
		}
	})
	return p, err
}

func (g *github) Head(context.Context, int64, v1alpha1.Repository, int) (h v1alpha1.Head, err error) {
	err = g.call("Head", func() { h = g.head })
	return h, err
}

// HasRoom has none, so that the only reactions are those at the end.
func (g *github) HasRoom(int64) bool { return false }

func (g *github) React(_ context.Context, _ int64, _ v1alpha1.Repository, id int64, content string) error {
	return g.call("React", func() { g.reactions[fmt.Sprintf("%d:%s", id, content)] = 1 })
}

func (g *github) PullCommits(context.Context, int64, v1alpha1.Repository, int) ([]string, error) {
	return nil, nil
}

func (g *github) Protected(context.Context, int64, v1alpha1.Repository, string) (bool, error) {
	return false, g.call("Protected", func() {})
}

func (g *github) Repositories(_ context.Context, each func(int64, v1alpha1.Repository) error) error {
	var repos []v1alpha1.Repository
	if err := g.call("Repositories", func() { repos = slices.Clone(g.repos) }); err != nil {
		return err
	}
	for _, r := range repos {
		if err := each(installation, r); err != nil {
			return err
		}
	}
	return nil
}

func (g *github) Tags(_ context.Context, _ int64, _ v1alpha1.Repository, prefix string) (map[string]string, error) {
	found := map[string]string{}
	err := g.call("Tags", func() {
		for ref, object := range g.tags {
			if strings.HasPrefix(ref, "refs/tags/"+prefix) {
				found[ref] = object
			}
		}
	})
	return found, err
}

func (g *github) Commit(_ context.Context, _ int64, _ v1alpha1.Repository, object string) (sha string, err error) {
	err = g.call("Commit", func() {
		if sha = g.commits[object]; sha == "" {
			sha = object
		}
	})
	return sha, err
}

// setTag moves a tag, or deletes it when object is empty.
func (g *github) setTag(name, object string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if object == "" {
		delete(g.tags, "refs/tags/"+name)
		return
	}
	g.tags["refs/tags/"+name] = object
}
