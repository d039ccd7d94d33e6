package githubtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// gitPath are the requests of git's smart HTTP protocol.
var gitPath = regexp.MustCompile(`^/([^/]+)/([^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)$`)

// httpBackend is git's CGI program.
var httpBackend = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("git --exec-path: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), nil
})

// gitCall is one request of a git client.
type gitCall struct {
	request   *http.Request
	repo      *repository
	service   string // git-upload-pack or git-receive-pack
	principal principal
	role      Role
}

func (g *gitCall) pushes() bool { return g.service == "git-receive-pack" }

// serveGit checks the credentials and hands the request to git http-backend.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	if fault := s.faults.take(r, r.URL.Path); fault != nil {
		fault.wait(r.Context())
		if fault.answers() && !fault.After {
			s.refuseGit(w, fault.answer())
			return
		}
	}
	g, refusal := s.gitCall(r)
	status := http.StatusOK
	if refusal != nil {
		status = refusal.status
	}
	entry := Request{Time: started, Method: r.Method, Path: r.URL.Path, Operation: g.service, Status: status, Caller: g.principal.kind()}
	entry.caller(g.principal)
	defer func() {
		entry.Duration = time.Since(started)
		s.log.add(entry)
	}()
	if refusal != nil {
		s.refuseGit(w, *refusal)
		return
	}
	if err := s.runBackend(w, g); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *Server) refuseGit(w http.ResponseWriter, a answer) {
	if a.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
	}
	message, _ := a.body.(object)["message"].(string)
	http.Error(w, message, a.status)
}

// gitCall finds the repository and decides whether the caller may fetch or push.
// Installation tokens need contents: read to fetch and write to push.
func (s *Server) gitCall(r *http.Request) (*gitCall, *answer) {
	parts := gitPath.FindStringSubmatch(r.URL.Path)
	g := &gitCall{request: r, service: parts[3]}
	if parts[3] == "info/refs" {
		g.service = r.URL.Query().Get("service")
	}
	refuse := func(status int, message string) (*gitCall, *answer) {
		a := failure(status, message)
		return g, &a
	}
	if g.service != "git-upload-pack" && g.service != "git-receive-pack" {
		return refuse(http.StatusForbidden, "Please upgrade your git client.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	principal, refusal := s.authenticate(r, s.now())
	if refusal != nil || principal.app != nil && principal.installation == nil {
		return refuse(http.StatusUnauthorized, "Invalid username or token.")
	}
	g.principal = principal
	g.repo = s.repository(parts[1] + "/" + parts[2])
	if principal.anonymous() && (g.repo == nil || g.repo.private || g.pushes()) {
		return refuse(http.StatusUnauthorized, "Repository not found.")
	}
	if g.repo == nil {
		return refuse(http.StatusNotFound, "Repository not found.")
	}
	if g.role = s.gitRole(principal, g.repo); g.role == RoleNone {
		return refuse(http.StatusNotFound, "Repository not found.")
	}
	if g.pushes() && !g.role.atLeast(RoleWrite) {
		return refuse(http.StatusForbidden, "Write access to repository not granted.")
	}
	return g, nil
}

func (s *Server) gitRole(p principal, r *repository) Role {
	if p.installation == nil {
		if p.anonymous() {
			return RoleRead
		}
		return s.role(r, p.user)
	}
	covered := p.installation.covers(r) && (p.token.repos == nil || p.token.repos[r.id])
	switch {
	case covered && p.token.permissions["contents"] == "write":
		return RoleWrite
	case covered && p.token.permissions["contents"] == "read", !r.private:
		return RoleRead
	}
	return RoleNone
}

// runBackend runs git's CGI program. A push is serialised with others and announced before the client hears the end
// of it, so that what follows it sees its events.
func (s *Server) runBackend(w http.ResponseWriter, g *gitCall) error {
	backend, err := httpBackend()
	if err != nil {
		return err
	}
	request, release, err := s.spool(g)
	if err != nil {
		return err
	}
	defer release()
	handler := &cgi.Handler{
		Path: backend, Root: "/", Dir: g.repo.dir, Stderr: io.Discard,
		Env: append(gitEnv(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1",
			"REMOTE_USER="+g.principal.key(), "GITHUB_ROLE="+string(g.role)),
	}
	if !g.pushes() || strings.HasSuffix(g.request.URL.Path, "/info/refs") {
		handler.ServeHTTP(w, request)
		return nil
	}
	g.repo.pushing.Lock()
	defer g.repo.pushing.Unlock()
	recorded := httptest.NewRecorder()
	handler.ServeHTTP(recorded, request)
	s.mu.Lock()
	s.announce(g.repo, g.principal.actor())
	s.mu.Unlock()
	for name, values := range recorded.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(recorded.Code)
	_, err = io.Copy(w, recorded.Body)
	return err
}

// spool gives the request the path of the repository on disk, and a body of known length: git sends larger bodies
// chunked, which CGI cannot carry.
func (s *Server) spool(g *gitCall) (*http.Request, func(), error) {
	relative, err := filepath.Rel(s.dir, g.repo.dir)
	if err != nil {
		return nil, nil, err
	}
	request := g.request.Clone(g.request.Context())
	request.URL.Path = "/" + filepath.ToSlash(relative) + "/" + gitPath.FindStringSubmatch(g.request.URL.Path)[3]
	request.Header.Del("Authorization")
	if request.Body == nil || len(request.TransferEncoding) == 0 {
		return request, func() {}, nil
	}
	file, err := os.CreateTemp("", "push")
	if err != nil {
		return nil, nil, err
	}
	release := func() { file.Close(); os.Remove(file.Name()) }
	length, err := io.Copy(file, request.Body)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	request.Body, request.ContentLength, request.TransferEncoding = file, length, nil
	return request, release, nil
}

// updateHook refuses what branch protection forbids. The file "protected" beside it lists a branch a line: its ref,
// whether pushes need a pull request, and whether administrators are bound too.
const updateHook = `#!/bin/sh
ref=$1 old=$2 new=$3
deny() { echo "error: GH006: Protected branch update failed for $ref. $1" >&2; exit 1; }
while read -r branch reviews admins; do
	[ "$branch" = "$ref" ] || continue
	[ "$new" = ` + zeroSHA + ` ] && deny "Cannot delete this protected branch"
	if [ "$old" != ` + zeroSHA + ` ]; then
		git merge-base --is-ancestor "$old" "$new" || deny "Cannot force-push to this protected branch"
	fi
	[ "$admins" = no ] && [ "$GITHUB_ROLE" = admin ] && exit 0
	[ "$reviews" = yes ] && deny "Changes must be made through a pull request."
done <"$GIT_DIR/protected"
exit 0
`

// writeProtections writes the protected branches for git's hook. Without any it removes the hook, since git runs it per ref.
func (r *repository) writeProtections() error {
	hook := filepath.Join(r.dir, "hooks", "update")
	if len(r.protections) == 0 {
		return os.RemoveAll(hook)
	}
	yes := map[bool]string{true: "yes", false: "no"}
	var b bytes.Buffer
	for branch, p := range r.protections {
		fmt.Fprintf(&b, "refs/heads/%s %s %s\n", branch, yes[p.RequirePullRequest], yes[p.EnforceAdmins])
	}
	if err := os.WriteFile(filepath.Join(r.dir, "protected"), b.Bytes(), 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		return err
	}
	return os.WriteFile(hook, []byte(updateHook), 0o755)
}
