package githubtest

import "maps"

// suite is the App's check suite for a commit, which is made when there is none: an App has one per commit.
func (s *Server) suite(r *repository, a *app, sha string) *checkSuite {
	for _, suite := range r.suites {
		if suite.app == a && suite.sha == sha {
			return suite
		}
	}
	suite := &checkSuite{id: s.id(), repo: r, app: a, sha: sha, created: s.now(), updated: s.now(), after: sha}
	r.suites = append(r.suites, suite)
	return suite
}

func (k *checkSuite) runs() []*checkRun {
	var runs []*checkRun
	for _, run := range k.repo.checks {
		if run.suite == k {
			runs = append(runs, run)
		}
	}
	return runs
}

// outcome sums up the suite's runs: completed when all are, failed when one is.
func (k *checkSuite) outcome() (status string, conclusion any) {
	runs := k.runs()
	if len(runs) == 0 {
		return "queued", nil
	}
	status, worst := "completed", "success"
	for _, run := range runs {
		if run.status != "completed" {
			status = "in_progress"
		}
		if run.conclusion != "success" && run.conclusion != "neutral" && run.conclusion != "skipped" {
			worst = run.conclusion
		}
	}
	if status != "completed" {
		return status, nil
	}
	return status, worst
}

func withSuite(handle func(*call, *checkSuite) answer) func(*call) answer {
	return func(c *call) answer {
		for _, k := range c.repo.suites {
			if k.id == c.number("check_suite_id") {
				return handle(c, k)
			}
		}
		return notFound()
	}
}

func getSuite(c *call, k *checkSuite) answer { return ok(c.checkSuite(k)) }

func listSuiteRuns(c *call, suite *checkSuite) answer {
	return c.listRuns(func(k *checkRun) bool { return k.suite == suite })
}

func listSuites(c *call) answer {
	sha, found := c.repo.commitOf(c.params["ref"])
	if !found {
		return unprocessable("No commit found for SHA: " + c.params["ref"])
	}
	var suites []*checkSuite
	for _, k := range c.repo.suites {
		if k.sha == sha && c.selects("app_id", itoa(k.app.id)) {
			suites = append(suites, k)
		}
	}
	return counted(c, "check_suites", suites, c.checkSuite)
}

func rerequestSuite(c *call, k *checkSuite) answer {
	c.rerequestSuite(k, c.principal.actor())
	return created(object{})
}

func (s *Server) rerequestSuite(k *checkSuite, actor *account) {
	s.emitCheckEvent(k, "check_suite", "rerequested", actor, object{"check_suite": s.webhookSuite(k)})
}

// emitCheck notifies the App that owns a check run; check events go to no other App.
func (s *Server) emitCheck(k *checkRun, action string, actor *account, extra object) {
	payload := object{"check_run": s.webhookCheckRun(k)}
	maps.Copy(payload, extra)
	s.emitCheckEvent(k.suite, "check_run", action, actor, payload)
}

func (s *Server) emitCheckEvent(k *checkSuite, event, action string, actor *account, payload object) {
	for _, i := range s.state.installations {
		if i.app == k.app && i.covers(k.repo) && i.suspended.IsZero() && i.subscribes(event) {
			s.emitTo(i, k.repo, event, action, actor, payload)
		}
	}
}

func (s *Server) checkRun(k *checkRun) object {
	api := s.api("/repos/%s/check-runs/%d", k.repo.fullName(), k.id)
	details := k.detailsURL
	if details == "" {
		details = s.web("/%s/runs/%d", k.repo.fullName(), k.id)
	}
	return object{
		"id": k.id, "node_id": nodeID("CheckRun", k.id), "name": k.name, "head_sha": k.suite.sha, "external_id": k.externalID,
		"url": api, "html_url": s.web("/%s/runs/%d", k.repo.fullName(), k.id), "details_url": details,
		"status": k.status, "conclusion": nullable(k.conclusion), "started_at": stamp(k.started), "completed_at": stamp(k.completed),
		"output": object{
			"title": nullable(k.title), "summary": nullable(k.summary), "text": nullable(k.text),
			"annotations_count": len(k.annotations), "annotations_url": api + "/annotations",
		},
		"check_suite": object{"id": k.suite.id}, "app": s.integration(k.suite.app), "pull_requests": s.pullsAt(k.repo, k.suite.sha),
	}
}

// webhookCheckRun is a check run as events show it: with its suite.
func (s *Server) webhookCheckRun(k *checkRun) object {
	o := s.checkRun(k)
	suite := s.checkSuite(k.suite)
	for _, name := range []string{"head_commit", "latest_check_runs_count", "check_runs_url"} {
		delete(suite, name)
	}
	suite["repository"] = s.minimalRepository(k.repo)
	o["check_suite"] = suite
	return o
}

func (s *Server) checkSuite(k *checkSuite) object {
	status, conclusion := k.outcome()
	api := s.api("/repos/%s/check-suites/%d", k.repo.fullName(), k.id)
	return object{
		"id": k.id, "node_id": nodeID("CheckSuite", k.id), "head_branch": nullable(k.branch), "head_sha": k.sha,
		"status": status, "conclusion": conclusion, "url": api, "before": nullable(k.before), "after": nullable(k.after),
		"pull_requests": s.pullsAt(k.repo, k.sha), "app": s.integration(k.app), "created_at": stamp(k.created),
		"updated_at": stamp(k.updated), "repository": s.minimalRepository(k.repo), "head_commit": s.simpleCommit(k.repo, k.sha),
		"latest_check_runs_count": len(k.runs()), "check_runs_url": api + "/check-runs",
		"rerequestable": true, "runs_rerequestable": true,
	}
}

// webhookSuite is a check suite as its own events show it.
func (s *Server) webhookSuite(k *checkSuite) object {
	o := s.checkSuite(k)
	delete(o, "repository")
	return o
}

// simpleCommit is a commit as checks and workflow runs show it.
func (s *Server) simpleCommit(r *repository, sha string) any {
	k, found := r.commit(sha)
	if !found {
		return nil
	}
	return object{
		"id": k.sha, "tree_id": k.tree, "message": k.message, "timestamp": k.committer.when.Format(timeWithZone),
		"author":    object{"name": k.author.name, "email": k.author.email},
		"committer": object{"name": k.committer.name, "email": k.committer.email},
	}
}
