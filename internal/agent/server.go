package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// maxWait is the longest that a request may wait for a change.
	maxWait = time.Minute
	// maxBody limits a wrapper's report of an attempt, in bytes.
	maxBody = 4 << 20
	// idle is how long a connection may transfer nothing before the request ends.
	idle = time.Minute
	// uploads is how many uploads are received at once. Others wait, so that memory does not grow with a suite's shards.
	uploads = 4
	// busy is how long an upload waits for its turn before it is answered with 503. A wrapper treats an agent that does not respond as
	// gone.
	busy = 5 * time.Second
	// sends is how many responses with files of the commit are sent at once.
	sends = 4
	// defaultTail is the number of lines for `?tail=` without a value.
	defaultTail = 60
	// tailWait is how long the end of a log is waited for. Conductor waits five seconds for it.
	tailWait = 3 * time.Second
)

// server serves the wrappers and Conductor.
type server struct {
	store     *store
	follower  *follower
	masks     *masks
	usage     *usage
	changes   *changes
	log       *slog.Logger
	parse     ParseReport
	tokens    tokens
	artifacts int64
	room      chan struct{}
	// source opens the source artifact; nil if the agent does not have one.
	source  OpenSource
	sources chan struct{}
}

// tokens holds hashes of the tokens: they have the same length and can be compared in constant time.
type tokens struct{ conductor, wrapper, source [sha256.Size]byte }

// readTokens reads the tokens from the files of a directory. The source token is required only if the agent serves files.
func readTokens(dir string, source bool) (tokens, error) {
	var t tokens
	wanted := map[string]*[sha256.Size]byte{TokenConductor: &t.conductor, TokenWrapper: &t.wrapper}
	if source {
		wanted[TokenSource] = &t.source
	}
	seen := map[[sha256.Size]byte]bool{}
	for name, into := range wanted {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return tokens{}, fmt.Errorf("read the %s's token: %w", name, err)
		}
		text := strings.TrimSpace(string(data))
		if text == "" {
			return tokens{}, fmt.Errorf("the %s's token is empty", name)
		}
		*into = sha256.Sum256([]byte(text))
		if seen[*into] {
			return tokens{}, errors.New("two tokens are equal: a test could read data that is meant for Conductor only")
		}
		seen[*into] = true
	}
	return t, nil
}

// handler returns the routes.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	const attempt = "/v1/attempts/{suite}/{shard}/{number}/"
	both := func(pattern string, h answerer) {
		mux.Handle(pattern, s.guard(h, s.tokens.wrapper, s.tokens.conductor))
	}
	own := func(pattern string, h answerer) { mux.Handle(pattern, s.guard(h, s.tokens.conductor)) }
	both("POST "+attempt+"ready", s.ready)
	both("PUT "+attempt+"junit", s.upload(junitKind, MaxJUnit))
	both("POST "+attempt+"end", s.end(false))
	both("PUT "+attempt+"artifacts", s.upload(artifactsKind, s.artifacts))
	both("POST "+attempt+"complete", s.end(true))
	own("POST "+attempt+"go", s.allow)
	own("GET "+attempt+"cases", s.cases)
	own("GET "+attempt+"junit.tar.gz", s.blob(junitKind))
	own("GET "+attempt+"artifacts.tar.gz", s.blob(artifactsKind))
	own("GET /v1/logs/{pod}/{container}", s.logs)
	own("GET /v1/state", s.state)
	if s.source != nil {
		mux.Handle("GET /v1/source", s.guard(s.files, s.tokens.source))
	}
	own("GET /v1/usage", func(w http.ResponseWriter, _ *http.Request) error { return answer(w, usageAnswer{s.usage.all()}) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

// answerer handles a request. It returns an error only before it has written anything.
type answerer func(http.ResponseWriter, *http.Request) error

// guard rejects requests that carry none of the given tokens.
func (s *server) guard(next answerer, good ...[sha256.Size]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		has, fits := sha256.Sum256([]byte(text)), 0
		for _, g := range good {
			fits |= subtle.ConstantTimeCompare(has[:], g[:])
		}
		if !bearer || fits == 0 {
			http.Error(w, "this token does not authorize the request", http.StatusUnauthorized)
			return
		}
		if err := next(w, r); err != nil {
			s.refuse(w, r, err)
		}
	})
}

// refuse writes an error response. The cause goes to the log; the client receives a short sentence.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code, text := http.StatusInternalServerError, "internal error of the agent"
	var large *http.MaxBytesError
	var unread *sourceError
	switch {
	case errors.As(err, &unread):
		code, text = unread.status(), unread.sentence()
	case errors.Is(err, errEnded):
		code, text = http.StatusConflict, errEnded.Error()
	case errors.Is(err, evidence.ErrAbsent):
		code, text = http.StatusNotFound, evidence.ErrAbsent.Error()
	case errors.As(err, &large):
		code, text = http.StatusRequestEntityTooLarge, fmt.Sprintf("the body exceeds the limit of %d bytes", large.Limit)
	case errors.Is(err, errBadKey):
		code, text = http.StatusBadRequest, errBadKey.Error()
	case errors.Is(err, errBadQuery):
		code, text = http.StatusBadRequest, errBadQuery.Error()
	case errors.Is(err, errBadBody):
		code, text = http.StatusBadRequest, errBadBody.Error()
	case errors.Is(err, errBusy):
		code, text = http.StatusServiceUnavailable, errBusy.Error()
	case errors.Is(err, errTooMany):
		code, text = http.StatusInsufficientStorage, errTooMany.Error()
	}
	s.log.Warn("refused a request", "method", r.Method, "path", r.URL.Path, "status", code, "error", s.masks.string(err.Error()))
	http.Error(w, text, code)
}

var (
	errBadQuery = errors.New("invalid query")
	errBadBody  = errors.New("invalid body")
	errBusy     = errors.New("too many uploads at once: try again")
)

func answer(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	// A client that hung up does not need the response.
	_ = json.NewEncoder(w).Encode(value)
	return nil
}

// keyOf returns the attempt that a request's path names.
func keyOf(r *http.Request) (evidence.AttemptKey, error) {
	shard, err := strconv.Atoi(r.PathValue("shard"))
	if err != nil {
		return evidence.AttemptKey{}, errBadKey
	}
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return evidence.AttemptKey{}, errBadKey
	}
	key := evidence.AttemptKey{Suite: r.PathValue("suite"), Shard: shard, Number: number}
	return key, checkKey(key)
}

// waitOf returns how long a request wants to wait for a change.
func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, errBadQuery
	}
	return min(wait, maxWait), nil
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	wait, err := waitOf(r)
	if err != nil {
		return err
	}
	if s.store.get(key).Ended {
		return errEnded
	}
	if err := s.store.ask(key); err != nil {
		return err
	}
	var a attempt
	s.changes.until(r.Context(), wait, func(int64) bool { a = s.store.get(key); return a.Allowed || a.Ended })
	switch {
	case a.Ended:
		return errEnded
	case a.Allowed:
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

func (s *server) allow(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	if err := s.store.allow(key); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// end receives how a test ended or, if complete is set, that the wrapper is finished.
func (s *server) end(complete bool) answerer {
	return func(w http.ResponseWriter, r *http.Request) error {
		key, err := keyOf(r)
		if err != nil {
			return err
		}
		var how evidence.Attempt
		if err := json.NewDecoder(s.body(w, r, maxBody)).Decode(&how); err != nil {
			return errors.Join(errBadBody, err)
		}
		if err := s.store.end(key, cleanAttempt(how, key, s.masks), complete); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// upload receives a tar. It reads up to twice the limit, so that it can name the files that it leaves out for their size.
func (s *server) upload(kind string, limit int64) answerer {
	return func(w http.ResponseWriter, r *http.Request) error {
		key, err := keyOf(r)
		if err != nil {
			return err
		}
		if err := s.store.open(key, kind); err != nil {
			return err
		}
		select {
		case s.room <- struct{}{}:
			defer func() { <-s.room }()
		case <-time.After(busy):
			return errBusy
		case <-r.Context().Done():
			return context.Cause(r.Context())
		}
		root := text.Head(r.URL.Query().Get("root"), maxName)
		if err := s.store.keep(key, kind, root, limit, s.masks, s.body(w, r, 2*limit+maxBody)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// body limits a request's body in size, and the time in which it may transfer nothing.
func (s *server) body(w http.ResponseWriter, r *http.Request, limit int64) io.Reader {
	return &patientBody{http.MaxBytesReader(w, r.Body, limit), http.NewResponseController(w)}
}

type patientBody struct {
	body io.Reader
	conn *http.ResponseController
}

// Read implements io.Reader.
func (p *patientBody) Read(b []byte) (int, error) {
	// Ignore the error: only a test's recorder has no deadlines, and it cannot hang.
	_ = p.conn.SetReadDeadline(time.Now().Add(idle))
	return p.body.Read(b)
}

func (s *server) state(w http.ResponseWriter, r *http.Request) error {
	wait, err := waitOf(r)
	if err != nil {
		return err
	}
	since := int64(0)
	if text := r.URL.Query().Get("since"); text != "" {
		if since, err = strconv.ParseInt(text, 10, 64); err != nil {
			return errBadQuery
		}
	}
	s.changes.until(r.Context(), wait, func(version int64) bool { return version != since })
	// Read the version first: a change in between is then reported twice, which is harmless.
	version, _ := s.changes.now()
	return answer(w, evidence.AgentState{Version: version, Attempts: s.store.states(), Logs: s.follower.states()})
}

func (s *server) cases(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	in, _, err := s.store.openBlob(key, junitKind)
	if err != nil {
		return err
	}
	defer in.Close()
	root := ""
	if a := s.store.get(key); a.JUnit != nil {
		root = a.JUnit.Root
	}
	w.Header().Set("Content-Type", "application/json")
	return writeCases(w, in, root, s.parse, s.masks)
}

func (s *server) blob(kind string) answerer {
	return func(w http.ResponseWriter, r *http.Request) error {
		key, err := keyOf(r)
		if err != nil {
			return err
		}
		in, size, err := s.store.openBlob(key, kind)
		if err != nil {
			return err
		}
		defer in.Close()
		return serve(w, size, func() (io.Reader, error) { _, err := in.Seek(0, io.SeekStart); return in, err })
	}
}

func (s *server) logs(w http.ResponseWriter, r *http.Request) error {
	name, compressed := strings.CutSuffix(r.PathValue("container"), ".gz")
	if !compressed {
		return s.tail(w, r)
	}
	file := s.follower.find(r.PathValue("pod"), name)
	if file == nil {
		return evidence.ErrAbsent
	}
	snap, err := file.snapshot()
	if err != nil {
		return err
	}
	defer func() { _ = snap.Close() }()
	return serve(w, snap.size, func() (io.Reader, error) { return snap.reader(), nil })
}

// tail answers with the end of a log. Conductor may know that a container has ended before the agent has read its last lines: tail waits a
// moment for them.
func (s *server) tail(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	lines, err := strconv.Atoi(cmp.Or(query.Get("tail"), strconv.Itoa(defaultTail)))
	if err != nil || lines < 1 {
		return errBadQuery
	}
	restarts, err := strconv.ParseInt(cmp.Or(query.Get("restarts"), "0"), 10, 32)
	if err != nil {
		return errBadQuery
	}
	isEnded := query.Get("ended") == "true"
	var file *logFile
	s.changes.until(r.Context(), tailWait, func(int64) bool {
		if file = s.follower.find(r.PathValue("pod"), r.PathValue("container")); file == nil {
			return restarts == 0 && !isEnded
		}
		return file.place().reaches(int32(restarts), isEnded)
	})
	if file == nil {
		return evidence.ErrAbsent
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, file.tailText(lines))
	return nil
}

// serve writes the content of open, which must return the same content twice, with its size and digest in the header.
func serve(w http.ResponseWriter, size int64, open func() (io.Reader, error)) error {
	in, err := open()
	if err != nil {
		return err
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, in); err != nil || n != size {
		return fmt.Errorf("read %d of %d bytes: %w", n, size, err)
	}
	if in, err = open(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Digest", "sha256:"+hex.EncodeToString(sum.Sum(nil)))
	// The client notices a broken response by its length.
	_, _ = io.Copy(w, in)
	return nil
}
