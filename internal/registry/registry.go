// Package registry is the adapter to OCI registries: it names images and records, pushes and pulls them, selects credentials and reads
// image configurations. It uses only the OCI distribution protocol, no vendor's API.
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

// requestTimeout limits one request to a registry, including its retries. The push of a layer is limited by stallTimeout instead.
const requestTimeout = 15 * time.Second

// Default locations of records and source artifacts.
const (
	DefaultRecords = "records"
	DefaultSources = "sources"
)

// Options configure a Registry.
type Options struct {
	// Host is host or host:port.
	Host string
	// Prefix precedes owner/name; it may be empty.
	Prefix string
	// Records precedes owner/name in the path of records, below Prefix or, with a leading slash, below Host. The default is
	// DefaultRecords.
	Records string
	// Sources is the same for source artifacts. The default is DefaultSources.
	Sources string
	// Insecure uses plain HTTP for Host. Nothing is ever sent to other hosts over plain HTTP.
	Insecure bool
	// PushConfigFile and PullConfigFile are Docker config.json files. They are read at each use, so that a rotated credential takes effect
	// at once. Without them requests are anonymous.
	PushConfigFile, PullConfigFile string
	// Mirrors are tried before Docker Hub; each is a host, or a host and a path.
	Mirrors []string
	// Credential, if set, replaces the files.
	Credential auth.CredentialFunc
	// Transport sends the requests; nil selects one with this package's timeouts.
	Transport http.RoundTripper
}

// Registry is one OCI registry. It is safe for concurrent use.
type Registry struct {
	o Options
	// rewrites is held during a read-modify-write of link lists and histories. It is a channel, so that waiting ends with the context.
	rewrites     chan struct{}
	configs      configCache
	stallTimeout time.Duration
}

// New creates a Registry. It sends no request and reads no credential yet.
func New(o Options) (*Registry, error) {
	o.Prefix = strings.Trim(o.Prefix, "/")
	if o.Records == "" {
		o.Records = DefaultRecords
	}
	if o.Sources == "" {
		o.Sources = DefaultSources
	}
	if err := (orasregistry.Reference{Registry: o.Host}).ValidateRegistry(); o.Host == "" || err != nil {
		return nil, fmt.Errorf("invalid registry host %q: use host or host:port", o.Host)
	}
	if o.Prefix != "" && !isPath(o.Prefix) {
		return nil, fmt.Errorf("invalid registry prefix %q: use a path of lowercase names", o.Prefix)
	}
	if !isPath(strings.TrimPrefix(o.Records, "/")) {
		return nil, fmt.Errorf("invalid registry path for records %q: use a path of lowercase names", o.Records)
	}
	if !isPath(strings.TrimPrefix(o.Sources, "/")) {
		return nil, fmt.Errorf("invalid registry path for source artifacts %q: use a path of lowercase names", o.Sources)
	}
	if strings.Trim(o.Sources, "/") == strings.Trim(o.Records, "/") {
		return nil, fmt.Errorf("the registry paths for records and for source artifacts are both %q, so their tags would collide: use two paths", o.Sources)
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
	return &Registry{o: o, rewrites: make(chan struct{}, 1), stallTimeout: stallTimeout}, nil
}

func isPath(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !component.MatchString(part) {
			return false
		}
	}
	return true
}

// secureTransport rejects plain HTTP except to the host that the operator allows it for. A redirect or a token service could request it
// otherwise.
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

// hostname removes the port: a registry's token service may listen on another port.
func hostname(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return hostport
}
