package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the test shows that a SHA-1 signature is refused
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	guid   = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	secret = "it's a secret to everybody"
	sha    = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	zeros  = "0000000000000000000000000000000000000000"
)

const push = `{"ref":"refs/tags/run-integration-tests","before":"` + zeros + `","after":"` + sha + `","created":true,"base_ref":null,
"head_commit":{"id":"` + sha + `","message":"fix #12"},"repository":{"id":7,"name":"shop","owner":{"login":"acme","name":"acme"},
"default_branch":"main","private":true,"pushed_at":1700000000,"clone_url":"https://github.com/acme/shop.git"},
"sender":{"login":"ada","id":3,"type":"User"},"installation":{"id":99}}`

// inbox records what it was given.
type inbox struct {
	mu   sync.Mutex
	kept []*v1alpha1.Delivery
	err  error
	put  func(context.Context)
}

func (i *inbox) Put(ctx context.Context, d *v1alpha1.Delivery) error {
	if i.put != nil {
		i.put(ctx)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return i.err
	}
	i.kept = append(i.kept, d)
	return nil
}

type fixture struct {
	*Handler
	inbox   *inbox
	metrics *prometheus.Registry
	log     *bytes.Buffer
	secrets [][]byte
	secErr  error
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{inbox: &inbox{}, metrics: prometheus.NewRegistry(), log: &bytes.Buffer{}, secrets: [][]byte{[]byte(secret)}}
	h, err := New(Options{
		Secrets: func() ([][]byte, error) { return f.secrets, f.secErr },
		Inbox:   f.inbox, Metrics: f.metrics, Log: slog.New(slog.NewTextHandler(f.log, nil)),
		Relevant: func(e v1alpha1.Event) (bool, string) {
			if e.Push != nil && strings.HasPrefix(e.Push.Ref, "refs/heads/") {
				return false, "a branch starts nothing"
			}
			return e.Push != nil || e.Comment != nil || e.Closed != nil, "it is asked for"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Handler = h
	return f
}

func sign(body []byte, key string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// request is a good delivery that a test then spoils.
func request(event string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhook", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", guid)
	r.Header.Set("X-Hub-Signature-256", sign(body, secret))
	return r
}

type answered struct {
	Code           int
	Status, Reason string
}

func (f *fixture) do(t testing.TB, r *http.Request) answered {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	a := answered{Code: w.Code}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("the answer is not JSON: %v: %q", err, w.Body)
	}
	if a.Reason == "" {
		t.Error("the answer gives no reason")
	}
	return a
}

func (f *fixture) count(t testing.TB, event, result string) float64 {
	t.Helper()
	families, err := f.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"event": event, "result": result}
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == "conductor_webhook_deliveries_total" && cmp.Equal(labels(m), want) {
				return m.Counter.GetValue()
			}
		}
	}
	return 0
}

func labels(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.Label {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

func TestRelevantDeliveryIsKeptBeforeItIsAnswered(t *testing.T) {
	f := newFixture(t)
	a := f.do(t, request("push", []byte(push)))
	if a.Code != http.StatusAccepted || a.Status != "accepted" {
		t.Fatalf("answered %+v", a)
	}
	want := v1alpha1.Event{
		Name: "push", InstallationID: 99,
		Repository: v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop", DefaultBranch: "main", Private: true, CloneURL: "https://github.com/acme/shop.git"},
		Sender:     v1alpha1.Actor{Login: "ada", ID: 3, Type: "User"},
		Push: &v1alpha1.PushEvent{
			Ref: "refs/tags/run-integration-tests", Before: zeros, After: sha, Created: true, PushedAt: 1700000000,
			HeadSHA: sha,
		},
	}
	if len(f.inbox.kept) != 1 {
		t.Fatalf("kept %d deliveries", len(f.inbox.kept))
	}
	d := f.inbox.kept[0]
	if d.Name != guid || d.Spec.GUID != guid {
		t.Errorf("the delivery is named %q, %q", d.Name, d.Spec.GUID)
	}
	if at, err := time.Parse(time.RFC3339Nano, d.Annotations[v1alpha1.AnnotationReceivedAt]); err != nil || time.Since(at) > time.Minute || time.Since(at) < 0 {
		t.Errorf("received at %v, %v", at, err)
	}
	if diff := cmp.Diff(want, d.Spec.Event); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if n := f.count(t, "push", "accepted"); n != 1 {
		t.Errorf("counted %v", n)
	}
}

func TestBadInput(t *testing.T) {
	huge := func(size int) []byte { // valid JSON of exactly that size
		return append(append([]byte(push[:len(push)-1]), bytes.Repeat([]byte(" "), size-len(push))...), '}')
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	cases := []struct {
		name  string
		event string
		body  []byte
		spoil func(*http.Request)
		code  int
		word  string
	}{
		{"25 MiB exactly", "push", huge(MaxBody), nil, 202, "accepted"},
		{"25 MiB and a byte", "push", huge(MaxBody + 1), nil, 413, "too_large"},
		{"25 MiB and a byte, length not said", "push", huge(MaxBody + 1), func(r *http.Request) { r.ContentLength = -1 }, 413, "too_large"},
		{"no signature", "push", nil, func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }, 401, "unsigned"},
		{"SHA-1 only", "push", nil, func(r *http.Request) {
			r.Header.Del("X-Hub-Signature-256")
			m := hmac.New(sha1.New, []byte(secret))
			m.Write([]byte(push))
			r.Header.Set("X-Hub-Signature", "sha1="+hex.EncodeToString(m.Sum(nil)))
		}, 401, "unsigned"},
		{"wrong secret", "push", nil, set("X-Hub-Signature-256", sign([]byte(push), "other")), 401, "bad_signature"},
		{"empty secret", "push", nil, set("X-Hub-Signature-256", sign([]byte(push), "")), 401, "bad_signature"},
		{"signature of another body", "push", nil, set("X-Hub-Signature-256", sign([]byte("{}"), secret)), 401, "bad_signature"},
		{"signature cut short", "push", nil, set("X-Hub-Signature-256", sign([]byte(push), secret)[:50]), 401, "bad_signature"},
		{"signature without its kind", "push", nil, set("X-Hub-Signature-256", sign([]byte(push), secret)[7:]), 401, "bad_signature"},
		{"GET", "push", nil, func(r *http.Request) { r.Method = http.MethodGet }, 405, "bad_method"},
		{"a form", "push", nil, set("Content-Type", "application/x-www-form-urlencoded"), 415, "bad_type"},
		{"no content type", "push", nil, func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "bad_type"},
		{"charset is fine", "push", nil, set("Content-Type", "application/json; charset=utf-8"), 202, "accepted"},
		{"no GUID", "push", nil, func(r *http.Request) { r.Header.Del("X-GitHub-Delivery") }, 400, "bad_guid"},
		{"GUID that is a path", "push", nil, set("X-GitHub-Delivery", "../../secrets"), 400, "bad_guid"},
		{"GUID in capitals", "push", nil, set("X-GitHub-Delivery", strings.ToUpper(guid)), 202, "accepted"},
		{"no event", "push", nil, func(r *http.Request) { r.Header.Del("X-GitHub-Event") }, 400, "bad_event"},
		{"not JSON", "push", []byte("ref=refs/tags/x"), nil, 400, "not_understood"},
		{"not JSON, other event", "star", []byte("{"), nil, 400, "not_json"},
		{"empty body", "push", []byte{}, nil, 400, "not_understood"},
		{"JSON of another shape", "push", []byte(`[1]`), nil, 400, "not_understood"},
		{"no installation", "push", []byte(strings.Replace(push, `"installation":{"id":99}`, `"x":1`, 1)), nil, 400, "not_understood"},
		{"no repository", "push", []byte(strings.Replace(push, `"repository"`, `"x"`, 1)), nil, 400, "not_understood"},
		{"bad object name", "push", []byte(strings.ReplaceAll(push, sha, "master")), nil, 400, "not_understood"},
		{"no comment", "issue_comment", []byte(push), nil, 400, "not_understood"},
		{"an issue that was closed", "issues", []byte(strings.Replace(comment, "created", "closed", 1)), nil, 202, "accepted"},
		{"an issue that was labeled", "issues", []byte(strings.Replace(comment, "created", "labeled", 1)), nil, 202, "ignored"},
		{"other event", "star", []byte(`{"action":"created"}`), nil, 200, "ignored"},
		{"ping", "ping", []byte(`{"zen":"."}`), nil, 200, "pong"},
		{"irrelevant", "push", []byte(strings.Replace(push, "refs/tags/", "refs/heads/", 1)), nil, 202, "ignored"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			if c.body == nil {
				c.body = []byte(push)
			}
			r := request(c.event, c.body)
			if c.spoil != nil {
				c.spoil(r)
			}
			a := f.do(t, r)
			if a.Code != c.code || a.Status != c.word {
				t.Errorf("answered %+v, want %d %s", a, c.code, c.word)
			}
			if kept := len(f.inbox.kept); kept != map[bool]int{true: 1}[c.word == "accepted"] {
				t.Errorf("kept %d deliveries", kept)
			}
			if n := strings.Count(f.log.String(), "\n"); n != 1 {
				t.Errorf("%d log lines, want one: %s", n, f.log)
			}
		})
	}
}

func TestWhatCannotBeKeptIsNotPromised(t *testing.T) {
	f := newFixture(t)
	f.inbox.err = errors.New("etcd is away")
	if a := f.do(t, request("push", []byte(push))); a.Code != http.StatusServiceUnavailable || strings.Contains(a.Reason, "etcd") {
		t.Errorf("answered %+v", a)
	}
	if n := f.count(t, "push", "not_kept"); n != 1 {
		t.Errorf("counted %v", n)
	}
	if word, err := f.Take(t.Context(), guid, "push", time.Now(), []byte(push)); err == nil || word != "not_kept" {
		t.Errorf("from the log: %q, %v", word, err)
	}
	f.inbox.err = failure.Terminalf(v1alpha1.ReasonRefused, nil, "the object is invalid")
	if a := f.do(t, request("push", []byte(push))); a.Code != http.StatusBadRequest || a.Status != "not_understood" {
		t.Errorf("what can never be kept: answered %+v", a)
	}
	f.inbox.err = apierrors.NewAlreadyExists(schema.GroupResource{Resource: "deliveries"}, guid)
	if a := f.do(t, request("push", []byte(push))); a.Code != http.StatusAccepted {
		t.Errorf("a delivery that is kept already: answered %+v", a)
	}
}

func TestPutOutlivesTheClientAndHasADeadline(t *testing.T) {
	f := newFixture(t)
	ctx, hangUp := context.WithCancel(t.Context())
	f.inbox.put = func(ctx context.Context) {
		hangUp()
		if ctx.Err() != nil {
			t.Error("the client hung up and the delivery was dropped")
		}
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > putTimeout {
			t.Errorf("the deadline is %v, %v", at, ok)
		}
	}
	f.do(t, request("push", []byte(push)).WithContext(ctx))
	if len(f.inbox.kept) != 1 {
		t.Error("nothing was kept")
	}
}

func TestSecretsAreReplacedWithoutRestart(t *testing.T) {
	f := newFixture(t)
	r := func(key string) *http.Request {
		r := request("push", []byte(push))
		r.Header.Set("X-Hub-Signature-256", sign([]byte(push), key))
		return r
	}
	f.secrets = [][]byte{[]byte(secret), []byte("the next one")}
	for _, key := range []string{secret, "the next one"} {
		if a := f.do(t, r(key)); a.Code != http.StatusAccepted {
			t.Errorf("%s: answered %+v", key, a)
		}
	}
	f.secrets = f.secrets[1:]
	if a := f.do(t, r(secret)); a.Code != http.StatusUnauthorized {
		t.Errorf("the old secret: answered %+v", a)
	}
	f.secrets, f.secErr = nil, errors.New("no such file")
	if a := f.do(t, r("")); a.Code != http.StatusServiceUnavailable {
		t.Errorf("no secret: answered %+v", a)
	}
	f.secrets, f.secErr = [][]byte{{}}, nil
	if a := f.do(t, r("")); a.Code != http.StatusServiceUnavailable {
		t.Errorf("an empty secret: answered %+v", a)
	}
}

func TestNothingOfTheBodyIsLoggedOrAnswered(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{`{"ref":"hunter2`, `{"ref":{"hunter2":1}}`, strings.ReplaceAll(push, sha, "hunter2")} {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, request("push", []byte(body)))
		if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String()+f.log.String(), "hunter2") {
			t.Errorf("%s: %d %s\n%s", body, w.Code, w.Body, f.log)
		}
	}
}

func TestUnverifiedHeadersMakeNoMetricLabels(t *testing.T) {
	f := newFixture(t)
	r := request("made_up_by_somebody", []byte(push))
	r.Header.Del("X-Hub-Signature-256")
	f.do(t, r)
	if n := f.count(t, "unverified", "unsigned"); n != 1 {
		t.Errorf("counted %v", n)
	}
}

func TestLargeBodiesHaveABound(t *testing.T) {
	f := newFixture(t)
	if !f.large.bytes.TryAcquire(largeRoom - 1<<20) {
		t.Fatal("the room is not empty at first")
	}
	large := request("push", append([]byte(push), bytes.Repeat([]byte(" "), 4<<20)...))
	w := httptest.NewRecorder()
	f.ServeHTTP(w, large)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without room: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if a := f.do(t, request("push", []byte(push))); a.Code != http.StatusAccepted {
		t.Errorf("a small one meanwhile: %+v", a)
	}
	f.large.bytes.Release(largeRoom - 1<<20)
	if !f.large.bytes.TryAcquire(largeRoom) || !f.small.bytes.TryAcquire(smallRoom) {
		t.Error("room was not given back")
	}
}

func TestUnsignedBodiesAreNotRead(t *testing.T) {
	f := newFixture(t)
	r := request("push", nil)
	r.Header.Del("X-Hub-Signature-256")
	r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) {
		t.Error("the body was read")
		return 0, io.EOF
	}))
	r.ContentLength = -1
	if a := f.do(t, r); a.Code != http.StatusUnauthorized {
		t.Errorf("answered %+v", a)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A body is held once: growing doubles, so all buffers together are at most twice the body, and the last copy on top.
func TestMemoryOfALargeBody(t *testing.T) {
	f := newFixture(t)
	body := bytes.Repeat([]byte(" "), MaxBody)
	r := request("push", body)
	r.Header.Set("X-Hub-Signature-256", sign(body, "other"))
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Body = io.NopCloser(bytes.NewReader(body))
			f.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
	if got := result.AllocedBytesPerOp(); got > 3*MaxBody {
		t.Errorf("%d bytes for a body of %d", got, MaxBody)
	}
	r.Header.Del("X-Hub-Signature-256")
	result = testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
	if got := result.AllocedBytesPerOp(); got > 64<<10 {
		t.Errorf("%d bytes for an unsigned body", got)
	}
}
