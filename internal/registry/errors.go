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

// seeing is an errand that only reads an image, as a stack does; its credential is the stack's.
func (r *Registry) seeing(image string) errand {
	return errand{
		act: "see the image " + image, none: "There is no image " + image,
		denied: v1alpha1.ReasonImageUnavailable, missing: v1alpha1.ReasonImageUnavailable,
		files: []string{r.o.PullConfigFile, r.o.PushConfigFile},
	}
}

// reading is an errand that reads what Conductor itself has written, which stacks may lack the right to.
func (r *Registry) reading(what string) errand {
	return errand{
		act: "see the " + what, none: "There is no " + what, denied: v1alpha1.ReasonRefused, missing: v1alpha1.ReasonNotFound,
		files: []string{r.o.PushConfigFile, r.o.PullConfigFile},
	}
}

// writing is an errand that pushes. That something is not there is then no answer, but a registry that has forgotten an upload.
func (r *Registry) writing(what string) errand {
	e := r.reading(what)
	e.act, e.none = "write the "+what, ""
	return e
}

// explain turns an error into a failure; nil stays nil. A registry answers 401 or 403 for what does not exist when it must
// not say so, so that these three read alike.
func (r *Registry) explain(err error, e errand, host string) error {
	var f *failure.Error
	var unreadable *unreadableError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.As(err, &unreadable):
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "Conductor cannot %s: what belongs in it cannot be read to its end", e.act)
	case errors.Is(err, errPlain):
		return failure.Terminalf(e.denied, err, "The registry %s is reachable over plain HTTP only, which the operator does not allow", host)
	}
	switch code := status(err); {
	case code == http.StatusNotFound && e.none != "":
		return failure.Terminalf(e.missing, err, "%s", e.none)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		or := ""
		if e.none != "" {
			or = ", or there is none"
		}
		return failure.Terminalf(e.denied, err, "The registry %s does not let Conductor %s%s; it was asked %s", host, e.act, or, r.tried(host, e.files))
	case code == http.StatusTooManyRequests:
		return failure.Waitingf(v1alpha1.ReasonUnavailable, time.Minute, "The registry %s limits requests; trying again in a minute", host)
	case code == http.StatusRequestEntityTooLarge:
		return failure.Terminalf(e.denied, err, "The registry %s does not let Conductor %s: it is too large (HTTP status 413)", host, e.act)
	case code != 0:
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The registry %s answered with HTTP status %d", host, code)
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The registry %s did not answer", host)
}

// status is the HTTP status that an error represents; 0 when no one answered.
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
