package githubapp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxBody limits every response except a tarball, in bytes. GitHub's largest page is far smaller.
const maxBody = 8 << 20

var errTooLarge = errors.New("GitHub's response is larger than 8 MiB")

type callKey struct{}

// callInfo is passed to the transports in a request's context.
type callInfo struct {
	scope scope
	token token
}

func withCall(ctx context.Context, s scope, t token) context.Context {
	return context.WithValue(ctx, callKey{}, callInfo{s, t})
}

func callOf(ctx context.Context) callInfo {
	info, _ := ctx.Value(callKey{}).(callInfo)
	return info
}

// DefaultTransport returns the transport with this package's timeouts.
func DefaultTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	}
}

// authorizer adds the call's token to requests to the API only: a redirect, such as that of a tarball, must not send it elsewhere.
type authorizer struct {
	base *url.URL
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	t := callOf(req.Context()).token
	req = req.Clone(req.Context())
	req.Header.Del("Authorization")
	if t.value() != "" && isWithin(req.URL, a.base) {
		req.Header.Set("Authorization", "token "+t.value())
	}
	return a.next.RoundTrip(req)
}

// boundedTransport fails a response that is larger than maxBody. A tarball has its own limits.
type boundedTransport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil && !callOf(req.Context()).scope.archive {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxBody}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return n + b.left, errTooLarge
	}
	return n, err
}

// conditional caches responses to calls that are repeated often and requests only changes from GitHub. An unchanged response (304) does
// not count against the rate limit. GitHub is asked each time, so that it also checks each time whether the token may read the response.
type conditional struct {
	next http.RoundTripper

	mu      sync.Mutex
	answers map[answerKey]answer
	size    int
}

// answerKey separates installations, and the permissions of tokens: GitHub's entity tags vary with the token.
type answerKey struct {
	installation int64
	grant, url   string
}

type answer struct {
	header http.Header
	body   []byte
}

// The limits of the cache. It evicts any entry, because a lost one costs only a request. A page of 100 repositories has about 600 KB.
const (
	maxAnswers     = 4096
	maxAnswersSize = 32 << 20
	maxAnswerBody  = 1 << 20
)

func newConditional(next http.RoundTripper) *conditional {
	return &conditional{next: next, answers: map[answerKey]answer{}}
}

// RoundTrip implements http.RoundTripper.
func (c *conditional) RoundTrip(req *http.Request) (*http.Response, error) {
	s := callOf(req.Context()).scope
	if req.Method != http.MethodGet || !s.conditional {
		return c.next.RoundTrip(req)
	}
	key := answerKey{s.installation, s.grant.String(), req.URL.String()}
	c.mu.Lock()
	known, ok := c.answers[key]
	c.mu.Unlock()
	if ok {
		req = req.Clone(req.Context())
		req.Header.Set("If-None-Match", known.header.Get("ETag"))
	}
	resp, err := c.next.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case ok && resp.StatusCode == http.StatusNotModified:
		return known.replace(resp), nil
	case resp.StatusCode == http.StatusOK && resp.Header.Get("ETag") != "":
		return c.remember(key, resp)
	}
	return resp, nil
}

// replace turns "not modified" into the cached response, with the new rate limit headers.
func (a answer) replace(resp *http.Response) *http.Response {
	_ = resp.Body.Close()
	header := a.header.Clone()
	for name, value := range resp.Header {
		header[name] = value
	}
	resp.StatusCode, resp.Status, resp.Header = http.StatusOK, "200 OK", header
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(a.body)), int64(len(a.body))
	return resp
}

func (c *conditional) remember(key answerKey, resp *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) > maxAnswerBody {
		return resp, nil
	}
	kept := http.Header{"Etag": resp.Header["Etag"], "Link": resp.Header["Link"], "Content-Type": resp.Header["Content-Type"]}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(key)
	for other := range c.answers {
		if len(c.answers) < maxAnswers && c.size+len(body) <= maxAnswersSize {
			break
		}
		c.forget(other)
	}
	c.answers[key] = answer{kept, body}
	c.size += len(body)
	return resp, nil
}

// forget removes an entry. The lock is held.
func (c *conditional) forget(key answerKey) {
	c.size -= len(c.answers[key].body)
	delete(c.answers, key)
}
