package githubtest

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// deliveryWindow is how long GitHub keeps a delivery for redelivery.
// https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
const deliveryWindow = 3 * 24 * time.Hour

// maxPayload is the size above which GitHub sends no delivery. https://docs.github.com/webhooks/webhook-events-and-payloads
const maxPayload = 25 << 20

// enterpriseVersion is what Options.Enterprise claims to be. Its description (ghes-3.19.json of the package that
// openapi/VERSION names) knows no return_run_details and at most ten inputs of a dispatch.
const enterpriseVersion = "3.19.0"

// hook is an App's webhook: where deliveries go, and what became of them.
type hook struct {
	id         int64
	url        string
	secret     string
	deliveries []*Delivery
	lose, drop int
}

// forget removes deliveries that are older than GitHub's window.
func (h *hook) forget(now time.Time) {
	kept := slices.IndexFunc(h.deliveries, func(d *Delivery) bool { return !d.Done || now.Sub(d.At) <= deliveryWindow })
	if kept < 0 {
		kept = len(h.deliveries)
	}
	h.deliveries = h.deliveries[kept:]
}

// Delivery is one attempt to deliver an event to an App.
type Delivery struct {
	ID int64 `json:"id"`
	// GUID names the event: a redelivery has the same.
	GUID         string    `json:"guid"`
	Event        string    `json:"event"`
	Action       string    `json:"action,omitempty"`
	Installation int64     `json:"installation,omitempty"`
	Repository   int64     `json:"repository,omitempty"`
	Redelivery   bool      `json:"redelivery"`
	At           time.Time `json:"at"`
	// Done means that the attempt is over; Status and StatusCode, which is 0 without a response, are its outcome.
	Done       bool          `json:"done"`
	Status     string        `json:"status"`
	StatusCode int           `json:"statusCode"`
	Duration   time.Duration `json:"duration"`
	// Payload is what was sent.
	Payload json.RawMessage `json:"payload"`

	requestHeader, responseHeader http.Header
	response                      string
	lost                          bool
}

// hookQueues send deliveries, one after the other for each App.
type hookQueues struct {
	mu      sync.Mutex
	queues  map[int64]chan func()
	running sync.WaitGroup
	closed  bool
}

func (q *hookQueues) add(app int64, send func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if q.queues == nil {
		q.queues = map[int64]chan func(){}
	}
	queue, found := q.queues[app]
	if !found {
		queue = make(chan func(), 100000)
		q.queues[app] = queue
		q.running.Go(func() {
			for send := range queue {
				send()
			}
		})
	}
	queue <- send
}

// close waits for the deliveries under way and gives up the rest.
func (q *hookQueues) close() {
	q.mu.Lock()
	q.closed = true
	for _, queue := range q.queues {
		for empty := false; !empty; {
			select {
			case <-queue:
			default:
				empty = true
			}
		}
		close(queue)
	}
	q.mu.Unlock()
	q.running.Wait()
}

// emit delivers an event of a repository to every App that is installed on it and subscribed.
func (s *Server) emit(r *repository, event, action string, sender *account, payload object) {
	for _, i := range s.state.installations {
		if i.covers(r) && i.suspended.IsZero() && i.subscribes(event) {
			s.emitTo(i, r, event, action, sender, payload)
		}
	}
}

// emitTo delivers an event to one installation's App.
func (s *Server) emitTo(i *installation, r *repository, event, action string, sender *account, payload object) {
	body := object{"sender": s.user(sender)}
	if action != "" {
		body["action"] = action
	}
	if r != nil {
		body["repository"] = s.webhookRepository(r)
		if r.owner.kind == "Organization" {
			body["organization"] = s.organization(r.owner)
		}
		body["installation"] = object{"id": i.id, "node_id": nodeID("Installation", i.id)}
	}
	for key, value := range payload {
		body[key] = value
	}
	data, err := json.Marshal(body)
	if err != nil {
		s.violations.add("webhook", event, err.Error())
		return
	}
	if err := s.contract.Webhook(event, action, data); err != nil {
		s.violations.add("webhook", event, err.Error())
	}
	d := &Delivery{GUID: newGUID(), Event: event, Action: action, Installation: i.id, Payload: data}
	if r != nil {
		d.Repository = r.id
	}
	s.deliver(i.app, d)
}

// deliver puts a delivery into the log and the queue. It holds the lock; sending does not.
func (s *Server) deliver(a *app, d *Delivery) {
	if a.hook.url == "" || len(d.Payload) > maxPayload {
		return
	}
	if a.hook.drop > 0 {
		a.hook.drop--
		return
	}
	d.ID, d.At = s.id(), s.now()
	if a.hook.lose > 0 && !d.Redelivery {
		a.hook.lose--
		d.lost = true
	}
	d.requestHeader = s.hookHeader(a, d)
	a.hook.forget(d.At)
	a.hook.deliveries = append(a.hook.deliveries, d)
	target, lost := a.hook.url, d.lost
	s.hooks.add(a.id, func() { s.send(target, d, lost) })
}

// hookHeader is what GitHub sends with a delivery.
// https://docs.github.com/webhooks/webhook-events-and-payloads#delivery-headers
func (s *Server) hookHeader(a *app, d *Delivery) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "GitHub-Hookshot/0000000")
	h.Set("Accept", "*/*")
	h.Set("X-GitHub-Delivery", d.GUID)
	h.Set("X-GitHub-Event", d.Event)
	h.Set("X-GitHub-Hook-ID", itoa(a.hook.id))
	h.Set("X-GitHub-Hook-Installation-Target-ID", itoa(a.id))
	h.Set("X-GitHub-Hook-Installation-Target-Type", "integration")
	if s.options.Enterprise {
		h.Set("X-GitHub-Enterprise-Host", strings.SplitN(s.URL, "//", 2)[1])
		h.Set("X-GitHub-Enterprise-Version", enterpriseVersion)
	}
	if a.hook.secret != "" {
		h.Set("X-Hub-Signature", "sha1="+sign(sha1.New, a.hook.secret, d.Payload))
		h.Set("X-Hub-Signature-256", "sha256="+sign(sha256.New, a.hook.secret, d.Payload))
	}
	return h
}

func sign(algorithm func() hash.Hash, secret string, body []byte) string {
	mac := hmac.New(algorithm, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// send makes the attempt and records its outcome. It does not retry, like GitHub.
func (s *Server) send(target string, d *Delivery, lost bool) {
	started := time.Now()
	status, code, response, header := "failed to connect to host", 0, "", http.Header(nil)
	if !lost {
		status, code, response, header = s.post(target, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Done, d.Status, d.StatusCode, d.response, d.responseHeader = true, status, code, response, header
	d.Duration = time.Since(started)
}

func (s *Server) post(target string, d *Delivery) (status string, code int, body string, header http.Header) {
	request, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(d.Payload))
	if err != nil {
		return err.Error(), 0, "", nil
	}
	request.Header = d.requestHeader.Clone()
	client := &http.Client{Timeout: s.options.DeliveryTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	response, err := client.Do(request)
	if err != nil {
		if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() {
			return "timed out", 0, "", nil
		}
		return "failed to connect to host", 0, "", nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // what can be read of the answer is kept
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Sprintf("Invalid HTTP Response: %d", response.StatusCode), response.StatusCode, string(text), response.Header
	}
	return "OK", response.StatusCode, string(text), response.Header
}

// newGUID is a random UUID.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
