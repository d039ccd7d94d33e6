package githubtest

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// adminCall is one operation of the administration API: JSON arguments in, a JSON result out.
type adminCall func(s *Server, arguments []byte) (any, error)

// adminOf reads arguments of type T; unknown ones are errors.
func adminOf[T any](do func(s *Server, in T) (any, error)) adminCall {
	return func(s *Server, arguments []byte) (any, error) {
		var in T
		if len(bytes.TrimSpace(arguments)) > 0 {
			decoder := json.NewDecoder(bytes.NewReader(arguments))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&in); err != nil {
				return nil, err
			}
		}
		return do(s, in)
	}
}

// nothing are the arguments of operations that take none.
type nothing struct{}

// done is the result of operations that return none.
func done(err error) (any, error) { return struct{}{}, err }

// onRepository are the arguments that many operations share.
type onRepository struct {
	Repository string `json:"repository"`
	User       string `json:"user"`
}

// adminCalls are POST /_admin/<name>. Each does what the Server method of that name does.
var adminCalls = map[string]adminCall{
	"create-user": adminOf(func(s *Server, in struct{ Login string }) (any, error) { return s.CreateUser(in.Login) }),
	"create-org": adminOf(func(s *Server, in struct {
		Login  string
		Owners []string
	}) (any, error) {
		return done(s.CreateOrg(in.Login, in.Owners...))
	}),
	"create-team": adminOf(func(s *Server, in struct {
		Org, Name    string
		Members      []string
		Repositories map[string]Role
	}) (any, error) {
		return done(s.CreateTeam(in.Org, in.Name, in.Members, in.Repositories))
	}),
	"create-repository": adminOf(func(s *Server, in struct {
		FullName string `json:"fullName"`
		RepositoryOptions
	}) (any, error) {
		return s.CreateRepository(in.FullName, in.RepositoryOptions)
	}),
	"fork": adminOf(func(s *Server, in struct{ Repository, Owner string }) (any, error) {
		return s.Fork(in.Repository, in.Owner)
	}),
	"add-collaborator": adminOf(func(s *Server, in struct {
		onRepository
		Role Role
	}) (any, error) {
		return done(s.AddCollaborator(in.Repository, in.User, in.Role))
	}),
	"protect-branch": adminOf(func(s *Server, in struct {
		Repository, Branch string
		Protection         *Protection
	}) (any, error) {
		return done(s.ProtectBranch(in.Repository, in.Branch, in.Protection))
	}),
	"create-app": adminOf(func(s *Server, in AppOptions) (any, error) { return s.CreateApp(in) }),
	"set-webhook": adminOf(func(s *Server, in struct {
		App         int64
		URL, Secret string
	}) (any, error) {
		return done(s.SetWebhook(in.App, in.URL, in.Secret))
	}),
	"install-app": adminOf(func(s *Server, in struct {
		App   int64
		Login string
		InstallOptions
	}) (any, error) {
		id, err := s.InstallApp(in.App, in.Login, in.InstallOptions)
		return object{"id": id}, err
	}),
	"push-commit": adminOf(func(s *Server, in struct {
		onRepository
		Commit
	}) (any, error) {
		sha, err := s.PushCommit(in.Repository, in.User, in.Commit)
		return object{"sha": sha}, err
	}),
	"push-tag": adminOf(func(s *Server, in struct {
		onRepository
		Name, At, Message string
	}) (any, error) {
		return done(s.PushTag(in.Repository, in.User, in.Name, in.At, in.Message))
	}),
	"create-issue": adminOf(func(s *Server, in struct {
		onRepository
		Title, Body string
	}) (any, error) {
		number, err := s.CreateIssue(in.Repository, in.User, in.Title, in.Body)
		return object{"number": number}, err
	}),
	"comment": adminOf(func(s *Server, in struct {
		onRepository
		Number int
		Body   string
	}) (any, error) {
		id, err := s.Comment(in.Repository, in.User, in.Number, in.Body)
		return object{"id": id}, err
	}),
	"open-pull-request": adminOf(func(s *Server, in struct {
		onRepository
		PullRequest
	}) (any, error) {
		number, err := s.OpenPullRequest(in.Repository, in.User, in.PullRequest)
		return object{"number": number}, err
	}),
	"issue": adminOf(func(s *Server, in struct {
		Repository string
		Number     int
	}) (any, error) {
		return s.Issue(in.Repository, in.Number)
	}),
	"check-runs": adminOf(func(s *Server, in struct{ Repository string }) (any, error) {
		return list(s.CheckRuns(in.Repository)), nil
	}),
	"rerequest-check-run": adminOf(func(s *Server, in struct {
		onRepository
		ID int64
	}) (any, error) {
		return done(s.RerequestCheckRun(in.Repository, in.User, in.ID))
	}),
	"workflow-runs": adminOf(func(s *Server, in struct{ Repository string }) (any, error) {
		return list(s.WorkflowRuns(in.Repository)), nil
	}),
	"set-workflow-run": adminOf(func(s *Server, in struct {
		ID                 int64
		Status, Conclusion string
	}) (any, error) {
		return done(s.SetWorkflowRun(in.ID, in.Status, in.Conclusion))
	}),
	"refs":       adminOf(func(s *Server, in struct{ Repository string }) (any, error) { return s.Refs(in.Repository), nil }),
	"deliveries": adminOf(func(s *Server, in struct{ App int64 }) (any, error) { return list(s.Deliveries(in.App)), nil }),
	"redeliver": adminOf(func(s *Server, in struct{ App, Delivery int64 }) (any, error) {
		return done(s.Redeliver(in.App, in.Delivery))
	}),
	"lose-deliveries": adminOf(func(s *Server, in struct {
		App   int64
		Count int
	}) (any, error) {
		return done(s.LoseDeliveries(in.App, in.Count))
	}),
	"drop-events": adminOf(func(s *Server, in struct {
		App   int64
		Count int
	}) (any, error) {
		return done(s.DropEvents(in.App, in.Count))
	}),
	// Durations are in nanoseconds, as Go's JSON writes them.
	"inject": adminOf(func(s *Server, in Fault) (any, error) { s.Inject(in); return done(nil) }),
	"heal":   adminOf(func(s *Server, _ nothing) (any, error) { s.Heal(); return done(nil) }),
	"advance": adminOf(func(s *Server, in struct{ Seconds int64 }) (any, error) {
		s.Advance(time.Duration(in.Seconds) * time.Second)
		return done(nil)
	}),
	"violations":      adminOf(func(s *Server, _ nothing) (any, error) { return list(s.Violations()), nil }),
	"take-violations": adminOf(func(s *Server, _ nothing) (any, error) { return list(s.TakeViolations()), nil }),
	"requests":        adminOf(func(s *Server, _ nothing) (any, error) { return list(s.Requests()), nil }),
}

// serveAdmin answers the administration API, to who has the token alone.
func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request) {
	given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.options.AdminToken == "" || subtle.ConstantTimeCompare([]byte(given), []byte(s.options.AdminToken)) != 1 {
		http.NotFound(w, r)
		return
	}
	call, found := adminCalls[strings.TrimPrefix(r.URL.Path, "/_admin/")]
	if !found || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var result any
	if err == nil {
		result, err = call(s, body)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		result = object{"error": err.Error()}
	}
	if err := json.NewEncoder(w).Encode(result); err != nil && !errors.Is(err, http.ErrHandlerTimeout) {
		s.violations.add("response", r.URL.Path, err.Error())
	}
}
