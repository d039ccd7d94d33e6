// Package registry is the adapter to an OCI registry: where images go, who may push and pull them, and what a
// reference names now. It speaks the OCI distribution protocol and nothing of any product.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// requestTimeout bounds one question to the registry, its repetitions included.
const requestTimeout = 15 * time.Second

// Options say which registry a Registry is.
type Options struct {
	// Host is host or host:port.
	Host string
	// Prefix is put before owner/name; it may be empty.
	Prefix string
	// Insecure allows plain HTTP to Host. Without it nothing is ever sent over plain HTTP.
	Insecure bool
	// PushConfigFile and PullConfigFile are Docker config.json files, read whenever they are needed, so that a
	// replaced credential is used at once. Either may be empty: then nobody logs in.
	PushConfigFile, PullConfigFile string
	// Transport sends the requests; nil is one with this package's own limits.
	Transport http.RoundTripper
}

// Registry is one OCI registry. It is safe for concurrent use.
type Registry struct {
	o    Options
	host name.Registry
}

// New makes a Registry. It sends nothing and reads no credential yet.
func New(o Options) (*Registry, error) {
	o.Prefix = strings.Trim(o.Prefix, "/")
	host, err := name.NewRegistry(o.Host, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("the registry's host %q is not valid: %w", o.Host, err)
	}
	if o.Insecure {
		host, err = name.NewRegistry(o.Host, name.StrictValidation, name.Insecure)
		if err != nil {
			return nil, fmt.Errorf("the registry's host %q is not valid: %w", o.Host, err)
		}
	}
	for part := range strings.SplitSeq(o.Prefix, "/") {
		if o.Prefix != "" && !component.MatchString(part) {
			return nil, fmt.Errorf("the registry's prefix %q is not a path of lowercase names", o.Prefix)
		}
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
	return &Registry{o: o, host: host}, nil
}

// secureTransport refuses plain HTTP but to the host that the operator allows it for. The library would fall back to
// it for private addresses, and send the credential with it.
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

// Digest is what a reference names now. There being no such image, or none that Conductor may see, is a terminal failure.
func (r *Registry) Digest(ctx context.Context, reference string) (string, error) {
	var opts []name.Option
	if r.o.Insecure && strings.HasPrefix(reference, r.o.Host+"/") {
		opts = append(opts, name.Insecure)
	}
	ref, err := name.ParseReference(reference, opts...)
	if err != nil {
		return "", failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "%q is not an image reference", reference)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found, err := remote.Head(ref, r.options(ctx)...)
	if status(err) == http.StatusMethodNotAllowed || (err != nil && status(err) == 0 && ctx.Err() == nil && answered(err)) {
		// Some registries answer HEAD without a digest, or not at all; the manifest itself always has one.
		got, getErr := remote.Get(ref, r.options(ctx)...)
		if getErr == nil {
			return got.Digest.String(), nil
		}
		err = getErr
	}
	if err != nil {
		return "", explain(reference, ref.Context().RegistryStr(), err)
	}
	return found.Digest.String(), nil
}

// Ping says whether the registry answers and takes the credential that builds push with.
func (r *Registry) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	auth, err := r.credential(r.host, r.o.PushConfigFile, r.o.PullConfigFile)
	if err != nil {
		return err
	}
	// For a registry with tokens this asks for one, for another it says how to log in.
	t, err := transport.NewWithContext(ctx, r.host, auth, r.o.Transport, nil)
	if err != nil {
		return explain(r.o.Host, r.o.Host, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.host.Scheme()+"://"+r.host.RegistryStr()+"/v2/", nil)
	if err != nil {
		return fmt.Errorf("ask the registry: %w", err)
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return explain(r.o.Host, r.o.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return explain(r.o.Host, r.o.Host, err)
	}
	return nil
}

func (r *Registry) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(r.o.Transport), remote.WithAuthFromKeychain(keychain{r}),
		remote.WithUserAgent("conductor"),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.2, Steps: 3}),
	}
}

// keychain finds the credential for a registry, in the file that stacks pull with before the one that builds push with.
type keychain struct{ r *Registry }

// Resolve implements authn.Keychain.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.r.credential(target, k.r.o.PullConfigFile, k.r.o.PushConfigFile)
}

func status(err error) int {
	var t *transport.Error
	if errors.As(err, &t) {
		return t.StatusCode
	}
	return 0
}

// answered says that an error without a status is not one of the way there.
func answered(err error) bool {
	var n net.Error
	var f *failure.Error
	return !errors.As(err, &n) && !errors.As(err, &f) && !errors.Is(err, errPlain)
}

// explain turns an error into a failure. A registry answers 401 or 403 for an image that does not exist when it must
// not say so, so that these three read alike.
func explain(what, host string, err error) error {
	var f *failure.Error
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, errPlain) {
		return failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "The registry %s is reachable over plain HTTP only, which the operator does not allow", host)
	}
	switch status(err) {
	case http.StatusNotFound:
		return failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "There is no image %s", what)
	case http.StatusUnauthorized, http.StatusForbidden:
		return failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "The registry does not let Conductor see %s, or there is no such image", what)
	case http.StatusTooManyRequests:
		return failure.Waitingf(v1alpha1.ReasonUnavailable, time.Minute, "The registry %s asks to wait before it is asked again", host)
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The registry %s did not answer", host)
}
