package run

import (
	"context"
	"sync"
	"time"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// lookPatience is how long a registry may take to say what an image is, lookHaste how long when it did not answer in the last
	// silence: a cluster that reaches no registry but its own shall not wait for the others in every run.
	lookPatience = 5 * time.Second
	lookHaste    = 500 * time.Millisecond
	silence      = 5 * time.Minute
	// lookPause lies between two questions about the same image.
	lookPause = 300 * time.Millisecond
	// looksAtOnce is how many images are asked about at a time.
	looksAtOnce = 16
)

// imageLooks asks registries what images say about themselves, beside the reconcilers: no build and no other Run waits for it.
type imageLooks struct {
	ask  func(ctx context.Context, image string) (digest string, config []byte, err error)
	wake func(*v1alpha1.Run)
	now  func() time.Time

	mu   sync.Mutex
	runs map[types.UID]*runLooks
	// silent are the registries that did not answer, and when.
	silent map[string]time.Time
	tokens chan struct{}
}

// runLooks are the questions of one Run by reference.
type runLooks struct {
	ctx   context.Context
	stop  context.CancelFunc
	looks map[string]*imageLook
}

// imageLook is a question and, once it is done, its answer, which does not change any more.
type imageLook struct {
	done   bool
	digest string
	config compose.ImageConfig
	err    error
}

// known is the answer about an image; nil while there is none.
func (l *imageLooks) known(run types.UID, ref string) *imageLook {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.runs[run]; of != nil && of.looks[ref] != nil && of.looks[ref].done {
		return of.looks[ref]
	}
	return nil
}

// at is the same, and asks when no one has yet.
func (l *imageLooks) at(run *v1alpha1.Run, ref string) *imageLook {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs, l.silent, l.tokens = map[types.UID]*runLooks{}, map[string]time.Time{}, make(chan struct{}, looksAtOnce)
	}
	of := l.runs[run.UID]
	if of == nil {
		of = &runLooks{looks: map[string]*imageLook{}}
		of.ctx, of.stop = context.WithCancel(context.Background())
		l.runs[run.UID] = of
	}
	look := of.looks[ref]
	switch {
	case look == nil:
		of.looks[ref] = &imageLook{}
		go l.look(of, run.DeepCopy(), ref)
		return nil
	case !look.done:
		return nil
	}
	return look
}

// look asks until there is an answer or patience ends, and wakes the Run.
func (l *imageLooks) look(of *runLooks, run *v1alpha1.Run, ref string) {
	host := registryOf(ref)
	l.tokens <- struct{}{}
	ctx, cancel := context.WithTimeout(of.ctx, l.patience(host))
	answer := l.answer(ctx, ref)
	cancel()
	<-l.tokens
	l.mu.Lock()
	switch {
	case answer.err == nil || failure.IsTerminal(answer.err):
		delete(l.silent, host)
	case of.ctx.Err() == nil:
		l.silent[host] = l.now()
	}
	of.looks[ref] = answer
	if answer.err == nil && !byDigest(ref) {
		of.looks[ref+"@"+answer.digest] = answer
	}
	l.mu.Unlock()
	if of.ctx.Err() == nil {
		l.wake(run)
	}
}

func (l *imageLooks) answer(ctx context.Context, ref string) *imageLook {
	for {
		a := &imageLook{done: true}
		var file []byte
		if a.digest, file, a.err = l.ask(ctx, ref); a.err == nil {
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
		case <-time.After(lookPause):
		}
	}
}

func (l *imageLooks) patience(host string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.silent[host]; ok && l.now().Sub(at) < silence {
		return lookHaste
	}
	return lookPatience
}

// registryOf is the host of the registry that an image is in.
func registryOf(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.Domain(named)
}

// forget ends a Run's questions.
func (l *imageLooks) forget(run types.UID) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.runs[run]; of != nil {
		of.stop()
		delete(l.runs, run)
	}
}

// close ends all.
func (l *imageLooks) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for run, of := range l.runs {
		of.stop()
		delete(l.runs, run)
	}
}
