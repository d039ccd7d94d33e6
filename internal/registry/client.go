package registry

import (
	"context"
	"fmt"
	"net/http"
	"time"

	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// errand is what is done in a repository, and with whose credential.
type errand struct {
	// act is what a registry may deny, such as: see the image NAME. none is the sentence for when there is nothing to see.
	act, none string
	// denied and missing are the reasons for the two.
	denied, missing string
	// files are the credentials' files, in the order in which they are tried.
	files []string
}

// open is a repository as an errand sees it. Logins are remembered for as long as it lives.
func (r *Registry) open(ref orasregistry.Reference, e errand) *remote.Repository {
	return &remote.Repository{
		Reference: ref, PlainHTTP: r.plain(ref.Registry), Client: r.client(e.files),
		// Many registries do not let manifests be deleted, and Conductor's account should not need the right to.
		SkipReferrersGC: true,
	}
}

// plain reports whether a host is spoken to over plain HTTP.
func (r *Registry) plain(host string) bool { return r.o.Insecure && host == r.o.Host }

func (r *Registry) client(files []string) *auth.Client {
	return &auth.Client{
		Client:     &http.Client{Transport: &retry.Transport{Base: r.o.Transport, Policy: policy}},
		Header:     http.Header{"User-Agent": {"conductor"}},
		Credential: r.credentials(files),
		Cache:      auth.NewCache(),
		ClientID:   "conductor",
	}
}

// policy repeats what can be repeated: a request without a body, or with one that is at hand. Longer waits are the caller's.
func policy() retry.Policy {
	return &retry.GenericPolicy{
		Retryable: retry.DefaultPredicate, Backoff: retry.ExponentialBackoff(200*time.Millisecond, 3, 0.2),
		MinWait: 100 * time.Millisecond, MaxWait: 2 * time.Second, MaxRetry: 2,
	}
}

// Ping reports whether the registry answers and takes the credential that builds push with.
func (r *Registry) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	e := r.writing("images")
	host, err := remote.NewRegistry(r.o.Host)
	if err != nil {
		return fmt.Errorf("ask the registry: %w", err)
	}
	host.PlainHTTP, host.Client = r.plain(r.o.Host), r.client(e.files)
	return r.explain(host.Ping(ctx), e, r.o.Host)
}

// exclusive waits until no one else rewrites something. The function that it gives ends that.
func (r *Registry) exclusive(ctx context.Context) (func(), error) {
	select {
	case r.rewrites <- struct{}{}:
		return func() { <-r.rewrites }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another writer: %w", ctx.Err())
	}
}
