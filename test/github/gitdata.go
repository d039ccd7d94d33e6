package githubtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

func gitRoutes() []*route {
	const base = "/repos/{owner}/{repo}/git"
	read, write := on("contents:read"), on("contents:write")
	return []*route{
		{method: "GET", template: base + "/blobs/{file_sha}", access: read, handle: getBlob},
		{method: "GET", template: base + "/trees/{tree_sha}", access: read, handle: getTree},
		{method: "GET", template: base + "/commits/{commit_sha}", access: read, handle: getGitCommit},
		{method: "GET", template: base + "/tags/{tag_sha}", access: read, handle: getTagObject},
		{method: "POST", template: base + "/tags", access: write, handle: createTagObject},
		{method: "GET", template: base + "/ref/{ref}", access: read, handle: getRef},
		{method: "GET", template: base + "/matching-refs/{ref}", access: read, handle: listMatchingRefs},
		{method: "POST", template: base + "/refs", access: write, handle: createRef},
		{method: "PATCH", template: base + "/refs/{ref}", access: write, handle: updateRef},
		{method: "DELETE", template: base + "/refs/{ref}", access: write, handle: deleteRef},
	}
}

func getBlob(c *call) answer {
	o, found := c.repo.lookup(c.params["file_sha"])
	if !found || o.kind != "blob" {
		return notFound()
	}
	if o.size > mostRaw {
		return failure(http.StatusForbidden, "The blob is larger than 100 MB.")
	}
	data, err := c.repo.blob(o.sha)
	if err != nil {
		return notFound()
	}
	if c.accepts("raw") {
		a := ok(nil)
		a.raw = data
		a.header.Set("Content-Type", "application/vnd.github.raw; charset=utf-8")
		return a
	}
	return ok(object{
		"sha": o.sha, "node_id": nodeID("Blob", c.repo.id), "size": o.size, "encoding": "base64", "content": base64Lines(data),
		"url": c.api("/repos/%s/git/blobs/%s", c.repo.fullName(), o.sha),
	})
}

// getTree answers a tree. Any value of recursive, even 0, means recursive.
func getTree(c *call) answer {
	revision := c.params["tree_sha"]
	if sha, found := c.repo.commitOf(revision); found {
		revision = sha
	}
	o, found := c.repo.lookup(revision + "^{tree}")
	if !found {
		return notFound()
	}
	entries, err := c.repo.tree(o.sha, c.query.Has("recursive"))
	if err != nil {
		return notFound()
	}
	tree := each(entries, func(e entry) object {
		t := object{"path": e.path, "mode": e.mode, "type": e.kind, "sha": e.sha}
		if e.kind == "blob" {
			t["size"] = e.size
		}
		if e.kind != "commit" {
			t["url"] = c.api("/repos/%s/git/%ss/%s", c.repo.fullName(), e.kind, e.sha)
		}
		return t
	})
	return ok(object{"sha": o.sha, "url": c.api("/repos/%s/git/trees/%s", c.repo.fullName(), o.sha), "tree": tree, "truncated": false})
}

func getGitCommit(c *call) answer {
	if !c.repo.hasCommit(c.params["commit_sha"]) {
		return notFound()
	}
	k, _ := c.repo.commit(c.params["commit_sha"])
	return ok(c.gitCommit(c.repo, k))
}

// getTagObject answers an annotated tag by the SHA of the tag object.
func getTagObject(c *call) answer {
	o, found := c.repo.lookup(c.params["tag_sha"])
	if !found || o.kind != "tag" {
		return notFound()
	}
	return c.tagObject(o.sha)
}

func (c *call) tagObject(sha string) answer {
	text, err := c.repo.git("cat-file", "tag", sha)
	if err != nil {
		return notFound()
	}
	head, message, _ := strings.Cut(text, "\n\n")
	fields := map[string]string{}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, " ")
		fields[key] = value
	}
	person, email, date := parsePerson(fields["tagger"])
	return ok(object{
		"sha": sha, "node_id": nodeID("Tag", c.repo.id), "url": c.api("/repos/%s/git/tags/%s", c.repo.fullName(), sha),
		"tag": fields["tag"], "message": strings.TrimSuffix(message, "\n"), "tagger": object{"name": person, "email": email, "date": date},
		"object":       c.target(gitObject{sha: fields["object"], kind: fields["type"]}),
		"verification": unverified(),
	})
}

func unverified() object {
	return object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}
}

// parsePerson reads "Name <email> seconds zone".
func parsePerson(line string) (name, email, date string) {
	name, rest, _ := strings.Cut(line, " <")
	email, rest, _ = strings.Cut(rest, "> ")
	seconds, _, _ := strings.Cut(rest, " ")
	return name, email, time.Unix(parseInt(seconds), 0).UTC().Format(time.RFC3339)
}

// createTagObject makes an annotated tag's object; a ref to it has to be made as well.
func createTagObject(c *call) answer {
	var ask struct{ Tag, Message, Object, Type string }
	if err := json.Unmarshal(c.body, &ask); err != nil {
		return unprocessable(err.Error())
	}
	if o, found := c.repo.lookup(ask.Object); !found || o.kind != ask.Type {
		return invalid("Tag", "object", "invalid", "")
	}
	sha, err := c.makeTag(c.repo, ask.Tag, ask.Object, ask.Type, ask.Message, c.principal.actor())
	if err != nil {
		return invalid("Tag", "tag", "invalid", err.Error())
	}
	a := c.tagObject(sha)
	a.status = http.StatusCreated
	return a
}

// target is what a ref or a tag points to.
func (c *call) target(o gitObject) object {
	return object{"sha": o.sha, "type": o.kind, "url": c.api("/repos/%s/git/%ss/%s", c.repo.fullName(), o.kind, o.sha)}
}

func (c *call) ref(name string) object {
	o, _ := c.repo.lookup(c.repo.refs[name])
	return object{
		"ref": name, "node_id": nodeID("Ref:"+name, c.repo.id), "object": c.target(o),
		"url": c.api("/repos/%s/git/%s", c.repo.fullName(), escape(name)),
	}
}

func getRef(c *call) answer {
	name := "refs/" + strings.TrimPrefix(c.params["ref"], "refs/")
	if c.repo.refs[name] == "" {
		return notFound()
	}
	return ok(c.ref(name))
}

// listMatchingRefs lists the refs whose name begins so, all on one page.
func listMatchingRefs(c *call) answer {
	prefix := "refs/" + strings.TrimPrefix(c.params["ref"], "refs/")
	found := []object{}
	for _, name := range slices.Sorted(maps.Keys(c.repo.refs)) {
		if strings.HasPrefix(name, prefix) {
			found = append(found, c.ref(name))
		}
	}
	return ok(found)
}

func createRef(c *call) answer {
	var ask struct{ Ref, SHA string }
	if err := json.Unmarshal(c.body, &ask); err != nil {
		return unprocessable(err.Error())
	}
	if !strings.HasPrefix(ask.Ref, "refs/") || strings.Count(ask.Ref, "/") < 2 {
		return unprocessable("Reference name must start with 'refs/' and contain at least two slashes.")
	}
	if _, found := c.repo.lookup(ask.SHA); !found {
		return unprocessable("Object does not exist")
	}
	if c.repo.refs[ask.Ref] != "" {
		return unprocessable("Reference already exists")
	}
	if _, err := c.repo.git("update-ref", ask.Ref, ask.SHA, zeroSHA); err != nil {
		return unprocessable("Reference update failed")
	}
	c.announce(c.repo, c.principal.actor())
	return created(c.ref(ask.Ref))
}

func updateRef(c *call) answer {
	var ask struct {
		SHA   string
		Force bool
	}
	if err := json.Unmarshal(c.body, &ask); err != nil {
		return unprocessable(err.Error())
	}
	name := "refs/" + c.params["ref"]
	old := c.repo.refs[name]
	if old == "" {
		return unprocessable("Reference does not exist")
	}
	if _, found := c.repo.lookup(ask.SHA); !found {
		return unprocessable("Object does not exist")
	}
	forward := c.repo.isAncestor(old, ask.SHA)
	if !forward && !ask.Force {
		return unprocessable("Update is not a fast forward")
	}
	if _, protected := c.repo.protections[strings.TrimPrefix(name, "refs/heads/")]; protected && !forward {
		return unprocessable("Cannot force-push to this protected branch")
	}
	if _, err := c.repo.git("update-ref", name, ask.SHA); err != nil {
		return unprocessable("Reference update failed")
	}
	c.announce(c.repo, c.principal.actor())
	return ok(c.ref(name))
}

func deleteRef(c *call) answer {
	name := "refs/" + c.params["ref"]
	if c.repo.refs[name] == "" {
		return unprocessable("Reference does not exist")
	}
	if _, protected := c.repo.protections[strings.TrimPrefix(name, "refs/heads/")]; protected {
		return unprocessable("Cannot delete this protected branch")
	}
	if _, err := c.repo.git("update-ref", "-d", name); err != nil {
		return unprocessable("Reference update failed")
	}
	c.announce(c.repo, c.principal.actor())
	return noContent()
}
