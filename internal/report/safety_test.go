package report

import (
	"path"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extensionast "github.com/yuin/goldmark/extension/ast"
	gmtext "github.com/yuin/goldmark/text"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// hostile is a Run in which every text from outside is s.
func hostile(base *v1alpha1.Run, s string) *v1alpha1.Run {
	r := base.DeepCopy()
	r.Spec.Ref, r.Spec.Actor.Login, r.Spec.Repository.HTMLURL = s, s, s
	r.Status.Message, r.Status.Keep, r.Status.Namespace = s, s, s
	r.Spec.Cancel = &v1alpha1.Cancel{By: s, Reason: s}
	for i := range r.Status.Conditions {
		r.Status.Conditions[i].Message = s
	}
	r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: no, Reason: v1alpha1.ReasonStuck, Message: s})
	r.Status.Images = []v1alpha1.ImageStatus{{Name: s, Repository: s, Digest: s, Log: s}}
	r.Status.Services = []v1alpha1.ServiceStatus{
		{Name: s, State: v1alpha1.ServiceFailed, Message: "It ended\n" + s, URL: s, URLProblem: s, PortForward: s}, {Name: s, Message: s, URL: "https://" + s},
	}
	r.Status.Suites = []v1alpha1.SuiteStatus{{Name: s, Message: s, Log: s, Outcome: v1alpha1.OutcomeFailed, ExitCode: new(int32(1)), Shards: 2, Attempts: []v1alpha1.AttemptStatus{{Message: s}, {Message: s}}}, {
		Name: s + "2", Log: s, Failures: []v1alpha1.TestFailure{{Name: s, File: s, Message: s}, {Name: s, File: s, Line: 3}}, Problems: []string{s, s},
	}}
	r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionRecorded, Status: no, Reason: v1alpha1.ReasonUnavailable, Message: s})
	if base.Status.Record != nil {
		r.Status.Record = &v1alpha1.RecordStatus{Reference: s, Digest: s}
	}
	r.Status.Notes = []string{s, s}
	return r
}

// hostileResults are results in which every text from outside is s.
func hostileResults(s string) []evidence.Suite {
	c := evidence.Case{Class: s, Name: s, File: s, Line: 7, Status: evidence.Failed, Seconds: 1, Message: s, Detail: s + s, Output: s}
	flaky := c
	flaky.Status, flaky.Flaky, flaky.File = evidence.Passed, true, "a/"+s
	return []evidence.Suite{{
		Name: s, Totals: &evidence.Totals{Tests: 3, Failed: 2, Passed: 1, Flaky: 1}, Cases: []evidence.Case{c, c, flaky}, Attempts: []evidence.Attempt{{Problems: []string{s}}},
		Compared: &evidence.Comparison{Run: s, NewlyFailing: []string{c.ID()}, NewlyFixed: []string{s, s}},
	}}
}

// allowedHTML is the report's own HTML: text from users appears only inside <code>, escaped.
var allowedHTML = regexp.MustCompile(`^(<!-- conductor:run=[a-z0-9.-]+ -->|<details( open)?><summary>[A-Za-z0-9 ❌,]*(&lt;1s in all)?( <code>[^<>]*</code>)?[a-z ]*</summary>|</details>|</?sub>)$`)

// mention matches what GitHub acts on in text outside code: @name, #1 and GH-1.
var mention = regexp.MustCompile(`(?i)@[a-z0-9]|#[0-9]|\bgh-[0-9]`)

// allowedURL matches the addresses that the report may link to; a service's address comes from the operator's pattern.
var allowedURL = regexp.MustCompile(`^https?://[A-Za-z0-9]`)

// escaped matches an escaped character.
var escaped = regexp.MustCompile(`\\([!-/:-@\[-` + "`" + `{-~])`)

// inspector reports text from users that was rendered as something else.
type inspector struct {
	t      *testing.T
	what   string
	source []byte
	prose  strings.Builder
	// columns are those of the current table, rows those seen so far, open the <details> elements not yet closed.
	columns, rows, open int
}

// inspect parses Markdown as GitHub does.
func inspect(t *testing.T, what, markdown string) {
	t.Helper()
	i := &inspector{t: t, what: what, source: []byte(markdown)}
	root := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(gmtext.NewReader(i.source))
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n.(type) {
		case *ast.CodeSpan, *ast.FencedCodeBlock:
			return ast.WalkSkipChildren, nil
		}
		if entering {
			i.structure(n)
			i.text(n)
		} else if n.Type() == ast.TypeBlock {
			check(t, what, i.prose.String())
			i.prose.Reset()
		}
		return ast.WalkContinue, nil
	})
	if i.rows == 0 && strings.Contains(markdown, "| --- |") {
		t.Errorf("%s: the table is not recognised", what)
	}
	if i.open != 0 {
		t.Errorf("%s: <details> is not closed", what)
	}
}

// structure reports nodes that the report does not make itself.
func (i *inspector) structure(n ast.Node) {
	switch n := n.(type) {
	case *ast.HTMLBlock:
		i.html(n)
	case *ast.RawHTML:
		if html := string(n.Segments.Value(i.source)); !allowedHTML.MatchString(html) {
			i.t.Errorf("%s: HTML %q", i.what, html)
		}
	case *ast.Link:
		if !allowedURL.Match(n.Destination) {
			i.t.Errorf("%s: a link to %q", i.what, n.Destination)
		}
	case *ast.Heading:
		if n.Level != 3 {
			i.t.Errorf("%s: a heading of level %d", i.what, n.Level)
		}
	case *ast.AutoLink, *ast.Image, *ast.CodeBlock, *ast.Blockquote, *ast.ThematicBreak, *extensionast.TaskCheckBox, *extensionast.Strikethrough:
		i.t.Errorf("%s: %s", i.what, n.Kind())
	case *extensionast.Table:
		i.columns = len(n.Alignments)
	case *extensionast.TableRow:
		// The parser drops surplus cells, so the bars between cells are counted.
		line, _, _ := strings.Cut(string(i.source[n.Pos():]), "\n")
		if bars := strings.Count(escaped.ReplaceAllString(line, ""), "|"); bars != i.columns+1 {
			i.t.Errorf("%s: a row of %d cells in a table of %d: %s", i.what, bars-1, i.columns, line)
		}
		i.rows++
	}
}

func (i *inspector) html(n *ast.HTMLBlock) {
	html := string(n.Lines().Value(i.source))
	if n.HasClosure() {
		html += string(n.ClosureLine.Value(i.source))
	}
	if !allowedHTML.MatchString(strings.TrimSpace(html)) {
		i.t.Errorf("%s: HTML block %q", i.what, html)
	}
	if i.open += strings.Count(html, "<details") - strings.Count(html, "</details>"); i.open < 0 || i.open > 1 {
		i.t.Errorf("%s: details in details, or ended twice", i.what)
	}
}

// text collects the text outside code.
func (i *inspector) text(n ast.Node) {
	switch n := n.(type) {
	case *ast.Text:
		i.prose.Write(n.Segment.Value(i.source))
		if n.SoftLineBreak() || n.HardLineBreak() {
			i.prose.WriteByte('\n')
		}
	case *ast.String:
		i.prose.Write(n.Value)
	}
}

// check resolves escapes and reports mentions and references that GitHub would act on.
func check(t *testing.T, what, prose string) {
	t.Helper()
	prose = escaped.ReplaceAllString(prose, "$1")
	prose = strings.ReplaceAll(prose, "&#8203;", "\u200b")
	if m := mention.FindString(prose); m != "" {
		t.Errorf("%s: GitHub sees %q in %q", what, m, prose)
	}
}

// examine checks the whole report of a Run.
func examine(t *testing.T, run *v1alpha1.Run, results []evidence.Suite) {
	t.Helper()
	texts := map[string]string{"comment": Comment(run, results, "", start)}
	for _, c := range CheckRuns(run, nil, results, "") {
		texts["summary of "+c.Name], texts["text of "+c.Name] = c.Summary, c.Text
		if strings.ContainsAny(c.Title+c.Name, "\n\r\x1b") || utf8.RuneCountInString(c.Title) > 200 {
			t.Errorf("the title of %q is not a single line of 200 characters: %q", c.Name, c.Title)
		}
		for _, a := range c.Annotations {
			examineAnnotation(t, a)
		}
	}
	for what, s := range texts {
		if len(s) > maxBody {
			t.Errorf("%s has %d bytes", what, len(s))
		}
		if !utf8.ValidString(s) {
			t.Errorf("%s is not UTF-8", what)
		}
		if strings.ContainsFunc(s, forbidden) {
			t.Errorf("%s holds control characters", what)
		}
		inspect(t, what, s)
	}
}

func forbidden(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' || r == 0x202E }

// examineAnnotation checks an annotation, which GitHub shows as plain text.
func examineAnnotation(t *testing.T, a v1alpha1.Annotation) {
	t.Helper()
	for _, s := range []string{a.Path, a.Title, a.Message, a.RawDetails} {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, forbidden) {
			t.Errorf("an annotation holds %q", s)
		}
	}
	if strings.ContainsAny(a.Path+a.Title, "\n\t") || a.Message == "" || a.StartLine < 1 || utf8.RuneCountInString(a.Title) > 255 {
		t.Errorf("GitHub does not take %+v", a)
	}
	if a.Path != path.Clean(a.Path) || path.IsAbs(a.Path) || strings.HasPrefix(a.Path, "..") {
		t.Errorf("%q is no path in a repository", a.Path)
	}
	if m := regexp.MustCompile(`@[A-Za-z0-9_]`).FindString(a.Title + a.Message); m != "" {
		t.Errorf("GitHub sees %q in an annotation", m)
	}
}

var nasty = []string{
	"", "@octocat", "a@octocat", "\\@octocat", "`@octocat", "``` @octocat\n```\n@octocat", "~~~\n@octocat", "````````\n</details>@octocat",
	"<script>alert(1)</script>", "</details></code>@octocat", "<!-- x", "-->", "<img src=x onerror=y>", "&lt;b&gt; &#64;octocat &commat;octocat",
	"| a | b |", "\\|", "a\\|b", "a\\\\|b", "`|`", "\n\n# heading\n\n> quote\n\n- [ ] task", "[x](javascript:alert(1))", "![x](https://e.example/x.png)",
	"https://example.com/@octocat", "www.example.com", "WWW.example.com", "mailto:a@b.example", "a.b@c.example", "xmpp:a@b.example/c", "ftp://x.example", "#1 GH-1 gh-2 acme/shop#3",
	"1. one", "1) one", "+ x", "- x", "===", "---", "***", "___", "    code", "\tcode", "$x$ $$y$$", "~~gone~~", "__b__ *i*",
	"\x1b[31mred\x1b[0m \x1b]8;;https://e.example\x07link\x1b]8;;\x07", "\x00\x01\x7f\u0085\u009b31m", "\xff\xfe\xc0", "a\rb\r\nc", "\u202Etxt.exe", "[ref]: https://e.example \"x\"\n[ref]",
	"evil.example/x)[y](z", "a\u00a0b\u2003c", "<https://e.example>", "^[", ":+1:", "//e.example", "e.example\\x", "[^1]\n[^1]: note",
}

func TestNothingThatAUserWroteActs(t *testing.T) {
	for name, base := range cases {
		if testing.Short() && name != "tests-failed" && name != "running-stack" {
			continue
		}
		for _, s := range nasty {
			t.Run(name, func(t *testing.T) { examine(t, hostile(base, s), hostileResults(s)) })
		}
	}
}

func FuzzNothingThatAUserWroteActs(f *testing.F) {
	for _, s := range nasty {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		examine(t, hostile(cases["running-tests"], s), nil)
		examine(t, hostile(cases["tests-failed"], s), hostileResults(s))
	})
}

func TestTheLongestRunStillFits(t *testing.T) {
	for _, s := range []string{"|", "\U0001F600", "x\n", "`@"} {
		if testing.Short() && s != "`@" {
			continue
		}
		long := strings.Repeat(s, 8192/len(s))
		r := hostile(cases["tests-failed"], long)
		one := *r
		for range 16 {
			r.Status.Suites = append(r.Status.Suites, one.Status.Suites[0])
			r.Status.Images = append(r.Status.Images, one.Status.Images[0])
		}
		for range 256 {
			r.Status.Services = append(r.Status.Services, one.Status.Services[0])
		}
		for range 18 {
			r.Status.Notes = append(r.Status.Notes, one.Status.Notes[0])
		}
		all := hostileResults(long)
		for range 4 {
			all[0].Cases = append(all[0].Cases, all[0].Cases...)
		}
		comment := Comment(r, all, "", start)
		for i, c := range append([]v1alpha1.CheckRun{{Summary: comment}, {Summary: Comment(r, nil, "", start)}}, CheckRuns(r, []string{long, long + "2"}, all, "")...) {
			if len(c.Summary) > maxBody || len(c.Text) > maxBody {
				t.Errorf("%q: text %d has %d and %d bytes", s, i, len(c.Summary), len(c.Text))
			}
		}
		inspect(t, "long "+s, comment)
	}
}

func TestALogKeepsItsEnd(t *testing.T) {
	got := fence(strings.Repeat("é line\n", 100)+"the last line\n", 64)
	if !strings.HasSuffix(got, "the last line\n```") || !strings.Contains(got, "truncated") || !utf8.ValidString(got) || len(got) > 64+60 {
		t.Errorf("fence = %q", got)
	}
	if got := fence("a\n```\nb", 100); got != "````text\na\n```\nb\n````" {
		t.Errorf("fence = %q", got)
	}
}

func TestDigestFollowsWhatIsReported(t *testing.T) {
	seen := map[string]string{}
	for name, run := range cases {
		d := Digest(run, nil)
		if other, ok := seen[d]; ok && !cmp.Equal(run.Status, cases[other].Status) {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
		reported := run.DeepCopy()
		reported.Status.Report = &v1alpha1.ReportStatus{CommentID: 1, Digest: d, Final: true, CheckRuns: map[string]int64{}}
		for _, c := range CheckRuns(run, nil, nil, "") {
			reported.Status.Report.CheckRuns[c.ExternalID] = 7
		}
		reported.Status.Phase, reported.ResourceVersion = v1alpha1.PhaseFinished, "99"
		reported.Status.Conditions = append(reported.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReported, Status: yes, Reason: v1alpha1.ReasonDone})
		if Digest(reported, nil) != d {
			t.Errorf("%s: reporting it changes the digest", name)
		}
	}
	late := passed()
	if Comment(late, nil, "", start.Add(48*time.Hour)) == Comment(late, nil, "", start.Add(time.Hour)) {
		t.Error("the comment does not change when the stack expires")
	}
}

func TestChecksAreMarkedAndClosed(t *testing.T) {
	early := cases["running-checkout"]
	checks := CheckRuns(early, nil, nil, "")
	if len(checks) != 1 || checks[0].ExternalID != early.Name || checks[0].Status != "in_progress" || checks[0].Conclusion != "" {
		t.Fatalf("before the suites are known: %+v", checks)
	}
	run := passed()
	run.Status.Report = &v1alpha1.ReportStatus{CheckRuns: map[string]int64{run.Name: 5}}
	var got []string
	for _, c := range CheckRuns(run, []string{"e2e", "unit"}, nil, "") {
		got = append(got, c.ExternalID+" "+c.Status+" "+c.Conclusion)
		if c.CompletedAt.IsZero() || c.CompletedAt.Before(c.StartedAt) || c.HeadSHA != run.Spec.SHA {
			t.Errorf("%s: %+v", c.ExternalID, c)
		}
	}
	want := run.Name + " completed success, " + run.Name + "/e2e completed success, " + run.Name + "/unit completed success"
	if strings.Join(got, ", ") != want {
		t.Errorf("checks = %v", got)
	}
	for name, want := range map[string]string{"canceled": "cancelled", "timeout": "timed_out", "no-config": "failure", "build-failed": "failure", "failed": "failure", "passed": "success"} {
		if c := CheckRuns(cases[name], nil, nil, "")[0]; c.Conclusion != want {
			t.Errorf("%s concludes %q, want %q", name, c.Conclusion, want)
		}
	}
}

// TestSuitesThatEndOtherwise covers suites whose outcome differs from the Run's.
func TestSuitesThatEndOtherwise(t *testing.T) {
	run := passed()
	stopped := suite(v1alpha1.OutcomeCanceled, 0, 10, 13, "")
	stopped.Name, stopped.ExitCode = "stopped", nil
	run.Status.Suites = append(run.Status.Suites, v1alpha1.SuiteStatus{Name: "never"}, stopped, v1alpha1.SuiteStatus{Name: "untimed", Outcome: v1alpha1.OutcomePassed})
	for _, c := range CheckRuns(run, []string{"never", "stopped", "untimed"}, nil, "") {
		_, name, ok := strings.Cut(c.ExternalID, "/")
		want := map[string][2]string{
			"never": {"neutral", "Not run. "}, "stopped": {"cancelled", "Canceled after 3s"}, "untimed": {"success", "Passed"},
		}[name]
		if ok && want[0] != "" && (c.Conclusion != want[0] || !strings.HasPrefix(c.Title, want[1]) || name == "untimed" && c.Title != want[1]) {
			t.Errorf("%s concludes %s, %q; want %v", name, c.Conclusion, c.Title, want)
		}
	}
	if all := CheckRuns(run, nil, nil, "")[0]; !strings.Contains(all.Text, "7 passed") {
		t.Errorf("the check run of all does not show its suites' logs:\n%s", all.Text)
	}
}
