package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"

	"golang.org/x/sync/semaphore"
)

// Limits on the memory of all bodies together, in bytes. Nearly every delivery that matters is small; large bodies have a limit of their
// own, so that they cannot keep small ones out.
const (
	smallBody = 1 << 20
	smallRoom = 64 << 20
	largeRoom = 128 << 20
	firstRead = 32 << 10
)

// room is memory shared by the bodies that are being read.
type room struct{ bytes *semaphore.Weighted }

func newRoom(size int64) *room { return &room{semaphore.NewWeighted(size)} }

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
	held := holdings{h: h}
	free = held.free
	src := http.MaxBytesReader(w, r.Body, MaxBody)
	for {
		if len(body) == cap(body) {
			grown, ok := held.grow(r.Context(), body)
			if !ok {
				return nil, free, refuse(http.StatusServiceUnavailable, "busy", "too many large deliveries at once; redeliver this one later")
			}
			body = grown
		}
		n, err := src.Read(body[len(body):cap(body)])
		_, _ = v.Write(body[len(body) : len(body)+n])
		body = body[:len(body)+n]
		var over *http.MaxBytesError
		switch {
		case errors.Is(err, io.EOF):
			return body, free, nil
		case errors.As(err, &over):
			return nil, free, tooLarge()
		case err != nil:
			return nil, free, &result{code: http.StatusBadRequest, word: "cut_short", reason: "the body was cut short", cause: err}
		}
	}
}

// holdings is the memory that one body has acquired.
type holdings struct {
	h            *Handler
	small, large int64
}

// grow copies the body to a buffer twice as large, if memory allows.
func (o *holdings) grow(ctx context.Context, body []byte) ([]byte, bool) {
	// One byte more than the largest body, so that its end is detected without another buffer.
	size := min(max(2*cap(body), firstRead), MaxBody+1)
	ctx, cancel := context.WithTimeout(ctx, roomTimeout)
	defer cancel()
	if size <= smallBody {
		if o.h.small.bytes.Acquire(ctx, int64(size)-o.small) != nil {
			return nil, false
		}
		o.small = int64(size)
	} else {
		if o.h.large.bytes.Acquire(ctx, int64(size)-o.large) != nil {
			return nil, false
		}
		o.large = int64(size)
	}
	grown := make([]byte, len(body), size)
	copy(grown, body)
	return grown, true
}

func (o *holdings) free() {
	o.h.small.bytes.Release(o.small)
	o.h.large.bytes.Release(o.large)
	o.small, o.large = 0, 0
}
