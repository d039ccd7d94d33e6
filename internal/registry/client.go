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

// operation is an access to a repository and the credentials for it.
type operation struct {
	// act names the operation in messages, such as: read the image NAME. thing is what it reads; it is empty for operations that write,
	// where a 404 does not mean that something is missing.
	act, thing string
	// denied and missing are the condition reasons for a refusal and for a missing thing.
	denied, missing string
	// files are the credential files, in the order in which they are tried.
	files []string
}

// open returns a repository for an operation. It caches logins for its lifetime.
func (r *Registry) open(ref orasregistry.Reference, e operation) *remote.Repository {
	return &remote.Repository{
		Reference: ref, PlainHTTP: r.plain(ref.Registry), Client: r.client(e.files),
		// Many registries do not allow manifests to be deleted, and Conductor's account should not need that right.
		SkipReferrersGC: true,
	}
}

// plain reports whether to use plain HTTP for a host.
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

// policy retries requests that can be repeated: those without a body, or whose body is in memory. Longer waits are left to the caller.
func policy() retry.Policy {
	return &retry.GenericPolicy{
		Retryable: retry.DefaultPredicate, Backoff: retry.ExponentialBackoff(200*time.Millisecond, 3, 0.2),
		MinWait: 100 * time.Millisecond, MaxWait: 2 * time.Second, MaxRetry: 2,
	}
}

// Ping checks that the registry responds and accepts the credential for pushes.
func (r *Registry) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	e := r.artifactWrite("images")
	host, err := remote.NewRegistry(r.o.Host)
	if err != nil {
		return fmt.Errorf("create a client for the registry: %w", err)
	}
	host.PlainHTTP, host.Client = r.plain(r.o.Host), r.client(e.files)
	return r.explain(host.Ping(ctx), e, r.o.Host)
}

// exclusive waits until no other rewrite is in progress. The caller must call the returned function when its own rewrite is finished.
func (r *Registry) exclusive(ctx context.Context) (func(), error) {
	select {
	case r.rewrites <- struct{}{}:
		return func() { <-r.rewrites }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another writer: %w", ctx.Err())
	}
}
