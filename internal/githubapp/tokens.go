package githubapp

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-github/v62/github"
	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// renewBefore is how long before its expiry a token is renewed. GitHub's installation tokens live for an hour.
const renewBefore = 5 * time.Minute

// token is an installation token. Its value is never printed: the methods hide it where fmt calls them, the pointer where fmt does not,
// which is inside other structs.
type token struct {
	secret  *string
	expires time.Time
}

func newToken(value string, expires time.Time) token { return token{&value, expires} }

func (t token) value() string {
	if t.secret == nil {
		return ""
	}
	return *t.secret
}

func (t token) String() string {
	return "token(redacted, expires " + t.expires.Format(time.RFC3339) + ")"
}
func (t token) GoString() string             { return t.String() }
func (t token) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(t.String())) }
func (t token) LogValue() slog.Value         { return slog.StringValue(t.String()) }
func (t token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
func (t token) usable(now time.Time) bool    { return t.value() != "" && t.expires.Sub(now) > renewBefore }

// tokenKey identifies what a token may access.
type tokenKey struct {
	installation int64
	repoID       int64
	// repo names the repository in messages, and to GitHub if its id is not known.
	owner, repo string
	grant       string
}

func (s scope) key() tokenKey {
	return tokenKey{s.installation, s.repo.ID, s.repo.Owner, s.repo.Name, s.grant.String()}
}

// tokenCache keeps a token for each key until shortly before it expires. Concurrent callers with the same key share one request, during
// which no lock is held.
type tokenCache struct {
	clock clock.PassiveClock
	mint  func(context.Context, scope) (token, error)
	group singleflight.Group

	mu     sync.Mutex
	tokens map[tokenKey]token
}

func newTokenCache(c clock.PassiveClock, mint func(context.Context, scope) (token, error)) *tokenCache {
	return &tokenCache{clock: c, mint: mint, tokens: map[tokenKey]token{}}
}

func (c *tokenCache) get(ctx context.Context, s scope) (token, error) {
	key := s.key()
	c.mu.Lock()
	t := c.tokens[key]
	c.mu.Unlock()
	if t.usable(c.clock.Now()) {
		return t, nil
	}
	// Detach from the first caller's context: the others still need the token.
	result := c.group.DoChan(fmt.Sprintf("%+v", key), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*requestTimeout)
		defer cancel()
		t, err := c.mint(ctx, s)
		if err == nil {
			c.keep(key, t)
		}
		return t, err
	})
	select {
	case <-ctx.Done():
		return token{}, fmt.Errorf("wait for an installation token: %w", ctx.Err())
	case r := <-result:
		t, _ := r.Val.(token)
		return t, r.Err
	}
}

// keep stores a token and removes expired ones.
func (c *tokenCache) keep(key tokenKey, t token) {
	now := c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, old := range c.tokens {
		if !old.usable(now) {
			delete(c.tokens, k)
		}
	}
	c.tokens[key] = t
}

// drop removes a token that GitHub rejected, unless it has been replaced already.
func (c *tokenCache) drop(s scope, t token) {
	key := s.key()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens[key].value() == t.value() {
		delete(c.tokens, key)
	}
}

// mint requests a token from GitHub.
func (c *Client) mint(ctx context.Context, s scope) (token, error) {
	var made *github.InstallationToken
	_, err := c.call(ctx, c.asApp("create an installation token"), func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		var resp *github.Response
		var err error
		made, resp, err = gh.Apps.CreateInstallationToken(ctx, s.installation, s.grant.options(s.repo))
		return resp, err
	})
	if err != nil {
		return token{}, c.explainMint(ctx, s, err)
	}
	c.log.Debug("Created an installation token", "installation", s.installation, "repository", s.repo.FullName(),
		"permissions", s.grant.String(), "expires", made.GetExpiresAt().Time)
	return newToken(made.GetToken(), made.GetExpiresAt().Time), nil
}

// explainMint explains why GitHub created no token. GitHub returns 422 both for a permission that was not granted and for a repository
// that was not selected, so it reads the installation.
func (c *Client) explainMint(ctx context.Context, s scope, cause error) error {
	on := s.on()
	// Hide this status: callers read an error's status as that of their own request.
	opaque := errors.New(cause.Error())
	switch status(cause) {
	case http.StatusNotFound:
		return failure.Terminalf(v1alpha1.ReasonNotFound, opaque, "The GitHub App is not installed on %s", on)
	case http.StatusForbidden:
		return failure.Terminalf(v1alpha1.ReasonRefused, opaque, "The GitHub App's installation on %s is suspended", on)
	case http.StatusUnprocessableEntity:
	default:
		return cause
	}
	var found *github.Installation
	_, err := c.call(ctx, c.asApp("read an installation"), func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		var resp *github.Response
		var err error
		found, resp, err = gh.Apps.GetInstallation(ctx, s.installation)
		return resp, err
	})
	if err != nil {
		return failure.Transientf(v1alpha1.ReasonUnavailable, opaque, "GitHub did not issue a token for %s", on)
	}
	if lacks := s.grant.missing(found.Permissions); len(lacks) > 0 {
		return failure.Terminalf(v1alpha1.ReasonRefused, opaque,
			"The GitHub App's installation on %s does not have the permission %s. An owner must accept it in the App's settings", on, lacks)
	}
	return failure.Terminalf(v1alpha1.ReasonNotFound, opaque, "The GitHub App is not installed on %s", on)
}

// signer signs the App's tokens with the current key.
type signer struct {
	key   func() ([]byte, error)
	clock clock.PassiveClock
}

// Sign implements ghinstallation.Signer. The times come from this package's clock. GitHub requires whole seconds and an expiry at most
// ten minutes from now. A start in the past compensates for clock skew.
func (s *signer) Sign(claims jwt.Claims) (string, error) {
	c, ok := claims.(*jwt.RegisteredClaims)
	if !ok {
		return "", fmt.Errorf("unexpected claims %T", claims)
	}
	key, err := s.read()
	if err != nil {
		return "", err
	}
	now := s.clock.Now().Truncate(time.Second)
	c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(now.Add(-30*time.Second)), jwt.NewNumericDate(now.Add(5*time.Minute))
	return jwt.NewWithClaims(jwt.SigningMethodRS256, c).SignedString(key)
}

func (s *signer) read() (*rsa.PrivateKey, error) {
	pem, err := s.key()
	if err != nil {
		return nil, fmt.Errorf("read the GitHub App's private key: %w", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(pem)
	if err != nil {
		// Do not wrap the parser's error, which could quote the key.
		return nil, errors.New("the GitHub App's private key is not an RSA key in PEM form")
	}
	return key, nil
}

// CloneToken creates a token that can only read the repository's contents. It is never cached, so it is valid for a full hour.
func (c *Client) CloneToken(ctx context.Context, installation int64, repo v1alpha1.Repository) (string, time.Time, error) {
	t, err := c.mint(ctx, scope{installation: installation, repo: repo, grant: readContents})
	return t.value(), t.expires, err
}
