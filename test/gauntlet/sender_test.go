//go:build apiserver

package gauntlet

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// hook is a request to the webhook.
type hook struct {
	guid, event string
	body        []byte
	// header overrides what GitHub would send; an empty value removes it.
	header map[string]string
}

// newGUID returns a random GUID.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// hookOf is the request of a delivery in GitHub's log.
func hookOf(d githubtest.Delivery) hook { return hook{guid: d.GUID, event: d.Event, body: d.Payload} }

// sign returns the signature of a body.
func (w *world) sign(body []byte) string {
	mac := hmac.New(sha256.New, []byte(w.app.WebhookSecret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// request makes the request, signed as GitHub signs it.
func (w *world) request(r *replica, h hook, body io.Reader) *http.Request {
	req, err := http.NewRequest(http.MethodPost, "http://"+r.listen+"/webhook", body)
	if err != nil {
		panic(err)
	}
	header := map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/0000000", "X-GitHub-Delivery": h.guid, "X-GitHub-Event": h.event,
	}
	if _, isGiven := h.header["X-Hub-Signature-256"]; !isGiven {
		header["X-Hub-Signature-256"] = w.sign(h.body)
	}
	for name, value := range h.header {
		header[name] = value
	}
	for name, value := range header {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	return req
}

var sender = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// post sends a request to a replica and returns the status; 0 means that there was no answer.
func (w *world) post(r *replica, h hook) int {
	resp, err := sender.Do(w.request(r, h, bytes.NewReader(h.body)))
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func atoi(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
