package githubtest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v62/github"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// TestGoGitHub walks the way of a run through go-github, with tokens from ghinstallation.
func TestGoGitHub(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	ctx, c := context.Background(), w.asInstallation()

	file, _, _, err := c.Repositories.GetContents(ctx, "acme", "shop", "docs/a b.txt", &gh.RepositoryContentGetOptions{Ref: w.repo.SHA})
	must(t, err)
	if text := one(file.GetContent())(t); text != "text\n" {
		t.Errorf("content %q", text)
	}
	_, dir, _, err := c.Repositories.GetContents(ctx, "acme", "shop", "", nil)
	must(t, err)
	if len(dir) != 3 {
		t.Errorf("%d entries at the root", len(dir))
	}
	tree, _, err := c.Git.GetTree(ctx, "acme", "shop", w.repo.SHA, true)
	must(t, err)
	modes := map[string]string{}
	for _, e := range tree.Entries {
		modes[e.GetPath()] = e.GetMode()
	}
	if diff := cmp.Diff(map[string]string{"README.md": "100644", "docs": "040000", "docs/a b.txt": "100644", "run.sh": "100755"}, modes); diff != "" {
		t.Error(diff)
	}
	run, _, err := c.Checks.CreateCheckRun(ctx, "acme", "shop", gh.CreateCheckRunOptions{Name: "conductor", HeadSHA: w.repo.SHA, ExternalID: gh.String("x")})
	must(t, err)
	_, _, err = c.Checks.UpdateCheckRun(ctx, "acme", "shop", run.GetID(), gh.UpdateCheckRunOptions{
		Name: "conductor", Status: gh.String("completed"), Conclusion: gh.String("success"),
		Output: &gh.CheckRunOutput{Title: gh.String("ok"), Summary: gh.String("fine")},
	})
	must(t, err)
	w.hook.wait(t, "check_run", func(e any) bool { return e.(*gh.CheckRunEvent).GetAction() == "completed" })
	n := one(w.CreateIssue("acme/shop", "ada", "Broken", "please"))(t)
	k, _, err := c.Issues.CreateComment(ctx, "acme", "shop", n, &gh.IssueComment{Body: gh.String("hello")})
	must(t, err)
	if k.GetUser().GetLogin() != "conductor[bot]" || k.GetUser().GetType() != "Bot" {
		t.Errorf("comment by %v", k.GetUser())
	}
	w.hook.wait(t, "issue_comment", func(e any) bool { return e.(*gh.IssueCommentEvent).GetComment().GetID() == k.GetID() })
	repos, _, err := c.Apps.ListRepos(ctx, nil)
	must(t, err)
	if repos.GetTotalCount() != 1 {
		t.Errorf("%d repositories", repos.GetTotalCount())
	}
}

func TestArchive(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	c := w.asInstallation()
	link, _, err := c.Repositories.GetArchiveLink(context.Background(), "acme", "shop", gh.Tarball, &gh.RepositoryContentGetOptions{Ref: w.repo.SHA}, 0)
	must(t, err)
	if strings.HasPrefix(link.String(), w.URL) {
		t.Errorf("%s is on the API's host", link)
	}
	resp := one(http.Get(link.String()))(t)
	defer resp.Body.Close()
	var names []string
	for archive := tar.NewReader(one(gzip.NewReader(resp.Body))(t)); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		if h.Typeflag == tar.TypeReg {
			names = append(names, h.Name)
		}
	}
	top := "acme-shop-" + w.repo.SHA[:7] + "/"
	if diff := cmp.Diff([]string{top + "README.md", top + "docs/a b.txt", top + "run.sh"}, names); diff != "" {
		t.Error(diff)
	}

	get := func(url string, headers ...string) int {
		req := one(http.NewRequest("GET", url, nil))(t)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp := one(http.DefaultClient.Do(req))(t)
		resp.Body.Close()
		return resp.StatusCode
	}
	get(link.String(), "Authorization", "Bearer x")
	if v := w.TakeViolations(); len(v) != 1 || v[0].Kind != "credentials" {
		t.Errorf("violations %v; want one of credentials", v)
	}
	if status := get(strings.Split(link.String(), "?")[0]); status != 404 {
		t.Errorf("without the link's token: %d", status)
	}
	w.Advance(6 * 60e9)
	if status := get(link.String()); status != 404 {
		t.Errorf("after six minutes: %d", status)
	}
}

func TestFileSizes(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	inline, large := strings.Repeat("x", 1<<20), strings.Repeat("y", 1<<20+1)
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Files: map[string]string{"inline": inline, "large": large}}))(t)
	token := one(w.InstallationToken(w.installation))(t)
	get := func(name, media string) (int, []byte) {
		status, body, _ := w.call("GET", "/repos/acme/shop/contents/"+name, token, "", "Accept", media)
		return status, body
	}
	if status, _ := get("inline", "application/vnd.github+json"); status != 200 {
		t.Errorf("1 MiB as JSON: %d", status)
	}
	if status, body := get("large", "application/vnd.github+json"); status != 403 || !bytes.Contains(body, []byte("too_large")) {
		t.Errorf("more as JSON: %d %s", status, body)
	}
	if status, body := get("large", "application/vnd.github.raw+json"); status != 200 || string(body) != large {
		t.Errorf("more as raw: %d, %d bytes", status, len(body))
	}
	if status, body := get("large", "application/vnd.github.object+json"); status != 200 || field(t, body, "encoding") != "none" || field(t, body, "content") != "" {
		t.Errorf("more as object: %d", status)
	}
	if status, body := get("docs", "application/vnd.github.object+json"); status != 200 || !bytes.Contains(body, []byte(`"entries"`)) {
		t.Errorf("directory as object: %d %s", status, body)
	}
}

// TestOctokit runs GitHub's own client for JavaScript, installed from its lock file into the user's cache.
func TestOctokit(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	w.done("issues")
	d := w.hook.all("issues")[0]
	script := filepath.Join(installOctokit(t), "client.mjs")
	cmd := exec.Command("node", script)
	cmd.Env = append(os.Environ(), "GITHUB_API_URL="+w.APIURL(), "APP_ID="+num(w.app.ID), "PRIVATE_KEY="+w.app.PrivateKey,
		"WEBHOOK_SECRET="+w.app.WebhookSecret, "INSTALLATION="+num(w.installation), "OWNER=acme", "REPO=shop", "USER_TOKEN="+w.user.Token,
		"PAYLOAD="+string(d.body), "SIGNATURE="+d.header.Get("X-Hub-Signature-256"))
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, problem.String())
	}
	var got map[string]any
	must(t, json.Unmarshal(out, &got))
	comments := []any{}
	for n := range 5 {
		comments = append(comments, "conductor[bot]: comment "+num(n))
	}
	want := map[string]any{
		"slug": "conductor", "sha": w.repo.SHA, "content": "text\n", "comments": comments, "reaction": "eyes",
		"checks": []any{"completed success"}, "role": "admin", "refused": "403 Resource not accessible by integration",
		"user": "ada", "verified": true, "forged": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// installOctokit installs the locked packages once per lock file and returns where they are.
func installOctokit(t *testing.T) string {
	t.Helper()
	files := []string{"package.json", "package-lock.json", "client.mjs"}
	sum := sha256.New()
	for _, name := range files {
		sum.Write(one(os.ReadFile(filepath.Join("testdata", "octokit", name)))(t))
	}
	dir := filepath.Join(one(os.UserCacheDir())(t), "conductor", "octokit-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	making := one(os.MkdirTemp(filepath.Dir(dir), "making"))(t)
	defer os.RemoveAll(making)
	for _, name := range files {
		must(t, os.WriteFile(filepath.Join(making, name), one(os.ReadFile(filepath.Join("testdata", "octokit", name)))(t), 0o644))
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = making
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(making, dir); err != nil && !os.IsExist(err) {
		if _, made := os.Stat(dir); made != nil { // another process was faster
			t.Fatal(err)
		}
	}
	return dir
}

// TestGitHubCLI runs gh, which talks HTTPS alone. Much of it is GraphQL, which the simulator does not have; what is
// REST works: the api command, workflows and runs.
func TestGitHubCLI(t *testing.T) {
	w := newWorld(t, githubtest.Options{TLS: true})
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Files: map[string]string{".github/workflows/sync.yml": dispatchable}}))(t)
	n := one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	for range 3 {
		one(w.Comment("acme/shop", "ada", n, "c"))(t)
	}
	dir := t.TempDir()
	trusted := filepath.Join(dir, "ca.pem")
	must(t, os.WriteFile(trusted, w.Certificate(), 0o600))
	host := strings.TrimPrefix(w.URL, "https://")
	cli := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("gh", args...)
		cmd.Env = append(os.Environ(), "GH_HOST="+host, "GH_ENTERPRISE_TOKEN="+w.user.Token, "GH_CONFIG_DIR="+dir, "SSL_CERT_FILE="+trusted,
			"GH_REPO="+host+"/acme/shop", "GH_NO_UPDATE_NOTIFIER=1", "NO_COLOR=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("gh %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := cli("api", "user", "--jq", ".login"); got != "ada" {
		t.Errorf("gh api user: %s", got)
	}
	if got := cli("api", "repos/acme/shop/issues/1/comments?per_page=1", "--paginate", "--jq", ".[].id"); len(strings.Fields(got)) != 3 {
		t.Errorf("gh api --paginate: %s", got)
	}
	cli("api", "repos/acme/shop/issues/1/comments", "-f", "body=from gh")
	if comments := one(w.Issue("acme/shop", n))(t).Comments; comments[len(comments)-1].Body != "from gh" {
		t.Errorf("comments %v", comments)
	}
	if got := cli("workflow", "list"); !strings.Contains(got, "Sync") {
		t.Errorf("gh workflow list: %s", got)
	}
	cli("workflow", "run", "sync.yml", "--ref", "main", "-f", "namespace=team-a")
	runs := w.WorkflowRuns("acme/shop")
	if len(runs) != 1 || runs[0].Inputs["namespace"] != "team-a" || runs[0].Inputs["mode"] != "fast" {
		t.Fatalf("runs %+v", runs)
	}
	if got := cli("run", "list", "--json", "databaseId,status"); !strings.Contains(got, num(runs[0].ID)) {
		t.Errorf("gh run list: %s", got)
	}
	cli("run", "cancel", num(runs[0].ID))
	if got := w.WorkflowRuns("acme/shop")[0]; got.Conclusion != "cancelled" {
		t.Errorf("run %+v", got)
	}
}

func TestDispatch(t *testing.T) {
	for _, test := range []struct {
		name       string
		enterprise bool
		body       string
		status     int
		message    string
	}{
		{"without details", false, `{"ref":"main","inputs":{"namespace":"n"}}`, 204, ""},
		{"with details", false, `{"ref":"main","inputs":{"namespace":"n"},"return_run_details":true}`, 200, ""},
		{"details of an older server", true, `{"ref":"main","inputs":{"namespace":"n"},"return_run_details":true}`, 422, "not a permitted key"},
		{"eleven inputs of an older server", true, `{"ref":"main","inputs":{"namespace":"n","a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":""}}`, 422, "No more than 10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, githubtest.Options{Enterprise: test.enterprise})
			one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Files: map[string]string{".github/workflows/sync.yml": dispatchable}}))(t)
			ran := make(chan githubtest.WorkflowRun, 1)
			w.OnDispatch(func(r githubtest.WorkflowRun) { ran <- r })
			token := one(w.InstallationToken(w.installation))(t)
			status, body, _ := w.call("POST", "/repos/acme/shop/actions/workflows/sync.yml/dispatches", token, test.body)
			if status != test.status || !strings.Contains(string(body), test.message) {
				t.Fatalf("%d %s", status, body)
			}
			if status > 299 {
				return
			}
			run := <-ran
			var details struct {
				ID int64 `json:"workflow_run_id"`
			}
			if status == 200 {
				must(t, json.Unmarshal(body, &details))
				if details.ID != run.ID {
					t.Errorf("answered run %d, ran %d", details.ID, run.ID)
				}
			}
			if run.Inputs["mode"] != "fast" || run.Actor != "conductor[bot]" {
				t.Errorf("run %+v", run)
			}
			must(t, w.SetWorkflowRun(run.ID, "completed", "success"))
			w.hook.wait(t, "workflow_run", func(e any) bool {
				r := e.(*gh.WorkflowRunEvent)
				return r.GetAction() == "completed" && r.GetWorkflowRun().GetID() == run.ID
			})
		})
	}
}
