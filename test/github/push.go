package githubtest

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// mostTags is how many tags one push may carry: with more, GitHub makes no event for any of them.
// mostBranches is the same for branches. https://docs.github.com/webhooks/webhook-events-and-payloads#push
const (
	mostTags     = 3
	mostBranches = 5000
	mostCommits  = 2048
)

// refChange is one ref that a push created, moved or deleted.
type refChange struct {
	ref, before, after string
}

func (c refChange) created() bool { return c.before == zeroSHA }
func (c refChange) deleted() bool { return c.after == zeroSHA }
func (c refChange) tag() bool     { return strings.HasPrefix(c.ref, "refs/tags/") }
func (c refChange) short() string {
	return strings.TrimPrefix(strings.TrimPrefix(c.ref, "refs/heads/"), "refs/tags/")
}

// announce compares the refs with those last announced and makes the events of the difference. Whatever writes refs
// calls it afterwards, under the lock, so that each change is announced once.
func (s *Server) announce(r *repository, actor *account) {
	refs, err := r.readRefs()
	if err != nil {
		s.violations.add("webhook", "push", err.Error())
		return
	}
	before := r.refs
	changes := diffRefs(before, refs)
	if len(changes) == 0 {
		return
	}
	r.refs, r.pushed = refs, latest(s.now(), r.pushed)
	tags := 0
	for _, c := range changes {
		if c.tag() {
			tags++
		}
	}
	for _, c := range changes {
		if c.tag() && tags > mostTags || !c.tag() && len(changes)-tags > mostBranches {
			continue
		}
		s.announceRef(r, c, before, actor)
		if !c.tag() {
			s.branchMoved(r, c, actor)
		}
	}
}

// diffRefs are the changes in the order of names.
func diffRefs(before, after map[string]string) []refChange {
	var changes []refChange
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if before[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c := refChange{ref: name, before: orZero(before[name]), after: orZero(after[name])}
		if c.before != c.after {
			changes = append(changes, c)
		}
	}
	return changes
}

func orZero(sha string) string {
	if sha == "" {
		return zeroSHA
	}
	return sha
}

func (s *Server) announceRef(r *repository, c refChange, before map[string]string, actor *account) {
	kind := "branch"
	if c.tag() {
		kind = "tag"
	}
	if c.created() {
		s.emit(r, "create", "", actor, object{
			"ref": c.short(), "ref_type": kind, "master_branch": r.defaultBranch, "description": nil, "pusher_type": "user",
		})
	}
	if c.deleted() {
		s.emit(r, "delete", "", actor, object{"ref": c.short(), "ref_type": kind, "pusher_type": "user"})
	}
	s.emit(r, "push", "", actor, s.pushPayload(r, c, before, actor))
}

// pushPayload describes a push. For an annotated tag, after is the tag object and head_commit the commit it names.
func (s *Server) pushPayload(r *repository, c refChange, before map[string]string, actor *account) object {
	payload := object{
		"ref": c.ref, "before": c.before, "after": c.after, "created": c.created(), "deleted": c.deleted(),
		"forced": false, "base_ref": nil, "compare": s.compareURL(r, c), "commits": []object{}, "head_commit": nil,
		"repository": s.pushRepository(r), "pusher": object{"name": actor.login, "email": nullable(actor.email)},
	}
	if c.deleted() {
		return payload
	}
	head, found := r.commitOf(c.after)
	if !found { // a tag of something that is not a commit
		return payload
	}
	commits, touched := s.pushed(r, r.newCommits(c, before))
	if commit, found := r.commit(head); found {
		_, own := s.pushed(r, []string{"-1", head})
		payload["head_commit"] = s.pushCommit(r, commit, own[head])
	}
	if !c.created() {
		old, found := r.commitOf(c.before)
		payload["forced"] = !found || !r.isAncestor(old, head)
	}
	if base := r.branchAt(head, c.ref); base != "" && c.created() {
		payload["base_ref"] = base
	}
	if !c.tag() {
		payload["commits"] = each(commits, func(k commit) object { return s.pushCommit(r, k, touched[k.sha]) })
	}
	return payload
}

// branchAt is a branch, other than the one given, whose head is the commit; the default branch if it is one.
func (r *repository) branchAt(sha, except string) string {
	if main := "refs/heads/" + r.defaultBranch; main != except && r.refs[main] == sha {
		return main
	}
	for _, name := range slices.Sorted(maps.Keys(r.refs)) {
		if name != except && r.refs[name] == sha && strings.HasPrefix(name, "refs/heads/") {
			return name
		}
	}
	return ""
}

// newCommits are arguments of git log for what a push brought to a branch, oldest first: the commits since its old
// head, or for a new branch those that no other branch had. A tag brings none.
func (r *repository) newCommits(c refChange, before map[string]string) []string {
	if c.tag() {
		return nil
	}
	args := []string{"--reverse", "--max-count=" + itoa(mostCommits), c.after}
	if !c.created() {
		return append(args, "^"+c.before)
	}
	for name, sha := range before {
		if strings.HasPrefix(name, "refs/heads/") {
			args = append(args, "^"+sha)
		}
	}
	return args
}

// pushed reads commits and what each touched.
func (s *Server) pushed(r *repository, args []string) ([]commit, map[string][]change) {
	if args == nil {
		return nil, nil
	}
	commits, err1 := r.commits(args...)
	touched, err2 := r.touched(args...)
	if err := errors.Join(err1, err2); err != nil {
		s.violations.add("webhook", "push", err.Error())
	}
	return commits, touched
}

func (s *Server) compareURL(r *repository, c refChange) string {
	switch {
	case c.deleted():
		return s.web("/%s/compare/%s...%s", r.fullName(), c.before[:12], c.after[:12])
	case c.created():
		return s.web("/%s/compare/%s", r.fullName(), c.short())
	}
	return s.web("/%s/compare/%s...%s", r.fullName(), c.before[:12], c.after[:12])
}

// pushCommit is a commit as push events show it, with the paths it touched.
func (s *Server) pushCommit(r *repository, k commit, touched []change) object {
	added, removed, modified := []string{}, []string{}, []string{}
	for _, c := range touched {
		switch c.status {
		case "added":
			added = append(added, c.path)
		case "removed":
			removed = append(removed, c.path)
		default:
			modified = append(modified, c.path)
		}
	}
	return object{
		"id": k.sha, "tree_id": k.tree, "distinct": true, "message": k.message, "timestamp": k.committer.when.Format(timeWithZone),
		"url": s.web("/%s/commit/%s", r.fullName(), k.sha), "author": s.pushPerson(k.author), "committer": s.pushPerson(k.committer),
		"added": added, "removed": removed, "modified": modified,
	}
}

const timeWithZone = "2006-01-02T15:04:05Z07:00"

func (s *Server) pushPerson(p signature) object {
	o := object{"name": p.name, "email": p.email, "date": p.when.Format(timeWithZone)}
	if a := s.accountByEmail(p.email); a != nil {
		o["username"] = a.login
	}
	return o
}

func (s *Server) accountByEmail(email string) *account {
	for _, a := range s.state.accounts {
		if a.email != "" && strings.EqualFold(a.email, email) {
			return a
		}
	}
	return nil
}

// branchMoved makes what follows a branch's new head: check suites of the Apps that write checks, and the
// synchronisation of pull requests.
func (s *Server) branchMoved(r *repository, c refChange, actor *account) {
	if c.deleted() {
		return
	}
	for _, i := range s.state.installations {
		if i.covers(r) && i.suspended.IsZero() && i.permissions["checks"] == "write" {
			suite := s.suite(r, i.app, c.after)
			suite.branch, suite.before, suite.after = c.short(), c.before, c.after
			if slices.Contains(i.events, "check_suite") {
				s.emitTo(i, r, "check_suite", "requested", actor, object{"check_suite": s.webhookSuite(suite)})
			}
		}
	}
	s.synchronizePulls(r, c, actor)
}
