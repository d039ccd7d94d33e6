// Package githubapp is the adapter to GitHub: it makes all of Conductor's requests as a GitHub App.
//
// Each call uses an installation token that is limited to one repository and to the permissions of that call; grants.go lists them.
// Errors are failures with a sentence for people. A problem that a person has to fix is terminal, a rate limit is a wait with its time,
// and everything else is retried.
package githubapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v62/github"
	"k8s.io/utils/clock"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const (
	// DefaultBaseURL is the REST API of github.com.
	DefaultBaseURL = "https://api.github.com"

	requestTimeout  = 10 * time.Second
	checkoutTimeout = 60 * time.Second
	// attempts is how often a call that may be repeated is sent in total.
	attempts = 4
	// perPage is GitHub's maximum page size.
	perPage = 100
	// maxPages limits every list, in case a server keeps naming a next page.
	maxPages = 1000
)

// Options configure a Client.
type Options struct {
	// BaseURL is https://HOST/api/v3 for a GitHub Enterprise Server. The default is DefaultBaseURL.
	BaseURL string
	// AppID is the App's numeric id.
	AppID int64
	// PrivateKey returns the App's PEM key. It is called for each signature, so that a rotated key takes effect at once.
	PrivateKey func() ([]byte, error)
	// Transport sends the requests; nil selects one with this package's timeouts.
	Transport http.RoundTripper
	// Clock determines when tokens expire. The default is the real clock.
	Clock clock.PassiveClock
	// UserAgent identifies this program. The default is "conductor".
	UserAgent string
	// Logger receives retries and what a checkout skipped, never a token. The default discards them.
	Logger *slog.Logger
}

// Client is one GitHub App. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	appID     int64
	transport http.RoundTripper
	app       http.RoundTripper
	userAgent string
	clock     clock.PassiveClock
	log       *slog.Logger
	tokens    *tokenCache
	// pause is the wait before the first retry; it doubles each time.
	pause time.Duration

	mu sync.Mutex
	// limits are per installation, as GitHub keeps them; 0 is the App itself.
	limits map[int64]*limits
	slug   string
}

// New creates a Client. It sends no request and reads no key yet.
func New(o Options) (*Client, error) {
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	base, err := url.Parse(strings.TrimRight(o.BaseURL, "/") + "/")
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("invalid GitHub API address %q: use a URL", o.BaseURL)
	}
	if o.AppID <= 0 || o.PrivateKey == nil {
		return nil, errors.New("the id and the private key of the GitHub App are required")
	}
	c := &Client{
		base: base, appID: o.AppID, userAgent: o.UserAgent, clock: o.Clock, log: o.Logger,
		pause: 200 * time.Millisecond, limits: map[int64]*limits{},
	}
	if c.clock == nil {
		c.clock = clock.RealClock{}
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.userAgent == "" {
		c.userAgent = "conductor"
	}
	if o.Transport == nil {
		o.Transport = DefaultTransport()
	}
	bounded := &boundedTransport{next: o.Transport}
	signed, err := ghinstallation.NewAppsTransportWithOptions(bounded, o.AppID,
		ghinstallation.WithSigner(&signer{key: o.PrivateKey, clock: c.clock}))
	if err != nil {
		return nil, fmt.Errorf("set up the GitHub App's signer: %w", err)
	}
	c.transport = newConditional(c.gate(&authorizer{base: base, next: bounded}))
	c.app = c.gate(signed)
	c.tokens = newTokenCache(c.clock, c.mint)
	return c, nil
}

func (c *Client) gate(next http.RoundTripper) http.RoundTripper {
	return &gate{base: c.base, next: next, limits: c.limitsOf, clock: c.clock}
}

// Ping checks that the base URL, the App's id and its key match.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.appSlug(ctx)
	return err
}

// appSlug returns the App's name in URLs. The login of its bot is slug[bot].
func (c *Client) appSlug(ctx context.Context) (string, error) {
	c.mu.Lock()
	slug := c.slug
	c.mu.Unlock()
	if slug != "" {
		return slug, nil
	}
	_, err := c.call(ctx, c.asApp("read the App's registration"), func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		app, resp, err := gh.Apps.Get(ctx, "")
		slug = app.GetSlug()
		return resp, err
	})
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slug = slug
	return slug, nil
}

// scope describes what one call may access and how it is sent.
type scope struct {
	// installation is 0 for calls as the App itself.
	installation int64
	// repo is empty for calls about a whole installation.
	repo  v1alpha1.Repository
	grant grant
	// what the call does, for messages: "could not ...".
	what string
	// once means that repeating the call could repeat its effect.
	once bool
	// conditional requests a response only if something changed.
	conditional bool
	// priority and item are for writes. The item identifies what is written while it waits for its turn; empty means the request's path.
	priority v1alpha1.WritePriority
	item     string
	// archive means that the response is a tarball, which has its own limits.
	archive bool
}

// on returns the object of the call for messages.
func (s scope) on() string {
	if s.repo.Name == "" {
		return "GitHub"
	}
	return s.repo.FullName()
}

func (c *Client) asApp(what string) scope { return scope{what: what} }

// send makes one request with go-github.
type send func(ctx context.Context, gh *github.Client) (*github.Response, error)

// call sends a request. It renews a rejected token once and retries transient errors. Its errors are failures, except for those of the
// caller's context.
func (c *Client) call(ctx context.Context, s scope, f send) (*github.Response, error) {
	return c.callWithin(ctx, requestTimeout, s, f)
}

func (c *Client) callWithin(ctx context.Context, timeout time.Duration, s scope, f send) (*github.Response, error) {
	renewed := false
	for attempt := 1; ; attempt++ {
		var t token
		var err error
		if s.installation != 0 {
			if t, err = c.tokens.get(ctx, s); err != nil {
				return nil, err
			}
		}
		attemptCtx, cancel := context.WithTimeout(withCall(ctx, s, t), timeout)
		resp, err := f(attemptCtx, c.client(s.installation))
		cancel()
		if err == nil {
			return resp, nil
		}
		err = withoutQuery(err)
		if status(err) == http.StatusUnauthorized && s.installation != 0 && !renewed {
			c.tokens.drop(s, t)
			renewed = true
			continue
		}
		if ctx.Err() != nil {
			return resp, fmt.Errorf("%s: %w", s.what, ctx.Err())
		}
		if attempt >= attempts || !isTransient(err, s.once) {
			return resp, c.explain(s, err)
		}
		c.log.Warn("Retrying a request to GitHub", "what", s.what, "repository", s.repo.FullName(), "attempt", attempt, "error", err.Error())
		if err := c.wait(ctx, attempt); err != nil {
			return resp, fmt.Errorf("%s: %w", s.what, err)
		}
	}
}

// client returns a go-github client. It is made for each request: go-github would keep rate limits of its own, by another clock, and wait for
// the primary limit's reset after a secondary one.
func (c *Client) client(installation int64) *github.Client {
	transport := c.transport
	if installation == 0 {
		transport = c.app
	}
	gh := github.NewClient(&http.Client{Transport: transport})
	gh.BaseURL, gh.UserAgent = c.base, c.userAgent
	return gh
}

// list requests one page of a list.
type list func(context.Context, *github.Client, github.ListOptions) (*github.Response, error)

// pages requests all pages of a list.
func (c *Client) pages(ctx context.Context, s scope, f list) error {
	return c.pagesFrom(ctx, s, github.ListOptions{Page: 1, PerPage: perPage}, f)
}

// pagesFrom requests the pages from the one in opts. Lists that GitHub does not document as paged need empty opts.
func (c *Client) pagesFrom(ctx context.Context, s scope, opts github.ListOptions, f list) error {
	for range maxPages {
		resp, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) { return f(ctx, gh, opts) })
		if err != nil {
			return err
		}
		if resp.NextPage == 0 {
			return nil
		}
		opts.Page = resp.NextPage
	}
	return fmt.Errorf("%s: more than %d pages", s.what, maxPages)
}
