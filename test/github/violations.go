package githubtest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Violation is something that GitHub's own description, or a rule it does not write down, forbids.
type Violation struct {
	Time time.Time `json:"time"`
	// Kind is operation (no such path or method), request, response, webhook or credentials.
	Kind string `json:"kind"`
	// Subject is the request or the event, such as "POST /repos/acme/shop/check-runs".
	Subject string `json:"subject"`
	// Detail is what is wrong and where.
	Detail string `json:"detail"`
}

// String is the violation in one line.
func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Kind, v.Subject, v.Detail) }

type violations struct {
	mu  sync.Mutex
	all []Violation
}

func (v *violations) add(kind, subject, detail string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, Violation{Time: time.Now(), Kind: kind, Subject: subject, Detail: detail})
}

// Violations are those since the start or the last TakeViolations, oldest first.
func (s *Server) Violations() []Violation {
	s.violations.mu.Lock()
	defer s.violations.mu.Unlock()
	return slices.Clone(s.violations.all)
}

// TakeViolations returns the violations and forgets them, for tests that break a rule on purpose.
func (s *Server) TakeViolations() []Violation {
	s.violations.mu.Lock()
	defer s.violations.mu.Unlock()
	all := s.violations.all
	s.violations.all = nil
	return all
}

// TB is what Check needs of a test.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Check fails the test for each violation.
func (s *Server) Check(t TB) {
	t.Helper()
	for _, v := range s.Violations() {
		t.Errorf("GitHub's contract was broken: %s", v)
	}
}
