package githubtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// InstallOptions are what an account grants an App.
type InstallOptions struct {
	// Repositories are names without owner; empty means all.
	Repositories []string `json:"repositories,omitempty"`
	// Permissions are granted in place of all that the App asks for.
	Permissions Permissions `json:"permissions,omitempty"`
}

// InstallApp installs an App on an account and returns the installation's id. The App gets the installation event.
func (s *Server) InstallApp(app int64, login string, o InstallOptions) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err1 := s.mustApp(app)
	target, err2 := s.mustAccount(login)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	i := &installation{
		id: s.id(), app: a, account: target, all: len(o.Repositories) == 0, repos: map[int64]bool{}, permissions: a.permissions,
		events: a.events, created: s.now(), updated: s.now(),
	}
	if o.Permissions != nil {
		i.permissions = withMetadata(o.Permissions)
		i.events = slices.DeleteFunc(slices.Clone(a.events), func(e string) bool { return checkEvents([]string{e}, i.permissions) != nil })
	}
	for _, name := range o.Repositories {
		r, err := s.mustRepository(login + "/" + name)
		if err != nil {
			return 0, err
		}
		i.repos[r.id] = true
	}
	s.state.installations = append(s.state.installations, i)
	s.emitInstallation(i, "created", nil)
	return i.id, nil
}

// emitInstallation sends an installation event, to which no one subscribes and which every App gets.
func (s *Server) emitInstallation(i *installation, action string, extra object) {
	var repos []*repository
	for _, r := range s.state.repositories {
		if i.covers(r) {
			repos = append(repos, r)
		}
	}
	payload := object{"installation": s.installation(i), "repositories": each(repos, shortRepository), "requester": nil}
	for key, value := range extra {
		payload[key] = value
	}
	s.emitTo(i, nil, "installation", action, s.admin(i.account), payload)
}

func shortRepository(r *repository) object {
	return object{"id": r.id, "node_id": nodeID("Repository", r.id), "name": r.name, "full_name": r.fullName(), "private": r.private}
}

// admin is a person who acts for an account: itself, or an owner of the organization.
func (s *Server) admin(a *account) *account {
	for id, role := range a.members {
		if role == "admin" {
			return s.accountByID(id)
		}
	}
	return a
}

func (s *Server) mustInstallation(id int64) (*installation, error) {
	for _, i := range s.state.installations {
		if i.id == id && !i.deleted {
			return i, nil
		}
	}
	return nil, fmt.Errorf("no installation %d", id)
}

// SuspendInstallation suspends an installation or ends the suspension. Its tokens stop working meanwhile.
func (s *Server) SuspendInstallation(id int64, suspended bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.mustInstallation(id)
	if err != nil {
		return err
	}
	if suspended {
		i.suspended, i.suspendedBy = s.now(), s.admin(i.account)
		s.emitInstallation(i, "suspend", nil)
		return nil
	}
	i.suspended, i.suspendedBy = time.Time{}, nil
	s.emitInstallation(i, "unsuspend", nil)
	return nil
}

// Uninstall removes an installation; its tokens are worthless from then on.
func (s *Server) Uninstall(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.mustInstallation(id)
	if err != nil {
		return err
	}
	s.emitInstallation(i, "deleted", nil)
	i.deleted = true
	return nil
}

// GrantRepository adds a repository to an installation, or removes it, and sends installation_repositories.
func (s *Server) GrantRepository(id int64, fullName string, granted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err1 := s.mustInstallation(id)
	r, err2 := s.mustRepository(fullName)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if i.all || i.account != r.owner {
		return fmt.Errorf("installation %d has no choice of repositories that %s could be in", id, fullName)
	}
	action, added, removed := "added", []object{shortRepository(r)}, []object{}
	if granted {
		i.repos[r.id] = true
	} else {
		delete(i.repos, r.id)
		action, added, removed = "removed", removed, added
	}
	i.updated = s.now()
	s.emitTo(i, nil, "installation_repositories", action, s.admin(i.account), object{
		"installation": s.installation(i), "repository_selection": "selected", "repositories_added": added,
		"repositories_removed": removed, "requester": nil,
	})
	return nil
}

// SetPermissions changes what an installation is granted, as when its owner accepts new permissions.
func (s *Server) SetPermissions(id int64, p Permissions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.mustInstallation(id)
	if err != nil {
		return err
	}
	i.permissions, i.updated = withMetadata(p), s.now()
	return nil
}

// InstallationToken makes a token with all that the installation has, for clients in tests.
func (s *Server) InstallationToken(id int64) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.mustInstallation(id)
	if err != nil {
		return "", err
	}
	t := &token{value: newSecret("ghs_"), installation: i, permissions: i.permissions, expires: s.now().Add(tokenLife)}
	s.state.tokens[t.value] = t
	return t.value, nil
}

// Deliveries are all attempts for an App, oldest first.
func (s *Server) Deliveries(app int64) []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Delivery
	if a, err := s.mustApp(app); err == nil {
		for _, d := range a.hook.deliveries {
			all = append(all, *d)
		}
	}
	return all
}

// Redeliver sends the event of a delivery again, under its GUID.
func (s *Server) Redeliver(app, delivery int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.mustApp(app)
	if err != nil {
		return err
	}
	for _, d := range a.hook.deliveries {
		if d.ID == delivery {
			s.redeliver(a, d)
			return nil
		}
	}
	return fmt.Errorf("no delivery %d", delivery)
}

// LoseDeliveries makes the next n deliveries of an App fail as if it could not be reached: they are in its log and can
// be redelivered.
func (s *Server) LoseDeliveries(app int64, n int) error {
	return s.setHook(app, func(h *hook) { h.lose = n })
}

// DropEvents drops the next n events of an App: they are not delivered and not in the log.
func (s *Server) DropEvents(app int64, n int) error {
	return s.setHook(app, func(h *hook) { h.drop = n })
}

func (s *Server) setHook(app int64, change func(*hook)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.mustApp(app)
	if err == nil {
		change(&a.hook)
	}
	return err
}

// Ping sends the event that GitHub sends when a webhook is set up.
func (s *Server) Ping(app int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.mustApp(app)
	if err != nil {
		return err
	}
	config := object{"content_type": "json", "insecure_ssl": "0", "url": a.hook.url}
	s.emitTo(&installation{app: a}, nil, "ping", "", a.owner, object{
		"zen": strings.Repeat("om ", 3), "hook_id": a.hook.id, "hook": object{
			"type": "App", "id": a.hook.id, "name": "web", "active": true, "events": list(a.events), "config": config,
			"updated_at": stamp(a.created), "created_at": stamp(a.created), "app_id": a.id, "deliveries_url": s.api("/app/hook/deliveries"),
		},
	})
	return nil
}
