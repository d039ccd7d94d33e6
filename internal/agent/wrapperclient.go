package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// ErrRefused means that the attempt has ended or may not start. A retry cannot succeed.
var ErrRefused = errors.New("the agent refuses the attempt")

// ErrBusy means that the agent is receiving other uploads. Try again later.
var ErrBusy = errors.New("the agent is busy")

// WrapperClient is the wrapper's side of the protocol. It does not retry.
type WrapperClient struct{ caller }

// NewWrapperClient creates a client for the agent at a base URL such as http://conductor-agent.shop.svc:7070. It reads the token file
// before each request, because the file may appear after the wrapper starts.
func NewWrapperClient(baseURL, tokenFile string) *WrapperClient {
	token := func() (string, error) {
		data, err := os.ReadFile(tokenFile)
		if err != nil {
			return "", fmt.Errorf("read the agent's token: %w", err)
		}
		return strings.TrimSpace(string(data)), nil
	}
	return &WrapperClient{caller{http: directHTTP(), base: strings.TrimSuffix(baseURL, "/"), token: token}}
}

// Ready asks whether an attempt may start and waits for permission. It returns false if the wait is over, and ErrRefused if the attempt
// will never be allowed to start.
func (c *WrapperClient) Ready(ctx context.Context, key evidence.AttemptKey, wait time.Duration) (bool, error) {
	res, err := c.do(ctx, http.MethodPost, evidence.AttemptPath(key, "ready")+"?"+url.Values{"wait": {wait.String()}}.Encode(), nil, "")
	if err != nil {
		return false, err
	}
	return res.StatusCode == http.StatusOK, res.Body.Close()
}

// PutJUnit sends the JUnit files as a tar. It also sends the working directory, because test tools write absolute paths into the files.
func (c *WrapperClient) PutJUnit(ctx context.Context, key evidence.AttemptKey, tar io.Reader) error {
	path := evidence.AttemptPath(key, "junit")
	if root, err := os.Getwd(); err == nil {
		path += "?" + url.Values{"root": {root}}.Encode()
	}
	return c.put(ctx, path, tar)
}

// End reports how the test ended, after its JUnit files were sent.
func (c *WrapperClient) End(ctx context.Context, attempt evidence.Attempt) error {
	return c.post(ctx, evidence.AttemptPath(attempt.AttemptKey, "end"), attempt)
}

// PutArtifacts sends the artifacts as a tar.
func (c *WrapperClient) PutArtifacts(ctx context.Context, key evidence.AttemptKey, tar io.Reader) error {
	return c.put(ctx, evidence.AttemptPath(key, "artifacts"), tar)
}

// Complete reports that the wrapper is finished.
func (c *WrapperClient) Complete(ctx context.Context, attempt evidence.Attempt) error {
	return c.post(ctx, evidence.AttemptPath(attempt.AttemptKey, "complete"), attempt)
}

func (c *WrapperClient) put(ctx context.Context, path string, tar io.Reader) error {
	res, err := c.do(ctx, http.MethodPut, path, tar, "application/x-tar")
	if err != nil {
		return err
	}
	return res.Body.Close()
}
