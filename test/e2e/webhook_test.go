//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// request is a webhook request.
type request struct {
	body   []byte
	header map[string]string
}

// signed is a delivery as GitHub sends it.
func signed(event, guid string, body []byte) request {
	mac := hmac.New(sha256.New, []byte(here.App.WebhookSecret))
	mac.Write(body)
	return request{body: body, header: map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": guid,
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	}}
}

// without is the request without a header.
func (r request) without(name string) request {
	header := map[string]string{}
	for k, v := range r.header {
		if k != name {
			header[k] = v
		}
	}
	return request{r.body, header}
}

// having is the request with another header.
func (r request) having(name, value string) request {
	r = r.without(name)
	r.header[name] = value
	return r
}

// response is the response to a webhook request; status 0 means that there was none.
type response struct {
	status int
	body   string
}

func post(t *testing.T, r request) response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, here.WebhookURL(), bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return response{body: err.Error()}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res.StatusCode, string(body)}
}

func newGUID(t *testing.T) string {
	t.Helper()
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// padded is a push of a branch, padded to a size.
func padded(size int) []byte {
	head := `{"ref":"refs/heads/main","before":"` + strings.Repeat("0", 40) + `","after":"` + strings.Repeat("1", 40) + `",
		"repository":{"id":1,"name":"app","full_name":"acme/app","owner":{"login":"acme"}},"sender":{"login":"ada","id":2},"installation":{"id":3},"padding":"`
	return append(append([]byte(head), bytes.Repeat([]byte("x"), size-len(head)-2)...), '"', '}')
}

// TestWebhookRefuses sends what GitHub would not send. None of it is stored, all of it is counted.
func TestWebhookRefuses(t *testing.T) {
	t.Parallel()
	small, guid := padded(1024), newGUID(t)
	good := signed("push", guid, small)
	mac := hmac.New(sha1.New, []byte(here.App.WebhookSecret))
	mac.Write(small)
	old := "sha1=" + hex.EncodeToString(mac.Sum(nil))
	for _, c := range []struct {
		name    string
		request request
		status  int
		word    string
		says    string
	}{
		{"no signature", good.without("X-Hub-Signature-256"), 401, "unsigned", "the header X-Hub-Signature-256 is missing: set a webhook secret in the App's settings"},
		{"SHA-1 only", good.without("X-Hub-Signature-256").having("X-Hub-Signature", old), 401, "unsigned", "only a SHA-1 signature"},
		{"another body's signature", request{append(bytes.Clone(small), ' '), good.header}, 401, "bad_signature", "different webhook secrets"},
		{"no signature at all", good.having("X-Hub-Signature-256", "sha256=abc"), 401, "bad_signature", "64 hexadecimal digits"},
		{"not JSON", signed("push", guid, []byte("ref=refs/tags/run-integration-tests")), 400, "not_understood", "JSON"},
		{"a form", good.having("Content-Type", "application/x-www-form-urlencoded"), 415, "bad_type", "set the webhook's content type to application/json"},
		{"no GUID", good.without("X-GitHub-Delivery"), 400, "bad_guid", "X-GitHub-Delivery is not a GUID"},
		{"25 MiB", signed("push", guid, padded(25<<20)), 202, "ignored", ""},
		{"25 MiB and a byte", signed("push", guid, padded(25<<20+1)), 413, "too_large", "at most 25 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := counted(t, c.word)
			res := post(t, c.request)
			if res.status != c.status || !strings.Contains(res.body, `"`+c.word+`"`) || !strings.Contains(res.body, c.says) {
				t.Errorf("answered %d %s, want %d %s: %s", res.status, res.body, c.status, c.word, c.says)
			}
			if after := counted(t, c.word); after <= before {
				t.Errorf("conductor_webhook_deliveries_total{result=%q} is %d as before", c.word, after)
			}
		})
	}
	var d v1alpha1.Delivery
	err := here.Client.Get(t.Context(), client.ObjectKey{Namespace: lab.Namespace, Name: guid}, &d)
	if !apierrors.IsNotFound(err) {
		t.Errorf("a refused delivery is kept: %+v, %v", d, err)
	}
}

// TestWebhookBesides checks the paths that are not for GitHub.
func TestWebhookBesides(t *testing.T) {
	t.Parallel()
	base := strings.TrimSuffix(here.WebhookURL(), "/webhook")
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/webhook": 405, "/metrics": 404, "/": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", path, res.StatusCode, want)
		}
	}
}

// counted is the webhook's counter for a label value, over all replicas.
func counted(t *testing.T, word string) int {
	t.Helper()
	list, err := here.Kube.CoreV1().Pods(lab.Namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^conductor_webhook_deliveries_total\{[^}]*result="` + word + `"[^}]*\} (\d+)`)
	n, read := 0, 0
	for _, p := range list.Items {
		text := metrics(t, p)
		if text != "" {
			read++
		}
		for _, m := range line.FindAllStringSubmatch(text, -1) {
			i, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			n += i
		}
	}
	if read == 0 {
		t.Fatal("no replica has metrics")
	}
	return n
}

// metrics are those of a replica, read through the API server; empty for a pod that is not Conductor's.
func metrics(t *testing.T, p corev1.Pod) string {
	t.Helper()
	if p.Labels["app.kubernetes.io/name"] != "conductor" || p.DeletionTimestamp != nil {
		return ""
	}
	data, err := here.Kube.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, "9090", "/metrics", nil).DoRaw(t.Context())
	if err != nil {
		t.Fatalf("read the metrics of %s: %v", p.Name, err)
	}
	return string(data)
}
