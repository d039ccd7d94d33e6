package openapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func mustLoad(t *testing.T) *Contract {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSubsetHoldsNoProse guards what the generator promises: facts for a validator and nothing written to be read.
func TestSubsetHoldsNoProse(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(subset, &root); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				walk(at, one)
			}
		case map[string]any:
			for key, value := range v {
				// A property may be called description; then the value is its schema and no string.
				if text, isString := value.(string); isString && text != "" && slices.Contains([]string{"description", "summary", "title", "example"}, key) {
					t.Errorf("%s has %s: %q", at, key, text)
				}
				if strings.HasPrefix(key, "x-") || key == "examples" || key == "externalDocs" {
					t.Errorf("%s has %s", at, key)
				}
				walk(at+"/"+key, value)
			}
		}
	}
	walk("paths", root["paths"])
	walk("components", root["components"])
}

func TestListAndSubsetAgree(t *testing.T) {
	c := mustLoad(t)
	listed := map[string]bool{}
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "WEBHOOK") {
			listed[line] = true
		}
	}
	for _, name := range c.Operations() {
		if !listed[name] {
			t.Errorf("%s is in subset.json and not in operations.txt", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is in operations.txt and not in subset.json; run go generate", name)
	}
	for _, event := range c.Webhooks() {
		if c.doc.Components.Schemas["webhook-"+event] == nil {
			t.Errorf("no schema of webhook %s; run go generate", event)
		}
	}
	if err := c.doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestResponse(t *testing.T) {
	c := mustLoad(t)
	op, err := c.Operation(http.MethodGet, "/repos/{owner}/{repo}/git/ref/{ref}")
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"ref":"refs/tags/x","node_id":"n","url":"http://x","object":{"type":"commit","sha":"` + "0123456789012345678901234567890123456789" + `","url":"http://x"}}`
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"as described", 200, good, ""},
		{"field missing", 200, strings.Replace(good, `"node_id":"n",`, "", 1), "node_id"},
		{"wrong type", 200, strings.Replace(good, `"refs/tags/x"`, "1", 1), "/ref"},
		{"nested", 200, strings.Replace(good, `"commit"`, "null", 1), "/object/type"},
		{"sha too short", 200, strings.Replace(good, "0123456789", "", 1), "/object/sha"},
		{"list in place of object", 200, "[" + good + "]", "object"},
		{"status that is not described", 202, good, "status"},
		{"error that any operation may give", 429, `{"message":"slow"}`, ""},
		{"described error of another form", 409, `[]`, "object"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			err := op.Response(r, test.status, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, []byte(test.body))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; want %q", err, test.want)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	c := mustLoad(t)
	op, err := c.Operation(http.MethodPost, "/repos/{owner}/{repo}/issues/{issue_number}/comments")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, number, body, wrong, unknown string }{
		{"as described", "1", `{"body":"x"}`, "", ""},
		{"no body", "1", ``, "value is required", ""},
		{"field missing", "1", `{}`, "/body", ""},
		{"parameter of another type", "one", `{"body":"x"}`, "issue_number", ""},
		{"field that is not described", "1", `{"body":"x","Body":"y"}`, "", `"Body"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.body))
			params := map[string]string{"owner": "o", "repo": "r", "issue_number": test.number}
			wrong, unknown := op.Request(r, params, []byte(test.body))
			for _, pair := range []struct {
				err  error
				want string
			}{{wrong, test.wrong}, {unknown, test.unknown}} {
				if (pair.err == nil) != (pair.want == "") || pair.err != nil && !strings.Contains(pair.err.Error(), pair.want) {
					t.Errorf("error %v; want %q", pair.err, pair.want)
				}
			}
		})
	}
}

func TestWebhook(t *testing.T) {
	c := mustLoad(t)
	for _, test := range []struct{ name, event, action, payload, want string }{
		{"unknown event", "nothing", "", `{}`, "no webhook-nothing"},
		{"unknown action", "issues", "painted", `{}`, "no webhook-issues-painted"},
		{"not JSON", "push", "", `{`, "unexpected end"},
		{"fields missing", "push", "", `{"ref":"refs/heads/main"}`, "head_commit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := c.Webhook(test.event, test.action, []byte(test.payload))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; want %q", err, test.want)
			}
		})
	}
}
