package registry

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// uploadBuffer is how much content one upload buffers, in bytes.
	uploadBuffer = 64 << 10
	// maxAnswer limits how much of an error response is read, in bytes.
	maxAnswer = 8 << 10
)

// upload streams a blob whose size and digest are not known in advance, like the Docker engine: a POST opens an upload, one PATCH of
// unknown length carries the content, a PUT names the digest (https://distribution.github.io/distribution/spec/api/#patch-blob-upload).
// The content is buffered neither in memory nor on disk.
//
// upload fails after stallTimeout without progress. Pass its errors to explain; those of write are an *unreadableError, or write's own
// failure. write may outlive upload if ctx ends or the upload stalls: its next Write fails.
func (r *Registry) upload(ctx context.Context, target *remote.Repository, mediaType string, write func(io.Writer) error) (ocispec.Descriptor, error) {
	ctx = auth.AppendRepositoryScope(ctx, target.Reference, auth.ActionPull, auth.ActionPush)
	u := &streamUpload{target: target, stallTimeout: r.stallTimeout, sum: sha256.New()}
	if err := u.begin(ctx); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := u.stream(ctx, write); err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.NewDigest(digest.SHA256, u.sum), Size: u.size}
	return d, u.finish(ctx, d.Digest)
}

// unreadableError means that the content could not be read, as opposed to not being accepted by the registry.
type unreadableError struct{ error }

// Unwrap returns the cause.
func (e *unreadableError) Unwrap() error { return e.error }

// errStopped is the error of writing to an upload that has ended.
var errStopped = errors.New("the upload has ended")

// streamUpload is one blob that is being pushed.
type streamUpload struct {
	target       *remote.Repository
	stallTimeout time.Duration
	// place is the URL for the next request, login the Authorization header that the registry accepted for the first.
	place *url.URL
	login string
	// sum and size are the hash and length of the content so far.
	sum  hash.Hash
	size int64
}

// begin opens the upload. It also logs in, because this request can be repeated.
func (u *streamUpload) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	scheme := "https"
	if u.target.PlainHTTP {
		scheme = "http"
	}
	ref := u.target.Reference
	u.place = &url.URL{Scheme: scheme, Host: ref.Host(), Path: "/v2/" + ref.Repository + "/blobs/uploads/"}
	answer, err := u.send(ctx, http.MethodPost, *u.place, nil)
	if err != nil {
		return err
	}
	u.login = answer.Request.Header.Get("Authorization")
	return u.follow(answer)
}

// stream sends the content. It cannot be repeated: if the registry requests another login, the caller must start over.
func (u *streamUpload) stream(ctx context.Context, write func(io.Writer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, in := io.Pipe()
	body := watch(out, u.stallTimeout, cancel)
	defer body.timer.Stop()
	// net/http waits for a read of the body even if the request has been canceled.
	defer context.AfterFunc(ctx, func() { _ = out.CloseWithError(errStopped) })()
	ended := make(chan error, 1)
	go func() {
		buffer := bufio.NewWriterSize(in, uploadBuffer)
		err := write(&measured{upload: u, body: body, next: buffer})
		if err == nil {
			err = buffer.Flush()
		}
		ended <- err
		_ = in.CloseWithError(err) // CloseWithError never fails
	}()
	answer, err := u.send(ctx, http.MethodPatch, *u.place, body)
	_ = out.CloseWithError(errStopped)
	var unread error
	select {
	case unread = <-ended:
	case <-ctx.Done():
	}
	switch {
	case ctx.Err() != nil:
		return errors.Join(err, context.Cause(ctx))
	case unread != nil && !errors.Is(unread, errStopped):
		return &unreadableError{unread}
	case status(err) == http.StatusUnauthorized:
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The registry %s requested another login during an upload", u.target.Reference.Registry)
	case err != nil:
		return err
	case unread != nil:
		return errors.New("the registry responded before the upload was complete")
	}
	return u.follow(answer)
}

// finish names the blob's digest. Some registries store the blob only then.
func (u *streamUpload) finish(ctx context.Context, d digest.Digest) error {
	ctx, cancel := context.WithTimeoutCause(ctx, u.stallTimeout, fmt.Errorf("no progress for %s", u.stallTimeout))
	defer cancel()
	place := *u.place
	query := place.Query()
	query.Set("digest", d.String())
	place.RawQuery = query.Encode()
	if _, err := u.send(ctx, http.MethodPut, place, nil); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// send makes one request and returns the response with its body closed. A status other than 2xx is an errcode.ErrorResponse.
func (u *streamUpload) send(ctx context.Context, method string, place url.URL, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, place.String(), body)
	if err != nil {
		return nil, fmt.Errorf("request to the registry: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/octet-stream")
		if u.login != "" {
			request.Header.Set("Authorization", u.login)
		}
	}
	answer, err := u.target.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return answer, nil
	}
	refusal := &errcode.ErrorResponse{Method: method, URL: answer.Request.URL, StatusCode: answer.StatusCode}
	var reasons struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&reasons) == nil {
		refusal.Errors = reasons.Errors
	}
	return nil, refusal
}

// follow takes the URL for the next request from a response. It rejects another host, which would receive the login.
func (u *streamUpload) follow(answer *http.Response) error {
	next, err := answer.Location()
	if errors.Is(err, http.ErrNoLocation) && answer.Request.Method == http.MethodPatch {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the registry did not return the location of the upload: %w", err)
	}
	if origin(next) != origin(u.place) {
		return fmt.Errorf("the registry %s redirected an upload to another host, %s", origin(u.place), origin(next))
	}
	u.place = next
	return nil
}

// origin returns scheme, host and port of a URL. Some registries omit the scheme's default port.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + u.Hostname() + ":" + port
}

// measured counts and hashes content, and resets the stall timer while there is some.
type measured struct {
	upload *streamUpload
	body   *watched
	next   io.Writer
}

// Write implements io.Writer.
func (m *measured) Write(p []byte) (int, error) {
	m.body.timer.Reset(m.body.stallTimeout)
	n, err := m.next.Write(p)
	_, _ = m.upload.sum.Write(p[:n]) // a hash never returns an error
	m.upload.size += int64(n)
	return n, err
}
