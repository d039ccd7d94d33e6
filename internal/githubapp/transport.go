package githubapp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
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

func defaultTransport() http.RoundTripper {
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
	if t.value() != "" && req.URL.Scheme == a.base.Scheme && req.URL.Host == a.base.Host && strings.HasPrefix(req.URL.Path, a.base.Path) {
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
// not count against the rate limit.
type conditional struct {
	next http.RoundTripper

	mu      sync.Mutex
	answers map[string]answer
}

type answer struct {
	header http.Header
	body   []byte
}

// maxAnswers limits the cache. It evicts any entry, because a lost one costs only a request.
const (
	maxAnswers    = 2048
	maxAnswerBody = 64 << 10
)

func newConditional(next http.RoundTripper) *conditional {
	return &conditional{next: next, answers: map[string]answer{}}
}

// RoundTrip implements http.RoundTripper.
func (c *conditional) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || !callOf(req.Context()).scope.conditional {
		return c.next.RoundTrip(req)
	}
	key := req.URL.String()
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

func (c *conditional) remember(key string, resp *http.Response) (*http.Response, error) {
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
	for other := range c.answers {
		if len(c.answers) < maxAnswers {
			break
		}
		delete(c.answers, other)
	}
	c.answers[key] = answer{kept, body}
	return resp, nil
}
