package githubtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Limits of a dispatch. https://docs.github.com/rest/actions/workflows#create-a-workflow-dispatch-event
const (
	mostInputs           = 25
	mostEnterpriseInputs = 10
	longestInputs        = 65535
)

type workflow struct {
	id      int64
	path    string
	created time.Time
}

func actionRoutes() []*route {
	const workflows, runs = "/repos/{owner}/{repo}/actions/workflows", "/repos/{owner}/{repo}/actions/runs"
	read, write := on("actions:read"), on("actions:write")
	return []*route{
		{method: "GET", template: workflows, access: read, handle: listWorkflows},
		{method: "GET", template: workflows + "/{workflow_id}", access: read, handle: withWorkflow(getWorkflow)},
		{method: "GET", template: workflows + "/{workflow_id}/runs", access: read, handle: withWorkflow(listWorkflowRuns)},
		{method: "POST", template: workflows + "/{workflow_id}/dispatches", access: write, handle: withWorkflow(dispatch)},
		{method: "GET", template: runs, access: read, handle: listRuns},
		{method: "GET", template: runs + "/{run_id}", access: read, handle: withRun(getRun)},
		{method: "POST", template: runs + "/{run_id}/cancel", access: write, handle: withRun(cancelRun)},
		{method: "POST", template: runs + "/{run_id}/rerun", access: write, handle: withRun(rerun)},
		{method: "GET", template: runs + "/{run_id}/jobs", access: read, handle: withRun(listJobs)},
		{method: "GET", template: "/repos/{owner}/{repo}/actions/jobs/{job_id}", access: read, handle: getJob},
	}
}

// definition is the part of a workflow file that the server acts on.
type definition struct {
	Name    string         `yaml:"name"`
	RunName string         `yaml:"run-name"`
	On      yaml.Node      `yaml:"on"`
	Jobs    map[string]any `yaml:"jobs"`
}

// input is one declared input of workflow_dispatch.
type input struct {
	Required bool     `yaml:"required"`
	Default  any      `yaml:"default"`
	Type     string   `yaml:"type"`
	Options  []string `yaml:"options"`
}

// definition reads the workflow at a commit; false when the file is not there or not YAML.
func (w *workflow) definition(r *repository, sha string) (definition, bool) {
	var d definition
	text, err := r.git("cat-file", "blob", sha+":"+w.path)
	if err != nil || yaml.Unmarshal([]byte(text), &d) != nil {
		return d, false
	}
	if d.Name == "" {
		d.Name = w.path
	}
	return d, true
}

// dispatchInputs are the inputs of workflow_dispatch; false when the workflow has no such trigger. The trigger is
// written as a word, in a list, or as a mapping with inputs.
func (d *definition) dispatchInputs() (map[string]input, bool) {
	const trigger = "workflow_dispatch"
	switch d.On.Kind {
	case yaml.ScalarNode:
		return nil, d.On.Value == trigger
	case yaml.SequenceNode:
		return nil, slices.ContainsFunc(d.On.Content, func(n *yaml.Node) bool { return n.Value == trigger })
	}
	var events map[string]yaml.Node
	if d.On.Decode(&events) != nil {
		return nil, false
	}
	node, found := events[trigger]
	var with struct {
		Inputs map[string]input `yaml:"inputs"`
	}
	_ = node.Decode(&with) // an empty trigger has no inputs
	return with.Inputs, found
}

// refreshWorkflows makes a workflow of each file on the default branch. One that is gone stays, for its runs.
func (s *Server) refreshWorkflows(r *repository) {
	entries, err := r.tree("refs/heads/"+r.defaultBranch+":.github/workflows", false)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := path.Join(".github/workflows", e.path)
		known := slices.ContainsFunc(r.workflows, func(w *workflow) bool { return w.path == name })
		if ext := path.Ext(name); !known && (ext == ".yml" || ext == ".yaml") {
			r.workflows = append(r.workflows, &workflow{id: s.id(), path: name, created: s.now()})
		}
	}
}

func withWorkflow(handle func(*call, *workflow) answer) func(*call) answer {
	return func(c *call) answer {
		c.refreshWorkflows(c.repo)
		for _, w := range c.repo.workflows {
			if itoa(w.id) == c.params["workflow_id"] || path.Base(w.path) == c.params["workflow_id"] {
				return handle(c, w)
			}
		}
		return notFound()
	}
}

func listWorkflows(c *call) answer {
	c.refreshWorkflows(c.repo)
	return counted(c, "workflows", c.repo.workflows, func(w *workflow) object { return c.workflow(c.repo, w) })
}

func getWorkflow(c *call, w *workflow) answer { return ok(c.workflow(c.repo, w)) }

func (s *Server) workflow(r *repository, w *workflow) object {
	name := w.path
	if d, found := w.definition(r, "refs/heads/"+r.defaultBranch); found {
		name = d.Name
	}
	return object{
		"id": w.id, "node_id": nodeID("Workflow", w.id), "name": name, "path": w.path, "state": "active",
		"created_at": stamp(w.created), "updated_at": stamp(w.created),
		"url":       s.api("/repos/%s/actions/workflows/%d", r.fullName(), w.id),
		"html_url":  s.web("/%s/blob/%s/%s", r.fullName(), r.defaultBranch, w.path),
		"badge_url": s.web("/%s/workflows/%s/badge.svg", r.fullName(), escape(name)),
	}
}

// dispatch starts a workflow run. The workflow file at the ref defines the inputs.
func dispatch(c *call, w *workflow) answer {
	var ask struct {
		Ref              string         `json:"ref"`
		Inputs           map[string]any `json:"inputs"`
		ReturnRunDetails *bool          `json:"return_run_details"`
	}
	if err := json.Unmarshal(c.body, &ask); err != nil {
		return unprocessable(err.Error())
	}
	if c.options.Enterprise && ask.ReturnRunDetails != nil {
		return unprocessable("Invalid request.\n\n\"return_run_details\" is not a permitted key.")
	}
	if c.options.Enterprise && len(ask.Inputs) > mostEnterpriseInputs {
		return unprocessable("Invalid request.\n\nNo more than 10 properties are allowed; " + itoa(len(ask.Inputs)) + " were supplied.")
	}
	run, refusal := c.prepare(w, ask.Ref, ask.Inputs)
	if refusal != "" {
		return unprocessable(refusal)
	}
	run.actor, run.app = c.principal.actor(), c.principal.app
	c.start(run)
	if ask.ReturnRunDetails == nil || !*ask.ReturnRunDetails {
		return noContent()
	}
	o := c.run(run)
	return ok(object{"workflow_run_id": run.id, "run_url": o["url"], "html_url": o["html_url"]})
}

// prepare checks a dispatch and makes the run, not yet started.
func (c *call) prepare(w *workflow, ref string, inputs map[string]any) (*workflowRun, string) {
	short := strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
	if c.repo.refs["refs/heads/"+short] == "" && c.repo.refs["refs/tags/"+short] == "" {
		return nil, "No ref found for: " + ref
	}
	sha, _ := c.repo.commitOf(short)
	d, found := w.definition(c.repo, sha)
	declared, triggered := d.dispatchInputs()
	if !found || !triggered {
		return nil, "Workflow does not have 'workflow_dispatch' trigger"
	}
	values, refusal := checkInputs(declared, inputs)
	if refusal != "" {
		return nil, refusal
	}
	return &workflowRun{
		id: c.id(), repo: c.repo, workflow: w, definition: d, event: "workflow_dispatch", branch: short, sha: sha, inputs: values,
		number: len(c.repo.runs) + 1, attempt: 1, status: "queued", created: c.now, updated: c.now, started: c.now,
	}, ""
}

// checkInputs applies what the workflow declares: no undeclared input, none missing that is required, choices among
// their options; and fills in defaults.
func checkInputs(declared map[string]input, given map[string]any) (map[string]string, string) {
	var unexpected []string
	size := 0
	for name, value := range given {
		if _, found := declared[name]; !found {
			unexpected = append(unexpected, name)
		}
		size += len(name) + len(fmt.Sprint(value))
	}
	slices.Sort(unexpected)
	switch {
	case len(declared) > mostInputs:
		return nil, fmt.Sprintf("you may only define up to %d `inputs` for a `workflow_dispatch` event", mostInputs)
	case unexpected != nil:
		return nil, fmt.Sprintf("Unexpected inputs provided: %q", unexpected)
	case size > longestInputs:
		return nil, "inputs are too large."
	}
	values := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		in := declared[name]
		value, found := given[name]
		if !found && in.Default != nil {
			value, found = in.Default, true
		}
		if in.Required && (!found || fmt.Sprint(value) == "") {
			return nil, fmt.Sprintf("Required input '%s' not provided", name)
		}
		if !found {
			continue
		}
		text := fmt.Sprint(value)
		if in.Type == "choice" && !slices.Contains(in.Options, text) {
			return nil, fmt.Sprintf("Provided value '%s' for input '%s' not in the list of allowed values", text, name)
		}
		values[name] = text
	}
	return values, ""
}

func withRun(handle func(*call, *workflowRun) answer) func(*call) answer {
	return func(c *call) answer {
		for _, r := range c.repo.runs {
			if r.id == c.number("run_id") {
				return handle(c, r)
			}
		}
		return notFound()
	}
}

func getRun(c *call, r *workflowRun) answer { return ok(c.run(r)) }

func listRuns(c *call) answer { return c.listRunsOf(nil) }

func listWorkflowRuns(c *call, w *workflow) answer { return c.listRunsOf(w) }

// listRunsOf lists runs, newest first; of any workflow when w is nil.
func (c *call) listRunsOf(w *workflow) answer {
	var runs []*workflowRun
	for _, r := range slices.Backward(c.repo.runs) {
		status := c.query.Get("status")
		if (w == nil || r.workflow == w) && c.selects("event", r.event) && c.selects("branch", r.branch) &&
			c.selects("head_sha", r.sha) && c.selects("actor", r.actor.login) &&
			(status == "" || status == r.status || status == r.conclusion) {
			runs = append(runs, r)
		}
	}
	return counted(c, "workflow_runs", runs, c.run)
}

func cancelRun(c *call, r *workflowRun) answer {
	if r.status == "completed" {
		return failure(http.StatusConflict, "Cannot cancel a workflow run that is completed.")
	}
	c.setRun(r, "completed", "cancelled")
	return accepted(object{})
}

func rerun(c *call, r *workflowRun) answer {
	if r.status != "completed" {
		return failure(http.StatusForbidden, "This workflow is already running")
	}
	r.attempt++
	r.started = c.now
	r.status, r.conclusion = "queued", ""
	c.begin(r)
	return created(object{})
}

func listJobs(c *call, r *workflowRun) answer {
	return counted(c, "jobs", r.jobNames(), func(name string) object { return c.job(r, name) })
}

func getJob(c *call) answer {
	for _, r := range c.repo.runs {
		for _, name := range r.jobNames() {
			if r.jobID(name) == c.number("job_id") {
				return ok(c.job(r, name))
			}
		}
	}
	return notFound()
}
