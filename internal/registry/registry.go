// Package registry is the adapter to OCI registries: where images and records go, who may push and pull them, what an
// image's config says. It speaks the OCI distribution protocol and nothing of any product.
package registry

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// requestTimeout bounds one question to a registry, its repetitions included. A layer's push has no such bound: see patience.
const requestTimeout = 15 * time.Second

// Where records and source artifacts are kept when the operator does not say.
const (
	DefaultRecords = "records"
	DefaultSources = "sources"
)

// Options say which registry a Registry is.
type Options struct {
	// Host is host or host:port.
	Host string
	// Prefix is put before owner/name; it may be empty.
	Prefix string
	// Records is put before owner/name of records, below Prefix; with a slash at its beginning, below Host. Empty is DefaultRecords.
	Records string
	// Sources is the same for source artifacts. Empty is DefaultSources.
	Sources string
	// Insecure speaks plain HTTP to Host. Without it nothing is ever sent over plain HTTP.
	Insecure bool
	// PushConfigFile and PullConfigFile are Docker config.json files, read whenever they are needed, so that a
	// replaced credential is used at once. Either may be empty: then no one logs in.
	PushConfigFile, PullConfigFile string
	// Mirrors are asked for images before Docker Hub is; each is a host, or a host and a path.
	Mirrors []string
	// Credential answers instead of the files where it is set.
	Credential auth.CredentialFunc
	// Transport sends the requests; nil is one with this package's own limits.
	Transport http.RoundTripper
}

// Registry is one OCI registry. It is safe for concurrent use.
type Registry struct {
	o Options
	// rewrites is held while something is read and written anew: lists of links, histories. It is a channel, so that waiting ends
	// with the context.
	rewrites chan struct{}
	configs  configCache
	patience time.Duration
}

// New makes a Registry. It sends nothing and reads no credential yet.
func New(o Options) (*Registry, error) {
	o.Prefix = strings.Trim(o.Prefix, "/")
	if o.Records == "" {
		o.Records = DefaultRecords
	}
	if o.Sources == "" {
		o.Sources = DefaultSources
	}
	if err := (orasregistry.Reference{Registry: o.Host}).ValidateRegistry(); o.Host == "" || err != nil {
		return nil, fmt.Errorf("the registry's host %q is not valid: it is host or host:port", o.Host)
	}
	if o.Prefix != "" && !isPath(o.Prefix) {
		return nil, fmt.Errorf("the registry's prefix %q is not a path of lowercase names", o.Prefix)
	}
	if !isPath(strings.TrimPrefix(o.Records, "/")) {
		return nil, fmt.Errorf("the registry's place for records %q is not a path of lowercase names", o.Records)
	}
	if !isPath(strings.TrimPrefix(o.Sources, "/")) {
		return nil, fmt.Errorf("the registry's place for source artifacts %q is not a path of lowercase names", o.Sources)
	}
	if strings.Trim(o.Sources, "/") == strings.Trim(o.Records, "/") {
		return nil, fmt.Errorf("the registry's places for records and for source artifacts are both %q: a run's tag would be in both", o.Sources)
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
		}
	}
	o.Transport = &secureTransport{next: o.Transport, host: o.Host, insecure: o.Insecure}
	return &Registry{o: o, rewrites: make(chan struct{}, 1), patience: patience}, nil
}

func isPath(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !component.MatchString(part) {
			return false
		}
	}
	return true
}

// secureTransport refuses plain HTTP but to the host that the operator allows it for: a redirect or a token service
// could ask for it.
type secureTransport struct {
	next     http.RoundTripper
	host     string
	insecure bool
}

var errPlain = errors.New("plain HTTP is not allowed: registry.insecure is not set")

// RoundTrip implements http.RoundTripper.
func (s *secureTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && (!s.insecure || r.URL.Hostname() != hostname(s.host)) {
		return nil, errPlain
	}
	return s.next.RoundTrip(r)
}

// hostname is a host without its port: a registry's token service may listen on another one.
func hostname(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return hostport
}
