package githubtest

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

type workflowRun struct {
	id         int64
	repo       *repository
	workflow   *workflow
	definition definition
	actor      *account
	app        *app
	event      string
	branch     string
	sha        string
	inputs     map[string]string
	number     int
	attempt    int
	status     string
	conclusion string
	created    time.Time
	updated    time.Time
	started    time.Time
}

// WorkflowRun is a run of a workflow as tests and executors see it.
type WorkflowRun struct {
	ID         int64             `json:"id"`
	Repository string            `json:"repository"`
	Workflow   string            `json:"workflow"` // path of the file
	Ref        string            `json:"ref"`      // short name
	SHA        string            `json:"sha"`
	Inputs     map[string]string `json:"inputs"`
	Attempt    int               `json:"attempt"`
	Status     string            `json:"status"`
	Conclusion string            `json:"conclusion"`
	Actor      string            `json:"actor"`
}

func (r *workflowRun) view() WorkflowRun {
	return WorkflowRun{
		ID: r.id, Repository: r.repo.fullName(), Workflow: r.workflow.path, Ref: r.branch, SHA: r.sha, Inputs: maps.Clone(r.inputs),
		Attempt: r.attempt, Status: r.status, Conclusion: r.conclusion, Actor: r.actor.login,
	}
}

// OnDispatch sets what executes a workflow run. It is called without the server's lock, in a goroutine of its own, for
// each run and each rerun; it reports back through SetWorkflowRun. Without it runs stay queued, as they do on GitHub
// when no runner takes them.
func (s *Server) OnDispatch(execute func(WorkflowRun)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.executor = execute
}

// WorkflowRuns are the runs of a repository, oldest first.
func (s *Server) WorkflowRuns(repo string) []WorkflowRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []WorkflowRun
	if r := s.repository(repo); r != nil {
		for _, run := range r.runs {
			all = append(all, run.view())
		}
	}
	return all
}

// SetWorkflowRun moves a run to in_progress, or to completed with a conclusion.
func (s *Server) SetWorkflowRun(id int64, status, conclusion string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.state.repositories {
		for _, run := range r.runs {
			if run.id == id {
				s.setRun(run, status, conclusion)
				return nil
			}
		}
	}
	return fmt.Errorf("no workflow run %d", id)
}

// start records a run and hands it to the executor.
func (s *Server) start(run *workflowRun) {
	run.repo.runs = append(run.repo.runs, run)
	s.begin(run)
}

func (s *Server) begin(run *workflowRun) {
	s.emitRun(run, "requested")
	if s.executor != nil {
		go s.executor(run.view())
	}
}

func (s *Server) setRun(run *workflowRun, status, conclusion string) {
	if run.status == "completed" {
		return
	}
	run.status, run.conclusion, run.updated = status, conclusion, s.now()
	if status == "in_progress" || status == "completed" {
		s.emitRun(run, status)
	}
}

func (s *Server) emitRun(run *workflowRun, action string) {
	s.emit(run.repo, "workflow_run", action, run.actor, object{
		"workflow_run": s.webhookRun(run), "workflow": s.workflow(run.repo, run.workflow),
	})
}

func (s *Server) webhookRun(run *workflowRun) object {
	o := s.run(run)
	if run.status == "queued" {
		o["status"] = "queued"
	}
	return o
}

func (s *Server) run(run *workflowRun) object {
	full := run.repo.fullName()
	api := s.api("/repos/%s/actions/runs/%d", full, run.id)
	title := run.definition.RunName
	if title == "" {
		title = run.definition.Name
	}
	return object{
		"id": run.id, "node_id": nodeID("WorkflowRun", run.id), "name": run.definition.Name, "display_title": title,
		"head_branch": run.branch, "head_sha": run.sha, "path": run.workflow.path, "run_number": run.number, "run_attempt": run.attempt,
		"event": run.event, "status": run.status, "conclusion": nullable(run.conclusion), "workflow_id": run.workflow.id,
		"check_suite_id": run.id, "check_suite_node_id": nodeID("CheckSuite", run.id), "url": api,
		"html_url": s.web("/%s/actions/runs/%d", full, run.id), "pull_requests": s.pullsAt(run.repo, run.sha),
		"created_at": stamp(run.created), "updated_at": stamp(run.updated), "run_started_at": stamp(run.started),
		"actor": s.user(run.actor), "triggering_actor": s.user(run.actor), "jobs_url": api + "/jobs", "logs_url": api + "/logs",
		"check_suite_url": s.api("/repos/%s/check-suites/%d", full, run.id), "artifacts_url": api + "/artifacts",
		"cancel_url": api + "/cancel", "rerun_url": api + "/rerun", "previous_attempt_url": nil,
		"workflow_url": s.api("/repos/%s/actions/workflows/%d", full, run.workflow.id), "referenced_workflows": []any{},
		"head_commit": s.simpleCommit(run.repo, run.sha), "repository": s.minimalRepository(run.repo),
		"head_repository": s.minimalRepository(run.repo),
	}
}

// jobNames are the jobs that the workflow declares, in the order of their names.
func (r *workflowRun) jobNames() []string { return slices.Sorted(maps.Keys(r.definition.Jobs)) }

// jobID is unlike any other id, and the same for each call.
func (r *workflowRun) jobID(name string) int64 {
	return r.id*1000 + int64(slices.Index(r.jobNames(), name)) + 1
}

func (s *Server) job(run *workflowRun, name string) object {
	full, id := run.repo.fullName(), run.jobID(name)
	o := object{
		"id": id, "node_id": nodeID("Job", id), "run_id": run.id, "run_attempt": run.attempt, "name": name,
		"run_url": s.api("/repos/%s/actions/runs/%d", full, run.id), "head_sha": run.sha, "head_branch": run.branch,
		"workflow_name": run.definition.Name, "url": s.api("/repos/%s/actions/jobs/%d", full, id),
		"html_url": s.web("/%s/actions/runs/%d/job/%d", full, run.id, id), "status": run.status, "conclusion": nullable(run.conclusion),
		"created_at": stamp(run.created), "started_at": stamp(run.started), "completed_at": nil, "steps": []any{}, "labels": []string{},
		"check_run_url": s.api("/repos/%s/check-runs/%d", full, id), "runner_id": nil, "runner_name": nil,
		"runner_group_id": nil, "runner_group_name": nil,
	}
	if run.status == "completed" {
		o["completed_at"] = stamp(run.updated)
	}
	return o
}
