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

// Options are what a Client needs. Key is required.
type Options struct {
	// Key is a secret of Conductor's from which the tokens of every Run are derived. All replicas need the same one.
	Key func() ([]byte, error)
	// Port is the agents' port; 0 is evidence.AgentPort.
	Port int
	// HTTP makes the requests; nil is a client that takes no proxy from the environment.
	HTTP *http.Client
}

// Client is Conductor's side of the protocol, for the agents of all stacks. It is safe for concurrent use.
type Client struct{ o Options }

// New makes a Client.
func New(o Options) *Client {
	if o.Port == 0 {
		o.Port = evidence.AgentPort
	}
	if o.HTTP == nil {
		o.HTTP = directHTTP()
	}
	return &Client{o: o}
}

// directHTTP talks to pods: no proxy, no redirects, and no time limit of its own, since contexts have one.
func directHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
			// An upload begins when the agent begins to read it, so that the answer of a busy one is not lost behind a body.
			ExpectContinueTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Tokens are what the agent's Secret holds for a Run. They are derived from the key and the Run's UID, so that every replica knows
// them and none is read back.
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

// derive makes one token. A UID has no NUL, so that no two pairs of role and UID are the same text.
func derive(key []byte, role, uid string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("conductor agent token\x00" + role + "\x00" + uid))
	return hex.EncodeToString(mac.Sum(nil))
}

// At talks to the agent of a Run; address is the IP of the agent's pod.
func (c *Client) At(run *v1alpha1.Run, address string) *Remote {
	tokens, err := c.Tokens(run)
	base := "http://" + net.JoinHostPort(address, strconv.Itoa(c.o.Port))
	return &Remote{caller{http: c.o.HTTP, base: base, token: func() (string, error) { return tokens.Conductor, err }}}
}

// Remote is the agent of one Run. Errors of what it does not have hold evidence.ErrAbsent.
type Remote struct{ caller }

// Go lets an attempt start. It can be repeated.
func (r *Remote) Go(ctx context.Context, key evidence.AttemptKey) error {
	return r.post(ctx, evidence.AttemptPath(key, "go"), nil)
}

// Limits of what is read from an agent, in bytes: a namespace is not trusted.
const (
	maxState = 4 << 20
	maxCases = 64 << 20
	// maxValue bounds what is in memory of an answer at a time: a case, an attempt, a log. Their texts grow when JSON escapes them.
	maxValue = 512 << 10
)

// State returns what the agent knows, at once when its version is not since and otherwise when that changes, after wait at the latest.
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

// Cases calls each with the test cases of an attempt, one by one, and returns what could not be read of them. After an error there
// may be more cases than were seen.
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

// elements reads an array of at most so many elements, one by one.
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

// Blob opens JUnit files, artifacts or a log by its path: evidence.JUnitPath, ArtifactsPath or LogPath. What is read does not
// change while it is read; the digest is sha256: and hexadecimal digits.
func (r *Remote) Blob(ctx context.Context, path string) (content io.ReadCloser, size int64, digest string, err error) {
	res, err := r.do(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return nil, 0, "", err
	}
	digest = res.Header.Get("Digest")
	if res.ContentLength < 0 || !strings.HasPrefix(digest, "sha256:") {
		res.Body.Close()
		return nil, 0, "", fmt.Errorf("get %s from the agent: it names no size or digest", path)
	}
	return res.Body, res.ContentLength, digest, nil
}

// maxTail bounds the end of a log that is read into memory, in bytes.
const maxTail = 1 << 20

// Tail is the end of a container's log, masked.
func (r *Remote) Tail(ctx context.Context, pod, container string, lines int) (string, error) {
	res, err := r.do(ctx, http.MethodGet, evidence.TailPath(pod, container)+"?tail="+strconv.Itoa(lines), nil, "")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxTail))
	if err != nil {
		return "", fmt.Errorf("read the end of the log of %s/%s: %w", pod, container, err)
	}
	return string(text), nil
}

// Usage is what the services used at most, by their names as labels have them. It is empty where the cluster has no metrics.
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

// statusError is an answer that is no success.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string {
	if e.text == "" {
		return "the agent answers " + strconv.Itoa(e.code)
	}
	return fmt.Sprintf("the agent answers %d: %s", e.code, e.text)
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

// do makes a request and returns a successful answer, whose body the caller closes.
func (c *caller) do(ctx context.Context, method, path string, body io.Reader, kind string) (*http.Response, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
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
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return nil, fmt.Errorf("%s %s: %w", method, path, &statusError{res.StatusCode, strings.TrimSpace(string(text))})
	}
	return res, nil
}

// get decodes an answer of at most limit bytes into out.
func (c *caller) get(ctx context.Context, path string, limit int64, out any) error {
	res, err := c.do(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, limit)).Decode(out); err != nil {
		return fmt.Errorf("read the agent's answer to %s: %w", path, err)
	}
	return nil
}

// stream walks the fields of an answer that is an object of at most limit bytes.
func (c *caller) stream(ctx context.Context, path string, limit int64, field func(s *evidence.Stream, name string) error) error {
	res, err := c.do(ctx, http.MethodGet, path, nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	s := evidence.NewStream(res.Body, limit, maxValue)
	if err := s.Object(func(name string) error { return field(s, name) }); err != nil {
		return fmt.Errorf("read the agent's answer to %s: %w", path, err)
	}
	return nil
}

// post sends a value as JSON, or nothing for nil.
func (c *caller) post(ctx context.Context, path string, value any) error {
	var body io.Reader
	if value != nil {
		data, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode what goes to %s: %w", path, err)
		}
		body = bytes.NewReader(data)
	}
	res, err := c.do(ctx, http.MethodPost, path, body, "application/json")
	if err != nil {
		return err
	}
	return res.Body.Close()
}
