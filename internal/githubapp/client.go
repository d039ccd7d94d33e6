// Package githubapp is the adapter to GitHub: everything that Conductor asks or tells it as a GitHub App.
//
// Each call carries an installation token that reaches one repository and has the permissions of that call and no
// more; grants.go is the table. Errors are failures with a sentence: what a person has to mend is terminal, a rate
// limit is a wait with its time, everything else is tried again.
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
	// attempts is how often a call that may be repeated is sent in all.
	attempts = 4
	// perPage is the most that GitHub's lists give at once.
	perPage = 100
	// maxPages bounds every list: no loop runs on because a server keeps naming a next page.
	maxPages = 1000
)

// Options say which App on which GitHub a Client is.
type Options struct {
	// BaseURL is DefaultBaseURL, or https://HOST/api/v3 of a GitHub Enterprise Server; empty is the default.
	BaseURL string
	// AppID is the App's numeric id.
	AppID int64
	// PrivateKey gives the App's PEM key. It is asked for each signature, so that a replaced key is used at once.
	PrivateKey func() ([]byte, error)
	// Transport sends the requests; nil is one with this package's own limits.
	Transport http.RoundTripper
	// Clock tells when tokens expire; nil is the real one.
	Clock clock.PassiveClock
	// UserAgent names this program; empty is "conductor".
	UserAgent string
	// Logger gets repeated requests and what a checkout left out, never a token; nil discards.
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
	// pause is the first wait before a request is repeated; it doubles each time.
	pause time.Duration

	mu sync.Mutex
	// clients hold go-github's view of the rate limit, which GitHub keeps for each installation; 0 is the App itself.
	clients map[int64]*github.Client
	slug    string
}

// New makes a Client. It sends nothing and reads no key yet.
func New(o Options) (*Client, error) {
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	base, err := url.Parse(strings.TrimRight(o.BaseURL, "/") + "/")
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("GitHub's API address %q is not a URL", o.BaseURL)
	}
	if o.AppID <= 0 || o.PrivateKey == nil {
		return nil, errors.New("a GitHub App needs its id and its private key")
	}
	c := &Client{
		base: base, appID: o.AppID, userAgent: o.UserAgent, clock: o.Clock, log: o.Logger,
		pause: 200 * time.Millisecond, clients: map[int64]*github.Client{},
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
		o.Transport = defaultTransport()
	}
	bounded := &boundedTransport{next: o.Transport}
	c.transport = newConditional(&authorizer{base: base, next: bounded})
	c.app, err = ghinstallation.NewAppsTransportWithOptions(bounded, o.AppID,
		ghinstallation.WithSigner(&signer{key: o.PrivateKey, clock: c.clock}))
	if err != nil {
		return nil, fmt.Errorf("prepare to sign as a GitHub App: %w", err)
	}
	c.tokens = newTokenCache(c.clock, c.mint)
	return c, nil
}

// Ping asks GitHub who this App is. It proves that the address, the id and the key fit together.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.appSlug(ctx)
	return err
}

// appSlug is the App's name in addresses; its bot's login is slug[bot].
func (c *Client) appSlug(ctx context.Context) (string, error) {
	c.mu.Lock()
	slug := c.slug
	c.mu.Unlock()
	if slug != "" {
		return slug, nil
	}
	_, err := c.call(ctx, c.asApp("ask who the App is"), func(ctx context.Context, gh *github.Client) (*github.Response, error) {
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

// scope is what one call may reach and how it is sent.
type scope struct {
	// installation is 0 for a call as the App itself.
	installation int64
	// repo is empty for a call about a whole installation.
	repo  v1alpha1.Repository
	grant grant
	// what the call does, as in "could not ...".
	what string
	// once says that repeating the call could do it twice.
	once bool
	// conditional asks GitHub to answer only when something changed.
	conditional bool
	// archive says that the answer is a tarball, which has bounds of its own.
	archive bool
}

// on names in a sentence what the call is about.
func (s scope) on() string {
	if s.repo.Name == "" {
		return "GitHub"
	}
	return s.repo.FullName()
}

func (c *Client) asApp(what string) scope { return scope{what: what} }

// send is one request through go-github.
type send func(ctx context.Context, gh *github.Client) (*github.Response, error)

// call sends a request within a scope: with a fresh token when the old one is refused, and again after a passing
// fault. Its errors are failures, except for the caller's own context.
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
		if attempt >= attempts || !passing(err, s.once) {
			return resp, c.explain(s, err)
		}
		c.log.Warn("GitHub is asked again", "what", s.what, "repository", s.repo.FullName(), "attempt", attempt, "error", err.Error())
		if err := c.wait(ctx, attempt); err != nil {
			return resp, fmt.Errorf("%s: %w", s.what, err)
		}
	}
}

// client is the go-github client of an installation.
func (c *Client) client(installation int64) *github.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	gh := c.clients[installation]
	if gh == nil {
		transport := c.transport
		if installation == 0 {
			transport = c.app
		}
		gh = github.NewClient(&http.Client{Transport: transport})
		gh.BaseURL, gh.UserAgent = c.base, c.userAgent
		c.clients[installation] = gh
	}
	return gh
}

// list is one request for a page of a list.
type list func(context.Context, *github.Client, github.ListOptions) (*github.Response, error)

// pages sends a list request for each page until the last.
func (c *Client) pages(ctx context.Context, s scope, f list) error {
	return c.pagesFrom(ctx, s, github.ListOptions{Page: 1, PerPage: perPage}, f)
}

// pagesFrom begins with the page that opts name, which for a list that GitHub does not describe as paged is none.
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
