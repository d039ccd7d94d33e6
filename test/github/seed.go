package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// User is an account of a person.
type User struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Email string `json:"email"`
	// Token is a personal access token, for REST and, as the password, for git.
	Token string `json:"token"`
}

// Repository is a repository as the methods here return it.
type Repository struct {
	ID       int64  `json:"id"`
	FullName string `json:"fullName"`
	CloneURL string `json:"cloneURL"`
	HTMLURL  string `json:"htmlURL"`
	// SHA is the head of the default branch; empty in an empty repository.
	SHA string `json:"sha"`
}

func (s *Server) newAccount(login, kind string) (*account, error) {
	if login == "" || strings.ContainsAny(login, "/ ") {
		return nil, fmt.Errorf("%q is not a login", login)
	}
	if s.account(login) != nil {
		return nil, fmt.Errorf("%s exists already", login)
	}
	a := &account{id: s.id(), login: login, kind: kind, created: s.now(), members: map[int64]string{}}
	a.email = fmt.Sprintf("%d+%s@users.noreply.localhost", a.id, strings.TrimSuffix(login, "[bot]"))
	s.state.accounts[strings.ToLower(login)] = a
	return a, nil
}

// CreateUser makes a person with a personal access token.
func (s *Server) CreateUser(login string) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.newAccount(login, "User")
	if err != nil {
		return User{}, err
	}
	t := &token{value: newSecret("ghp_"), user: a}
	s.state.tokens[t.value] = t
	return User{ID: a.id, Login: a.login, Email: a.email, Token: t.value}, nil
}

// SuspendUser suspends a person or ends the suspension.
func (s *Server) SuspendUser(login string, suspended bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.mustAccount(login)
	if err == nil {
		a.suspended = suspended
	}
	return err
}

func (s *Server) mustAccount(login string) (*account, error) {
	if a := s.account(login); a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("no account %s", login)
}

// CreateOrg makes an organization with its owners.
func (s *Server) CreateOrg(login string, owners ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	org, err := s.newAccount(login, "Organization")
	if err != nil {
		return err
	}
	for _, owner := range owners {
		a, err := s.mustAccount(owner)
		if err != nil {
			return err
		}
		org.members[a.id] = "admin"
	}
	return nil
}

// AddMember makes an account a member of an organization; role is member or admin.
func (s *Server) AddMember(org, login, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err1 := s.mustAccount(org)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	o.members[a.id] = role
	return nil
}

// CreateTeam makes a team of an organization. Its members join the organization, and its repositories, named in full,
// get the role. The slug is the name in lower case with dashes.
func (s *Server) CreateTeam(org, name string, members []string, repositories map[string]Role) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.mustAccount(org)
	if err != nil {
		return err
	}
	slug := strings.ReplaceAll(strings.ToLower(name), " ", "-")
	t := &team{id: s.id(), slug: slug, name: name, org: o, members: map[int64]string{}, repos: map[int64]Role{}}
	for _, login := range members {
		a, err := s.mustAccount(login)
		if err != nil {
			return err
		}
		t.members[a.id] = "member"
		if o.members[a.id] == "" {
			o.members[a.id] = "member"
		}
	}
	for fullName, role := range repositories {
		r, err := s.mustRepository(fullName)
		if err != nil {
			return err
		}
		t.repos[r.id] = role
	}
	o.teams = append(o.teams, t)
	return nil
}

// RepositoryOptions configure a new repository.
type RepositoryOptions struct {
	// Public repositories can be read by anybody. The default is private, so that missing permissions show.
	Public bool `json:"public,omitempty"`
	// DefaultBranch is main when empty.
	DefaultBranch string `json:"defaultBranch,omitempty"`
	// Files are committed at once; without any the repository is empty.
	Files map[string]string `json:"files,omitempty"`
}

// CreateRepository makes owner/name, whose owner must exist.
func (s *Server) CreateRepository(fullName string, o RepositoryOptions) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.newRepository(fullName, !o.Public, o.DefaultBranch, nil)
	if err != nil {
		return Repository{}, err
	}
	if len(o.Files) > 0 {
		if _, err := s.commitFiles(r, Commit{Message: "Begin", Files: o.Files}, r.owner); err != nil {
			return Repository{}, err
		}
	}
	return s.view(r), nil
}

// Fork copies a repository to another owner, under the same name.
func (s *Server) Fork(fullName, owner string) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parent, err := s.mustRepository(fullName)
	if err != nil {
		return Repository{}, err
	}
	r, err := s.newRepository(owner+"/"+parent.name, parent.private, parent.defaultBranch, parent)
	if err != nil {
		return Repository{}, err
	}
	return s.view(r), nil
}

func (s *Server) newRepository(fullName string, private bool, branch string, parent *repository) (*repository, error) {
	login, name, ok := strings.Cut(fullName, "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q is not owner/name", fullName)
	}
	owner, err := s.mustAccount(login)
	if err != nil {
		return nil, err
	}
	if s.repository(fullName) != nil {
		return nil, fmt.Errorf("%s exists already", fullName)
	}
	if branch == "" {
		branch = "main"
	}
	r := &repository{
		id: s.id(), owner: owner, name: name, private: private, defaultBranch: branch, parent: parent,
		dir:     filepath.Join(s.dir, strings.ToLower(owner.login), strings.ToLower(name)+".git"),
		created: s.now(), pushed: s.now(), collaborators: map[int64]Role{}, protections: map[string]Protection{},
	}
	if err := r.initGit(); err != nil {
		return nil, err
	}
	if r.refs, err = r.readRefs(); err != nil {
		return nil, err
	}
	s.state.repositories = append(s.state.repositories, r)
	return r, nil
}

func (s *Server) view(r *repository) Repository {
	return Repository{
		ID: r.id, FullName: r.fullName(), CloneURL: s.web("/%s.git", r.fullName()), HTMLURL: s.web("/%s", r.fullName()),
		SHA: r.refs["refs/heads/"+r.defaultBranch],
	}
}

func (s *Server) mustRepository(fullName string) (*repository, error) {
	if r := s.repository(fullName); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("no repository %s", fullName)
}

// Repository looks a repository up.
func (s *Server) Repository(fullName string) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.mustRepository(fullName)
	if err != nil {
		return Repository{}, err
	}
	return s.view(r), nil
}

// AddCollaborator gives an account a role on a repository; RoleNone takes it away.
func (s *Server) AddCollaborator(fullName, login string, role Role) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err1 := s.mustRepository(fullName)
	a, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if _, known := roleRank[role]; !known {
		return fmt.Errorf("no role %q", role)
	}
	r.collaborators[a.id] = role
	return nil
}

// ProtectBranch protects a branch, or with nil ends its protection.
func (s *Server) ProtectBranch(fullName, branch string, p *Protection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.mustRepository(fullName)
	if err != nil {
		return err
	}
	if p == nil {
		delete(r.protections, branch)
	} else {
		r.protections[branch] = *p
	}
	return r.writeProtections()
}

// AppOptions describe an App as its registration does.
type AppOptions struct {
	Slug string `json:"slug"`
	// Owner is the account that the App belongs to; empty means an account of its own.
	Owner string `json:"owner,omitempty"`
	// Permissions and Events are what the App asks for; metadata: read is added. GitHub refuses an event that no
	// permission reaches, and the installation events, which every App gets unasked: so does CreateApp.
	Permissions Permissions `json:"permissions"`
	Events      []string    `json:"events,omitempty"`
	// WebhookURL gets the deliveries, signed with WebhookSecret. Without it there are none.
	WebhookURL    string `json:"webhookURL,omitempty"`
	WebhookSecret string `json:"webhookSecret,omitempty"`
}

// App is a registered App.
type App struct {
	ID            int64  `json:"id"`
	ClientID      string `json:"clientID"`
	Slug          string `json:"slug"`
	WebhookSecret string `json:"webhookSecret"`
	// PrivateKey is the PEM key that JWTs are signed with.
	PrivateKey string `json:"privateKey"`
	// Bot is the login that the App acts under: "<slug>[bot]".
	Bot string `json:"bot"`
}

// CreateApp registers an App.
func (s *Server) CreateApp(o AppOptions) (App, error) {
	if err := checkEvents(o.Events, o.Permissions); err != nil {
		return App{}, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return App{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bot, err := s.newAccount(o.Slug+"[bot]", "Bot")
	if err != nil {
		return App{}, err
	}
	owner := bot
	if o.Owner != "" {
		if owner, err = s.mustAccount(o.Owner); err != nil {
			return App{}, err
		}
	}
	a := &app{
		id: s.id(), clientID: "Iv1." + newSecret("")[:16], slug: o.Slug, name: o.Slug, owner: owner, bot: bot, key: key,
		permissions: withMetadata(o.Permissions), events: slices.Clone(o.Events), created: s.now(),
		hook: hook{id: s.id(), url: o.WebhookURL, secret: o.WebhookSecret},
	}
	s.state.apps = append(s.state.apps, a)
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return App{
		ID: a.id, ClientID: a.clientID, Slug: a.slug, WebhookSecret: o.WebhookSecret, PrivateKey: string(pem.EncodeToMemory(block)), Bot: bot.login,
	}, nil
}

func withMetadata(p Permissions) Permissions {
	p = maps.Clone(p)
	if p == nil {
		p = Permissions{}
	}
	p["metadata"] = "read"
	return p
}

// SetWebhook changes where an App's deliveries go and how they are signed.
func (s *Server) SetWebhook(app int64, url, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.mustApp(app)
	if err == nil {
		a.hook.url, a.hook.secret = url, secret
	}
	return err
}

func (s *Server) mustApp(id int64) (*app, error) {
	for _, a := range s.state.apps {
		if a.id == id {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no App %d", id)
}
