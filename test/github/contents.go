package githubtest

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Sizes of files in the contents API. https://docs.github.com/rest/repos/contents
const (
	mostInline  = 1 << 20   // above this, only the raw and object media types answer
	mostRaw     = 100 << 20 // above this, nothing does
	mostEntries = 1000      // of a directory
	archiveLife = 5 * time.Minute
)

func contentRoutes() []*route {
	read := on("contents:read")
	return []*route{
		{method: "GET", template: "/repos/{owner}/{repo}/contents/{path}", access: read, handle: getContents},
		{method: "GET", template: "/repos/{owner}/{repo}/readme", access: read, handle: getReadme},
		{method: "GET", template: "/repos/{owner}/{repo}/tarball/{ref}", access: read, handle: getArchive("tar.gz")},
		{method: "GET", template: "/repos/{owner}/{repo}/zipball/{ref}", access: read, handle: getArchive("zip")},
	}
}

func getReadme(c *call) answer {
	c.params["path"] = "README.md"
	return getContents(c)
}

// getContents answers a file, a directory, a symbolic link or a submodule at a ref.
func getContents(c *call) answer {
	ref := c.query.Get("ref")
	if ref == "" {
		ref = c.repo.defaultBranch
	}
	sha, found := c.repo.commitOf(strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/"))
	if !found {
		return failure(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	name := strings.Trim(path.Clean("/"+c.params["path"]), "/")
	e, found := c.repo.entryAt(sha, name)
	if !found {
		return notFound()
	}
	if e.kind == "tree" {
		return c.directory(sha, ref, e)
	}
	return c.file(ref, e)
}

// entryAt finds a path in a commit's tree.
func (r *repository) entryAt(sha, name string) (entry, bool) {
	if name == "" {
		o, found := r.lookup(sha + "^{tree}")
		return entry{mode: "040000", kind: "tree", sha: o.sha}, found
	}
	out, err := r.git("ls-tree", "-z", "-l", sha, "--", ":(literal)"+name)
	if err != nil || out == "" {
		return entry{}, false
	}
	entries, err := r.tree(sha+":"+strings.Trim(path.Dir("/"+name), "/"), false)
	if err != nil {
		return entry{}, false
	}
	for _, e := range entries {
		if e.path == path.Base(name) {
			e.path = name
			return e, true
		}
	}
	return entry{}, false
}

func (c *call) directory(sha, ref string, e entry) answer {
	entries, err := c.repo.tree(sha+":"+e.path, false)
	if err != nil {
		return notFound()
	}
	if len(entries) > mostEntries {
		entries = entries[:mostEntries]
	}
	list := []object{}
	for _, one := range entries {
		one.path = path.Join(e.path, one.path)
		list = append(list, c.entry(ref, one))
	}
	if c.accepts("object") {
		o := c.entry(ref, e)
		o["entries"] = list
		return objectAnswer(o)
	}
	return ok(list)
}

func objectAnswer(o object) answer {
	a := ok(o)
	a.header.Set("Content-Type", "application/vnd.github.object; charset=utf-8")
	return a
}

var entryKinds = map[string]string{"tree": "dir", "blob": "file", "commit": "submodule"}

func (c *call) entry(ref string, e entry) object {
	kind := entryKinds[e.kind]
	if e.mode == "120000" {
		kind = "symlink"
	}
	full, at := c.repo.fullName(), escape(e.path)
	self := c.api("/repos/%s/contents/%s?ref=%s", full, at, url.QueryEscape(ref))
	page := map[string]string{"dir": "tree"}[kind]
	if page == "" {
		page = "blob"
	}
	git := c.api("/repos/%s/git/%ss/%s", full, page, e.sha)
	html := c.web("/%s/%s/%s/%s", full, page, escape(ref), at)
	o := object{
		"type": kind, "size": e.size, "name": path.Base("/" + e.path), "path": e.path, "sha": e.sha, "url": self,
		"git_url": git, "html_url": html, "download_url": nil, "_links": object{"self": self, "git": git, "html": html},
	}
	if kind == "file" || kind == "symlink" {
		o["download_url"] = c.web("/%s/raw/%s/%s", full, escape(ref), at)
	}
	return o
}

// file answers one file. The size decides which media types can.
func (c *call) file(ref string, e entry) answer {
	if e.kind == "commit" {
		o := c.entry(ref, e)
		o["submodule_git_url"] = nil
		return ok(o)
	}
	asRaw, asObject := c.accepts("raw"), c.accepts("object")
	if e.size > mostRaw || e.size > mostInline && !asRaw && !asObject {
		a := failure(http.StatusForbidden, "This API returns blobs up to 1 MB in size. The requested blob is too large to fetch via the API, but you can use the Git Data API to request blobs up to 100 MB in size.")
		a.body.(object)["errors"] = []any{object{"resource": "Blob", "field": "data", "code": "too_large"}}
		return a
	}
	data, err := c.repo.blob(e.sha)
	if err != nil {
		return notFound()
	}
	if asRaw {
		a := ok(nil)
		a.raw = data
		a.header.Set("Content-Type", "application/vnd.github.raw; charset=utf-8")
		return a
	}
	o := c.entry(ref, e)
	switch {
	case e.mode == "120000":
		o["target"] = string(data)
	case e.size > mostInline:
		o["content"], o["encoding"] = "", "none"
	default:
		o["content"], o["encoding"] = base64Lines(data), "base64"
	}
	if asObject {
		return objectAnswer(o)
	}
	return ok(o)
}

// base64Lines encodes in lines of 60, each ended by a newline, as GitHub does.
func base64Lines(data []byte) string {
	var b strings.Builder
	for chunk := range slices.Chunk(data, 45) {
		b.WriteString(base64.StdEncoding.EncodeToString(chunk) + "\n")
	}
	return b.String()
}

// archive is what a link to an archive leads to, and until when.
type archive struct {
	repo    *repository
	expires time.Time
}

// getArchive redirects to an archive, by a link that works without credentials for five minutes.
func getArchive(format string) func(*call) answer {
	return func(c *call) answer {
		sha, found := c.repo.commitOf(c.params["ref"])
		if !found {
			return notFound()
		}
		link := newSecret("")
		c.state.archives[link] = archive{repo: c.repo, expires: c.now.Add(archiveLife)}
		a := answer{status: http.StatusFound, header: http.Header{}}
		a.header.Set("Location", c.options.CodeloadURL+"/_codeload/"+c.repo.fullName()+"/legacy."+format+"/"+sha+"?token="+link)
		return a
	}
}

var archivePath = regexp.MustCompile(`^/_codeload/([^/]+/[^/]+)/legacy\.(tar\.gz|zip)/([0-9a-f]{40})$`)

// serveArchive streams an archive, whose one top folder is owner-name-sha.
func (s *Server) serveArchive(w http.ResponseWriter, r *http.Request) {
	parts := archivePath.FindStringSubmatch(r.URL.Path)
	if parts == nil {
		http.NotFound(w, r)
		return
	}
	if fault := s.faults.take(r, r.URL.Path); fault != nil {
		fault.wait(r.Context())
		if fault.answers() {
			http.Error(w, http.StatusText(fault.answer().status), fault.Status)
			return
		}
	}
	if target, err := url.Parse(s.URL); err == nil && target.Host != r.Host && r.Header.Get("Authorization") != "" {
		s.violations.add("credentials", r.Method+" "+r.URL.Path, "credentials were sent along to the archive's host")
	}
	s.mu.Lock()
	repo := s.repository(parts[1])
	link := s.state.archives[r.URL.Query().Get("token")]
	valid := repo != nil && link.repo == repo && s.now().Before(link.expires)
	s.mu.Unlock()
	if !valid {
		http.NotFound(w, r)
		return
	}
	prefix := strings.ReplaceAll(parts[1], "/", "-") + "-" + parts[3][:7] + "/"
	command := exec.CommandContext(r.Context(), "git", "--git-dir", repo.dir, "archive", "--format="+parts[2], "--prefix="+prefix, parts[3])
	command.Env, command.Stdout = gitEnv(), w
	w.Header().Set("Content-Type", map[string]string{"tar.gz": "application/x-gzip", "zip": "application/zip"}[parts[2]])
	_ = command.Run() // the status is out already; a broken archive shows itself
}
