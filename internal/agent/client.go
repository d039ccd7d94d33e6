package agent

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// Options configure a Client. Key is required.
type Options struct {
	// Key returns the secret from which the tokens of every Run are derived. All replicas need the same one.
	Key func() ([]byte, error)
	// Port is the agents' port; 0 means evidence.AgentPort.
	Port int
	// HTTP makes the requests. The default client ignores the environment's proxy settings.
	HTTP *http.Client
}

// Client is Conductor's side of the protocol, for the agents of all stacks. It is safe for concurrent use.
type Client struct{ o Options }

// New creates a Client.
func New(o Options) *Client {
	if o.Port == 0 {
		o.Port = evidence.AgentPort
	}
	if o.HTTP == nil {
		o.HTTP = directHTTP()
	}
	return &Client{o: o}
}

// directHTTP returns a client for pods: without proxy or redirects, and without a timeout of its own because contexts have one.
func directHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
			// Send the body only once the agent starts to read it; otherwise the response of a busy agent is lost behind the body.
			ExpectContinueTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Tokens returns the content of the agent's Secret for a Run. The tokens are derived from the key and the Run's UID, so every replica
// can compute them and no Secret is read back.
func (c *Client) Tokens(run *v1alpha1.Run) (evidence.AgentTokens, error) {
	if run.UID == "" {
		return evidence.AgentTokens{}, errors.New("the run has no UID to derive the agent's tokens from")
	}
	key, err := c.o.Key()
	if err != nil {
		return evidence.AgentTokens{}, fmt.Errorf("read the key of the agents' tokens: %w", err)
	}
	if len(key) == 0 {
		return evidence.AgentTokens{}, errors.New("the key of the agents' tokens is empty")
	}
	uid := string(run.UID)
	return evidence.AgentTokens{Conductor: derive(key, TokenConductor, uid), Wrapper: derive(key, TokenWrapper, uid), Source: derive(key, TokenSource, uid)}, nil
}

// derive computes one token. A UID contains no NUL, so no two pairs of role and UID produce the same input.
func derive(key []byte, role, uid string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("conductor agent token\x00" + role + "\x00" + uid))
	return hex.EncodeToString(mac.Sum(nil))
}

// At returns the agent of a Run; address is the IP of the agent's pod.
func (c *Client) At(run *v1alpha1.Run, address string) *Remote {
	tokens, err := c.Tokens(run)
	base := "http://" + net.JoinHostPort(address, strconv.Itoa(c.o.Port))
	return &Remote{caller{http: c.o.HTTP, base: base, token: func() (string, error) { return tokens.Conductor, err }}}
}

// Remote is the agent of one Run. Its errors wrap evidence.ErrAbsent when the agent does not have the requested data.
type Remote struct{ caller }

// Go allows an attempt to start. It is idempotent.
func (r *Remote) Go(ctx context.Context, key evidence.AttemptKey) error {
	return r.post(ctx, evidence.AttemptPath(key, "go"), nil)
}

// Limits on responses of an agent, in bytes: a namespace is not trusted.
const (
	maxState = 4 << 20
	maxCases = 64 << 20
	// maxValue limits one value in memory: a case, an attempt or a log. Texts grow when JSON escapes them.
	maxValue = 512 << 10
)

// State returns the agent's state. It returns at once if the version differs from since; otherwise at the next change, or after wait.
func (r *Remote) State(ctx context.Context, since int64, wait time.Duration) (evidence.AgentState, error) {
	var state evidence.AgentState
	query := url.Values{"since": {strconv.FormatInt(since, 10)}, "wait": {wait.String()}}
	err := r.stream(ctx, "/v1/state?"+query.Encode(), maxState, func(s *evidence.Stream, field string) error {
		switch field {
		case "version":
			return s.Value(&state.Version)
		case "attempts":
			return elements(s, maxAttempts, func(a evidence.AttemptState) { state.Attempts = append(state.Attempts, a) })
		case "logs":
			return elements(s, maxLogs, func(l evidence.LogFile) { state.Logs = append(state.Logs, l) })
		}
		return s.Skip()
	})
	return state, err
}

// Cases calls each for every test case of an attempt and returns what could not be read. After an error, cases may be missing.
func (r *Remote) Cases(ctx context.Context, key evidence.AttemptKey, each func(evidence.Case)) (problems []string, err error) {
	err = r.stream(ctx, evidence.AttemptPath(key, "cases"), maxCases, func(s *evidence.Stream, field string) error {
		switch field {
		case "cases":
			return elements(s, maxCasesOf, each)
		case "problems":
			return elements(s, maxProblems, func(p string) { problems = append(problems, p) })
		}
		return s.Skip()
	})
	return problems, err
}

// elements reads an array of at most the given number of elements, one by one.
func elements[T any](s *evidence.Stream, most int, each func(T)) error {
	return s.Array(func() error {
		if most--; most < 0 {
			return evidence.ErrTooLarge
		}
		var one T
		if err := s.Value(&one); err != nil {
			return err
		}
		each(one)
		return nil
	})
}

// Blob opens JUnit files, artifacts or a log by path: evidence.JUnitPath, ArtifactsPath or LogPath. The content does not change while
// it is read. The digest has the form sha256:HEX.
func (r *Remote) Blob(ctx context.Context, path string) (content io.ReadCloser, size int64, digest string, err error) {
	res, err := r.do(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return nil, 0, "", err
	}
	digest = res.Header.Get("Digest")
	if res.ContentLength < 0 || !strings.HasPrefix(digest, "sha256:") {
		res.Body.Close()
		return nil, 0, "", fmt.Errorf("get %s from the agent: the response has no size or digest", path)
	}
	return res.Body, res.ContentLength, digest, nil
}

// maxTail limits the end of a log that is read into memory, in bytes.
const maxTail = 1 << 20

// Tail returns the last lines of a container's log, masked.
func (r *Remote) Tail(ctx context.Context, t evidence.Tail) (string, error) {
	query := fmt.Sprintf("?tail=%d&restarts=%d&ended=%t", t.Lines, t.Restarts, t.Ended)
	res, err := r.do(ctx, http.MethodGet, evidence.TailPath(t.Pod, t.Container)+query, nil, "")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxTail))
	if err != nil {
		return "", fmt.Errorf("read the end of the log of %s/%s: %w", t.Pod, t.Container, err)
	}
	return string(text), nil
}

// Usage returns the peak usage of each service, keyed by the service label. It is empty if the cluster does not have metrics.
func (r *Remote) Usage(ctx context.Context) (map[string]evidence.Usage, error) {
	var answer usageAnswer
	err := r.get(ctx, "/v1/usage", maxState, &answer)
	return answer.Services, err
}

// caller makes requests to one agent.
type caller struct {
	http  *http.Client
	base  string
	token func() (string, error)
}

// statusError is a response with a status other than 2xx.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string {
	if e.text == "" {
		return "the agent answered " + strconv.Itoa(e.code)
	}
	return fmt.Sprintf("the agent answered %d: %s", e.code, e.text)
}

// Is lets errors.Is find evidence.ErrAbsent, ErrRefused and ErrBusy.
func (e *statusError) Is(target error) bool {
	switch target {
	case evidence.ErrAbsent:
		return e.code == http.StatusNotFound
	case ErrRefused:
		return e.code == http.StatusConflict
	case ErrBusy:
		return e.code == http.StatusServiceUnavailable
	}
	return false
}

// do makes a request and returns a successful response. The caller closes its body.
func (c *caller) do(ctx context.Context, method, path string, body io.Reader, kind string) (*http.Response, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("request to the agent: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if method == http.MethodPut {
		req.Header.Set("Expect", "100-continue")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("request to the agent: %w", err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return nil, fmt.Errorf("%s %s: %w", method, path, &statusError{res.StatusCode, strings.TrimSpace(string(text))})
	}
	return res, nil
}

// get decodes a response of at most limit bytes into out.
func (c *caller) get(ctx context.Context, path string, limit int64, out any) error {
	res, err := c.do(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, limit)).Decode(out); err != nil {
		return fmt.Errorf("read the agent's response to %s: %w", path, err)
	}
	return nil
}

// stream calls field for each field of a JSON object of at most limit bytes.
func (c *caller) stream(ctx context.Context, path string, limit int64, field func(s *evidence.Stream, name string) error) error {
	res, err := c.do(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	s := evidence.NewStream(res.Body, limit, maxValue)
	if err := s.Object(func(name string) error { return field(s, name) }); err != nil {
		return fmt.Errorf("read the agent's response to %s: %w", path, err)
	}
	return nil
}

// post sends a value as JSON; nil sends no body.
func (c *caller) post(ctx context.Context, path string, value any) error {
	var body io.Reader
	if value != nil {
		data, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode the request to %s: %w", path, err)
		}
		body = bytes.NewReader(data)
	}
	res, err := c.do(ctx, http.MethodPost, path, body, "application/json")
	if err != nil {
		return err
	}
	return res.Body.Close()
}
