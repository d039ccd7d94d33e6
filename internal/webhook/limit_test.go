package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func guidOf(n int) string { return fmt.Sprintf("72d3162e-cc78-11e3-81ab-%012x", n) }

// A stranger comments without end; what is stored is bounded by time, and others are not affected.
func TestASenderHasABoundForEachRepository(t *testing.T) {
	f := newFixture(t)
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	f.limiter.now = func() time.Time { return now }
	send := func(n int, body string) string {
		t.Helper()
		r := request("issue_comment", []byte(body))
		r.Header.Set("X-GitHub-Delivery", guidOf(n))
		a := f.do(t, r)
		if a.Code != http.StatusAccepted {
			t.Fatalf("answered %+v", a)
		}
		return a.Status
	}
	words := map[string]int{}
	const comments = 8000
	for n := range comments {
		words[send(n, comment)]++
	}
	if words["accepted"] != senderBurst || words["limited"] != comments-senderBurst || len(f.inbox.kept) != senderBurst {
		t.Errorf("%v, kept %d", words, len(f.inbox.kept))
	}
	if n := f.count(t, "issue_comment", "limited"); n != comments-senderBurst {
		t.Errorf("counted %v", n)
	}
	for name, other := range map[string]string{"another sender": strings.Replace(comment, `"sender":{`, `"sender":{"id":8,`, 1),
		"another repository": strings.Replace(comment, `"repository":{"id":7`, `"repository":{"id":8`, 1)} {
		if word := send(comments, other); word != "accepted" {
			t.Errorf("%s: %s", name, word)
		}
	}
	if word := send(senderBurst-1, comment); word != "accepted" {
		t.Errorf("a redelivery of a delivery that was stored: %s", word)
	}
	now = now.Add(3 * senderEvery)
	clear(words)
	for n := range 10 {
		words[send(2*comments+n, comment)]++
	}
	if words["accepted"] != 3 {
		t.Errorf("after three intervals: %v", words)
	}
}

// A delivery that could not be stored costs its sender nothing: it comes again from GitHub's log.
func TestWhatIsNotStoredIsNotCharged(t *testing.T) {
	f := newFixture(t)
	f.inbox.err = io.ErrUnexpectedEOF
	for n := range 2 * senderBurst {
		if word, err := f.Take(t.Context(), guidOf(n), "issue_comment", time.Now(), []byte(comment)); word != "not_kept" || err == nil {
			t.Fatalf("%d: %s, %v", n, word, err)
		}
	}
	f.inbox.err = nil
	if word, err := f.Take(t.Context(), guidOf(0), "issue_comment", time.Now(), []byte(comment)); word != "accepted" || err != nil {
		t.Errorf("%s, %v", word, err)
	}
}

func TestWritersHaveNoLimit(t *testing.T) {
	f := newFixture(t)
	f.o.IsWriter = func(_ context.Context, e v1alpha1.Event) bool { return e.Sender.Login == "ada" }
	for n := range 2 * senderBurst {
		for event, body := range map[string]string{"push": push, "issue_comment": comment} {
			if word, err := f.Take(t.Context(), guidOf(n), event, time.Now(), []byte(body)); word != "accepted" || err != nil {
				t.Fatalf("%d: %s, %v", n, word, err)
			}
		}
	}
}

func TestTheLimiterHasABound(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	l := newLimiter(func() time.Time { return now })
	for n := range 3 * maxBuckets {
		if !l.allow(v1alpha1.Event{Sender: v1alpha1.Actor{ID: int64(n)}}, guidOf(n)) {
			t.Fatalf("sender %d has no token", n)
		}
	}
	if len(l.buckets) > maxBuckets || len(l.charged) > maxCharged {
		t.Errorf("%d buckets, %d charged deliveries", len(l.buckets), len(l.charged))
	}
}

func TestTakeDoesWhatTheWebhookDoes(t *testing.T) {
	f := newFixture(t)
	at := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		guid, event, body, word string
		kept                    int
	}{
		{guid, "push", push, "accepted", 1},
		{guid, "push", strings.Replace(push, "refs/tags/", "refs/heads/", 1), "ignored", 0},
		{guid, "star", push, "ignored", 0},
		{"x", "push", push, "ignored", 0},
		{guid, "push", "{", "not_understood", 0},
	} {
		f.inbox.kept = nil
		word, err := f.Take(t.Context(), tc.guid, tc.event, at, []byte(tc.body))
		if word != tc.word || err != nil || len(f.inbox.kept) != tc.kept {
			t.Errorf("%s: %s, %v, kept %d", tc.word, word, err, len(f.inbox.kept))
		}
	}
	if _, err := f.Take(t.Context(), guid, "push", at, []byte(push)); err != nil {
		t.Fatal(err)
	}
	if d := f.inbox.kept[0]; d.Name != guid || d.Annotations[v1alpha1.AnnotationReceivedAt] != "2026-12-01T12:00:00Z" || d.Spec.Event.Push == nil {
		t.Errorf("%+v", d)
	}
}

// slow opens a request whose headers are complete and whose body is not: only its first bytes arrive.
func slow(t *testing.T, server *httptest.Server, body string, length int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: %s\r\n"+
		"X-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n%s", guid, sign(nil, "not the secret"), length, body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answerTo reads the answer to a slow request.
func answerTo(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := strings.Cut(string(data), "\r\n")
	return status
}

// post sends a good delivery to a server, padded to a size.
func (f *fixture) post(t *testing.T, server *httptest.Server, size int) int {
	t.Helper()
	body := append([]byte(push), bytes.Repeat([]byte(" "), max(0, size-len(push)))...)
	r := request("push", body)
	out, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/webhook", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	out.Header = r.Header
	res, err := http.DefaultClient.Do(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// reads waits until n bodies are being read.
func (f *fixture) reads(t *testing.T, n int, held int64) {
	t.Helper()
	var count int
	var sum int64
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		count, sum = 0, 0
		f.bodies.mu.Lock()
		for e := f.bodies.all.Front(); e != nil; e = e.Next() {
			count++
			sum += e.Value.(*reading).held
		}
		f.bodies.mu.Unlock()
		if count == n && sum == held {
			return
		}
	}
	t.Fatalf("%d bodies hold %d bytes, want %d and %d", count, sum, n, held)
}

// Bodies that do not come hold no memory, and a new body takes the place of the oldest one.
func TestSlowBodiesTakeNoRoomFromSignedOnes(t *testing.T) {
	f := newFixture(t)
	f.bodies.max, f.bodies.grace = 20, time.Hour
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	var open []net.Conn
	for range 20 {
		open = append(open, slow(t, server, "{", 1000))
	}
	f.reads(t, 20, 0)
	if !f.small.bytes.TryAcquire(smallRoom) {
		t.Error("bodies that did not come hold memory")
	}
	f.small.bytes.Release(smallRoom)
	if code := f.post(t, server, 0); code != http.StatusAccepted {
		t.Errorf("a signed delivery: %d", code)
	}
	f.reads(t, 19, 0)
	busy := 0
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		first := make([]byte, len("HTTP/1.1 503"))
		if _, err := io.ReadFull(c, first); err == nil && string(first) == "HTTP/1.1 503" {
			busy++
		}
	}
	if busy != 1 {
		t.Errorf("%d slow bodies were cut off, want 1", busy)
	}
}

// Bodies that stop after they have taken all memory give it to the next one.
func TestTheOldestBodiesMakeRoom(t *testing.T) {
	f := newFixture(t)
	f.bodies.grace = time.Hour
	f.small = newRoom(64 << 10)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	first := slow(t, server, "{"+strings.Repeat(" ", 20<<10), 1<<20)
	f.reads(t, 1, 32<<10)
	slow(t, server, "{"+strings.Repeat(" ", 20<<10), 1<<20)
	f.reads(t, 2, 64<<10)
	if code := f.post(t, server, 20<<10); code != http.StatusAccepted {
		t.Errorf("a signed delivery: %d", code)
	}
	if status := answerTo(t, first); status != "HTTP/1.1 503 Service Unavailable" {
		t.Errorf("the oldest was answered %q", status)
	}
	f.reads(t, 1, 32<<10)
}

func TestABodyHasToArriveInTime(t *testing.T) {
	f := newFixture(t)
	f.bodies.grace = 50 * time.Millisecond
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	if status := answerTo(t, slow(t, server, "{", 1000)); status != "HTTP/1.1 408 Request Timeout" {
		t.Errorf("answered %q", status)
	}
	f.reads(t, 0, 0)
	if code := f.post(t, server, 4<<20); code != http.StatusAccepted {
		t.Errorf("a large body that arrives at once: %d", code)
	}
}
