package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/source"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// What the files of one Run may take on disk, in bytes, directories and names not counted.
const (
	// maxContent is for the content of files, maxFile for one that comes unasked.
	maxContent = 64 << 20
	maxFile    = 1 << 20
	// asked is the part of maxContent that is kept for what the plan asks for.
	asked = 16 << 20
	// planRoom is for the plans that are made of the files: the newest one and the one before, with the contents that they carry.
	planRoom = 32 << 20
	// maxNames is for directories and names.
	maxNames = settings.MinCheckouts - maxContent - planRoom
)

const (
	// fetches is how many checkouts are fetched at once. Each takes a compressor, a few buffers and the index, of at most 25 MiB.
	fetches = 4
	// largeSize is the content from which on a checkout is a large one, in bytes. Those are fetched one at a time, so that the others, which
	// are most, find a turn and a processor free.
	largeSize = 32 << 20
	// fetchTime bounds one of them.
	fetchTime = 10 * time.Minute
	// roomPause and turnPause are how soon a Run that waits for room or for its turn is reconciled.
	roomPause = 2 * time.Second
	turnPause = 500 * time.Millisecond
)

// Checkout is a commit on disk: the files that the plan may read, and the others without their content.
type Checkout struct {
	// Dir holds the files.
	Dir string
	// Absent are the files whose content is not on disk, by their paths. Each has its size and mode.
	Absent map[string]bool

	tree *source.Tree
	room *room
	// held is what the checkout holds of the room, in bytes.
	held int64
}

// Close removes the files. It can be repeated.
func (c *Checkout) Close() {
	if c.room == nil {
		return
	}
	_ = c.tree.Close()
	_ = os.RemoveAll(c.Dir) // What cannot be removed is removed when Conductor starts.
	c.room.give(c.held, 1)
	c.room = nil
}

// fetchSource brings the files of a Run's commit to disk. The first time they come from GitHub, once, and go into the Run's source artifact on
// the way, which it notes in the status; later they come from there, and the same of them are on disk.
func (r *Reconciler) fetchSource(ctx context.Context, run *v1alpha1.Run) (*Checkout, error) {
	if !r.fetched.begin(run.Spec.Repository.ID) {
		return nil, waitForOthersf(turnPause, "Waiting for another checkout of this repository to be fetched")
	}
	defer r.fetched.end(run.Spec.Repository.ID)
	if err := r.large.begin(run.UID); err != nil {
		return nil, err
	}
	defer r.large.end(run.UID)
	c, err := r.openCheckout()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if run.Status.Source != nil {
		err = r.restore(ctx, run, c)
		if f := failure.Of(err); f != nil && f.Reason == v1alpha1.ReasonNotFound {
			run.Status.Source = nil // It was deleted: the next reconcile makes it again, of the same commit.
			err = failure.Transientf(v1alpha1.ReasonUnavailable, err, "The run's source artifact is gone from the registry and is made again")
		}
	} else {
		err = r.stream(ctx, run, c)
	}
	if err == nil {
		err = c.tree.Finish()
	}
	r.checkouts.fetched()
	if err != nil {
		c.Close()
		return nil, explainCheckout(run, err)
	}
	if c.tree.Skipped > 0 {
		r.Log.Info("A checkout left out links that lead outside of it", "run", run.Name, "repository", run.Spec.Repository.FullName(), "count", c.tree.Skipped)
	}
	c.held = r.checkouts.keep(c.held, c.tree.Used()+planRoom)
	return c, nil
}

// openCheckout makes an empty checkout, if there is room for the largest.
func (r *Reconciler) openCheckout() (*Checkout, error) {
	if err := r.checkouts.take(settings.MinCheckouts); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.Dir, "checkout-")
	var tree *source.Tree
	if err == nil {
		tree, err = source.OpenTree(dir, source.Room{Content: maxContent - asked, File: maxFile, Entries: maxNames, Sparse: true})
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		r.checkouts.fetched()
		r.checkouts.give(settings.MinCheckouts, 1)
		return nil, diskFull(err)
	}
	return &Checkout{Dir: dir, Absent: tree.Absent, tree: tree, room: &r.checkouts, held: settings.MinCheckouts}, nil
}

// stream reads the commit from GitHub, once, and writes it to the registry and to disk.
func (r *Reconciler) stream(ctx context.Context, run *v1alpha1.Run, c *Checkout) error {
	spec := run.Spec
	annotations := map[string]string{
		evidence.AnnotationRun: run.Name, evidence.AnnotationRepository: spec.Repository.FullName(),
		annotationRevision: spec.SHA, annotationCreated: run.CreationTimestamp.UTC().Format(time.RFC3339),
	}
	status, err := r.Registry.PushSource(ctx, spec.Repository, run.Name, annotations, func(next func() (io.WriteCloser, error)) (*source.Index, error) {
		packer := source.NewPacker(spec.SHA, next)
		err := r.GitHub.Archive(ctx, spec.InstallationID, spec.Repository, spec.SHA, r.large.watch(run.UID, func(f source.File, content io.Reader) error {
			out, err := c.tree.Create(f)
			if err != nil {
				return err
			}
			err = packer.Add(f, io.TeeReader(content, out))
			return errors.Join(err, out.Close())
		}))
		if err != nil {
			return nil, err
		}
		return packer.Close()
	})
	if err != nil {
		return err
	}
	run.Status.Source = &status
	return nil
}

// Annotations of the OCI image specification: https://github.com/opencontainers/image-spec/blob/main/annotations.md
const (
	annotationRevision = "org.opencontainers.image.revision"
	annotationCreated  = "org.opencontainers.image.created"
)

// restore brings the files back from the source artifact.
func (r *Reconciler) restore(ctx context.Context, run *v1alpha1.Run, c *Checkout) error {
	artifact, err := r.Registry.OpenSource(ctx, run.Status.Source.Pinned(), nil)
	if err != nil {
		return err
	}
	return readSource(run, artifact, r.large.watch(run.UID, func(f source.File, content io.Reader) error {
		out, err := c.tree.Create(f)
		if err != nil {
			return err
		}
		if !c.Absent[f.Path] {
			_, err = io.Copy(out, content)
		}
		return errors.Join(err, out.Close())
	}))
}

// readSource reads a source artifact. What is neither the visitor's fault nor a failure is a registry that broke off.
func readSource(run *v1alpha1.Run, artifact *source.Artifact, visit func(source.File, io.Reader) error) error {
	err := artifact.Read(visit)
	var f *failure.Error
	var path *fs.PathError
	if err == nil || errors.As(err, &f) || errors.As(err, &path) || errors.Is(err, source.ErrRoom) || errors.Is(err, source.ErrInvalid) {
		return err
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The source artifact %s could not be read to its end", run.Status.Source.Reference)
}

// fetchFiles brings the content of absent files from the Run's source artifact, for a plan that needs it. A file that cannot be fetched stays
// absent. More than fits is a terminal failure.
func (r *Reconciler) fetchFiles(ctx context.Context, run *v1alpha1.Run, c *Checkout, paths []string) error {
	if run.Status.Source == nil {
		return errors.New("a checkout has absent files and no source artifact")
	}
	more := min(maxContent, settings.MinCheckouts-c.held) // It never takes more than one checkout may.
	if !r.checkouts.grow(more) {
		return r.checkouts.waiting()
	}
	c.held += more
	missing := len(c.Absent)
	defer func() { c.held = r.checkouts.keep(c.held, c.tree.Used()+planRoom) }()
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	wanted := func(f source.File) bool { return c.Absent[f.Path] && slices.Contains(paths, f.Path) }
	artifact, err := r.Registry.OpenSource(ctx, run.Status.Source.Pinned(), wanted)
	if err != nil {
		return explainCheckout(run, err)
	}
	var bytes int64
	for _, f := range artifact.Index.Files {
		bytes += f.Size
	}
	err = readSource(run, artifact, func(f source.File, content io.Reader) error { return c.tree.Fill(f, content, maxContent) })
	if errors.Is(err, source.ErrRoom) {
		return failure.Terminalf(v1alpha1.ReasonRefused, err,
			"The plan reads %s of the repository with %d MiB more than the first %d MiB; Conductor reads at most %d MiB of a repository's files. Mount or include less",
			text.Plural(len(artifact.Index.Files), "file"), (bytes+1<<20-1)>>20, (maxContent-asked)>>20, maxContent>>20)
	}
	if err == nil && len(c.Absent) == missing { // The next plan would ask for them again, and so on.
		return failure.Terminalf(v1alpha1.ReasonNotFound, nil, "The plan reads %s that the run's source artifact does not have. Run it again; if it happens again, ask your Conductor operator",
			text.Plural(len(paths), "file"))
	}
	return explainCheckout(run, err)
}

// explainCheckout turns an error into a failure; nil stays nil.
func explainCheckout(run *v1alpha1.Run, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return diskFull(err)
	case errors.Is(err, source.ErrInvalid), errors.Is(err, fs.ErrExist):
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "The files of %s cannot be unpacked safely", run.Spec.Repository.FullName())
	case errors.Is(err, source.ErrRoom):
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "The repository %s has too many directories: they and the names of its files take more than %d MiB on disk",
			run.Spec.Repository.FullName(), maxNames>>20)
	}
	return fmt.Errorf("check out %s at %s: %w", run.Spec.Repository.FullName(), run.Spec.SHA, err)
}

func diskFull(err error) error {
	return failure.Transientf(v1alpha1.ReasonDiskFull, err, "Conductor has no room for the checkout")
}

// turns has each repository's checkouts fetched one after the other: many Runs of one leave the others their turn.
type turns struct {
	mu   sync.Mutex
	busy map[int64]bool
}

// begin takes a repository's turn; false where it is taken.
func (t *turns) begin(repository int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[repository] {
		return false
	}
	if t.busy == nil {
		t.busy = map[int64]bool{}
	}
	t.busy[repository] = true
	return true
}

func (t *turns) end(repository int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.busy, repository)
}

// largeTurn lets one large checkout be fetched at a time. How large one is shows while it is fetched: where the turn is another's by then,
// the fetch ends, and begins again when the turn is free.
type largeTurn struct {
	mu sync.Mutex
	// holder is the Run whose turn it is; known are those that are large.
	holder types.UID
	known  map[types.UID]bool
}

// begin takes the turn for a Run that is known to be large. The error is the wait for it.
func (t *largeTurn) begin(run types.UID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known[run] {
		return nil
	}
	return t.take(run)
}

// take takes the turn for a Run. The lock is held.
func (t *largeTurn) take(run types.UID) error {
	if t.holder != "" && t.holder != run {
		return waitForOthersf(turnPause, "Waiting for another large repository to be fetched")
	}
	t.holder = run
	return nil
}

func (t *largeTurn) end(run types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holder == run {
		t.holder = ""
	}
}

// watch visits files, and takes the turn once they turn out to be large.
func (t *largeTurn) watch(run types.UID, visit func(source.File, io.Reader) error) func(source.File, io.Reader) error {
	var bytes int64
	return func(f source.File, content io.Reader) error {
		if bytes += f.Size; bytes > largeSize {
			if err := t.grow(run); err != nil {
				return err
			}
		}
		return visit(f, content)
	}
}

func (t *largeTurn) grow(run types.UID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[types.UID]bool{}
	}
	t.known[run] = true
	return t.take(run)
}

func (t *largeTurn) forget(run types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, run)
}

// room is what all checkouts may take on disk. It counts bytes instead of asking the disk, since a full volume evicts the pod.
type room struct {
	mu sync.Mutex
	// size is the whole, used what is taken, in bytes; checkouts and fetching count who has taken it, and who fetches.
	size, used          int64
	checkouts, fetching int
}

// take takes room for one more checkout that is fetched; its error is the wait for it.
func (r *room) take(n int64) error {
	r.mu.Lock()
	if r.fetching >= fetches {
		defer r.mu.Unlock()
		return waitForOthersf(turnPause, "Waiting for %d other checkouts to be fetched", r.fetching)
	}
	need := n
	if r.checkouts > 0 { // What the others may still ask for stays free for one of them, or all could wait for each other.
		need += maxContent
	}
	if r.used+need > r.size {
		r.mu.Unlock()
		return r.waiting()
	}
	defer r.mu.Unlock()
	r.used += n
	r.checkouts++
	r.fetching++
	return nil
}

// waiting is the wait for room, with its reason.
func (r *room) waiting() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	progress := text.Plural(r.checkouts, "checkout") + " are in progress"
	if r.checkouts == 1 {
		progress = "1 checkout is in progress"
	}
	return waitForOthersf(roomPause, "Waiting for room for the checkout: %s (checkouts.sizeLimit)", progress)
}

// fetched notes the end of a fetch.
func (r *room) fetched() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetching--
}

// grow takes more room for a checkout that is there, if there is some.
func (r *room) grow(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used+n > r.size {
		return false
	}
	r.used += n
	return true
}

// keep gives back what a checkout holds beyond what it uses, and returns what it holds then.
func (r *room) keep(held, used int64) int64 {
	if held > used {
		r.give(held-used, 0)
		held = used
	}
	return held
}

// give gives room back, and that of whole checkouts.
func (r *room) give(n int64, checkouts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
	r.checkouts -= checkouts
}
