package githubapp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	testclock "k8s.io/utils/clock/testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// signingKey is made once: it takes a while.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func keyPEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// stub answers single requests as GitHub would when something is wrong, which a well-behaved server cannot.
type stub struct {
	*httptest.Server
	clock *testclock.FakePassiveClock
	log   lockedBuffer

	mu     sync.Mutex
	minted int
	handle func(w http.ResponseWriter, r *http.Request)
	seen   []*http.Request
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newStub(t testing.TB, handle func(http.ResponseWriter, *http.Request)) (*stub, *Client) {
	t.Helper()
	s := &stub{clock: testclock.NewFakePassiveClock(time.Now()), handle: handle}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	c, err := New(Options{
		BaseURL: s.URL + "/api/v3", AppID: 42, Clock: s.clock,
		Logger:     slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		PrivateKey: func() ([]byte, error) { return keyPEM(signingKey()), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.pause = time.Millisecond
	return s, c
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/access_tokens") {
		s.minted++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":"ghs_%d","expires_at":%q}`, s.minted, s.clock.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		return
	}
	s.seen = append(s.seen, r)
	s.handle(w, r)
}

func (s *stub) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func says(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"message":%q,"documentation_url":"https://docs.github.com/rest"}`, message)
}

func TestWhatAnAnswerMeans(t *testing.T) {
	header := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	reset := time.Now().Add(20 * time.Minute).Unix()
	cases := []struct {
		name    string
		code    int
		header  map[string]string
		message string
		kind    failure.Kind
		reason  string
		says    string
		tries   int
		after   time.Duration
	}{
		{name: "bad gateway", code: 502, kind: failure.Transient, reason: v1alpha1.ReasonUnavailable, tries: attempts},
		{name: "not there", code: 404, kind: failure.Terminal, reason: v1alpha1.ReasonNotFound, says: "acme/shop", tries: 1},
		{name: "gone", code: 410, kind: failure.Terminal, reason: v1alpha1.ReasonNotFound, tries: 1},
		{name: "credentials", code: 401, message: "Bad credentials", kind: failure.Transient, reason: v1alpha1.ReasonUnavailable, says: "credentials", tries: 2},
		{name: "permission", code: 403, header: header("X-Accepted-GitHub-Permissions", "contents=read"), message: "Resource not accessible by integration",
			kind: failure.Terminal, reason: v1alpha1.ReasonRefused, says: "contents:read", tries: 1},
		{name: "forbidden otherwise", code: 403, header: header("X-Accepted-GitHub-Permissions", "issues=write"), message: "This issue is locked",
			kind: failure.Terminal, reason: v1alpha1.ReasonRefused, says: "This issue is locked", tries: 1},
		{name: "invalid", code: 422, message: "Validation Failed", kind: failure.Terminal, reason: v1alpha1.ReasonRefused, says: "Validation Failed", tries: 1},
		{name: "secondary limit", code: 403, header: header("Retry-After", "60"), message: "You have exceeded a secondary rate limit",
			kind: failure.Waiting, reason: v1alpha1.ReasonUnavailable, tries: 1, after: time.Minute},
		{name: "secondary limit, 429", code: 429, header: header("Retry-After", "17"), kind: failure.Waiting, reason: v1alpha1.ReasonUnavailable, tries: 1, after: 17 * time.Second},
		{name: "429 without a time", code: 429, kind: failure.Waiting, reason: v1alpha1.ReasonUnavailable, tries: 1, after: time.Minute},
		{name: "primary limit", code: 403, header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(reset)),
			kind: failure.Waiting, reason: v1alpha1.ReasonUnavailable, tries: 1, after: 20 * time.Minute},
		{name: "primary limit, 429", code: 429, header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(reset)),
			kind: failure.Waiting, reason: v1alpha1.ReasonUnavailable, tries: 1, after: 20 * time.Minute},
		{name: "a wait of a year", code: 403, header: header("Retry-After", "31536000"), kind: failure.Waiting, reason: v1alpha1.ReasonUnavailable, tries: 1, after: maxPause},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, gh := newStub(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				says(w, c.code, c.message)
			})
			_, err := gh.Protected(t.Context(), 1, shop, sha)
			var f *failure.Error
			if !errors.As(err, &f) {
				t.Fatalf("%v is no failure", err)
			}
			if f.Kind != c.kind || f.Reason != c.reason || !strings.Contains(f.Sentence, c.says) {
				t.Errorf("failure %d %s %q", f.Kind, f.Reason, f.Sentence)
			}
			if n := len(s.requests()); n != c.tries {
				t.Errorf("GitHub was asked %d times, want %d", n, c.tries)
			}
			if d := f.After - c.after; d < -2*time.Second || d > 2*time.Second {
				t.Errorf("wait %s, want %s", f.After, c.after)
			}
		})
	}
}

func TestPassingFaultsAreTriedAgain(t *testing.T) {
	n := 0
	s, gh := newStub(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n < attempts {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `[{"name":"main","protected":true}]`)
	})
	if ok, err := gh.Protected(t.Context(), 1, shop, sha); !ok || err != nil {
		t.Errorf("Protected = %v, %v", ok, err)
	}
	if !strings.Contains(s.log.String(), "attempt=3") {
		t.Errorf("the log does not say so: %s", s.log.String())
	}
}

func TestWhatCouldHappenTwiceIsSentOnce(t *testing.T) {
	s, gh := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, `{"check_runs":[]}`)
	})
	_, err := gh.UpsertCheckRun(t.Context(), 1, shop, 0, v1alpha1.CheckRun{Name: "c", ExternalID: "x", HeadSHA: sha, Status: "queued"})
	if f := failure.Of(err); f == nil || f.Kind != failure.Transient {
		t.Errorf("UpsertCheckRun: %v", err)
	}
	posts := 0
	for _, r := range s.requests() {
		if r.Method == http.MethodPost {
			posts++
		}
	}
	if posts != 1 {
		t.Errorf("the check run was posted %d times", posts)
	}
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	s, gh := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token ghs_2" {
			says(w, http.StatusUnauthorized, "Bad credentials")
			return
		}
		fmt.Fprint(w, `[]`)
	})
	for range 2 {
		if _, err := gh.Protected(t.Context(), 1, shop, sha); err != nil {
			t.Fatal(err)
		}
	}
	if s.minted != 2 || len(s.requests()) != 3 {
		t.Errorf("%d tokens, %d requests", s.minted, len(s.requests()))
	}
}

// Nothing that is printed on the way holds a token, whatever goes wrong.
func TestTokensStayOutOfLogsAndErrors(t *testing.T) {
	codeload := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Path[1:])
		if code == http.StatusForbidden {
			w.Header().Set("X-RateLimit-Remaining", "0")
		}
		says(w, code, "no archive today")
	}))
	defer codeload.Close()
	const secret = "archive_secret"
	for name, archive := range map[string]string{
		"unreachable": "http://127.0.0.1:1/archive", "502": codeload.URL + "/502", "500": codeload.URL + "/500",
		"404": codeload.URL + "/404", "rate limit": codeload.URL + "/403", "429": codeload.URL + "/429",
	} {
		t.Run(name, func(t *testing.T) {
			s, gh := newStub(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "tarball") {
					w.Header().Set("Location", archive+"?token="+secret)
					w.WriteHeader(http.StatusFound)
					return
				}
				w.WriteHeader(http.StatusBadGateway)
			})
			var texts []string
			_, err := gh.Protected(t.Context(), 1, shop, sha)
			texts = append(texts, fmt.Sprintf("%v %+v", err, failure.Of(err)))
			err = checkout(t.Context(), t, gh, 1, shop, sha, t.TempDir())
			texts = append(texts, fmt.Sprintf("%v %+v", err, failure.Of(err)), s.log.String())
			if err == nil || s.minted == 0 {
				t.Fatalf("nothing went wrong: %v", err)
			}
			for _, text := range texts {
				if strings.Contains(text, "ghs_") || strings.Contains(text, secret) || strings.Contains(text, "eyJ") {
					t.Errorf("a token is shown: %s", text)
				}
			}
		})
	}
}

func TestTokensGoToTheAPIAlone(t *testing.T) {
	var other *http.Request
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other = r
		_, _ = w.Write(archive(t, sha, entry{name: "top/f", content: "x", mode: 0o644}))
	}))
	defer elsewhere.Close()
	s, gh := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/archive", http.StatusFound)
	})
	dir := t.TempDir()
	if err := checkout(t.Context(), t, gh, 1, shop, sha, dir); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, dir); got["f"] != "0 x" {
		t.Errorf("files: %v", got)
	}
	if a := s.requests()[0].Header.Get("Authorization"); a != "token ghs_1" {
		t.Errorf("the API was sent %q", a)
	}
	if other == nil || other.Header.Get("Authorization") != "" {
		t.Errorf("the other address was sent %v", other.Header)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	_, gh := newStub(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"name":%q}]`, strings.Repeat("x", maxBody))
	})
	if _, err := gh.Protected(t.Context(), 1, shop, sha); !errors.Is(err, errTooLarge) {
		t.Errorf("Protected: %v", err)
	}
}

func TestTheCallerCanGiveUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, gh := newStub(t, func(w http.ResponseWriter, _ *http.Request) { cancel(); w.WriteHeader(http.StatusBadGateway) })
	gh.pause = time.Hour
	if _, err := gh.Protected(ctx, 1, shop, sha); !errors.Is(err, context.Canceled) || failure.IsTerminal(err) {
		t.Errorf("Protected: %v", err)
	}
}

func TestUnchangedTagsCostNothing(t *testing.T) {
	const list = `[{"ref":"refs/tags/run","object":{"type":"commit","sha":"` + sha + `"}}]`
	full := 0
	s, gh := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		full++
		fmt.Fprint(w, list)
	})
	for range 3 {
		tags, err := gh.Tags(t.Context(), 1, shop, "run")
		if err != nil || tags["refs/tags/run"] != sha {
			t.Fatalf("Tags = %v, %v", tags, err)
		}
	}
	if full != 1 || len(s.requests()) != 3 {
		t.Errorf("%d full answers to %d requests", full, len(s.requests()))
	}
}

func TestAReplacedKeyIsUsedAtOnce(t *testing.T) {
	now := time.Now()
	key := keyPEM(signingKey())
	var fault error
	sig := &signer{key: func() ([]byte, error) { return key, fault }, clock: testclock.NewFakePassiveClock(now)}
	check := func(public *rsa.PublicKey) error {
		text, err := sig.Sign(&jwt.RegisteredClaims{Issuer: "42"})
		if err != nil {
			return err
		}
		var claims jwt.RegisteredClaims
		_, err = jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return public, nil })
		if life := claims.ExpiresAt.Sub(claims.IssuedAt.Time); err == nil && life > 10*time.Minute {
			return fmt.Errorf("GitHub takes no JWT that lives for %s", life)
		}
		return err
	}
	if err := check(&signingKey().PublicKey); err != nil {
		t.Error(err)
	}
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key = keyPEM(next)
	if err := check(&next.PublicKey); err != nil {
		t.Error(err)
	}
	key = []byte("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----")
	if err := check(&next.PublicKey); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a broken key: %v", err)
	}
	fault = errors.New("no such file")
	if err := check(&next.PublicKey); !errors.Is(err, fault) {
		t.Errorf("no key: %v", err)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	key := func() ([]byte, error) { return nil, nil }
	for _, o := range []Options{{AppID: 1}, {PrivateKey: key}, {AppID: 1, PrivateKey: key, BaseURL: "github.example"}, {AppID: 1, PrivateKey: key, BaseURL: "https://%"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestTextsAreCutBetweenCharacters(t *testing.T) {
	long := strings.Repeat("€", maxCheckText+1)
	got := truncate(long, maxCheckText, truncatedNote)
	if n := len([]rune(got)); n != maxCheckText || !strings.HasSuffix(got, truncatedNote) || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%d characters, ends %q", n, got[len(got)-80:])
	}
	if whole := strings.Repeat("€", maxCheckText); truncate(whole, maxCheckText, truncatedNote) != whole {
		t.Error("a text that fits was cut")
	}
	const mark = "<!-- mark -->"
	body := fit(long+mark, mark)
	if n := len([]rune(body)); n > maxCheckText || strings.Count(body, mark) != 1 || !isMarked(body, mark) {
		t.Errorf("%d characters, %d marks", n, strings.Count(body, mark))
	}
	if body := fit(mark+long, mark); strings.Count(body, mark) != 1 {
		t.Errorf("%d marks", strings.Count(body, mark))
	}
}

func TestCheckRunsAreLawful(t *testing.T) {
	if _, err := newCheckRun(v1alpha1.CheckRun{Name: "c", Status: "completed"}); err == nil {
		t.Error("completed without a conclusion was taken")
	}
	// GitHub would complete a check run that is given a conclusion.
	got, err := newCheckRun(v1alpha1.CheckRun{Name: "c", Status: "in_progress", Conclusion: "success", CompletedAt: time.Now()})
	if err != nil || got.Conclusion != "" || got.CompletedAt != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
