package registry

import (
	"errors"
	"net/http"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// imageRead is the operation of artifactRead an image, as a stack does, with a stack's credential first.
func (r *Registry) imageRead(image string) operation {
	return operation{
		act: "read the image " + image, thing: "the image " + image,
		denied: v1alpha1.ReasonImageUnavailable, missing: v1alpha1.ReasonImageUnavailable,
		files: []string{r.o.PullConfigFile, r.o.PushConfigFile},
	}
}

// artifactRead is the operation of artifactRead one of Conductor's own artifacts. It uses the push credential first, because the stacks' may
// not have access.
func (r *Registry) artifactRead(what string) operation {
	return operation{
		act: "read the " + what, thing: "the " + what, denied: v1alpha1.ReasonRefused, missing: v1alpha1.ReasonNotFound,
		files: []string{r.o.PushConfigFile, r.o.PullConfigFile},
	}
}

// artifactWrite is a push. A 404 then does not mean that something is missing; it means that the registry lost an upload.
func (r *Registry) artifactWrite(what string) operation {
	e := r.artifactRead(what)
	e.act, e.thing = "write the "+what, ""
	return e
}

// explain converts an error into a failure; nil stays nil. A registry that must not reveal what exists answers 401 or 403 for missing
// things too, so the sentence for those names both causes.
func (r *Registry) explain(err error, e operation, host string) error {
	var f *failure.Error
	var unreadable *unreadableError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.As(err, &unreadable):
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "Conductor cannot %s: its content could not be read completely", e.act)
	case errors.Is(err, errPlain):
		return failure.Terminalf(e.denied, err, "The registry %s offers only plain HTTP, which the operator does not allow", host)
	}
	switch code := status(err); {
	case code == http.StatusNotFound && e.thing != "":
		return failure.Terminalf(e.missing, err, "Conductor cannot %s: the registry %s does not have it. Check the name", e.act, host)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		or, check := "", "The operator should check the credential"
		if e.thing != "" {
			or, check = " or "+e.thing+" does not exist", "Check the name and the operator's credential"
		}
		return failure.Terminalf(e.denied, err, "Conductor cannot %s: the registry %s denied access%s (requested %s). %s",
			e.act, host, or, r.describeCredential(host, e.files), check)
	case code == http.StatusTooManyRequests:
		return failure.Waitingf(v1alpha1.ReasonUnavailable, time.Minute, "Rate limit of the registry %s reached; retrying in a minute", host)
	case code == http.StatusRequestEntityTooLarge:
		return failure.Terminalf(e.denied, err, "Conductor cannot %s: it is too large for the registry %s (HTTP status 413)", e.act, host)
	case code != 0:
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The registry %s answered with HTTP status %d", host, code)
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The registry %s did not answer", host)
}

// status returns the HTTP status of an error; 0 if the registry did not respond.
func status(err error) int {
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &answer):
		return answer.StatusCode
	case errors.Is(err, errdef.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return http.StatusUnauthorized
	}
	return 0
}
