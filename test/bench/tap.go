package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// tap is a proxy between GitHub and the webhook that notes the arrival of each delivery before Conductor receives any of it. Its own
// overhead counts against Conductor.
type tap struct {
	url string

	mu   sync.Mutex
	seen map[string]time.Time
}

func newTap(webhook string) (*tap, error) {
	target, err := url.Parse(webhook)
	if err != nil {
		return nil, fmt.Errorf("the webhook's address: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen to deliveries: %w", err)
	}
	t := &tap{url: "http://" + l.Addr().String() + target.Path, seen: map[string]time.Time{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host }}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		t.mu.Lock()
		t.seen[strings.ToLower(r.Header.Get("X-GitHub-Delivery"))] = now
		t.mu.Unlock()
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(l) }() // Runs until the program ends.
	return t, nil
}

// at is when a delivery arrived.
func (t *tap) at(guid string) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.seen[guid]
	return at, ok
}
