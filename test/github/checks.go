package githubtest

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the Checks API. https://docs.github.com/rest/checks/runs
const (
	mostAnnotations = 50    // in one request; further ones are added by updates
	longestOutput   = 65535 // characters of summary and of text
	mostActions     = 3
	longestTitle    = 255      // characters of an annotation's title
	longestRemark   = 64 << 10 // bytes of an annotation's message and of its raw details
)

type checkSuite struct {
	id               int64
	repo             *repository
	app              *app
	sha              string
	branch           string
	before, after    string
	created, updated time.Time
}

type checkRun struct {
	id          int64
	repo        *repository
	suite       *checkSuite
	name        string
	externalID  string
	detailsURL  string
	status      string
	conclusion  string
	started     time.Time
	completed   time.Time
	title       string
	summary     string
	text        string
	annotations []Annotation
	actions     []object
}

// Annotation is a remark of a check run on lines of a file.
type Annotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn *int   `json:"start_column"`
	EndColumn   *int   `json:"end_column"`
	Level       string `json:"annotation_level"`
	Message     string `json:"message"`
	Title       string `json:"title"`
	RawDetails  string `json:"raw_details"`
}

func checkRoutes() []*route {
	const runs, suites = "/repos/{owner}/{repo}/check-runs", "/repos/{owner}/{repo}/check-suites/{check_suite_id}"
	read, write := on("checks:read"), on("checks:write")
	return []*route{
		{method: "POST", template: runs, access: write, handle: createCheckRun},
		{method: "GET", template: runs + "/{check_run_id}", access: read, handle: withCheck(getCheckRun)},
		{method: "PATCH", template: runs + "/{check_run_id}", access: write, handle: withCheck(updateCheckRun)},
		{method: "GET", template: runs + "/{check_run_id}/annotations", access: read, handle: withCheck(listAnnotations)},
		{method: "POST", template: runs + "/{check_run_id}/rerequest", access: write, handle: withCheck(rerequestRun)},
		{method: "GET", template: suites, access: read, handle: withSuite(getSuite)},
		{method: "GET", template: suites + "/check-runs", access: read, handle: withSuite(listSuiteRuns)},
		{method: "POST", template: suites + "/rerequest", access: write, handle: withSuite(rerequestSuite)},
		{method: "GET", template: "/repos/{owner}/{repo}/commits/{ref}/check-runs", access: read, handle: listCheckRuns},
		{method: "GET", template: "/repos/{owner}/{repo}/commits/{ref}/check-suites", access: read, handle: listSuites},
	}
}

// checkFields are what a request may set; a nil field stays as it is.
type checkFields struct {
	Name        *string    `json:"name"`
	HeadSHA     string     `json:"head_sha"`
	DetailsURL  *string    `json:"details_url"`
	ExternalID  *string    `json:"external_id"`
	Status      *string    `json:"status"`
	Conclusion  *string    `json:"conclusion"`
	StartedAt   *time.Time `json:"started_at"`
	CompletedAt *time.Time `json:"completed_at"`
	Output      *struct {
		Title       *string      `json:"title"`
		Summary     *string      `json:"summary"`
		Text        *string      `json:"text"`
		Annotations []Annotation `json:"annotations"`
	} `json:"output"`
	Actions []object `json:"actions"`
}

// refuse checks what the description's schema does not: above all that what is completed has a conclusion.
func (f *checkFields) refuse() *answer {
	var a answer
	switch {
	case f.Status != nil && *f.Status == "completed" && f.Conclusion == nil,
		f.CompletedAt != nil && f.Conclusion == nil:
		a = invalid("CheckRun", "conclusion", "missing_field", "conclusion is required when completed")
	case f.Conclusion != nil && *f.Conclusion == "stale":
		a = invalid("CheckRun", "conclusion", "invalid", "only GitHub can mark a check run stale")
	case f.Output != nil && len(f.Output.Annotations) > mostAnnotations:
		a = invalid("CheckRun", "annotations", "invalid", "at most 50 annotations per request")
	case f.Output != nil && (tooLong(f.Output.Summary) || tooLong(f.Output.Text)):
		a = invalid("CheckRun", "output", "invalid", "at most 65535 characters")
	case f.Output != nil && refuseAnnotation(f.Output.Annotations) != "":
		a = invalid("CheckRun", "annotations", "invalid", refuseAnnotation(f.Output.Annotations))
	case len(f.Actions) > mostActions:
		a = invalid("CheckRun", "actions", "invalid", "at most 3 actions")
	default:
		return nil
	}
	return &a
}

// refuseAnnotation explains what is wrong with the first annotation that GitHub would refuse; "" if all are valid.
func refuseAnnotation(all []Annotation) string {
	for _, a := range all {
		switch columns := a.StartColumn != nil || a.EndColumn != nil; {
		case utf8.RuneCountInString(a.Title) > longestTitle:
			return "an annotation's title has at most 255 characters"
		case len(a.Message) > longestRemark || len(a.RawDetails) > longestRemark:
			return "an annotation's message and raw details have at most 64 KB"
		case a.Path == "" || path.IsAbs(a.Path) || path.Clean(a.Path) != a.Path || strings.HasPrefix(a.Path, "../"):
			return "an annotation's path is relative to the repository's root"
		case a.Message == "" || a.StartLine < 1 || a.EndLine < a.StartLine:
			return "an annotation needs a message and lines that exist"
		case columns && a.StartLine != a.EndLine:
			return "columns are for annotations of one line"
		}
	}
	return ""
}

func tooLong(s *string) bool { return s != nil && utf8.RuneCountInString(*s) > longestOutput }

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// apply writes the fields. A conclusion completes the run; annotations are added to those there are.
func (f *checkFields) apply(k *checkRun, now time.Time) {
	set(&k.name, f.Name)
	set(&k.detailsURL, f.DetailsURL)
	set(&k.externalID, f.ExternalID)
	set(&k.status, f.Status)
	set(&k.started, f.StartedAt)
	if f.Status != nil && *f.Status != "completed" {
		k.conclusion, k.completed = "", time.Time{}
	}
	if f.Conclusion != nil {
		k.conclusion, k.status = *f.Conclusion, "completed"
		if k.completed.IsZero() {
			k.completed = now
		}
	}
	set(&k.completed, f.CompletedAt)
	if o := f.Output; o != nil {
		set(&k.title, o.Title)
		set(&k.summary, o.Summary)
		set(&k.text, o.Text)
		k.annotations = append(k.annotations, o.Annotations...)
	}
	if f.Actions != nil {
		k.actions = f.Actions
	}
}

func createCheckRun(c *call) answer {
	var f checkFields
	if err := c.decode(&f); err != nil {
		return unprocessable(err.Error())
	}
	if refusal := f.refuse(); refusal != nil {
		c.undescribedRule(*refusal)
		return *refusal
	}
	if !c.repo.hasCommit(f.HeadSHA) {
		return invalid("CheckRun", "head_sha", "custom", "No commit found for SHA: "+f.HeadSHA)
	}
	k := &checkRun{id: c.id(), repo: c.repo, suite: c.suite(c.repo, c.principal.app, f.HeadSHA), status: "queued", started: c.now}
	f.apply(k, c.now)
	k.suite.updated = c.now
	c.repo.checks = append(c.repo.checks, k)
	c.emitCheck(k, "created", c.principal.actor(), nil)
	if k.status == "completed" {
		c.emitCheck(k, "completed", c.principal.actor(), nil)
	}
	a := created(c.checkRun(k))
	a.header.Set("Location", c.api("/repos/%s/check-runs/%d", c.repo.fullName(), k.id))
	return a
}

// undescribedRule notes that a request broke a rule of which the description is silent.
func (c *call) undescribedRule(a answer) {
	problem := a.body.(object)["errors"].([]any)[0].(object)
	c.violations.add("request", c.subject(), "/"+problem["field"].(string)+": "+problem["message"].(string))
}

func updateCheckRun(c *call, k *checkRun) answer {
	if k.suite.app != c.principal.app {
		return failure(http.StatusForbidden, "Invalid app_id `"+itoa(c.principal.app.id)+"` - check run can only be modified by the GitHub App that created it.")
	}
	var f checkFields
	if err := c.decode(&f); err != nil {
		return unprocessable(err.Error())
	}
	if refusal := f.refuse(); refusal != nil {
		c.undescribedRule(*refusal)
		return *refusal
	}
	was := k.status
	f.apply(k, c.now)
	k.suite.updated = c.now
	if was != "completed" && k.status == "completed" {
		c.emitCheck(k, "completed", c.principal.actor(), nil)
	}
	return ok(c.checkRun(k))
}

func withCheck(handle func(*call, *checkRun) answer) func(*call) answer {
	return func(c *call) answer {
		for _, k := range c.repo.checks {
			if k.id == c.number("check_run_id") {
				return handle(c, k)
			}
		}
		return notFound()
	}
}

func getCheckRun(c *call, k *checkRun) answer { return ok(c.checkRun(k)) }

func listAnnotations(c *call, k *checkRun) answer {
	return paginate(c, k.annotations, func(a Annotation) object {
		o := object{
			"path": a.Path, "start_line": a.StartLine, "end_line": a.EndLine, "start_column": nil, "end_column": nil,
			"annotation_level": a.Level, "title": nullable(a.Title), "message": a.Message, "raw_details": nullable(a.RawDetails),
			"blob_href": c.api("/repos/%s/git/blobs/%s", c.repo.fullName(), k.suite.sha),
		}
		if a.StartColumn != nil {
			o["start_column"] = *a.StartColumn
		}
		if a.EndColumn != nil {
			o["end_column"] = *a.EndColumn
		}
		return o
	})
}

func rerequestRun(c *call, k *checkRun) answer {
	c.rerequest(k, c.principal.actor())
	return created(object{})
}

// rerequest requests another run of a check: the check run is queued again and its App notified.
func (s *Server) rerequest(k *checkRun, actor *account) {
	k.status, k.conclusion, k.completed = "queued", "", time.Time{}
	s.emitCheck(k, "rerequested", actor, nil)
}

// listCheckRuns lists the runs of a ref. By default only the newest of each name and App are shown.
func listCheckRuns(c *call) answer {
	sha, found := c.repo.commitOf(c.params["ref"])
	if !found {
		return unprocessable("No commit found for SHA: " + c.params["ref"])
	}
	return c.listRuns(func(k *checkRun) bool { return k.suite.sha == sha })
}

func (c *call) listRuns(of func(*checkRun) bool) answer {
	var runs []*checkRun
	newest := map[string]bool{}
	for _, k := range slices.Backward(c.repo.checks) {
		key := itoa(k.suite.app.id) + "/" + k.name
		superseded := c.query.Get("filter") != "all" && newest[key]
		if !of(k) || superseded || !c.selects("check_name", k.name) || !c.selects("status", k.status) ||
			!c.selects("app_id", itoa(k.suite.app.id)) {
			continue
		}
		newest[key] = true
		runs = append(runs, k)
	}
	return counted(c, "check_runs", runs, c.checkRun)
}

// selects reports whether a query parameter is absent or equal to the value.
func (c *call) selects(param, value string) bool {
	want := c.query.Get(param)
	return want == "" || strings.EqualFold(want, value)
}
