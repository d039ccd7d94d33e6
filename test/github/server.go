package githubtest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/w3evolutionsllc/conductor/test/github/openapi"
)

// Options configure a Server. The zero value listens on a free port of 127.0.0.1.
type Options struct {
	// Address to listen on, as host:port. Empty means 127.0.0.1 and a free port.
	Address string
	// URL is how clients reach the server, without a trailing slash. Empty means the listening address.
	URL string
	// CodeloadURL is where archive links lead. GitHub serves them from another host, so that clients must not send their
	// credentials along. Empty means localhost when the server is at 127.0.0.1, else URL.
	CodeloadURL string
	// TLS serves HTTPS with a certificate of the test server's own; see Server.Certificate.
	TLS bool
	// Dir holds the git repositories. Empty means a temporary directory that Close removes.
	Dir string
	// Now is the clock. Empty means time.Now. Server.Advance moves it.
	Now func() time.Time
	// AdminToken opens the administration API at /_admin/. Empty means there is none.
	AdminToken string
	// RateLimit is the number of requests per hour and credential. Zero means GitHub's 5000.
	RateLimit int
	// ContentLimit and ContentHourLimit are the content-creating requests of a credential in any minute and any hour, after which
	// a secondary limit strikes; GitHub's are ContentPerMinute and ContentPerHour. Zero means no limit.
	ContentLimit, ContentHourLimit int
	// PointLimit is the points of a credential in any minute, after which a secondary limit strikes: a read costs one, a write five.
	// GitHub's is PointsPerMinute. Zero means no limit.
	PointLimit int
	// Enterprise behaves as GitHub Enterprise Server 3.19: a dispatch takes ten inputs and cannot return the run, and
	// deliveries name the host in X-GitHub-Enterprise-Host.
	Enterprise bool
	// DeliveryTimeout bounds one webhook delivery. Zero means GitHub's 10 seconds.
	DeliveryTimeout time.Duration
}

// Server is a running GitHub. Its methods are safe for concurrent use.
type Server struct {
	// URL is where clients reach it, without a trailing slash.
	URL string

	options  Options
	http     *httptest.Server
	contract *openapi.Contract
	router   *router
	dir      string
	ownDir   bool

	mu       sync.Mutex
	offset   time.Duration
	state    state
	limits   map[string]*quota
	executor func(WorkflowRun)

	faults     faults
	log        requestLog
	violations violations
	hooks      hookQueues
}

// New starts a server. Close stops it.
func New(o Options) (*Server, error) {
	contract, err := openapi.Load()
	if err != nil {
		return nil, err
	}
	router, err := newRouter(contract)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: defaults(o), contract: contract, router: router,
		state:  state{nextID: 1000, accounts: map[string]*account{}, tokens: map[string]*token{}, archives: map[string]archive{}},
		limits: map[string]*quota{},
	}
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.removeDir()
		return nil, err
	}
	return s, nil
}

func defaults(o Options) Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.RateLimit == 0 {
		o.RateLimit = 5000
	}
	if o.DeliveryTimeout == 0 {
		o.DeliveryTimeout = 10 * time.Second
	}
	return o
}

func (s *Server) makeDir() error {
	if s.dir = s.options.Dir; s.dir != "" {
		return os.MkdirAll(s.dir, 0o755)
	}
	dir, err := os.MkdirTemp("", "github")
	s.dir, s.ownDir = dir, true
	return err
}

func (s *Server) removeDir() {
	if s.ownDir {
		os.RemoveAll(s.dir)
	}
}

func (s *Server) listen() error {
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if s.options.Address != "" {
		l, err := net.Listen("tcp", s.options.Address)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		s.http.Listener.Close()
		s.http.Listener = l
	}
	// Known before the first request can come.
	scheme := "http://"
	if s.options.TLS {
		scheme = "https://"
	}
	s.URL = scheme + s.http.Listener.Addr().String()
	if s.options.URL != "" {
		s.URL = strings.TrimSuffix(s.options.URL, "/")
	}
	if s.options.CodeloadURL == "" {
		s.options.CodeloadURL = strings.Replace(s.URL, "//127.0.0.1:", "//localhost:", 1)
	}
	if s.options.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	return nil
}

// Close stops listening and delivering, and removes the repositories unless Options.Dir named their place.
func (s *Server) Close() {
	s.http.Close()
	s.hooks.close()
	s.removeDir()
}

// APIURL is the base of the REST API, without a trailing slash.
func (s *Server) APIURL() string { return s.URL + "/api/v3" }

// Client is an HTTP client that trusts the server's certificate.
func (s *Server) Client() *http.Client { return s.http.Client() }

// Certificate is the PEM certificate to trust when Options.TLS is set.
func (s *Server) Certificate() []byte { return certificatePEM(s.http.Certificate()) }

// Now is the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Server) now() time.Time { return s.options.Now().Add(s.offset).UTC().Truncate(time.Second) }

// Advance moves the server's clock forward, so that tokens expire and limits reset.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

// serve dispatches to the four parts of the server: administration, git, archives and pages, and the REST API.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/_admin/"):
		s.serveAdmin(w, r)
	case strings.HasPrefix(path, "/_codeload/"):
		s.serveArchive(w, r)
	case gitPath.MatchString(path):
		s.serveGit(w, r)
	case strings.HasPrefix(path, "/api/v3/"):
		s.serveAPI(w, r, strings.TrimPrefix(r.URL.EscapedPath(), "/api/v3"))
	case s.servePage(w, r):
	default:
		s.serveAPI(w, r, r.URL.EscapedPath())
	}
}

// web and api are URLs of pages and of REST resources.
func (s *Server) web(format string, args ...any) string { return s.URL + fmt.Sprintf(format, args...) }
func (s *Server) api(format string, args ...any) string {
	return s.APIURL() + fmt.Sprintf(format, args...)
}

func escape(path string) string { return (&url.URL{Path: path}).EscapedPath() }
