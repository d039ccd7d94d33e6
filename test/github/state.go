package githubtest

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Role is a right on a repository: one of GitHub's five roles, or none.
type Role string

// GitHub's roles on a repository, in rising order.
const (
	RoleNone     Role = ""
	RoleRead     Role = "read"
	RoleTriage   Role = "triage"
	RoleWrite    Role = "write"
	RoleMaintain Role = "maintain"
	RoleAdmin    Role = "admin"
)

var roleRank = map[Role]int{RoleNone: 0, RoleRead: 1, RoleTriage: 2, RoleWrite: 3, RoleMaintain: 4, RoleAdmin: 5}

// atLeast reports whether r includes other.
func (r Role) atLeast(other Role) bool { return roleRank[r] >= roleRank[other] }

// legacy is the older name of a role: triage counts as read, maintain as write.
func (r Role) legacy() string {
	switch r {
	case RoleNone:
		return "none"
	case RoleTriage:
		return "read"
	case RoleMaintain:
		return "write"
	}
	return string(r)
}

// state is everything the server knows. The server's mutex guards it.
type state struct {
	nextID        int64
	accounts      map[string]*account // by lower-case login
	repositories  []*repository
	apps          []*app
	installations []*installation
	tokens        map[string]*token
	archives      map[string]archive
}

type account struct {
	id        int64
	login     string
	kind      string // User, Organization or Bot
	name      string
	email     string
	suspended bool
	created   time.Time
	members   map[int64]string // of an organization: account id to admin or member
	teams     []*team
}

type team struct {
	id      int64
	slug    string
	name    string
	org     *account
	members map[int64]string // account id to member or maintainer
	repos   map[int64]Role
}

type app struct {
	id          int64
	clientID    string
	slug        string
	name        string
	owner       *account
	bot         *account
	key         *rsa.PrivateKey
	permissions Permissions
	events      []string
	hook        hook
	created     time.Time
}

type installation struct {
	id          int64
	app         *app
	account     *account
	all         bool
	repos       map[int64]bool
	permissions Permissions
	events      []string
	suspended   time.Time
	suspendedBy *account
	created     time.Time
	updated     time.Time
	deleted     bool
}

// token is a credential: of a user, or of an installation.
type token struct {
	value        string
	user         *account
	installation *installation
	permissions  Permissions
	repos        map[int64]bool // nil for all of the installation
	expires      time.Time
}

type repository struct {
	id            int64
	owner         *account
	name          string
	private       bool
	defaultBranch string
	parent        *repository
	dir           string
	created       time.Time
	pushed        time.Time
	collaborators map[int64]Role
	nextNumber    int
	issues        []*issue
	suites        []*checkSuite
	checks        []*checkRun
	protections   map[string]Protection
	workflows     []*workflow
	runs          []*workflowRun
	refs          map[string]string // branches and tags as last announced
	pushing       sync.Mutex        // serialises pushes, so that each is announced as its own
}

func (r *repository) fullName() string { return r.owner.login + "/" + r.name }

type issue struct {
	id        int64
	number    int
	title     string
	body      string
	user      *account
	app       *app
	labels    []string
	closed    time.Time
	created   time.Time
	updated   time.Time
	comments  []*comment
	reactions []*reaction
	pull      *pull
}

type comment struct {
	id        int64
	body      string
	user      *account
	app       *app
	created   time.Time
	updated   time.Time
	reactions []*reaction
}

type reaction struct {
	id      int64
	user    *account
	content string
	created time.Time
}

type pull struct {
	id      int64
	head    *repository
	headRef string
	headSHA string
	baseRef string
	baseSHA string
	draft   bool
	merged  time.Time
}

// id gives the next number. One sequence serves all kinds, so that an id of one kind is never valid for another.
func (s *Server) id() int64 {
	s.state.nextID++
	return s.state.nextID
}

func nodeID(kind string, id int64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s:%d", kind, id))
}

func (s *Server) account(login string) *account { return s.state.accounts[strings.ToLower(login)] }

func (s *Server) accountByID(id int64) *account {
	for _, a := range s.state.accounts {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (s *Server) repository(fullName string) *repository {
	for _, r := range s.state.repositories {
		if strings.EqualFold(r.fullName(), fullName) {
			return r
		}
	}
	return nil
}

func (s *Server) repositoryByID(id int64) *repository {
	for _, r := range s.state.repositories {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (r *repository) issue(number int) *issue {
	for _, i := range r.issues {
		if i.number == number {
			return i
		}
	}
	return nil
}

func (r *repository) comment(id int64) (*issue, *comment) {
	for _, i := range r.issues {
		for _, c := range i.comments {
			if c.id == id {
				return i, c
			}
		}
	}
	return nil, nil
}

// role is the highest right that a user has on a repository. Anybody may read a public one.
func (s *Server) role(r *repository, user *account) Role {
	role := s.granted(r, user)
	if role == RoleNone && !r.private && user != nil && !user.suspended {
		return RoleRead
	}
	return role
}

// granted is the highest right from ownership, organization, teams and invitation.
func (s *Server) granted(r *repository, user *account) Role {
	if user == nil || user.suspended {
		return RoleNone
	}
	if r.owner == user || r.owner.members[user.id] == "admin" {
		return RoleAdmin
	}
	roles := []Role{r.collaborators[user.id]}
	if r.owner.members[user.id] != "" {
		roles = append(roles, RoleRead)
	}
	for _, t := range r.owner.teams {
		if t.members[user.id] != "" {
			roles = append(roles, t.repos[r.id])
		}
	}
	return slices.MaxFunc(roles, func(a, b Role) int { return roleRank[a] - roleRank[b] })
}

// covers reports whether the installation includes the repository.
func (i *installation) covers(r *repository) bool {
	return !i.deleted && i.account == r.owner && (i.all || i.repos[r.id])
}

// subscribes reports whether the installation gets an event.
func (i *installation) subscribes(event string) bool { return slices.Contains(i.events, event) }
