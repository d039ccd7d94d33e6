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

// response returns GitHub's response from an error's chain, or nil.
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

// status returns the status code of GitHub's response from an error's chain, or 0.
func status(err error) int {
	if r := response(err); r != nil {
		return r.StatusCode
	}
	return 0
}

// withoutQuery removes the query from the URL in an error, of a request or a response: the URL of a private repository's archive
// contains a token there.
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

// isTransient reports whether a retry may succeed. If the request must not be repeated, only a failure to connect is transient.
func isTransient(err error, once bool) bool {
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

// wait pauses before a retry, longer each time and with jitter.
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

// explain converts an error into a failure with a sentence for people.
func (c *Client) explain(s scope, err error) error {
	var f *failure.Error
	if errors.As(err, &f) {
		return f
	}
	resp := response(err)
	if resp == nil {
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "GitHub did not answer")
	}
	on := s.on()
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		// Not terminal: a new key may take a moment to work.
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "GitHub rejected the App's credentials. The operator should check the App's private key")
	case code == http.StatusForbidden && lacksPermission(err):
		// The header is not enough: GitHub also sends it with other refusals, such as that of a locked issue.
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "Could not %s on %s: the GitHub App does not have the required permission (%s). An owner must grant it",
			s.what, on, accepted(resp))
	case code == http.StatusNotFound || code == http.StatusGone:
		return failure.Terminalf(v1alpha1.ReasonNotFound, err, "Could not %s on %s: GitHub did not find it", s.what, on)
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusConflict:
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "GitHub returned an error (HTTP status %d)", code)
	default:
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "Could not %s on %s: GitHub rejected the request (%s)", s.what, on, message(err, code))
	}
}

// lacksPermission reports whether GitHub rejected the token's permissions, which only the message shows.
func lacksPermission(err error) bool {
	var plain *github.ErrorResponse
	return errors.As(err, &plain) && strings.Contains(strings.ToLower(plain.Message), "not accessible by integration")
}

// accepted returns the permissions that the call requires according to GitHub.
func accepted(resp *http.Response) string {
	if a := resp.Header.Get("X-Accepted-GitHub-Permissions"); a != "" {
		return strings.ReplaceAll(a, "=", ":")
	}
	return "GitHub does not name it"
}

// message returns GitHub's reason for a refusal as one short line.
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
	return strings.Join(strings.Fields(truncate(text, 300, "...")), " ")
}

// truncate shortens a text to at most limit characters including the note.
func truncate(text string, limit int, note string) string {
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
