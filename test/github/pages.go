package githubtest

import (
	"html/template"
	"net/http"
	"regexp"
	"strconv"
)

// pagePath are the addresses that a person opens: an issue or pull request, a check run, a workflow run, a repository.
var pagePath = regexp.MustCompile(`^/([^/]+)/([^/]+)(?:/(issues|pull|runs|actions/runs)/(\d+))?/?$`)

var page = template.Must(template.New("page").Parse(`<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title>
<style>body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}pre{white-space:pre-wrap;border:1px solid #ccc;border-radius:6px;padding:1rem;overflow-wrap:anywhere}small{color:#555}</style>
<h1>{{.Title}}</h1><p><small>{{.Line}}</small></p>
{{range .Parts}}<h2>{{.Title}}</h2>{{with .Line}}<p><small>{{.}}</small></p>{{end}}<pre>{{.Text}}</pre>{{end}}
`))

type pageData struct {
	Title, Line string
	Parts       []pagePart
}

type pagePart struct{ Title, Line, Text string }

// servePage shows a page as plain text in HTML. It returns false if the address has none.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) bool {
	parts := pagePath.FindStringSubmatch(r.URL.Path)
	if parts == nil || r.Method != http.MethodGet {
		return false
	}
	s.mu.Lock()
	repo := s.repository(parts[1] + "/" + parts[2])
	var data *pageData
	if repo != nil {
		number, _ := strconv.ParseInt(parts[4], 10, 64)
		data = s.pageOf(repo, parts[3], number)
	}
	s.mu.Unlock()
	if data == nil {
		return false
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, data) // a browser that has gone needs no page
	return true
}

func (s *Server) pageOf(r *repository, kind string, number int64) *pageData {
	switch kind {
	case "issues", "pull":
		if i := r.issue(int(number)); i != nil {
			return s.issuePage(r, i)
		}
	case "runs":
		for _, k := range r.checks {
			if k.id == number {
				return checkPage(k)
			}
		}
	case "actions/runs":
		for _, run := range r.runs {
			if run.id == number {
				v := run.view()
				return &pageData{Title: v.Workflow, Line: r.fullName() + " at " + v.SHA + ": " + v.Status + " " + v.Conclusion}
			}
		}
	case "":
		data := &pageData{Title: r.fullName(), Line: "default branch " + r.defaultBranch}
		for _, i := range r.issues {
			data.Parts = append(data.Parts, pagePart{Title: "#" + itoa(i.number) + " " + i.title, Text: s.issue(r, i)["html_url"].(string)})
		}
		return data
	}
	return nil
}

func (s *Server) issuePage(r *repository, i *issue) *pageData {
	v := s.issueView(r, i)
	data := &pageData{Title: v.Title + " #" + itoa(v.Number), Line: r.fullName()}
	data.Parts = append(data.Parts, pagePart{Title: i.user.login, Text: v.Body})
	for _, k := range v.Comments {
		part := pagePart{Title: k.Author, Text: k.Body}
		for _, reaction := range k.Reactions {
			part.Line += reaction + " "
		}
		data.Parts = append(data.Parts, part)
	}
	return data
}

func checkPage(k *checkRun) *pageData {
	data := &pageData{Title: k.name + ": " + k.status + " " + k.conclusion, Line: k.repo.fullName() + " at " + k.suite.sha}
	data.Parts = append(data.Parts, pagePart{Title: k.title, Text: k.summary})
	if k.text != "" {
		data.Parts = append(data.Parts, pagePart{Title: "Details", Text: k.text})
	}
	for _, a := range k.annotations {
		data.Parts = append(data.Parts, pagePart{Title: a.Path + ":" + itoa(a.StartLine), Line: a.Level, Text: a.Message})
	}
	return data
}
