package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// oneCommit is a GitHub with one commit: what its files hold, by their paths.
type oneCommit struct {
	GitHub
	files map[string]string
	// archives counts the visits, during is called in the middle of each; err ends one before its last file.
	archives int
	during   func()
	err      error
}

func (c *oneCommit) Hints(context.Context, int64, v1alpha1.Repository, string, string) (v1alpha1.CommitHints, error) {
	return v1alpha1.CommitHints{Branches: []string{"7-fix"}}, nil
}

func (g *oneCommit) Archive(_ context.Context, _ int64, _ v1alpha1.Repository, _ string, visit func(source.File, io.Reader) error) error {
	g.archives++
	for i, path := range slices.Sorted(maps.Keys(g.files)) {
		if i == len(g.files)-1 {
			if g.during != nil {
				g.during()
			}
			if g.err != nil {
				return g.err
			}
		}
		f := source.File{Path: path, Mode: source.ModeFile, Size: int64(len(g.files[path]))}
		if target, ok := strings.CutPrefix(g.files[path], "-> "); ok {
			f.Mode, f.Link = source.ModeLink, target
		}
		if err := visit(f, strings.NewReader(g.files[path])); err != nil {
			return err
		}
	}
	return nil
}

// sourceShelf is a registry that keeps source artifacts in memory.
type sourceShelf struct {
	Registry
	kept map[string]*keptSource
	// deletes counts the calls of DeleteSource; fail is what they answer.
	deletes int
	fail    error
}

type keptSource struct {
	index  *source.Index
	layers [][]byte
}

type keptLayer struct {
	bytes.Buffer
	of *keptSource
}

func (l *keptLayer) Close() error { l.of.layers = append(l.of.layers, l.Bytes()); return nil }

func (s *sourceShelf) PushSource(_ context.Context, _ v1alpha1.Repository, run string, annotations map[string]string,
	fill func(next func() (io.WriteCloser, error)) (*source.Index, error),
) (v1alpha1.SourceStatus, error) {
	kept := &keptSource{}
	index, err := fill(func() (io.WriteCloser, error) { return &keptLayer{of: kept}, nil })
	if err != nil {
		return v1alpha1.SourceStatus{}, err
	}
	if annotations[annotationCreated] == "" || annotations[annotationRevision] != index.SHA {
		return v1alpha1.SourceStatus{}, fmt.Errorf("annotations %v", annotations)
	}
	kept.index = index
	s.kept[run] = kept
	return v1alpha1.SourceStatus{Reference: "r.example/sources/acme/shop:" + run, Digest: "sha256:1"}, nil
}

func (s *sourceShelf) OpenSource(_ context.Context, reference string, keep func(source.File) bool) (*source.Artifact, error) {
	name, _, _ := strings.Cut(reference, "@")
	kept := s.kept[name[strings.LastIndex(name, ":")+1:]]
	if kept == nil {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "There is no source artifact %s", reference)
	}
	index := &source.Index{SHA: kept.index.SHA}
	for _, f := range kept.index.Files {
		if keep == nil || keep(f) {
			index.Files = append(index.Files, f)
		}
	}
	return &source.Artifact{Index: index, Open: func(n int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept.layers[n])), nil }}, nil
}

func (s *sourceShelf) DeleteSource(_ context.Context, _ v1alpha1.Repository, run string) error {
	s.deletes++
	if s.fail == nil {
		delete(s.kept, run)
	}
	return s.fail
}

// newSources is a Reconciler with one commit and a registry, and a Run.
func newSources(t *testing.T, files map[string]string) (*Reconciler, *oneCommit, *sourceShelf, *v1alpha1.Run) {
	t.Helper()
	gh, shelf := &oneCommit{files: files}, &sourceShelf{kept: map[string]*keptSource{}}
	r := &Reconciler{GitHub: gh, Registry: shelf, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}
	r.open()
	r.checkouts.size = 1 << 30
	if err := r.guard.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", UID: "1"}}
	run.Spec.SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	return r, gh, shelf, run
}

// onDisk is what a checkout holds; of absent files, only their size.
func onDisk(t *testing.T, c *Checkout) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(c.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(c.Dir, path)
		if target, err := os.Readlink(path); err == nil {
			got[rel] = "-> " + target
			return nil
		}
		data, err := os.ReadFile(path)
		if got[rel] = string(data); c.Absent[rel] {
			got[rel] = fmt.Sprintf("absent, %d bytes, zeros %t", len(data), strings.Trim(string(data), "\x00") == "")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// heavy is a commit with more than a checkout holds.
func heavy() map[string]string {
	files := map[string]string{".conductor.yaml": "version: 1\n", "link": "-> .conductor.yaml", "out": "-> ../../etc", "large.bin": strings.Repeat("L", maxFile+1), "z/late.yml": "late: 1\n"}
	for i := range 60 {
		files[fmt.Sprintf("data/%02d", i)] = strings.Repeat(string(rune('a'+i%26)), maxFile)
	}
	return files
}

func TestACommitIsReadFromGitHubOnce(t *testing.T) {
	r, gh, _, run := newSources(t, heavy())
	first, err := r.fetchSource(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	got := onDisk(t, first)
	if got[".conductor.yaml"] != "version: 1\n" || got["link"] != "-> .conductor.yaml" || got["out"] != "" {
		t.Errorf("files %v, %q", slices.Sorted(maps.Keys(got)), got["link"])
	}
	if want := fmt.Sprintf("absent, %d bytes, zeros true", maxFile+1); got["large.bin"] != want {
		t.Errorf("a large file is %.60q, want %s", got["large.bin"], want)
	}
	if n := len(first.Absent); n < 10 || n > 15 || !first.Absent["z/late.yml"] && !first.Absent["data/59"] {
		t.Errorf("%d files are absent: %v", n, slices.Sorted(maps.Keys(first.Absent)))
	}
	if used := r.checkouts.used; used > settings.MinCheckouts || used < 40<<20 {
		t.Errorf("the checkout holds %d MiB of the room", used>>20)
	}
	first.Close()
	if r.checkouts != (room{size: 1 << 30}) {
		t.Errorf("the room after it: %+v", &r.checkouts)
	}
	// Another process has the status alone.
	if run.Status.Source == nil {
		t.Fatal("the status names no source artifact")
	}
	second, err := r.fetchSource(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if diff := cmp.Diff(got, onDisk(t, second)); diff != "" {
		t.Errorf("the same is not on disk (-first +second):\n%.2000s", diff)
	}
	if diff := cmp.Diff(first.Absent, second.Absent); diff != "" || gh.archives != 1 {
		t.Errorf("%d visits; absent (-first +second):\n%s", gh.archives, diff)
	}
}

func TestAbsentFilesComeWhenTheyAreAskedFor(t *testing.T) {
	r, gh, _, run := newSources(t, heavy())
	c, err := r.fetchSource(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := onDisk(t, c)
	if err := r.fetchFiles(t.Context(), run, c, []string{"large.bin", "z/late.yml", "data/00"}); err != nil {
		t.Fatal(err)
	}
	after := onDisk(t, c)
	if after["large.bin"] != gh.files["large.bin"] || after["z/late.yml"] != "late: 1\n" || c.Absent["large.bin"] {
		t.Errorf("large.bin has %d bytes, late.yml is %q", len(after["large.bin"]), after["z/late.yml"])
	}
	for path, text := range after {
		if path != "large.bin" && path != "z/late.yml" && text != before[path] {
			t.Errorf("%s has changed", path)
		}
	}
	if gh.archives != 1 {
		t.Errorf("%d visits", gh.archives)
	}
	if held := c.tree.Used() + planRoom; r.checkouts.used != held {
		t.Errorf("%d bytes of the room are taken, the tree has %d", r.checkouts.used, held)
	}
}

// A large checkout that another one is ahead of ends where that shows, and begins again when the turn is free. A small one does not wait.
func TestLargeCheckoutsAreFetchedOneAfterTheOther(t *testing.T) {
	r, gh, shelf, run := newSources(t, heavy())
	other, small := run.DeepCopy(), run.DeepCopy()
	other.UID, other.Name, other.Spec.Repository.ID, small.UID, small.Name, small.Spec.Repository.ID = "2", "shop-2", 2, "3", "shop-3", 3
	var waits, passes error
	gh.during = func() { // The first has read nearly all of its files by then.
		gh.during = nil
		_, waits = r.fetchSource(t.Context(), other)
		all := gh.files
		gh.files = map[string]string{"a": "1"}
		var c *Checkout
		if c, passes = r.fetchSource(t.Context(), small); passes == nil {
			c.Close()
		}
		gh.files = all
	}
	first, err := r.fetchSource(t.Context(), run)
	if err != nil || passes != nil {
		t.Fatal(err, passes)
	}
	defer first.Close()
	if f := failure.Of(waits); f == nil || f.Sentence != "Waiting for another large repository to be fetched" || !errors.Is(waits, errOtherRuns) {
		t.Errorf("the second large one: %v", waits)
	}
	if r.checkouts.checkouts != 1 || r.checkouts.fetching != 0 || len(shelf.kept) != 2 {
		t.Errorf("it left room %+v, %d artifacts", &r.checkouts, len(shelf.kept))
	}
	visits := gh.archives
	r.large.holder = "4"
	if _, err := r.fetchSource(t.Context(), other); !errors.Is(err, errOtherRuns) || gh.archives != visits {
		t.Errorf("it was asked for again before its turn: %v", err)
	}
	r.large.end("4")
	second, err := r.fetchSource(t.Context(), other)
	if err != nil || r.large.holder != "" {
		t.Fatalf("when it is its turn: %v", err)
	}
	second.Close()
}

func TestMoreThanFitsIsRefused(t *testing.T) {
	files := heavy()
	for i := range 6 {
		files[fmt.Sprintf("large/%d", i)] = strings.Repeat("x", 3<<20)
	}
	r, _, _, run := newSources(t, files)
	c, err := r.fetchSource(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	absent := slices.Sorted(maps.Keys(c.Absent))
	err = r.fetchFiles(t.Context(), run, c, absent)
	f := failure.Of(err)
	if f == nil || f.Kind != failure.Terminal || !strings.Contains(f.Sentence, "at most 64 MiB") {
		t.Fatalf("fetch %d files: %v", len(absent), err)
	}
	for path, text := range onDisk(t, c) {
		if c.Absent[path] != strings.HasPrefix(text, "absent, ") || strings.HasSuffix(text, "zeros false") {
			t.Errorf("%s is half there: %.40q", path, text)
		}
	}
}

func TestWhatBreaksOffLeavesNothing(t *testing.T) {
	hungUp := failure.Transientf(v1alpha1.ReasonUnavailable, nil, "GitHub hung up")
	for name, c := range map[string]struct {
		err    error
		kind   failure.Kind
		reason string
	}{
		"GitHub":       {hungUp, failure.Transient, v1alpha1.ReasonUnavailable},
		"a full disk":  {&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, failure.Transient, v1alpha1.ReasonDiskFull},
		"directories":  {fmt.Errorf("too many: %w", source.ErrRoom), failure.Terminal, v1alpha1.ReasonRefused},
		"a name twice": {&os.PathError{Op: "open", Path: "x", Err: os.ErrExist}, failure.Terminal, v1alpha1.ReasonRefused},
	} {
		t.Run(name, func(t *testing.T) {
			r, gh, shelf, run := newSources(t, map[string]string{"a": "1", "b": "2"})
			gh.err = c.err
			_, err := r.fetchSource(t.Context(), run)
			if f := failure.Of(err); f == nil || f.Kind != c.kind || f.Reason != c.reason {
				t.Errorf("error %v", err)
			}
			left, _ := os.ReadDir(r.Dir)
			if len(left) != 0 || len(shelf.kept) != 0 || run.Status.Source != nil || r.checkouts != (room{size: 1 << 30}) {
				t.Errorf("left: %v, %v, %v, room %+v", left, shelf.kept, run.Status.Source, &r.checkouts)
			}
		})
	}
}

// A source artifact that was deleted is made again, of the same commit.
func TestASourceArtifactThatIsGoneIsMadeAgain(t *testing.T) {
	r, gh, shelf, run := newSources(t, map[string]string{"a": "1"})
	run.Status.Source = &v1alpha1.SourceStatus{Reference: "r.example/sources/acme/shop:shop-1", Digest: "sha256:0"}
	if _, err := r.fetchSource(t.Context(), run); err == nil || failure.IsTerminal(err) || run.Status.Source != nil {
		t.Fatalf("error %v, status %v", err, run.Status.Source)
	}
	c, err := r.fetchSource(t.Context(), run)
	if err != nil || gh.archives != 1 || len(shelf.kept) != 1 {
		t.Fatalf("%v, %d visits", err, gh.archives)
	}
	c.Close()
}

// A Run that waits for room has that in its condition, and its stage's deadline does not count the wait. What another gives back is enough.
func TestARunWaitsForRoom(t *testing.T) {
	r, gh, _, run := newSources(t, heavy())
	r.checkouts.size = settings.MinCheckouts + 10<<20
	first, err := r.fetchSource(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	s := &state{run: &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-2", UID: "2"}}, now: noon}
	if err := s.handleError(stages[0], r.reconcileCheckout(t.Context(), s)); err != nil || s.status().Step == nil {
		t.Fatalf("error %v, step %v", err, s.status().Step)
	}
	s.noted, s.requeue = s.status().Step.DeepCopy(), 0
	ended := make(chan struct{}, 1)
	r.steps.wake = func(*v1alpha1.Run) { ended <- struct{}{} }
	for range 2 {
		s.now = s.now.Add(time.Hour)
		if err := s.handleError(stages[0], r.reconcileCheckout(t.Context(), s)); err != nil {
			t.Fatal(err)
		}
		<-ended
		s.requeue = 0
		if err := s.handleError(stages[0], r.reconcileCheckout(t.Context(), s)); err != nil || s.hasOutcome() || s.requeue != roomPause {
			t.Fatalf("error %v, over %t, again in %s", err, s.hasOutcome(), s.requeue)
		}
		r.steps.stored(s.run.UID, s.now)
	}
	c := meta.FindStatusCondition(s.status().Conditions, v1alpha1.ConditionCheckedOut)
	if want := "Waiting for room for the checkout: 1 checkout is in progress (checkouts.sizeLimit)"; c == nil || c.Message != want || gh.archives != 1 {
		t.Errorf("CheckedOut %+v, want %q; %d visits", c, want, gh.archives)
	}
	first.Close()
	if err := r.checkouts.take(settings.MinCheckouts); err != nil {
		t.Errorf("after the first is gone: %v", err)
	}
}

func TestFewCheckoutsAreFetchedAtOnce(t *testing.T) {
	r, gh, _, run := newSources(t, map[string]string{"a": "1"})
	r.checkouts.size = 100 * settings.MinCheckouts
	for range fetches - 1 {
		if err := r.checkouts.take(1); err != nil {
			t.Fatal(err)
		}
	}
	var inside error
	gh.during = func() { inside = r.checkouts.take(1) }
	if _, err := r.fetchSource(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if f := failure.Of(inside); f == nil || f.Kind != failure.Waiting || !errors.Is(inside, errOtherRuns) || f.Sentence != "Waiting for 4 other checkouts to be fetched" {
		t.Errorf("one more: %v", inside)
	}
	if err := r.checkouts.take(1); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestARepositorysCheckoutsComeOneByOne: those of another one have their turn meanwhile.
func TestARepositorysCheckoutsComeOneByOne(t *testing.T) {
	r, gh, _, run := newSources(t, map[string]string{"a": "1"})
	run.Spec.Repository.ID = 7
	other := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "books-1", UID: "2"}}
	other.Spec.SHA, other.Spec.Repository.ID = run.Spec.SHA, 8
	same := other.DeepCopy()
	same.Spec.Repository.ID = 7
	var sameErr, otherErr error
	gh.during = func() {
		gh.during = nil
		_, sameErr = r.fetchSource(t.Context(), same)
		_, otherErr = r.fetchSource(t.Context(), other)
	}
	if _, err := r.fetchSource(t.Context(), run); err != nil || otherErr != nil {
		t.Fatalf("%v, %v", err, otherErr)
	}
	if f := failure.Of(sameErr); f == nil || !errors.Is(sameErr, errOtherRuns) || f.Sentence != "Waiting for another checkout of this repository to be fetched" {
		t.Errorf("the same repository's: %v", sameErr)
	}
	if _, err := r.fetchSource(t.Context(), same); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTheSourceArtifactGoesWithTheStack(t *testing.T) {
	away := failure.Transientf(v1alpha1.ReasonUnavailable, nil, "The registry did not answer")
	refused := failure.Terminalf(v1alpha1.ReasonRefused, nil, "The registry lets nothing be deleted")
	for name, c := range map[string]struct {
		fail error
		left bool
	}{"deleted": {nil, false}, "the registry is away": {away, true}, "nothing can be deleted": {refused, false}} {
		t.Run(name, func(t *testing.T) {
			r, _, shelf, run := newSources(t, map[string]string{"a": "1"})
			checkout, err := r.fetchSource(t.Context(), run)
			if err != nil {
				t.Fatal(err)
			}
			checkout.Close()
			shelf.fail = c.fail
			run.Status.Outcome, run.Status.FinishedAt = v1alpha1.OutcomeError, &metav1.MicroTime{Time: noon}
			s := &state{run: run, now: noon}
			// The outcome, then the stack; there is none.
			s.set(v1alpha1.ConditionStackKept, metav1.ConditionFalse, v1alpha1.ReasonNothingToDo, "There was no stack yet")
			if err := r.reconcileKeep(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if left := run.Status.Source != nil; left != c.left || shelf.deletes != 1 || c.left && s.requeue != sourceAgain {
				t.Errorf("left %t after %d calls, again in %s", left, shelf.deletes, s.requeue)
			}
			shelf.fail = nil
			if err := r.reconcileKeep(t.Context(), s); err != nil || run.Status.Source != nil {
				t.Errorf("the next time: %v, %v", err, run.Status.Source)
			}
		})
	}
}

func TestNothingIsDeletedWhileTheRunIsUnderWay(t *testing.T) {
	r, _, shelf, run := newSources(t, map[string]string{"a": "1"})
	checkout, err := r.fetchSource(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	defer checkout.Close()
	if err := r.reconcileKeep(t.Context(), &state{run: run, now: noon}); err != nil || shelf.deletes != 0 {
		t.Errorf("%v, %d calls", err, shelf.deletes)
	}
}
