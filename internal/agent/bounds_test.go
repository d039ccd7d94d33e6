package agent

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// A suite of 24 attempts that left 5,000 files each behind does not lose its cases, because the agent's state stays small.
func TestManyFilesStaySmall(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	var files bytes.Buffer
	out := tar.NewWriter(&files)
	for i := range 5000 {
		name := fmt.Sprintf("test-results/checkout-%04d-%s/trace.zip", i, strings.Repeat("x", 80))
		w.ok(out.WriteHeader(&tar.Header{Name: name, Size: 1, Mode: 0o644}))
		_, err := out.Write([]byte("x"))
		w.ok(err)
	}
	w.ok(out.Close())
	w.limit = 64 << 20
	for n := range 24 {
		key := evidence.AttemptKey{Suite: "e2e", Shard: n, Number: 1}
		w.ok(w.wrapper.PutArtifacts(ctx, key, bytes.NewReader(files.Bytes())))
		w.ok(w.wrapper.Complete(ctx, evidence.Attempt{AttemptKey: key}))
	}
	res, err := w.remote.do(ctx, http.MethodGet, "/v1/state", nil, "")
	w.ok(err)
	defer res.Body.Close()
	size, err := io.Copy(io.Discard, res.Body)
	w.ok(err)
	if size > maxState/32 {
		t.Errorf("the state has %d bytes", size)
	}
	a := w.state().Attempts[23].Attempt
	if len(a.Artifacts) == 0 || len(a.Artifacts) > maxListed || a.ArtifactFiles != 5000 || len(a.Problems) > 0 {
		t.Errorf("%d files are named of %d; %q", len(a.Artifacts), a.ArtifactFiles, a.Problems)
	}
}

// hostile is an agent that answers with what no agent of ours does.
func hostile(t *testing.T, body func(io.Writer)) *Remote {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { body(w) }))
	t.Cleanup(s.Close)
	return &Remote{caller{http: directHTTP(), base: s.URL, token: func() (string, error) { return "token", nil }}}
}

// write writes a text again and again, up to so many bytes or until no one reads.
func write(w io.Writer, head, text string, size int) {
	_, err := io.WriteString(w, head)
	text = strings.Repeat(text, 1+(64<<10)/len(text))
	for n := 0; err == nil && n < size; n += len(text) {
		_, err = io.WriteString(w, text)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	for name, body := range map[string]func(io.Writer){
		"too many cases": func(w io.Writer) { write(w, `{"cases":[{}`, `,{}`, 1<<30) },
		"a long case":    func(w io.Writer) { write(w, `{"cases":[{"name":"`, `aaaaaaaaa`, 1<<30) },
		"all in all":     func(w io.Writer) { write(w, `{"cases":[{}`, `,{"name":"`+strings.Repeat("a", maxValue/2)+`"}`, 1<<30) },
		"something else": func(w io.Writer) { write(w, `{"more":[1`, `,1`, 1<<30) },
		"problems":       func(w io.Writer) { write(w, `{"problems":["a"`, `,"a"`, 1<<30) },
		"attempts":       func(w io.Writer) { write(w, `{"attempts":[{}`, `,{}`, 1<<30) },
		"logs":           func(w io.Writer) { write(w, `{"logs":[{}`, `,{}`, 1<<30) },
	} {
		t.Run(name, func(t *testing.T) {
			agent, cases := hostile(t, body), 0
			_, err := agent.Cases(t.Context(), testAttempt, func(evidence.Case) { cases++ })
			if name != "attempts" && name != "logs" && !errors.Is(err, evidence.ErrTooLarge) || cases > maxCasesOf {
				t.Errorf("%d cases: %v", cases, err)
			}
			if _, err := agent.State(t.Context(), 0, 0); err == nil {
				t.Error("the state was read")
			}
		})
	}
}

// What breaks in the middle of the test reports costs what comes after it.
func TestCasesOfABrokenArchive(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	w.ok(w.wrapper.PutJUnit(ctx, testAttempt, bytes.NewReader(tarOf(t, "a.xml", "one\n", "b.xml", "two\n"))))
	name := (&store{dir: w.dir}).attemptPath(testAttempt, junitKind+".tar.gz")
	data, err := os.ReadFile(name)
	w.ok(err)
	w.ok(os.WriteFile(name, data[:len(data)*3/4], 0o600))
	cases, problems, err := w.cases()
	w.ok(err)
	if len(cases) != 1 || cases[0].Name != "one" || len(problems) != 1 || !strings.HasPrefix(problems[0], "The test reports cannot be read to their end") {
		t.Errorf("%+v, %q", cases, problems)
	}
	w.ok(os.WriteFile(name, []byte("no gzip"), 0o600))
	if _, _, err := w.cases(); err == nil || errors.Is(err, evidence.ErrAbsent) {
		t.Errorf("a file that is not an archive: %v", err)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.start()
	long := slices.Repeat([]string{strings.Repeat("p", evidence.MaxMessage)}, maxProblems)
	var files bytes.Buffer
	out := tar.NewWriter(&files)
	for i := range maxListed {
		w.ok(out.WriteHeader(&tar.Header{Name: fmt.Sprint(i, strings.Repeat("f", 100)), Mode: 0o644}))
	}
	w.ok(out.Close())
	const most = 256 // attempts of a Run
	for n := range most {
		key := evidence.AttemptKey{Suite: "e2e", Number: n + 1}
		w.ok(w.wrapper.PutJUnit(t.Context(), key, bytes.NewReader(files.Bytes())))
		w.ok(w.wrapper.PutArtifacts(t.Context(), key, bytes.NewReader(files.Bytes())))
		w.ok(w.wrapper.Complete(t.Context(), evidence.Attempt{AttemptKey: key, Problems: long}))
	}
	attempts := w.state().Attempts
	if len(attempts) != most {
		t.Fatalf("%d attempts", len(attempts))
	}
	if a := attempts[0].Attempt; len(strings.Join(a.Problems, "")) != maxProblemText || len(a.Problems) != 2 || len(a.JUnit) == 0 || len(a.Artifacts) == 0 {
		t.Errorf("%d problems of %d bytes, %d and %d files", len(a.Problems), len(strings.Join(a.Problems, "")), len(a.JUnit), len(a.Artifacts))
	}
}
