package githubtest

import "fmt"

// CheckRun is a check run as tests see it.
type CheckRun struct {
	ID          int64        `json:"id"`
	App         string       `json:"app"` // slug
	Name        string       `json:"name"`
	SHA         string       `json:"sha"`
	ExternalID  string       `json:"externalID"`
	DetailsURL  string       `json:"detailsURL"`
	Status      string       `json:"status"`
	Conclusion  string       `json:"conclusion"`
	Title       string       `json:"title"`
	Summary     string       `json:"summary"`
	Text        string       `json:"text"`
	Annotations []Annotation `json:"annotations"`
}

// CheckRuns are the check runs of a repository, oldest first.
func (s *Server) CheckRuns(fullName string) []CheckRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []CheckRun
	if r := s.repository(fullName); r != nil {
		for _, k := range r.checks {
			all = append(all, CheckRun{
				ID: k.id, App: k.suite.app.slug, Name: k.name, SHA: k.suite.sha, ExternalID: k.externalID, DetailsURL: k.detailsURL,
				Status: k.status, Conclusion: k.conclusion, Title: k.title, Summary: k.summary, Text: k.text,
				Annotations: append([]Annotation{}, k.annotations...),
			})
		}
	}
	return all
}

// RerequestCheckRun does what the button "Re-run" does, as a user: the App gets check_run rerequested.
func (s *Server) RerequestCheckRun(fullName, login string, id int64) error {
	return s.onCheck(fullName, login, id, func(k *checkRun, a *account) { s.rerequest(k, a) })
}

// RequestAction does what a check run's own button does, as a user: the App gets check_run requested_action.
func (s *Server) RequestAction(fullName, login string, id int64, action string) error {
	return s.onCheck(fullName, login, id, func(k *checkRun, a *account) {
		s.emitCheck(k, "requested_action", a, object{"requested_action": object{"identifier": action}})
	})
}

// RerequestCheckSuite does what "Re-run all checks" does, as a user, for the suite that a check run belongs to.
func (s *Server) RerequestCheckSuite(fullName, login string, checkRunID int64) error {
	return s.onCheck(fullName, login, checkRunID, func(k *checkRun, a *account) { s.rerequestSuite(k.suite, a) })
}

func (s *Server) onCheck(fullName, login string, id int64, do func(*checkRun, *account)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.mustRepository(fullName)
	if err != nil {
		return err
	}
	a, err := s.mustAccount(login)
	if err != nil {
		return err
	}
	for _, k := range r.checks {
		if k.id == id {
			do(k, a)
			return nil
		}
	}
	return fmt.Errorf("no check run %d in %s", id, fullName)
}
