package webhook

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Limits on the memory of all bodies together, in bytes. Nearly every delivery that matters is small; large bodies have a limit of their
// own, so that they cannot keep small ones out. A body takes memory as its bytes arrive; the first buffer is not counted.
const (
	smallBody = 1 << 20
	smallRoom = 64 << 20
	largeRoom = 128 << 20
	firstRead = 4 << 10
)

// Whether a body is signed is known only at its end. These limits keep slow bodies without a signature from holding what others need:
// every body must arrive at bodyRate after a grace period, and of too many at once the oldest one is cut off. A delivery of GitHub is
// complete within milliseconds, so it is never the oldest for long.
const (
	maxBodies = 2048
	bodyGrace = 3 * time.Second
	// bodyRate is in bytes per second.
	bodyRate = 64 << 10
	// bodyLimit is the longest time for a body: GitHub gives up after 10 s, GitHub Enterprise Server after 30 s.
	bodyLimit = 30 * time.Second
)

// room is memory shared by the bodies that are being read.
type room struct{ bytes *semaphore.Weighted }

func newRoom(size int64) *room { return &room{semaphore.NewWeighted(size)} }

// bodies are the bodies that are being read, oldest first.
type bodies struct {
	// max and grace are maxBodies and bodyGrace.
	max   int
	grace time.Duration

	mu  sync.Mutex
	all list.List
}

// reading is one body that is being read.
type reading struct {
	began   time.Time
	control *http.ResponseController
	element *list.Element
	// held is the memory that the body holds; isCut is set once it was cut off. Both are under the lock of bodies.
	held  int64
	isCut bool
}

// enter adds a body. If there are too many, it cuts off the oldest one.
func (b *bodies) enter(w http.ResponseWriter, now time.Time) *reading {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all.Len() >= b.max {
		b.cutOldest(nil)
	}
	r := &reading{began: now, control: http.NewResponseController(w)}
	r.element = b.all.PushBack(r)
	b.extend(r, 0)
	return r
}

// leave removes a body that is complete or refused. Only a complete one leaves the connection more time: the server reads on after a
// refusal.
func (b *bodies) leave(r *reading, isComplete bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !r.isCut {
		b.all.Remove(r.element)
	}
	if isComplete {
		_ = r.control.SetReadDeadline(r.began.Add(bodyLimit))
	}
}

// progress notes what a body holds after it has received more, and gives it time for the rest.
func (b *bodies) progress(r *reading, received int, held int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.held = held
	if !r.isCut {
		b.extend(r, received)
	}
}

// makeRoom cuts off the oldest bodies besides r that hold memory, until they hold n bytes together.
func (b *bodies) makeRoom(r *reading, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n > 0 {
		held := b.cutOldest(func(other *reading) bool { return other != r && other.held > 0 })
		if held == 0 {
			return
		}
		n -= held
	}
}

// cutOldest cuts off the oldest body that matches, and returns what it holds: its reader fails at once and frees that.
func (b *bodies) cutOldest(matches func(*reading) bool) int64 {
	for e := b.all.Front(); e != nil; e = e.Next() {
		r, ok := e.Value.(*reading)
		if !ok || matches != nil && !matches(r) {
			continue
		}
		b.all.Remove(e)
		r.isCut = true
		_ = r.control.SetReadDeadline(time.Unix(1, 0))
		return r.held
	}
	return 0
}

// extend sets the deadline of a body that has received so many bytes. An error means that the connection has no deadlines, as in tests.
func (b *bodies) extend(r *reading, received int) {
	allowed := b.grace + time.Duration(received)*time.Second/bodyRate
	_ = r.control.SetReadDeadline(r.began.Add(min(allowed, bodyLimit)))
}

// verifier computes the signature while the body is read, once for each secret.
type verifier struct {
	claimed []byte
	hashes  []hash.Hash
}

// Write implements io.Writer.
func (v *verifier) Write(p []byte) (int, error) {
	for _, h := range v.hashes {
		_, _ = h.Write(p)
	}
	return len(p), nil
}

// ok reports whether one of the secrets made the claimed signature. All are compared, in constant time.
func (v *verifier) ok() bool {
	found := false
	for _, h := range v.hashes {
		if hmac.Equal(h.Sum(nil), v.claimed) {
			found = true
		}
	}
	return found
}

// verifier prepares to verify the signature. A request without one is refused before its body is read.
func (h *Handler) verifier(r *http.Request) (*verifier, *result) {
	header := r.Header.Get("X-Hub-Signature-256")
	if header == "" {
		if r.Header.Get("X-Hub-Signature") != "" {
			return nil, refuse(http.StatusUnauthorized, "unsigned", "the request has only a SHA-1 signature; Conductor needs X-Hub-Signature-256")
		}
		return nil, refuse(http.StatusUnauthorized, "unsigned", "the header X-Hub-Signature-256 is missing: set a webhook secret in the App's settings")
	}
	digest, ok := strings.CutPrefix(header, "sha256=")
	claimed, err := hex.DecodeString(digest)
	if !ok || err != nil || len(claimed) != sha256.Size {
		return nil, refuse(http.StatusUnauthorized, "bad_signature", "X-Hub-Signature-256 is not sha256= and 64 hexadecimal digits")
	}
	secrets, err := h.o.Secrets()
	v := &verifier{claimed: claimed}
	for _, s := range secrets {
		// With an empty secret anyone could sign.
		if len(s) > 0 {
			v.hashes = append(v.hashes, hmac.New(sha256.New, s))
		}
	}
	if err != nil || len(v.hashes) == 0 {
		return nil, &result{code: http.StatusServiceUnavailable, word: "no_secret", reason: "Conductor cannot read its webhook secret", cause: err}
	}
	return v, nil
}

// read reads and hashes the body in one pass, into a buffer that grows as bytes arrive and memory allows. The caller calls free after its
// last use of the body.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, v *verifier) (body []byte, free func(), res *result) {
	reading := h.bodies.enter(w, time.Now())
	defer func() { h.bodies.leave(reading, res == nil) }()
	held := holdings{h: h, reading: reading}
	free = held.free
	src := http.MaxBytesReader(w, r.Body, MaxBody)
	body = make([]byte, 0, firstRead)
	for {
		if len(body) == cap(body) {
			grown, ok := held.grow(r.Context(), body)
			if !ok {
				return nil, free, busy()
			}
			body = grown
		}
		n, err := src.Read(body[len(body):cap(body)])
		_, _ = v.Write(body[len(body) : len(body)+n])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, free, nil
		} else if err != nil {
			return nil, free, h.unread(reading, err)
		}
	}
}

func busy() *result {
	return refuse(http.StatusServiceUnavailable, "busy", "too many deliveries at once; Conductor takes this one from GitHub's log later")
}

// unread returns the answer to a body that could not be read to its end.
func (h *Handler) unread(r *reading, err error) *result {
	h.bodies.mu.Lock()
	isCut := r.isCut
	h.bodies.mu.Unlock()
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge()
	case isCut:
		return busy()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "too_slow", "the body did not arrive in time")
	}
	return &result{code: http.StatusBadRequest, word: "cut_short", reason: "the body was cut short", cause: err}
}

// holdings is the memory that one body has acquired.
type holdings struct {
	h            *Handler
	reading      *reading
	small, large int64
}

// grow copies the body to a buffer twice as large, if memory allows. It cuts off older bodies if that is needed.
func (o *holdings) grow(ctx context.Context, body []byte) ([]byte, bool) {
	// One byte more than the largest body, so that its end is detected without another buffer.
	size := min(2*cap(body), MaxBody+1)
	room, held := o.h.small, &o.small
	if size > smallBody {
		room, held = o.h.large, &o.large
	}
	needed := int64(size) - *held
	if !room.bytes.TryAcquire(needed) {
		o.h.bodies.makeRoom(o.reading, needed)
		ctx, cancel := context.WithTimeout(ctx, roomTimeout)
		defer cancel()
		if room.bytes.Acquire(ctx, needed) != nil {
			return nil, false
		}
	}
	*held = int64(size)
	o.h.bodies.progress(o.reading, len(body), o.small+o.large)
	grown := make([]byte, len(body), size)
	copy(grown, body)
	return grown, true
}

func (o *holdings) free() {
	o.h.small.bytes.Release(o.small)
	o.h.large.bytes.Release(o.large)
	o.small, o.large = 0, 0
}
