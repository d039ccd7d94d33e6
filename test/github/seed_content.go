package githubtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Commit is a commit to make.
type Commit struct {
	// Branch to commit to; empty means the default branch. A branch that is not there begins at From.
	Branch string `json:"branch,omitempty"`
	// From is the commit, branch or tag that a new branch begins at; empty means the default branch.
	From string `json:"from,omitempty"`
	// Message of the commit; empty means "Change".
	Message string `json:"message,omitempty"`
	// Files are contents by path. Contents that begin with "#!" become executable.
	Files map[string]string `json:"files,omitempty"`
	// Delete are paths to remove.
	Delete []string `json:"delete,omitempty"`
}

// PushCommit commits files on the server as a user, with all the events of a push, and returns the new head.
func (s *Server) PushCommit(fullName, login string, k Commit) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err1 := s.mustRepository(fullName)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	return s.commitFiles(r, k, a)
}

// commitFiles makes the commit by one run of git fast-import.
func (s *Server) commitFiles(r *repository, k Commit, by *account) (string, error) {
	if k.Branch == "" {
		k.Branch = r.defaultBranch
	}
	ref := "refs/heads/" + k.Branch
	parent := r.refs[ref]
	if parent == "" {
		from := k.From
		if from == "" {
			from = r.defaultBranch
		}
		parent, _ = r.commitOf(from)
	}
	if k.Message == "" {
		k.Message = "Change"
	}
	var b strings.Builder
	data := func(text string) { fmt.Fprintf(&b, "data %d\n%s\n", len(text), text) }
	fmt.Fprintf(&b, "commit %s\ncommitter %s\n", ref, gitPerson(by, s.now()))
	data(k.Message)
	if parent != "" {
		fmt.Fprintf(&b, "from %s\n", parent)
	}
	for _, path := range slices.Sorted(maps.Keys(k.Files)) {
		mode := "100644"
		if strings.HasPrefix(k.Files[path], "#!") {
			mode = "100755"
		}
		fmt.Fprintf(&b, "M %s inline %s\n", mode, path)
		data(k.Files[path])
	}
	for _, path := range k.Delete {
		fmt.Fprintf(&b, "D %s\n", path)
	}
	if _, err := r.gitInput(strings.NewReader(b.String()), "fast-import", "--quiet", "--force"); err != nil {
		return "", err
	}
	s.announce(r, by)
	return r.refs[ref], nil
}

// PushTag makes or moves a tag on the server as a user, with the events of a push. At is a commit, branch or tag;
// empty means the default branch. With a message the tag is annotated.
func (s *Server) PushTag(fullName, login, name, at, message string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err1 := s.mustRepository(fullName)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if at == "" {
		at = r.defaultBranch
	}
	sha, found := r.commitOf(at)
	if !found {
		return fmt.Errorf("no commit %s in %s", at, fullName)
	}
	if message != "" {
		object, err := s.makeTag(r, name, sha, "commit", message, a)
		if err != nil {
			return err
		}
		sha = object
	}
	if _, err := r.git("update-ref", "refs/tags/"+name, sha); err != nil {
		return err
	}
	s.announce(r, a)
	return nil
}

// DeleteRef deletes a full ref on the server as a user, with the events of a push.
func (s *Server) DeleteRef(fullName, login, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err1 := s.mustRepository(fullName)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if _, err := r.git("update-ref", "-d", ref); err != nil {
		return err
	}
	s.announce(r, a)
	return nil
}

// Refs are the branches and tags of a repository: full ref to object.
func (s *Server) Refs(fullName string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.repository(fullName); r != nil {
		return maps.Clone(r.refs)
	}
	return nil
}

// Issue is an issue or a pull request.
type Issue struct {
	Number      int       `json:"number"`
	Title       string    `json:"title"`
	Body        string    `json:"body"`
	Open        bool      `json:"open"`
	PullRequest bool      `json:"pullRequest"`
	Reactions   []string  `json:"reactions"`
	Comments    []Comment `json:"comments"`
	URL         string    `json:"url"`
}

// Comment is a comment on an issue or pull request.
type Comment struct {
	ID     int64  `json:"id"`
	Author string `json:"author"`
	Body   string `json:"body"`
	// Reactions are "content by login".
	Reactions []string `json:"reactions"`
}

func (s *Server) issueView(r *repository, i *issue) Issue {
	v := Issue{
		Number: i.number, Title: i.title, Body: i.body, Open: i.closed.IsZero(), PullRequest: i.pull != nil,
		Reactions: reactionViews(i.reactions), Comments: []Comment{}, URL: s.issue(r, i)["html_url"].(string),
	}
	for _, k := range i.comments {
		v.Comments = append(v.Comments, Comment{ID: k.id, Author: k.user.login, Body: k.body, Reactions: reactionViews(k.reactions)})
	}
	return v
}

func reactionViews(all []*reaction) []string {
	views := []string{}
	for _, r := range all {
		views = append(views, r.content+" by "+r.user.login)
	}
	return views
}

// onIssue finds repository, issue and account, and does something with them.
func (s *Server) onIssue(fullName string, number int, login string, do func(*repository, *issue, *account) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err1 := s.mustRepository(fullName)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	i := r.issue(number)
	if i == nil {
		return fmt.Errorf("no issue %d in %s", number, fullName)
	}
	return do(r, i, a)
}

// CreateIssue opens an issue as a user and returns its number.
func (s *Server) CreateIssue(fullName, login, title, body string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err1 := s.mustRepository(fullName)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	return s.newIssue(r, a, nil, title, body, nil).number, nil
}

// Issue returns an issue or pull request with its comments.
func (s *Server) Issue(fullName string, number int) (Issue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.mustRepository(fullName)
	if err != nil {
		return Issue{}, err
	}
	i := r.issue(number)
	if i == nil {
		return Issue{}, fmt.Errorf("no issue %d in %s", number, fullName)
	}
	return s.issueView(r, i), nil
}

// CloseIssue closes an issue or pull request as a user.
func (s *Server) CloseIssue(fullName, login string, number int) error {
	return s.onIssue(fullName, number, login, func(r *repository, i *issue, a *account) error {
		s.setIssueState(r, i, false, a)
		return nil
	})
}

// Comment writes a comment as a user and returns its id.
func (s *Server) Comment(fullName, login string, number int, body string) (id int64, err error) {
	err = s.onIssue(fullName, number, login, func(r *repository, i *issue, a *account) error {
		id = s.newComment(r, i, a, nil, body).id
		return nil
	})
	return id, err
}

// EditComment changes a comment as a user.
func (s *Server) EditComment(fullName, login string, number int, id int64, body string) error {
	return s.onComment(fullName, login, number, id, func(r *repository, i *issue, k *comment, a *account) {
		s.editComment(r, i, k, a, body)
	})
}

// DeleteComment deletes a comment as a user.
func (s *Server) DeleteComment(fullName, login string, number int, id int64) error {
	return s.onComment(fullName, login, number, id, s.removeComment)
}

func (s *Server) onComment(fullName, login string, number int, id int64, do func(*repository, *issue, *comment, *account)) error {
	return s.onIssue(fullName, number, login, func(r *repository, i *issue, a *account) error {
		for _, k := range i.comments {
			if k.id == id {
				do(r, i, k, a)
				return nil
			}
		}
		return fmt.Errorf("no comment %d on %s#%d", id, fullName, number)
	})
}

// PullRequest is a pull request to open.
type PullRequest struct {
	// Head is the branch to merge, HeadRepository the fork it is in; empty means the repository itself.
	Head           string `json:"head"`
	HeadRepository string `json:"headRepository,omitempty"`
	// Base is the branch to merge into; empty means the default branch.
	Base  string `json:"base,omitempty"`
	Title string `json:"title"`
	Body  string `json:"body,omitempty"`
}

// OpenPullRequest opens a pull request as a user and returns its number. Its head appears as refs/pull/<number>/head.
func (s *Server) OpenPullRequest(fullName, login string, p PullRequest) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err1 := s.mustRepository(fullName)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	head := r
	if p.HeadRepository != "" {
		if head = s.repository(p.HeadRepository); head == nil {
			return 0, fmt.Errorf("no repository %s", p.HeadRepository)
		}
	}
	if p.Base == "" {
		p.Base = r.defaultBranch
	}
	i, err := s.openPull(r, head, p.Head, p.Base, p.Title, p.Body, false, a)
	if err != nil {
		return 0, err
	}
	return i.number, nil
}

// MergePullRequest merges a pull request by a merge commit, as a user.
func (s *Server) MergePullRequest(fullName, login string, number int) error {
	return s.onIssue(fullName, number, login, func(r *repository, i *issue, a *account) error {
		if i.pull == nil || !i.closed.IsZero() {
			return fmt.Errorf("%s#%d is not an open pull request", fullName, number)
		}
		return s.mergePull(r, i, a)
	})
}
