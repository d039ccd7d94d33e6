//go:build apiserver

package gauntlet

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maxBody is the largest delivery; roomForBodies is the memory of all bodies that are being read, and slack what Go's collector adds.
const (
	maxBody       = 25 << 20
	roomForBodies = 192
	slack         = 160
)

// TestPayloads sends the webhook what GitHub would not send.
func TestPayloads(t *testing.T) {
	w := newWorld(t, 1)
	w.start()
	o := w.orgs[0]
	w.must(w.github.LoseDeliveries(w.app.ID, 2))
	real := w.send(kinds[kindNamed("help")], o, 1)
	var valid hook
	for _, d := range w.github.Deliveries(w.app.ID) {
		if d.Event == "issue_comment" {
			valid = hookOf(d)
		}
	}
	t.Run("refused", func(t *testing.T) { w.refuses(t, valid) })
	t.Run("sizes", func(t *testing.T) { w.sizes(t, valid) })
	t.Run("large bodies without a valid signature", func(t *testing.T) { w.largeUnsigned(t) })
	t.Run("slow bodies without a valid signature", func(t *testing.T) { w.slowUnsigned(t, valid) })
	t.Run("foreign hosts", func(t *testing.T) { w.foreign(t, valid) })
	t.Run("a GUID again", func(t *testing.T) { w.replayed(t, valid, real) })
}

// refuses sends requests that are refused before their body matters.
func (w *world) refuses(t *testing.T, valid hook) {
	mac := hmac.New(sha1.New, []byte(w.app.WebhookSecret))
	mac.Write(valid.body)
	for name, tc := range map[string]struct {
		header map[string]string
		want   int
	}{
		"unsigned":            {map[string]string{"X-Hub-Signature-256": ""}, http.StatusUnauthorized},
		"SHA-1 only":          {map[string]string{"X-Hub-Signature-256": "", "X-Hub-Signature": "sha1=" + hex.EncodeToString(mac.Sum(nil))}, http.StatusUnauthorized},
		"another signature":   {map[string]string{"X-Hub-Signature-256": "sha256=" + strings.Repeat("0", 64)}, http.StatusUnauthorized},
		"half a signature":    {map[string]string{"X-Hub-Signature-256": w.sign(valid.body)[:40]}, http.StatusUnauthorized},
		"a path as GUID":      {map[string]string{"X-GitHub-Delivery": "../../x"}, http.StatusBadRequest},
		"a form":              {map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType},
		"an event with a dot": {map[string]string{"X-GitHub-Event": "issue.comment"}, http.StatusBadRequest},
	} {
		h := valid
		h.header = tc.header
		if status := w.post(w.replicas[0], h); status != tc.want {
			t.Errorf("%s: %d, want %d", name, status, tc.want)
		}
	}
	if n := len(w.deliveries()); n > 0 {
		t.Errorf("%d Deliveries were stored", n)
	}
}

// padded is the body of a delivery with a field that makes it n bytes long.
func padded(body []byte, n int) []byte {
	head := []byte(`{"padding":"`)
	out := make([]byte, 0, n)
	out = append(out, head...)
	out = append(out, bytes.Repeat([]byte("x"), n-len(head)-len(body)-1)...)
	out = append(append(out, `",`...), body[1:]...)
	return out
}

// sizes sends bodies of GitHub's largest size and of one byte more.
func (w *world) sizes(t *testing.T, valid hook) {
	_, before := w.replicas[0].resident()
	for _, tc := range []struct{ size, want int }{{maxBody, http.StatusOK}, {maxBody + 1, http.StatusRequestEntityTooLarge}} {
		h := hook{guid: newGUID(), event: "star", body: padded(valid.body, tc.size)}
		if len(h.body) != tc.size {
			t.Fatalf("the body has %d bytes", len(h.body))
		}
		status := w.post(w.replicas[0], h)
		if status != tc.want {
			t.Errorf("%d bytes: %d, want %d", tc.size, status, tc.want)
		}
		// The same without a length beforehand. A server may close the connection while a body that is too large is being sent.
		req := w.request(w.replicas[0], h, io.MultiReader(bytes.NewReader(h.body)))
		resp, err := sender.Do(req)
		if err != nil {
			if tc.want == http.StatusOK {
				t.Errorf("%d bytes in chunks: %v", tc.size, err)
			}
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%d bytes in chunks: %d, want %d", tc.size, resp.StatusCode, tc.want)
		}
	}
	_, most := w.replicas[0].resident()
	t.Logf("resident memory: at most %d MiB before, %d MiB after", before, most)
}

// largeUnsigned sends many large bodies with a wrong signature at once, twice: memory has a bound, and does not grow with their number.
func (w *world) largeUnsigned(t *testing.T) {
	r := w.replicas[1]
	start, _ := r.resident()
	body := bytes.Repeat([]byte("x"), maxBody)
	var most [2]int
	for round := range most {
		var wg sync.WaitGroup
		var accepted atomic.Int64
		for range size(100, 40) {
			wg.Go(func() {
				h := hook{guid: newGUID(), event: "push", header: map[string]string{"X-Hub-Signature-256": "sha256=" + strings.Repeat("a", 64)}}
				resp, err := sender.Do(w.request(r, h, bytes.NewReader(body)))
				if err != nil {
					return // Cut off.
				}
				if resp.StatusCode < 400 {
					accepted.Add(1)
				}
				_ = resp.Body.Close()
			})
		}
		wg.Wait()
		_, most[round] = r.resident()
		if accepted.Load() > 0 {
			t.Errorf("%d were accepted", accepted.Load())
		}
	}
	t.Logf("resident memory: %d MiB before, at most %d MiB, then %d MiB", start, most[0], most[1])
	// The garbage collector lets the heap grow to twice of what is in use.
	if limit := start + 2*roomForBodies + slack; most[1] > limit {
		t.Errorf("at most %d MiB, want %d", most[1], limit)
	}
}

// slowUnsigned opens many requests with a wrong signature whose bodies hardly arrive. Signed deliveries are answered meanwhile.
func (w *world) slowUnsigned(t *testing.T, valid hook) {
	r := w.replicas[0]
	var open []net.Conn
	before, _ := r.resident()
	for range size(3000, 500) {
		conn, err := net.Dial("tcp", r.listen)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		fmt.Fprintf(conn, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Delivery: %s\r\nX-GitHub-Event: push\r\n"+
			"X-Hub-Signature-256: sha256=%s\r\nContent-Length: %d\r\n\r\n{", newGUID(), strings.Repeat("a", 64), maxBody)
	}
	var took latencies
	for n := range 50 {
		h := hook{guid: newGUID(), event: "push", body: valid.body}
		if n%2 == 0 {
			h = hook{guid: newGUID(), event: "star", body: padded(valid.body, 1<<20)}
		}
		began := time.Now()
		if status := w.post(r, h); status != http.StatusOK && status != http.StatusBadRequest { // A push with this body is not understood.
			t.Errorf("a signed delivery got %d", status)
		}
		took.add(time.Since(began))
		for _, conn := range open[:min(len(open), 100)] { // One byte now and then.
			_, _ = conn.Write([]byte("x"))
		}
	}
	after, _ := r.resident()
	for _, conn := range open {
		_ = conn.Close()
	}
	t.Logf("%d slow bodies: signed ones took %s, at most %s; resident memory %d MiB, then %d MiB", len(open), took.at(0.5), took.at(1), before, after)
	if took.at(1) > 2*time.Second {
		t.Errorf("a signed delivery took %s", took.at(1))
	}
	if after > before+roomForBodies {
		t.Errorf("resident memory grew from %d to %d MiB", before, after)
	}
}

// foreign names another host in the header of GitHub Enterprise and in the payload's addresses: nothing is sent there.
func (w *world) foreign(t *testing.T, valid hook) {
	var calls atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer evil.Close()
	sha := w.refSHA()
	o := w.orgs[0]
	repo, err := w.github.Repository(o.broken)
	w.must(err)
	var original map[string]any
	w.must(json.Unmarshal(valid.body, &original))
	r := original["repository"].(map[string]any)
	for key, value := range r {
		if text, ok := value.(string); ok && strings.HasPrefix(text, w.github.URL) {
			r[key] = evil.URL + strings.TrimPrefix(text, w.github.URL)
		}
	}
	body, err := json.Marshal(map[string]any{
		"ref": "refs/tags/run-integration-tests/foreign", "before": strings.Repeat("0", 40), "after": sha, "created": true, "head_commit": map[string]any{"id": sha},
		"repository": r, "installation": original["installation"], "sender": original["sender"],
	})
	w.must(err)
	host := strings.TrimPrefix(evil.URL, "http://")
	h := hook{guid: newGUID(), event: "push", body: body, header: map[string]string{"X-GitHub-Enterprise-Host": host, "X-Forwarded-Host": host, "Host": host}}
	if status := w.post(w.replicas[0], h); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	w.within("the run is reported", time.Minute, func() bool { return w.checksAt(o.broken, sha) > 0 && w.fetched(sha) > 0 })
	time.Sleep(lease)
	if n := calls.Load(); n > 0 {
		t.Errorf("%d requests to a host that only the payload names", n)
	}
	t.Logf("a run of %s was reported to GitHub, %d requests to the other host", repo.FullName, calls.Load())
}

// refSHA is the head of the default branch.
func (w *world) refSHA() string {
	r, err := w.github.Repository(w.orgs[0].broken)
	w.must(err)
	return r.SHA
}

// replayed sends a delivery again when it was processed, as it was and with another content: a GUID that was used has no effect.
func (w *world) replayed(t *testing.T, valid hook, original sent) {
	if status := w.post(w.replicas[0], valid); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	w.settle([]sent{original}, time.Minute)
	w.within("it is processed", time.Minute, func() bool { return w.openDeliveries() == 0 })
	before := len(w.github.CheckRuns(w.orgs[0].broken))
	other := valid
	other.body = bytes.Replace(valid.body, []byte("/conductor help"), []byte("/conductor test"), 1)
	for _, h := range []hook{valid, other, valid} {
		for _, r := range w.replicas {
			if status := w.post(r, h); status != http.StatusAccepted {
				t.Errorf("status %d", status)
			}
		}
	}
	w.settle([]sent{original}, time.Minute)
	if n := len(w.github.CheckRuns(w.orgs[0].broken)); n != before {
		t.Errorf("%d check runs, then %d", before, n)
	}
}
