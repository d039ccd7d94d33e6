package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// principal is who makes a request: no one, an App by its JWT, an installation or a user by a token.
type principal struct {
	app          *app // set for a JWT and for an installation
	installation *installation
	user         *account
	token        *token
}

func (p principal) anonymous() bool { return p.app == nil && p.user == nil }

// actor is the account that acts: the user, or the App's bot.
func (p principal) actor() *account {
	if p.installation != nil {
		return p.installation.app.bot
	}
	return p.user
}

// key identifies a principal for rate limits and entity tags.
func (p principal) key() string {
	switch {
	case p.installation != nil:
		return fmt.Sprintf("installation %d", p.installation.id)
	case p.app != nil:
		return fmt.Sprintf("app %d", p.app.id)
	case p.user != nil:
		return "user " + p.user.login
	}
	return "anonymous"
}

func (p principal) kind() string { kind, _, _ := strings.Cut(p.key(), " "); return kind }

// credential takes the secret out of an Authorization header: bearer, token, or basic with the secret as password.
func credential(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token") {
		return strings.TrimSpace(value)
	}
	return r.Header.Get("Authorization")
}

// authenticate finds who makes a request, or the refusal.
func (s *Server) authenticate(r *http.Request, now time.Time) (principal, *answer) {
	secret := credential(r)
	if secret == "" {
		return principal{}, nil
	}
	if strings.Count(secret, ".") == 2 {
		app, err := s.verifyJWT(secret, now)
		if err != nil {
			a := failure(http.StatusUnauthorized, err.Error())
			if errors.Is(err, errNoApp) {
				a = failure(http.StatusNotFound, err.Error())
			}
			return principal{}, &a
		}
		return principal{app: app}, nil
	}
	p, err := s.verifyToken(secret, now)
	if err != nil {
		return principal{}, err
	}
	return p, nil
}

func (s *Server) verifyToken(secret string, now time.Time) (principal, *answer) {
	t := s.state.tokens[secret]
	bad := failure(http.StatusUnauthorized, "Bad credentials")
	if t == nil || !t.expires.IsZero() && !now.Before(t.expires) {
		return principal{}, &bad
	}
	if t.user != nil {
		if t.user.suspended {
			a := failure(http.StatusForbidden, "Sorry. Your account was suspended.")
			return principal{}, &a
		}
		return principal{user: t.user, token: t}, nil
	}
	if t.installation.deleted {
		return principal{}, &bad
	}
	if !t.installation.suspended.IsZero() {
		a := failure(http.StatusForbidden, "This installation has been suspended")
		return principal{}, &a
	}
	return principal{app: t.installation.app, installation: t.installation, token: t}, nil
}

var (
	errNoApp     = errors.New("Integration not found")
	errJWT       = errors.New("A JSON web token could not be decoded")
	errIssuedAt  = errors.New("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	errExpired   = errors.New("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	errExpiresAt = errors.New("'Expiration time' claim ('exp') is too far in the future")
)

// longestJWT is how far in the future a JWT may expire.
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
const longestJWT = 10 * time.Minute

// verifyJWT finds the App that signed a JWT. It must be signed with RS256, not be issued in the future, not be expired,
// and expire within ten minutes.
func (s *Server) verifyJWT(secret string, now time.Time) (*app, error) {
	var found *app
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	claims := jwt.MapClaims{}
	_, err := parser.ParseWithClaims(secret, claims, func(*jwt.Token) (any, error) {
		found = s.appByIssuer(claims["iss"])
		if found == nil {
			return nil, errNoApp
		}
		return &found.key.PublicKey, nil
	})
	if errors.Is(err, errNoApp) {
		return nil, errNoApp
	}
	if err != nil {
		return nil, errJWT
	}
	issued, ok := claims["iat"].(float64)
	if !ok || int64(issued) > now.Unix() {
		return nil, errIssuedAt
	}
	expires, ok := claims["exp"].(float64)
	if !ok || int64(expires) <= now.Unix() {
		return nil, errExpired
	}
	if int64(expires) > now.Add(longestJWT).Unix() {
		return nil, errExpiresAt
	}
	return found, nil
}

// appByIssuer finds an App by its id, as number or string, or by its client id.
func (s *Server) appByIssuer(issuer any) *app {
	name := fmt.Sprint(issuer)
	if n, ok := issuer.(float64); ok {
		name = strconv.FormatInt(int64(n), 10)
	}
	for _, a := range s.state.apps {
		if name == itoa(a.id) || name == a.clientID {
			return a
		}
	}
	return nil
}
