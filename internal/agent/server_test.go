package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// world is an agent that answers on a port of its own, and the clients of both sides.
type world struct {
	t       *testing.T
	dir     string
	secrets string
	limit   int64
	port    int
	run     *v1alpha1.Run
	client  *Client
	remote  *Remote
	wrapper *WrapperClient
	stop    func()
	// source is the source artifact that the agent serves, if any.
	source OpenSource
}

var testAttempt = evidence.AttemptKey{Suite: "e2e", Shard: 1, Number: 2}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), secrets: t.TempDir(), limit: 1 << 20, run: &v1alpha1.Run{}}
	w.run.UID = types.UID("0b6a5b0e-1111-2222-3333-444455556666")
	w.write(filepath.Join(w.secrets, "password"), "s3cr3t<value>")
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// start starts the agent on what is on disk.
func (w *world) start() {
	w.t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.port = listen.Addr().(*net.TCPAddr).Port
	w.client = New(Options{Key: func() ([]byte, error) { return []byte("key"), nil }, Port: w.port})
	secret, err := w.client.Tokens(w.run)
	if err != nil {
		w.t.Fatal(err)
	}
	tokens := w.t.TempDir()
	w.write(filepath.Join(tokens, TokenConductor), secret.Conductor+"\n")
	w.write(filepath.Join(tokens, TokenWrapper), secret.Wrapper)
	w.write(filepath.Join(tokens, TokenSource), secret.Source)
	w.remote = w.client.At(w.run, "127.0.0.1")
	w.wrapper = NewWrapperClient("http://"+listen.Addr().String()+"/", filepath.Join(tokens, TokenWrapper))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			Dir: w.dir, Listen: listen, Namespace: "stack", Tokens: tokens, Secrets: w.secrets, ArtifactsLimit: w.limit, LogLimit: 1 << 20, Parse: parseLines, Source: w.source,
		})
	}()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
		w.stop = func() {}
	}
	w.t.Cleanup(func() { w.stop() })
}

// parseLines replaces the JUnit parser: it returns a failed case for each line of a file.
func parseLines(r io.Reader, root string, each func(evidence.Case) error) ([]string, error) {
	data, err := io.ReadAll(r)
	for line := range strings.Lines(string(data)) {
		c := evidence.Case{Name: strings.TrimSpace(line), File: root, Status: evidence.Failed, Output: text.Head(string(data), 2*evidence.MaxOutput)}
		if err := each(c); err != nil {
			return nil, err
		}
	}
	return nil, err
}

// tarOf is a tar of files given as name and content by turns.
func tarOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o600, Typeflag: tar.TypeReg})
		if _, werr := io.WriteString(w, files[i+1]); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// blob reads a tar.gz of the agent's, checks its size and digest, and returns names and contents by turns.
func (w *world) blob(path string) []string {
	w.t.Helper()
	in, size, digest, err := w.remote.Blob(w.t.Context(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer in.Close()
	data, err := io.ReadAll(in)
	if err != nil || int64(len(data)) != size {
		w.t.Fatalf("%d of %d bytes: %v", len(data), size, err)
	}
	if sum := sha256.Sum256(data); digest != "sha256:"+hex.EncodeToString(sum[:]) {
		w.t.Fatalf("the digest %s is another one's", digest)
	}
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for files := tar.NewReader(gz); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			w.t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, h.Name, string(content))
	}
}

// cases are those of testAttempt.
func (w *world) cases() (all []evidence.Case, problems []string, err error) {
	problems, err = w.remote.Cases(w.t.Context(), testAttempt, func(c evidence.Case) { all = append(all, c) })
	return all, problems, err
}

func (w *world) state() evidence.AgentState {
	w.t.Helper()
	st, err := w.remote.State(w.t.Context(), 0, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestAnAttemptFromLeaveToEnd(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	if ok, err := w.wrapper.Ready(ctx, testAttempt, 0); ok || err != nil {
		t.Fatalf("it may start without leave: %v %v", ok, err)
	}
	before := w.state()
	if want := []evidence.AttemptState{{Key: testAttempt, Ready: true}}; !cmp.Equal(before.Attempts, want) {
		t.Fatal(cmp.Diff(want, before.Attempts))
	}
	changed := make(chan evidence.AgentState, 1)
	go func() {
		st, err := w.remote.State(ctx, before.Version, time.Minute)
		if err != nil {
			t.Error(err)
		}
		changed <- st
	}()
	started := make(chan bool, 1)
	go func() {
		ok, err := w.wrapper.Ready(ctx, testAttempt, time.Minute)
		if err != nil {
			t.Error(err)
		}
		started <- ok
	}()
	w.ok(w.remote.Go(ctx, testAttempt))
	w.ok(w.remote.Go(ctx, testAttempt))
	if !<-started {
		t.Error("the wrapper that waited has no leave")
	}
	if st := <-changed; st.Version == before.Version || !st.Attempts[0].Allowed {
		t.Errorf("who waited for news got %+v", st)
	}
	junit := tarOf(t, "a/junit.xml", "first s3cr3t<value>\nsecond s3cr3t&lt;value&gt;\n")
	w.ok(w.wrapper.PutJUnit(ctx, testAttempt, bytes.NewReader(junit)))
	end := evidence.Attempt{AttemptKey: testAttempt, ExitCode: 3, Problems: []string{"no s3cr3t<value>"}, JUnit: []evidence.File{{Path: "other.xml", Size: 1}}}
	w.ok(w.wrapper.End(ctx, end))
	root, err := os.Getwd()
	w.ok(err)
	cases, problems, err := w.cases()
	w.ok(err)
	text := "first ***\nsecond ***\n"
	want := []evidence.Case{{Name: "first ***", File: root, Status: "failed", Output: text}, {Name: "second ***", File: root, Status: "failed", Output: text}}
	if diff := cmp.Diff(want, cases); diff != "" || problems != nil {
		t.Error(diff, problems)
	}
	if got := w.blob(evidence.JUnitPath(testAttempt)); !slices.Equal(got, []string{"a/junit.xml", text}) {
		t.Errorf("the JUnit files for the record are %q", got)
	}
	w.ok(w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(tarOf(t, "shot.png", "s3cr3t<value>"))))
	w.ok(w.wrapper.Complete(ctx, end))
	if got := w.blob(evidence.ArtifactsPath(testAttempt)); !slices.Equal(got, []string{"shot.png", "s3cr3t<value>"}) {
		t.Errorf("the artifacts are %q", got)
	}
	a := w.state().Attempts[0]
	how := &evidence.Attempt{
		AttemptKey: testAttempt, ExitCode: 3, Problems: []string{"no ***"},
		JUnit: []evidence.File{{Path: "a/junit.xml", Size: int64(len(text))}}, Artifacts: []evidence.File{{Path: "shot.png", Size: 13}},
	}
	if diff := cmp.Diff(how, a.Attempt); diff != "" || !a.Complete || !a.Ended || a.JUnitSize == 0 || a.ArtifactsSize == 0 {
		t.Errorf("%s %+v", diff, a)
	}
}

func TestARestartedAgentKnowsWhatItReported(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	other := evidence.AttemptKey{Suite: "e2e", Shard: 0, Number: 1}
	w.ok(w.remote.Go(ctx, other))
	w.ok(w.wrapper.PutJUnit(ctx, testAttempt, bytes.NewReader(tarOf(t, "junit.xml", "one\n"))))
	w.ok(w.wrapper.End(ctx, evidence.Attempt{AttemptKey: testAttempt, ExitCode: 1}))
	before := w.state()
	w.stop()
	w.start()
	after := w.state()
	if diff := cmp.Diff(before.Attempts, after.Attempts); diff != "" || before.Version == after.Version {
		t.Errorf("versions %d and %d, %s", before.Version, after.Version, diff)
	}
	if ok, err := w.wrapper.Ready(ctx, other, 0); !ok || err != nil {
		t.Errorf("the leave is forgotten: %v %v", ok, err)
	}
	if cases, _, err := w.cases(); err != nil || len(cases) != 1 {
		t.Errorf("cases %v: %v", cases, err)
	}
}

func TestTheFirstReportWins(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	w.ok(w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(tarOf(t, "one", "1"))))
	w.ok(w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(tarOf(t, "two", "2"))))
	if got := w.blob(evidence.ArtifactsPath(testAttempt)); !slices.Equal(got, []string{"two", "2"}) {
		t.Errorf("a second upload does not replace the first: %q", got)
	}
	for _, code := range []int{1, 2} {
		w.ok(w.wrapper.End(ctx, evidence.Attempt{AttemptKey: testAttempt, ExitCode: code}))
	}
	if a := w.state().Attempts[0]; a.Attempt.ExitCode != 1 {
		t.Errorf("a second end replaced the first: %+v", a.Attempt)
	}
	if _, err := w.wrapper.Ready(ctx, testAttempt, 0); !errors.Is(err, ErrRefused) {
		t.Errorf("an attempt that has ended may start again: %v", err)
	}
	if err := w.wrapper.PutJUnit(ctx, testAttempt, bytes.NewReader(tarOf(t, "late.xml", "x"))); !errors.Is(err, ErrRefused) {
		t.Errorf("JUnit is accepted after the end was reported: %v", err)
	}
	w.ok(w.wrapper.Complete(ctx, evidence.Attempt{AttemptKey: testAttempt, ExitCode: 1}))
	if err := w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(tarOf(t, "late", "x"))); !errors.Is(err, ErrRefused) {
		t.Errorf("artifacts are taken after the attempt was complete: %v", err)
	}
}

func TestTheWrappersTokenIsGoodForTheWrapperOnly(t *testing.T) {
	w := newWorld(t)
	w.start()
	do := func(token, method, path string) int {
		req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", w.port, path), nil)
		w.ok(err)
		if token != "" {
			req.Header.Set("Authorization", token)
		}
		res, err := http.DefaultClient.Do(req)
		w.ok(err)
		res.Body.Close()
		return res.StatusCode
	}
	secret, err := w.client.Tokens(w.run)
	w.ok(err)
	conductor, wrapper := secret.Conductor, secret.Wrapper
	own := []string{
		"POST " + evidence.AttemptPath(testAttempt, "go"), "GET /v1/state", "GET " + evidence.AttemptPath(testAttempt, "cases"), "GET " + evidence.JUnitPath(testAttempt),
		"GET " + evidence.ArtifactsPath(testAttempt), "GET " + evidence.LogPath("p", "c"), "GET " + evidence.TailPath("p", "c"), "GET /v1/usage",
	}
	for _, request := range own {
		method, path, _ := strings.Cut(request, " ")
		for _, token := range []string{"", "Bearer ", "Bearer " + wrapper, "Bearer " + secret.Source, conductor, "Bearer " + conductor + "x", "Bearer " + conductor[:63]} {
			if code := do(token, method, path); code != http.StatusUnauthorized {
				t.Errorf("%s with %q is answered %d", request, token, code)
			}
		}
		if code := do("Bearer "+conductor, method, path); code == http.StatusUnauthorized {
			t.Errorf("%s is refused to Conductor", request)
		}
	}
	if code := do("Bearer x", "POST", evidence.AttemptPath(testAttempt, "ready")); code != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d", code)
	}
	other := *w.run
	other.UID = "another"
	if o, err := w.client.Tokens(&other); err != nil || o.Conductor == conductor || o.Wrapper == wrapper || o.Source == secret.Source || o.Conductor == o.Wrapper || o.Source == o.Wrapper {
		t.Errorf("two runs share a token: %v", err)
	}
}

func TestNothingOutsideItsDirectoryIsTouched(t *testing.T) {
	w := newWorld(t)
	w.dir = filepath.Join(w.dir, "deep", "data")
	w.start()
	secret, err := w.client.Tokens(w.run)
	w.ok(err)
	for _, path := range []string{
		"/v1/attempts/%2e%2e%2f%2e%2e%2fx/0/1/go", "/v1/attempts/a%2fb/0/1/go", "/v1/attempts/a/-1/1/go", "/v1/attempts/a/0/0/go", "/v1/attempts/a/0/99999999999999999999/go",
		"/v1/attempts/a/0x1/1/go", "/v1/attempts/a%00/0/1/go", "/v1/attempts/" + strings.Repeat("a", 256) + "/0/1/go",
	} {
		req, err := http.NewRequest("POST", fmt.Sprintf("http://127.0.0.1:%d%s", w.port, path), nil)
		w.ok(err)
		req.Header.Set("Authorization", "Bearer "+secret.Conductor)
		res, err := http.DefaultClient.Do(req)
		w.ok(err)
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is answered %d", path, res.StatusCode)
		}
	}
	bad := tarOf(t, "../../x", "1", "/etc/x", "2", "a/../../x", "3", "a/../b", "4")
	w.ok(w.wrapper.PutArtifacts(t.Context(), testAttempt, bytes.NewReader(bad)))
	w.ok(w.wrapper.Complete(t.Context(), evidence.Attempt{AttemptKey: testAttempt}))
	if got := w.blob(evidence.ArtifactsPath(testAttempt)); !slices.Equal(got, []string{"b", "4"}) {
		t.Errorf("kept %q", got)
	}
	want := []string{"3 files of the artifacts were left out because only regular files with a relative path are kept; the first is ../../x."}
	if got := w.state().Attempts[0].Attempt.Problems; !slices.Equal(got, want) {
		t.Errorf("problems %q", got)
	}
	left, err := filepath.Glob(filepath.Join(w.dir, "..", "..", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the directory is %q: %v", left, err)
	}
}

func TestWhatDoesNotFitIsNamed(t *testing.T) {
	w := newWorld(t)
	w.limit = 100
	w.start()
	files := tarOf(t, "a", strings.Repeat("a", 60), "b", strings.Repeat("b", 60), "c", strings.Repeat("c", 40))
	w.ok(w.wrapper.PutArtifacts(t.Context(), testAttempt, bytes.NewReader(files)))
	w.ok(w.wrapper.Complete(t.Context(), evidence.Attempt{AttemptKey: testAttempt}))
	want := []string{"One file of the artifacts was left out because at most 100B in 10000 files are kept: b."}
	a := w.state().Attempts[0].Attempt
	if !slices.Equal(a.Problems, want) || len(a.Artifacts) != 2 {
		t.Errorf("got %q and %v", a.Problems, a.Artifacts)
	}
}

func TestABrokenUploadIsKeptAsFarAsItCame(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	whole := tarOf(t, "a", "first", "b", strings.Repeat("second", 1000))
	if err := w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(whole[:2048])); err == nil {
		t.Error("a tar that breaks off is taken for a whole one")
	}
	if got := w.blob(evidence.ArtifactsPath(testAttempt)); !slices.Equal(got, []string{"a", "first"}) {
		t.Errorf("kept %q", got)
	}
	w.ok(w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(whole)))
	if err := w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(whole[:2048])); err == nil {
		t.Error("a tar that breaks off is taken for a whole one")
	}
	w.ok(w.wrapper.Complete(ctx, evidence.Attempt{AttemptKey: testAttempt}))
	a := w.state().Attempts[0].Attempt
	if len(a.Artifacts) != 2 || len(a.Problems) != 0 {
		t.Errorf("a broken upload took the place of a whole one: %+v", a)
	}
}

// On a disk of 512 KiB the artifacts do not fit. The attempt reports that, its end is recorded, and the agent continues.
func TestAFullDisk(t *testing.T) {
	w := newWorld(t)
	w.limit = 16 << 20
	w.dir = t.TempDir()
	if err := syscall.Mount("tmpfs", w.dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skip("a small file system cannot be mounted here:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(w.dir, 0) })
	w.start()
	ctx := t.Context()
	noise := make([]byte, 2<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	w.ok(w.wrapper.PutJUnit(ctx, testAttempt, bytes.NewReader(tarOf(t, "junit.xml", "one\n"))))
	w.ok(w.wrapper.PutArtifacts(ctx, testAttempt, bytes.NewReader(tarOf(t, "small", "1", "large", string(noise), "last", "2"))))
	for i := range 200 {
		if err := os.WriteFile(filepath.Join(w.dir, fmt.Sprintf("filler%d", i)), noise[:4096], 0o600); err != nil {
			break
		}
	}
	w.ok(w.wrapper.End(ctx, evidence.Attempt{AttemptKey: testAttempt, ExitCode: 4}))
	w.ok(w.wrapper.Complete(ctx, evidence.Attempt{AttemptKey: testAttempt, ExitCode: 4}))
	w.stop()
	w.start()
	a := w.state().Attempts[0]
	want := []string{"One file of the artifacts was left out because the disk of the stack's agent is full: large."}
	if !a.Complete || a.Attempt.ExitCode != 4 || !slices.Equal(a.Attempt.Problems, want) {
		t.Errorf("got %+v with %+v", a, a.Attempt)
	}
	if got := w.blob(evidence.ArtifactsPath(testAttempt)); !slices.Equal(got, []string{"small", "1", "last", "2"}) {
		t.Errorf("kept %d files", len(got)/2)
	}
}

func TestCasesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.start()
	line := strings.Repeat("ä", 2000) + "\n"
	many := strings.Repeat("case\n", maxCasesOf+5)
	w.ok(w.wrapper.PutJUnit(t.Context(), testAttempt, bytes.NewReader(tarOf(t, "long.xml", line, "many.xml", many))))
	cases, problems, err := w.cases()
	w.ok(err)
	texts := 0
	for i, c := range cases {
		if texts += len(c.Output); c.Cut != (i >= evidence.MaxTexts) || c.Cut != (c.Output == "") {
			t.Fatalf("case %d has an output of %d bytes, cut: %t", i, len(c.Output), c.Cut)
		}
	}
	if len(cases) != maxCasesOf || len(cases[0].Name) != maxName || texts > evidence.MaxTexts*evidence.MaxOutput || len(cases[1].Output) != evidence.MaxOutput {
		t.Errorf("%d cases with %d bytes of output, a name of %d", len(cases), texts, len(cases[0].Name))
	}
	if want := []string{"6 of 20006 test cases were left out: at most 20000, and 48MiB of them, are read of one attempt."}; !slices.Equal(problems, want) {
		t.Errorf("problems %q", problems)
	}
}

// An upload that waits long for others is refused for now before any of it was sent, and is taken when it comes again.
func TestUploadsWaitForOthers(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	begun, ended, rest := make(chan bool, uploads+1), make(chan error), make(chan struct{})
	for i := range uploads {
		go func() {
			in := &slowBody{begun: begun, rest: rest, in: bytes.NewReader(tarOf(t, "a.xml", "one\n"))}
			ended <- w.wrapper.PutJUnit(ctx, evidence.AttemptKey{Suite: "e2e", Shard: i, Number: 7}, in)
		}()
	}
	for range uploads {
		<-begun
	}
	late := &slowBody{begun: begun, rest: rest, in: bytes.NewReader(tarOf(t, "a.xml", "one\n"))}
	if err := w.wrapper.PutJUnit(ctx, testAttempt, late); !errors.Is(err, ErrBusy) || len(begun) > 0 {
		t.Errorf("%v; its body was begun: %t", err, len(begun) > 0)
	}
	close(rest)
	for range uploads {
		w.ok(<-ended)
	}
	w.ok(w.wrapper.PutJUnit(ctx, testAttempt, late))
}

// slowBody reports that it is read, and waits then.
type slowBody struct {
	begun chan<- bool
	rest  <-chan struct{}
	in    io.Reader
}

func (s *slowBody) Read(p []byte) (int, error) {
	select {
	case <-s.rest:
	default:
		s.begun <- true
		<-s.rest
	}
	return s.in.Read(p)
}

func TestNoAnswerForWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.start()
	_, _, err := w.cases()
	_, _, _, blob := w.remote.Blob(t.Context(), evidence.LogPath("p", "c"))
	_, tail := w.remote.Tail(t.Context(), evidence.Tail{Pod: "p", Container: "c", Lines: 3})
	for _, err := range []error{err, blob, tail} {
		if !errors.Is(err, evidence.ErrAbsent) {
			t.Errorf("got %v", err)
		}
	}
	if got, err := w.remote.Usage(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("usage %v: %v", got, err)
	}
}
