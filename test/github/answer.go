package githubtest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"time"
)

// object is a JSON object in the making.
type object = map[string]any

// answer is what a handler returns. Body is rendered as JSON, unless raw is set.
type answer struct {
	status int
	body   any
	raw    []byte
	header http.Header
}

const documentation = "https://docs.github.com/rest"

func ok(body any) answer { return answer{status: http.StatusOK, body: body, header: http.Header{}} }
func created(body any) answer {
	return answer{status: http.StatusCreated, body: body, header: http.Header{}}
}
func accepted(body any) answer {
	return answer{status: http.StatusAccepted, body: body, header: http.Header{}}
}
func noContent() answer { return answer{status: http.StatusNoContent, header: http.Header{}} }

// failure is an error answer in GitHub's form.
func failure(status int, message string) answer {
	return answer{status: status, header: http.Header{}, body: object{
		"message": message, "documentation_url": documentation, "status": itoa(status),
	}}
}

func notFound() answer { return failure(http.StatusNotFound, "Not Found") }

// invalid is a 422 that names a field, as GitHub's validation errors do.
func invalid(resource, field, code, message string) answer {
	problem := object{"resource": resource, "field": field, "code": code}
	if message != "" {
		problem["message"] = message
	}
	a := failure(http.StatusUnprocessableEntity, "Validation Failed")
	a.body.(object)["errors"] = []any{problem}
	return a
}

// unprocessable is a 422 with a message alone.
func unprocessable(message string) answer {
	return failure(http.StatusUnprocessableEntity, message)
}

// render makes the body's bytes and sets its type.
func (a *answer) render() error {
	if a.raw != nil || a.body == nil {
		return nil
	}
	data, err := json.Marshal(a.body)
	if err != nil {
		return err
	}
	a.raw = data
	if a.header.Get("Content-Type") == "" {
		a.header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return nil
}

// etag is the entity tag of a body. GitHub's vary with the Authorization header: a new token gets a full answer first.
func etag(credential string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(credential + "\n"))
	h.Write(body)
	return `W/"` + hex.EncodeToString(h.Sum(nil)) + `"`
}

// stamp is GitHub's timestamp; nil for the zero time, which JSON shows as null.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func certificatePEM(c *x509.Certificate) []byte {
	if c == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
