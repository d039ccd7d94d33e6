// Package webhook receives GitHub's deliveries: it verifies the signature, decodes the few fields that Conductor acts on, and stores the
// delivery before it answers. It calls nothing but the inbox.
//
// The answer is 202 if the delivery was stored, 200 if there is nothing to act on, 4xx with a sentence if the request is at fault, and 503
// if the delivery could not be stored now. GitHub does not retry failed deliveries: operators see the 503, and the poll finds lost tags.
//
// The server that runs this handler must set ReadHeaderTimeout and ReadTimeout, which end slow requests.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// MaxBody is the largest delivery in bytes; GitHub does not send larger ones
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads).
const MaxBody = 25 << 20

const (
	// putTimeout is less than the 10 s after which GitHub gives up on a delivery.
	putTimeout = 8 * time.Second
	// roomTimeout is how long a body waits for memory before the request gets a 503.
	roomTimeout = 2 * time.Second
)

// Inbox stores deliveries.
type Inbox interface {
	// Put stores a delivery durably before it returns. It succeeds if one of the same name exists; if that one failed, it is acted on
	// again.
	Put(ctx context.Context, d *v1alpha1.Delivery) error
}

// Options are what a Handler needs. Secrets, Inbox and Relevant are required.
type Options struct {
	// Secrets returns the webhook secrets that are valid now: more than one while one is being replaced.
	Secrets func() ([][]byte, error)
	Inbox   Inbox
	// Relevant reports whether an event has to be acted on, and why or why not.
	Relevant func(v1alpha1.Event) (bool, string)
	// Log gets a line for each delivery, never a body; nil discards them.
	Log *slog.Logger
	// Metrics is where the handler registers its metrics; nil means nowhere.
	Metrics prometheus.Registerer
}

// Handler is the webhook's http.Handler.
type Handler struct {
	o       Options
	metrics *instruments
	small   *room
	large   *room
}

// New makes a Handler.
func New(o Options) (*Handler, error) {
	if o.Secrets == nil || o.Inbox == nil || o.Relevant == nil {
		return nil, errors.New("webhook: Secrets, Inbox and Relevant are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newInstruments(o.Metrics)
	if err != nil {
		return nil, err
	}
	return &Handler{o: o, metrics: m, small: newRoom(smallRoom), large: newRoom(largeRoom)}, nil
}

// result is the answer to a request: its status, a word for the metric, and a sentence.
type result struct {
	code   int
	word   string
	reason string
	cause  error
}

func refuse(code int, word, reason string) *result {
	return &result{code: code, word: word, reason: reason}
}

// ServeHTTP answers one delivery.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	d := delivery{began: began, guid: strings.ToLower(r.Header.Get("X-GitHub-Delivery")), event: r.Header.Get("X-GitHub-Event")}
	res := h.receive(w, r, &d)
	h.metrics.seen(d.label(), res.word, time.Since(began))
	level := slog.LevelInfo
	if res.code >= 400 {
		level = slog.LevelWarn
	}
	args := []any{"result", res.word, "status", res.code, "reason", res.reason, "event", d.label()}
	if guidPattern.MatchString(d.guid) {
		args = append(args, "trace", d.guid)
	}
	if res.cause != nil {
		args = append(args, "error", res.cause)
	}
	h.o.Log.Log(r.Context(), level, "webhook", args...)
	answer(w, res)
}

func answer(w http.ResponseWriter, res *result) {
	w.Header().Set("Content-Type", "application/json")
	switch res.code {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(res.code)
	// An error means that the client has hung up.
	_ = json.NewEncoder(w).Encode(map[string]string{"status": res.word, "reason": res.reason})
}

// delivery is what the headers of a request contain.
type delivery struct {
	guid, event string
	// began is when the headers had been read.
	began time.Time
	// verified is set once the signature is verified; before that nothing in the request can be trusted.
	verified bool
}

// label returns the event's name for metrics. Unverified headers could be anything, so they are not used.
func (d delivery) label() string {
	switch {
	case !d.verified:
		return "unverified"
	case d.event == "push" || d.event == "issue_comment" || d.event == "ping":
		return d.event
	}
	return "other"
}

var (
	guidPattern  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	eventPattern = regexp.MustCompile(`^[a-z_]{1,64}$`)
)

// receive checks a request, cheapest checks first, and stores its delivery.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, d *delivery) *result {
	if res := checkHeaders(r, d); res != nil {
		return res
	}
	v, res := h.verifier(r)
	if res != nil {
		return res
	}
	body, free, res := h.read(w, r, v)
	defer free()
	if res != nil {
		return res
	}
	if !v.ok() {
		return refuse(http.StatusUnauthorized, "bad_signature", "the signature does not match the body: the App and Conductor have different webhook secrets")
	}
	d.verified = true
	switch d.event {
	case "ping":
		return &result{code: http.StatusOK, word: "pong", reason: "Conductor received the ping"}
	case "push", "issue_comment":
	default:
		if !json.Valid(body) {
			return refuse(http.StatusBadRequest, "not_json", "the body is not JSON")
		}
		return &result{code: http.StatusOK, word: "ignored", reason: "Conductor does not act on this kind of event"}
	}
	event, err := decode(d.event, body)
	if err != nil {
		return &result{code: http.StatusBadRequest, word: "not_understood", reason: err.Error()}
	}
	return h.keep(r.Context(), d, event)
}

func checkHeaders(r *http.Request, d *delivery) *result {
	if r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "bad_method", "use POST")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "bad_type", "set the webhook's content type to application/json")
	}
	if !guidPattern.MatchString(d.guid) {
		return refuse(http.StatusBadRequest, "bad_guid", "X-GitHub-Delivery is not a GUID")
	}
	if !eventPattern.MatchString(d.event) {
		return refuse(http.StatusBadRequest, "bad_event", "X-GitHub-Event does not name an event")
	}
	if r.ContentLength > MaxBody {
		return tooLarge()
	}
	return nil
}

func tooLarge() *result {
	return refuse(http.StatusRequestEntityTooLarge, "too_large", "a delivery has at most 25 MiB")
}

// keep stores a relevant event in the inbox.
func (h *Handler) keep(ctx context.Context, d *delivery, event v1alpha1.Event) *result {
	relevant, reason := h.o.Relevant(event)
	if !relevant {
		return &result{code: http.StatusOK, word: "ignored", reason: reason}
	}
	// The delivery is worth storing even if GitHub has stopped waiting for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
	defer cancel()
	err := h.o.Inbox.Put(ctx, &v1alpha1.Delivery{
		ObjectMeta: metav1.ObjectMeta{Name: d.guid, Annotations: map[string]string{
			v1alpha1.AnnotationReceivedAt: d.began.UTC().Format(time.RFC3339Nano),
		}},
		Spec: v1alpha1.DeliverySpec{GUID: d.guid, Event: event},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return &result{code: http.StatusServiceUnavailable, word: "not_kept", reason: "the delivery could not be stored; redeliver it later", cause: err}
	}
	return &result{code: http.StatusAccepted, word: "accepted", reason: reason}
}
