package run

import (
	"context"
	"time"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// lookupTimeout is how long a registry may take to resolve an image. One that did not answer within the last unresponsiveFor has
	// shortTimeout, so that clusters without outbound registry access do not pay the timeout on every run.
	lookupTimeout   = 5 * time.Second
	shortTimeout    = 500 * time.Millisecond
	unresponsiveFor = 5 * time.Minute
	// lookupPause is the time between two requests for the same image.
	lookupPause = 300 * time.Millisecond
	// lookupsAtOnce is how many images are looked up at a time.
	lookupsAtOnce = 16
)

// imageLookups resolve images in their registries, beside the reconcile workers: no build and no other Run waits for them.
type imageLookups struct {
	*sessions
	registry Registry
	wake     func(*v1alpha1.Run)
	now      func() time.Time
	// unresponsive are the registries that did not answer, and when.
	unresponsive map[string]time.Time
	slots        chan struct{}
}

// runLookups are those of one Run, by reference.
type runLookups struct {
	ctx      context.Context
	stop     context.CancelFunc
	byImages map[string]*imageLookup
}

// imageLookup is a request for an image and, once it is done, its answer, which does not change any more.
type imageLookup struct {
	done   bool
	digest string
	config compose.ImageConfig
	err    error
}

func newImageLookups(l *sessions, registry Registry, wake func(*v1alpha1.Run), now func() time.Time) *imageLookups {
	return &imageLookups{
		sessions: l, registry: registry, wake: wake, now: now, unresponsive: map[string]time.Time{}, slots: make(chan struct{}, lookupsAtOnce),
	}
}

// answer is the answer about an image; nil while there is none.
func (l *imageLookups) answer(run types.UID, ref string) *imageLookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.find(run).images; of != nil && of.byImages[ref] != nil && of.byImages[ref].done {
		return of.byImages[ref]
	}
	return nil
}

// request looks an image up, unless that was done before, and returns the answer; nil while there is none.
func (l *imageLookups) request(run *v1alpha1.Run, ref string) *imageLookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(run.UID)
	if s.images == nil {
		s.images = &runLookups{byImages: map[string]*imageLookup{}}
		s.images.ctx, s.images.stop = context.WithCancel(context.Background())
	}
	lookup := s.images.byImages[ref]
	switch {
	case lookup == nil:
		s.images.byImages[ref] = &imageLookup{}
		go l.resolve(s.images, run.DeepCopy(), ref)
		return nil
	case !lookup.done:
		return nil
	}
	return lookup
}

// resolve asks a registry until it answers or its time is up, and wakes the Run.
func (l *imageLookups) resolve(of *runLookups, run *v1alpha1.Run, ref string) {
	host := registryOf(ref)
	l.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(of.ctx, l.timeout(host))
	answer := l.retry(ctx, ref)
	cancel()
	<-l.slots
	l.mu.Lock()
	switch {
	case answer.err == nil || failure.IsTerminal(answer.err):
		delete(l.unresponsive, host)
	case of.ctx.Err() == nil:
		l.unresponsive[host] = l.now()
	}
	of.byImages[ref] = answer
	if answer.err == nil && !byDigest(ref) {
		of.byImages[ref+"@"+answer.digest] = answer
	}
	l.mu.Unlock()
	if of.ctx.Err() == nil {
		l.wake(run)
	}
}

// retry asks again and again until the registry answers or the context ends.
func (l *imageLookups) retry(ctx context.Context, ref string) *imageLookup {
	for {
		a := &imageLookup{done: true}
		var file []byte
		if a.digest, file, a.err = l.registry.ImageConfig(ctx, ref); a.err == nil {
			if a.config, a.err = compose.ParseImageConfig(file); a.err != nil {
				a.err = failure.Terminalf(v1alpha1.ReasonImageUnavailable, a.err, "The configuration of the image %s cannot be read", ref)
			}
		}
		if a.err == nil || failure.IsTerminal(a.err) {
			return a
		}
		select {
		case <-ctx.Done():
			return a
		case <-time.After(lookupPause):
		}
	}
}

func (l *imageLookups) timeout(host string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.unresponsive[host]; ok && l.now().Sub(at) < unresponsiveFor {
		return shortTimeout
	}
	return lookupTimeout
}

// registryOf is the host of the registry that an image is in.
func registryOf(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.Domain(named)
}

// forget ends a Run's lookups.
func (l *imageLookups) forget(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(uid, func(s *session) {
		if s.images != nil {
			s.images.stop()
			s.images = nil
		}
	})
}
