package githubapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

var shop = v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop"}

func TestTokensNeverShowTheirValue(t *testing.T) {
	tok := newToken("ghs_secret", time.Unix(1700000000, 0))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", tok, "in", callInfo{token: tok})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", tok, "pointer", &tok)
	data, err := json.Marshal(map[string]any{"t": tok})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(data), fmt.Sprint(tok), fmt.Sprint(&tok), fmt.Errorf("%w %v", errors.New("x"), tok).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, tok), fmt.Sprintf(verb, []token{tok}), fmt.Sprintf(verb, callInfo{token: tok}))
	}
	for _, text := range texts {
		if bytes.Contains([]byte(text), []byte("ghs_")) || bytes.Contains([]byte(text), []byte(fmt.Sprintf("%x", "ghs_secret"))) {
			t.Errorf("a value is shown: %s", text)
		}
	}
}

func TestTokenCache(t *testing.T) {
	clock := testclock.NewFakePassiveClock(time.Unix(1700000000, 0))
	var made atomic.Int64
	c := newTokenCache(clock, func(_ context.Context, s scope) (token, error) {
		return newToken(fmt.Sprintf("%s-%d", s.grant, made.Add(1)), clock.Now().Add(time.Hour)), nil
	})
	get := func(s scope) string {
		t.Helper()
		tok, err := c.get(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return tok.value()
	}
	read := scope{installation: 1, repo: shop, grant: readContents}
	first := get(read)
	if again := get(read); again != first {
		t.Errorf("a token that is good was made again: %s", again)
	}
	for name, other := range map[string]scope{
		"permissions":  {installation: 1, repo: shop, grant: writeChecks},
		"repository":   {installation: 1, repo: v1alpha1.Repository{ID: 8, Owner: "acme", Name: "other"}, grant: readContents},
		"installation": {installation: 2, repo: shop, grant: readContents},
	} {
		if got := get(other); got == first {
			t.Errorf("a token was used for another %s", name)
		}
	}
	clock.SetTime(clock.Now().Add(time.Hour - renewBefore - time.Second))
	if again := get(read); again != first {
		t.Error("a token was renewed early")
	}
	clock.SetTime(clock.Now().Add(time.Second))
	second := get(read)
	if second == first {
		t.Error("a token was used in its last five minutes")
	}
	if n := len(c.tokens); n != 1 {
		t.Errorf("%d tokens are kept; those of no more use should be gone", n)
	}
	c.drop(read, newToken(first, time.Time{}))
	if got := get(read); got != second {
		t.Error("dropping an old token dropped the new one")
	}
	c.drop(read, newToken(second, time.Time{}))
	if got := get(read); got == second {
		t.Error("a dropped token was used")
	}
}

func TestTokenCacheAsksOnceForMany(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	var made atomic.Int64
	clock := testclock.NewFakePassiveClock(time.Unix(1700000000, 0))
	c := newTokenCache(clock, func(ctx context.Context, _ scope) (token, error) {
		if made.Add(1) == 1 {
			close(asked)
		}
		<-release
		return newToken("t", clock.Now().Add(time.Hour)), ctx.Err()
	})
	s := scope{installation: 1, repo: shop, grant: readContents}
	impatient, giveUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := c.get(impatient, s); gone <- err }()
	<-asked
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for range 20 {
		wg.Go(func() { _, err := c.get(t.Context(), s); errs <- err })
	}
	giveUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	// The cache can be read while the request is under way: no lock is held.
	c.drop(s, newToken("other", time.Time{}))
	close(release)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Errorf("a waiter got %v", err)
		}
	}
	if n := made.Load(); n > 2 {
		// Two, when someone came after the first request had ended and before its token was kept.
		t.Errorf("GitHub was asked %d times", n)
	}
}
