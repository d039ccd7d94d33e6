//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// shelf is the content of a world's registry.
type shelf struct {
	mu sync.Mutex
	// records are the names of a record's layers by reference, results their result.json, pushed the numbers of pushes.
	records   map[string][]string
	results   map[string]string
	pushed    map[string]int
	linked    map[string]string
	histories map[string]evidence.History
	// sources are the source artifacts by their references.
	sources map[string]keptSource
	// configs are the configurations of images beyond an entrypoint, moved the targets of moved tags, both by name.
	configs, moved map[string]string
}

func newShelf() *shelf {
	return &shelf{records: map[string][]string{}, results: map[string]string{}, pushed: map[string]int{}, linked: map[string]string{}, histories: map[string]evidence.History{},
		sources: map[string]keptSource{}, configs: map[string]string{}, moved: map[string]string{}}
}

// layers are the layers of a Run's record.
func (s *shelf) layers(run *v1alpha1.Run) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[recordOf(run.Spec.Repository, run.Name)]
}

func (s *shelf) history(branch, suite string) evidence.History {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.histories[branch+" "+suite]
}

func recordOf(repo v1alpha1.Repository, run string) string {
	return "registry.example/records/" + repo.FullName() + ":" + run
}

// registry names images, creates credentials and stores records. Its faults are injected together with those of GitHub, under the names of
// its methods.
type registry struct {
	faults *github
	shelf  *shelf
	power  *power
}

func (registry) Repository(repo v1alpha1.Repository, image string) string {
	return strings.TrimSuffix("registry.example/"+repo.FullName()+"/"+image, "/")
}

func (registry) PushConfig(context.Context, string) ([]byte, error) {
	return []byte(`{"auths":{}}`), nil
}

func (registry) PullConfig(context.Context, v1alpha1.Repository) ([]byte, error) {
	return []byte(`{"auths":{}}`), nil
}

func (r registry) Ping(context.Context) error { return r.faults.call("Ping", func() {}) }

// ImageConfig knows every image; tests set its tags and health checks on the shelf.
func (r registry) ImageConfig(_ context.Context, image string) (d string, config []byte, err error) {
	err = r.faults.call("ImageConfig", func() {
		r.shelf.mu.Lock()
		defer r.shelf.mu.Unlock()
		name, known, ok := strings.Cut(image, "@")
		if d = known; !ok {
			d = digest("image/" + name + r.shelf.moved[name])
		}
		config = fmt.Appendf(nil, `{"config":{"Entrypoint":["/entrypoint"],"Cmd":["test"]%s}}`, r.shelf.configs[name])
	})
	if err == nil {
		err = r.faults.call("ImageConfig "+image, func() {})
	}
	return d, config, err
}

// configure adds to the configuration of an image.
func (s *shelf) configure(image, more string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configs[image] = more
}

// move moves an image's tag.
func (s *shelf) move(image string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved[image] = " moved"
}

// effect applies an effect if the process has power for it.
func (r registry) effect(method, what string, do func()) error {
	if !r.power.lives() {
		return errDead
	}
	err := r.faults.call(method, func() {
		r.shelf.mu.Lock()
		defer r.shelf.mu.Unlock()
		do()
	})
	if err == nil && !r.power.spend(what) {
		return errDead
	}
	return err
}

func (r registry) PushRecord(_ context.Context, repo v1alpha1.Repository, run string, _ map[string]string, files []evidence.Layer, head func(missing []error) ([]evidence.Layer, error)) (v1alpha1.RecordStatus, error) {
	ref := recordOf(repo, run)
	var kept []evidence.Layer
	var missing []error
	for _, l := range files {
		if l.Write != nil {
			if err := l.Write(io.Discard); err != nil {
				missing = append(missing, fmt.Errorf("%s: %w", l.Name, err))
				continue
			}
		}
		kept = append(kept, l)
	}
	layers, err := head(missing)
	if err != nil {
		return v1alpha1.RecordStatus{}, err
	}
	result, err := resultIn(layers)
	if err != nil {
		return v1alpha1.RecordStatus{}, err
	}
	err = r.effect("PushRecord", "push "+ref, func() {
		r.shelf.pushed[ref]++
		r.shelf.results[ref] = result
		r.shelf.records[ref] = nil
		for _, l := range slices.Concat(layers, kept) {
			r.shelf.records[ref] = append(r.shelf.records[ref], l.Name)
		}
	})
	return v1alpha1.RecordStatus{Reference: ref, Digest: digest(ref), Size: 1}, err
}

// resultIn is the result.json among a record's layers.
func resultIn(layers []evidence.Layer) (string, error) {
	for _, l := range layers {
		if l.Name == evidence.ResultName {
			var text strings.Builder
			err := l.Write(&text)
			return text.String(), err
		}
	}
	return "", fmt.Errorf("the record has no %s", evidence.ResultName)
}

func (r registry) OpenResult(_ context.Context, record v1alpha1.RecordStatus) (body io.ReadCloser, err error) {
	err = r.faults.call("Result", func() {
		r.shelf.mu.Lock()
		defer r.shelf.mu.Unlock()
		body = io.NopCloser(strings.NewReader(r.shelf.results[record.Reference]))
	})
	return body, err
}

func (r registry) LinkImages(_ context.Context, record v1alpha1.RecordStatus, images []string) error {
	return r.effect("LinkImages", fmt.Sprintf("link %d images", len(images)), func() {
		for _, i := range images {
			r.shelf.linked[i] = record.Reference
		}
	})
}

func (r registry) History(_ context.Context, _ v1alpha1.Repository, branch, suite string) (h *evidence.History, err error) {
	err = r.faults.call("History", func() {
		r.shelf.mu.Lock()
		defer r.shelf.mu.Unlock()
		if have, ok := r.shelf.histories[branch+" "+suite]; ok {
			h = &have
		}
	})
	return h, err
}

func (r registry) UpdateHistory(_ context.Context, _ v1alpha1.Repository, branch, suite string, change func(*evidence.History) evidence.History) error {
	return r.effect("UpdateHistory", "history of "+suite, func() {
		var old *evidence.History
		if have, ok := r.shelf.histories[branch+" "+suite]; ok {
			old = &have
		}
		r.shelf.histories[branch+" "+suite] = change(old)
	})
}
