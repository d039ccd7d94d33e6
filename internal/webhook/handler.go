// Package webhook receives GitHub's deliveries: it verifies the signature, decodes the few fields that Conductor acts on, and stores the
// delivery before it answers. It calls nothing but the inbox.
//
// The answer is 202 if Conductor received a delivery of a kind that it acts on: it was stored, or there is nothing to do. The answer is 200
// for all other kinds, 4xx with a sentence if the request is at fault, and 503 if the delivery could not be stored now. GitHub does not
// retry failed deliveries. Package delivery reads GitHub's log and passes what was not answered with 202 to Take.
//
// The server that runs this handler must set ReadHeaderTimeout and ReadTimeout, which end slow requests.
package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/w3evolutionsllc/conductor/internal/failure"
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
	// again. A terminal failure means that it can never be stored.
	Put(ctx context.Context, d *v1alpha1.Delivery) error
}

// Options are what a Handler needs. Secrets, Inbox and Relevant are required.
type Options struct {
	// Secrets returns the webhook secrets that are valid now: more than one while one is being replaced.
	Secrets func() ([][]byte, error)
	Inbox   Inbox
	// Relevant reports whether an event has to be acted on, and why or why not.
	Relevant func(v1alpha1.Event) (bool, string)
	// IsWriter reports whether the sender of a comment is known to have write permission: then the limit on senders does not apply. Nil
	// means that it is never known.
	IsWriter func(context.Context, v1alpha1.Event) bool
	// Log gets a line for each delivery, never a body; nil discards them.
	Log *slog.Logger
	// Metrics is where the handler registers its metrics; nil means nowhere.
	Metrics prometheus.Registerer
	// Now is the clock of the limits on senders; nil means time.Now.
	Now func() time.Time
}

// Handler is the webhook's http.Handler.
type Handler struct {
	o       Options
	metrics *instruments
	limiter *limiter
	bodies  bodies
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
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Handler{
		o: o, metrics: m, limiter: newLimiter(o.Now), bodies: bodies{max: maxBodies, grace: bodyGrace}, small: newRoom(smallRoom), large: newRoom(largeRoom),
	}, nil
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
	case isHandled(d.event) || d.event == "ping":
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
	switch {
	case d.event == "ping":
		return &result{code: http.StatusOK, word: "pong", reason: "Conductor received the ping"}
	case !isHandled(d.event):
		if !json.Valid(body) {
			return refuse(http.StatusBadRequest, "not_json", "the body is not JSON")
		}
		return &result{code: http.StatusOK, word: "ignored", reason: "Conductor does not act on this kind of event"}
	}
	return h.take(r.Context(), d, body)
}

// isHandled reports whether Conductor acts on events of this name.
func isHandled(event string) bool {
	return event == "push" || event == "issue_comment" || event == "issues" || event == "pull_request"
}

// Take does with a delivery from GitHub's log what ServeHTTP does with one that is delivered: it decodes and stores it. It returns the
// word for metrics. The error is transient: Take can be repeated with the same delivery.
func (h *Handler) Take(ctx context.Context, guid, event string, at time.Time, body []byte) (string, error) {
	d := &delivery{began: at, guid: strings.ToLower(guid), event: event, verified: true}
	if !guidPattern.MatchString(d.guid) || !isHandled(event) {
		return "ignored", nil
	}
	res := h.take(ctx, d, body)
	h.o.Log.Info("took a delivery from GitHub's log", "result", res.word, "reason", res.reason, "event", d.label(), "trace", d.guid)
	if res.code == http.StatusServiceUnavailable {
		return res.word, cmp.Or(res.cause, errors.New(res.reason))
	}
	return res.word, nil
}

// take decodes a delivery that is authentic, and stores it if it has to be acted on.
func (h *Handler) take(ctx context.Context, d *delivery, body []byte) *result {
	event, err := decode(d.event, body)
	if err != nil {
		return &result{code: http.StatusBadRequest, word: "not_understood", reason: err.Error()}
	}
	return h.keep(ctx, d, event)
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
		return &result{code: http.StatusAccepted, word: "ignored", reason: reason}
	}
	if h.isLimited(ctx, event) && !h.limiter.allow(event, d.guid) {
		return &result{code: http.StatusAccepted, word: "limited", reason: fmt.Sprintf(
			"%s sent more than %d deliveries about %s; this one was dropped", event.Sender.Login, senderBurst, event.Repository.FullName())}
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
	switch {
	case err == nil || apierrors.IsAlreadyExists(err):
		return &result{code: http.StatusAccepted, word: "accepted", reason: reason}
	case failure.IsTerminal(err):
		return &result{code: http.StatusBadRequest, word: "not_understood", reason: "the delivery cannot be stored", cause: err}
	}
	h.limiter.refund(event, d.guid)
	return &result{
		code: http.StatusServiceUnavailable, word: "not_kept", reason: "the delivery could not be stored; Conductor takes it from GitHub's log later", cause: err,
	}
}

// isLimited reports whether the limit on senders applies. Anyone can comment on a public repository and close what they opened, but only
// writers can push.
func (h *Handler) isLimited(ctx context.Context, e v1alpha1.Event) bool {
	return e.Push == nil && (h.o.IsWriter == nil || !h.o.IsWriter(ctx, e))
}
