package hub

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// New is the hub: tokens at /token, everything else from the registry whose
// host and port is store. They have one address, because some clients (such
// as go-containerregistry) send credentials to no private address but the
// registry's own.
func New(store string, tokens *Tokens) http.Handler {
	target := &url.URL{Scheme: "http", Host: store}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // the registry names itself in where uploads go on
	}}
	mux := http.NewServeMux()
	mux.Handle("/token", tokens)
	mux.Handle("/", proxy)
	return mux
}

// Tokens answers token requests, both as the token specification has them
// (GET with Basic credentials) and as its OAuth 2 variant does (POST).
type Tokens struct {
	Signer *Signer
	Users  Users
	Now    func() time.Time // time.Now when nil
}

// ServeHTTP responds with 401 for wrong credentials, and otherwise with a
// token, possibly an empty one: the registry then reports what it lacks.
func (s *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	user, password, given := r.BasicAuth()
	if r.Method == http.MethodPost {
		if r.PostForm.Get("grant_type") != "password" {
			refuse(w, http.StatusBadRequest, "unsupported_grant_type")
			return
		}
		user, password, given = r.PostForm.Get("username"), r.PostForm.Get("password"), true
	}
	if given && !s.Users.valid(user, password) {
		refuse(w, http.StatusUnauthorized, "incorrect username or password")
		return
	}
	s.answer(w, r, user)
}

func (s *Tokens) answer(w http.ResponseWriter, r *http.Request, user string) {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	var scopes []string
	for _, value := range r.Form["scope"] {
		scopes = append(scopes, strings.Fields(value)...)
	}
	issued := now()
	token, err := s.Signer.Token(user, r.Form.Get("service"), Grant(user, scopes), issued)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "cannot sign")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token,
		"expires_in": int(lifetime.Seconds()), "issued_at": issued.UTC().Format(time.RFC3339),
		"scope": strings.Join(scopes, " "),
	})
}

func refuse(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": reason, "details": reason})
}

// Users maps names to passwords.
type Users map[string]string

func (u Users) valid(name, password string) bool {
	want, ok := u[name]
	return subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1 && ok
}
