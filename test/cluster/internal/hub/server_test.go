package hub

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/pki"
)

// start starts a hub before a store that answers with the Host it is asked for.
func start(t *testing.T, now time.Time) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	if err := pki.Write(dir, map[string]pki.Subject{pki.Tokens: {CommonName: "tokens"}}); err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(filepath.Join(dir, "pki", "token.crt"), filepath.Join(dir, "pki", "token.key"))
	if err != nil {
		t.Fatal(err)
	}
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path) }))
	t.Cleanup(store.Close)
	tokens := &Tokens{Signer: signer, Users: Users{Pusher: "right", Puller: "other"}, Now: func() time.Time { return now }}
	hub := httptest.NewServer(New(strings.TrimPrefix(store.URL, "http://"), tokens))
	t.Cleanup(hub.Close)
	return hub
}

func TestTokensRefuseWrongCredentials(t *testing.T) {
	hub := start(t, time.Now())
	for _, c := range [][2]string{{Pusher, "wrong"}, {Pusher, ""}, {"nobody", ""}, {"nobody", "right"}, {"", ""}} {
		request, err := http.NewRequest(http.MethodGet, hub.URL+"/token?service="+Service, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(c[0], c[1])
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q with password %q: got %s, want 401", c[0], c[1], response.Status)
		}
	}
}

func TestTokenHasItsPermissions(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	hub := start(t, now)
	scopes := url.Values{"service": {Service}, "scope": {"repository:conductor/a:pull,push repository:library/b:pull"}}

	get, err := http.NewRequest(http.MethodGet, hub.URL+"/token?"+scopes.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	get.SetBasicAuth(Pusher, "right")
	form := url.Values{"grant_type": {"password"}, "username": {Pusher}, "password": {"right"}, "service": scopes["service"], "scope": scopes["scope"]}
	post, err := http.NewRequest(http.MethodPost, hub.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	for _, request := range []*http.Request{get, post} {
		claims := fetch(t, request)
		want := map[string]any{
			"iss": Issuer, "sub": Pusher, "aud": Service,
			"iat": 1.8e9, "nbf": 1.8e9 - 10, "exp": 1.8e9 + lifetime.Seconds(),
			"access": []any{
				map[string]any{"type": "repository", "name": "conductor/a", "actions": []any{"pull", "push"}},
				map[string]any{"type": "repository", "name": "library/b", "actions": []any{"pull"}},
			},
		}
		delete(claims, "jti")
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("%s: claims (-want +got):\n%s", request.Method, diff)
		}
	}
}

// fetch answers the claims of the token, after it has checked the signature
// with the certificate in the header, as a registry does.
func fetch(t *testing.T, request *http.Request) map[string]any {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", response.Status, err)
	}
	parts := strings.Split(answer.Token, ".")
	if len(parts) != 3 {
		t.Fatalf("%s: token %q", response.Status, answer.Token)
	}
	var header struct {
		Alg string
		X5C []string
	}
	decode(t, parts[0], &header)
	der, err := base64.StdEncoding.DecodeString(header.X5C[0])
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		t.Fatalf("signature has %d bytes, want 64 (%v)", len(signature), err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(certificate.PublicKey.(*ecdsa.PublicKey), digest[:], r, s) || header.Alg != "ES256" {
		t.Fatalf("signature (%s) does not hold", header.Alg)
	}
	var claims map[string]any
	decode(t, parts[1], &claims)
	return claims
}

func decode(t *testing.T, segment string, v any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

func TestHubPassesOnWithItsOwnName(t *testing.T) {
	hub := start(t, time.Now())
	response, err := http.Get(hub.URL + "/v2/x/blobs/uploads/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := make([]byte, 200)
	n, _ := response.Body.Read(body)
	want := strings.TrimPrefix(hub.URL, "http://") + "/v2/x/blobs/uploads/"
	if got := string(body[:n]); got != want {
		t.Errorf("the store was asked for %q, want %q: uploads would go on elsewhere", got, want)
	}
}

func TestUsersFileKeepsItsSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.json")
	if _, err := UsersFile(path, false); err == nil {
		t.Error("a missing file was read")
	}
	first, err := UsersFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	second, err := UsersFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the second reading differs:\n%s", diff)
	}
	if len(first[Pusher]) < 20 || first[Pusher] == first[Puller] {
		t.Errorf("passwords are weak: %d and %d characters", len(first[Pusher]), len(first[Puller]))
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o, want 600", info.Mode().Perm())
	}
}
