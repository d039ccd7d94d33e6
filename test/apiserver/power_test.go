//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

var errDead = errors.New("the process is dead")

// power is what a process runs on. It is cut right after an external effect, before the process learns that the effect happened: the
// worst moment to die.
type power struct {
	mu sync.Mutex
	// left is how many effects the process has left; negative means no limit.
	left    int
	dead    bool
	effects []string
	// before is called before each write to the API server; nil is for none.
	before func(*http.Request)
}

// lives reports whether the process can still do anything.
func (p *power) lives() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dead
}

// spend counts an effect and reports whether the process learns of it.
func (p *power) spend(effect string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return false
	}
	p.effects = append(p.effects, effect)
	if p.left > 0 {
		p.left--
	}
	p.dead = p.left == 0
	return !p.dead
}

func (p *power) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

// last is the effect after which the power was cut.
func (p *power) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.effects) == 0 {
		return "nothing"
	}
	return p.effects[len(p.effects)-1]
}

// wires carry a process's requests to the API server as long as it has power.
type wires struct {
	power *power
	next  http.RoundTripper
}

func (w wires) RoundTrip(req *http.Request) (*http.Response, error) {
	if !w.power.lives() {
		return nil, errDead
	}
	if w.power.before != nil && req.Method != http.MethodGet {
		w.power.before(req)
	}
	resp, err := w.next.RoundTrip(req)
	if err != nil || req.Method == http.MethodGet {
		return resp, err
	}
	if resp.StatusCode < 300 && !w.power.spend(req.Method+" "+req.URL.Path) {
		_ = resp.Body.Close()
		return nil, errDead
	}
	return resp, err
}

// poweredGitHub is GitHub for one process.
type poweredGitHub struct {
	*github
	power *power
}

func (g poweredGitHub) guard(effect string, err error) error {
	if err == nil && !g.power.spend(effect) {
		return errDead
	}
	return err
}

func (g poweredGitHub) Archive(ctx context.Context, i int64, repo v1alpha1.Repository, sha string, visit func(source.File, io.Reader) error) error {
	if !g.power.lives() {
		return errDead
	}
	return g.github.Archive(ctx, i, repo, sha, visit)
}

func (g poweredGitHub) CloneToken(ctx context.Context, i int64, repo v1alpha1.Repository) (string, time.Time, error) {
	if !g.power.lives() {
		return "", time.Time{}, errDead
	}
	return g.github.CloneToken(ctx, i, repo)
}

func (g poweredGitHub) UpsertCheckRun(ctx context.Context, i int64, repo v1alpha1.Repository, id int64, c v1alpha1.CheckRun) (int64, error) {
	if !g.power.lives() {
		return 0, errDead
	}
	id, err := g.github.UpsertCheckRun(ctx, i, repo, id, c)
	return id, g.guard("check run "+c.Name+" "+c.Status, err)
}

func (g poweredGitHub) UpsertComment(ctx context.Context, i int64, repo v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error) {
	if !g.power.lives() {
		return 0, errDead
	}
	id, err := g.github.UpsertComment(ctx, i, repo, issue, id, mark, body)
	return id, g.guard(fmt.Sprintf("comment on #%d", issue), err)
}

func (g poweredGitHub) React(ctx context.Context, i int64, repo v1alpha1.Repository, id int64, content string) error {
	if !g.power.lives() {
		return errDead
	}
	return g.guard("reaction "+content, g.github.React(ctx, i, repo, id, content))
}
