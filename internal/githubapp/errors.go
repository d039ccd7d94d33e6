package githubapp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// secondaryPause is the wait that GitHub asks for when a secondary limit names none
	// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
	secondaryPause = time.Minute
	// maxPause bounds what a server may ask for; the primary limit is renewed each hour.
	maxPause = time.Hour
)

// response is GitHub's answer in an error's chain, or nil.
func response(err error) *http.Response {
	var plain *github.ErrorResponse
	var primary *github.RateLimitError
	var secondary *github.AbuseRateLimitError
	switch {
	case errors.As(err, &plain):
		return plain.Response
	case errors.As(err, &primary):
		return primary.Response
	case errors.As(err, &secondary):
		return secondary.Response
	}
	return nil
}

// status is the status code of GitHub's answer in an error's chain, or 0.
func status(err error) int {
	if r := response(err); r != nil {
		return r.StatusCode
	}
	return 0
}

// withoutQuery takes the query out of the address in an error, be it of a request that failed or of an answer that refuses: a private
// repository's archive is at an address that holds a token there.
func withoutQuery(err error) error {
	if resp := response(err); resp != nil && resp.Request != nil && resp.Request.URL != nil {
		bare := *resp.Request.URL
		bare.RawQuery = ""
		resp.Request.URL = &bare
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		address, _, _ := strings.Cut(failed.URL, "?")
		return &url.Error{Op: failed.Op, URL: address, Err: failed.Err}
	}
	return err
}

// passing reports whether the same request may succeed a moment later. One that must not happen twice is repeated only
// when it cannot have arrived.
func passing(err error, once bool) bool {
	var f *failure.Error
	if errors.As(err, &f) {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	if once || errors.Is(err, errTooLarge) {
		return false
	}
	switch status(err) {
	case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInternalServerError:
		return true
	}
	return false
}

// wait pauses before an attempt is repeated: longer each time, and not in step with others.
func (c *Client) wait(ctx context.Context, attempt int) error {
	pause := c.pause << (attempt - 1)
	timer := time.NewTimer(pause/2 + rand.N(pause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// explain turns an error into a failure: what happens next, and a sentence.
func (c *Client) explain(s scope, err error) error {
	var f *failure.Error
	if errors.As(err, &f) {
		return f
	}
	resp := response(err)
	if resp == nil {
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "GitHub did not answer")
	}
	if pause, limited := c.limit(err, resp); limited {
		return failure.Waitingf(v1alpha1.ReasonUnavailable, pause, "GitHub's rate limit is reached; waiting until it allows more")
	}
	on := s.on()
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		// A key that was just replaced works a moment later, so this is not the end of a run.
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "GitHub does not accept the App's credentials; the operator should look at its key")
	case code == http.StatusForbidden && unpermitted(err):
		// The header alone would not do: GitHub sends it with other refusals too, such as that of a locked issue.
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "Could not %s on %s: the GitHub App lacks a permission (GitHub asks for %s)",
			s.what, on, accepted(resp))
	case code == http.StatusNotFound || code == http.StatusGone:
		return failure.Terminalf(v1alpha1.ReasonNotFound, err, "Could not %s on %s: GitHub does not find it", s.what, on)
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusConflict:
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "GitHub could not answer (status %d)", code)
	default:
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "Could not %s on %s: GitHub refuses it (%s)", s.what, on, message(err, code))
	}
}

// limit says how long GitHub asks to wait, if that is what it answered.
func (c *Client) limit(err error, resp *http.Response) (time.Duration, bool) {
	var primary *github.RateLimitError
	var secondary *github.AbuseRateLimitError
	bounded := func(d time.Duration) time.Duration { return min(max(d, time.Second), maxPause) }
	switch seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After")); {
	case errors.As(err, &secondary) && secondary.RetryAfter != nil:
		return bounded(*secondary.RetryAfter), true
	case bad == nil && (resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests):
		return bounded(time.Duration(seconds) * time.Second), true
	case errors.As(err, &primary):
		return bounded(primary.Rate.Reset.Sub(c.clock.Now())), true
	case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("X-RateLimit-Remaining") == "0":
		at, _ := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
		return bounded(time.Unix(at, 0).Sub(c.clock.Now())), true
	case errors.As(err, &secondary) || resp.StatusCode == http.StatusTooManyRequests:
		return secondaryPause, true
	}
	return 0, false
}

// unpermitted reports whether GitHub refused because of the token's permissions; only its words tell.
func unpermitted(err error) bool {
	var plain *github.ErrorResponse
	return errors.As(err, &plain) && strings.Contains(strings.ToLower(plain.Message), "not accessible by integration")
}

// accepted are the permissions that GitHub would have accepted.
func accepted(resp *http.Response) string {
	if a := resp.Header.Get("X-Accepted-GitHub-Permissions"); a != "" {
		return strings.ReplaceAll(a, "=", ":")
	}
	return "one that it does not name"
}

// message is what GitHub says about a refusal, in one short line.
func message(err error, code int) string {
	var plain *github.ErrorResponse
	if !errors.As(err, &plain) || plain.Message == "" {
		return "status " + strconv.Itoa(code)
	}
	text := plain.Message
	for _, e := range plain.Errors {
		if e.Message != "" {
			text += ": " + e.Message
		}
	}
	return strings.Join(strings.Fields(cut(text, 300, "...")), " ")
}

// cut shortens a text to at most limit characters, the last of which are the note.
func cut(text string, limit int, note string) string {
	if len(text) <= limit {
		return text
	}
	left := limit - len([]rune(note))
	n, end := 0, len(text)
	for i := range text {
		if n == left {
			end = i
		}
		if n++; n > limit {
			return text[:end] + note
		}
	}
	return text
}
