package report

import (
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/stage"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// stages adds the table of the stages, collapsed once the outcome is known. It shows only times that no longer change, so that the comment
// changes only when the Run does.
func (d *document) stages(run *v1alpha1.Run) {
	var rows [][]string
	for _, st := range stage.Table {
		if st.Title == "" {
			continue
		}
		c := meta.FindStatusCondition(run.Status.Conditions, st.Condition)
		t := stageTime(run, st.Name)
		rows = append(rows, []string{st.Title, state(c, t), began(t.StartedAt), took(t.StartedAt, t.FinishedAt), inline(remark(c), min(d.text, 120))})
	}
	if run.Status.Outcome != "" {
		summary := "Stages"
		if from, to := run.Status.StartedAt, run.Status.FinishedAt; from != nil && to != nil {
			summary += ", " + brief(max(0, to.Sub(from.Time))) + " in all"
		}
		d.para("<details><summary>" + escapeHTML(summary) + "</summary>")
		defer d.para("</details>")
	}
	d.table([]string{"Stage", "State", "Started (UTC)", "Took", ""}, rows)
}

// stageTime is when a stage began and ended; empty if it has not begun.
func stageTime(run *v1alpha1.Run, name string) v1alpha1.StageTime {
	for _, t := range run.Status.Stages {
		if t.Name == name {
			return t
		}
	}
	return v1alpha1.StageTime{}
}

// state is a condition in a word or two.
func state(c *metav1.Condition, t v1alpha1.StageTime) string {
	switch {
	case c == nil || c.Reason == v1alpha1.ReasonPending:
		return "waiting"
	case c.Status == metav1.ConditionUnknown:
		return "⏳ in progress"
	case c.Status == metav1.ConditionTrue && c.Reason == v1alpha1.ReasonNothingToDo:
		return "✅ nothing to do"
	case c.Status == metav1.ConditionTrue:
		return "✅ done"
	case t.StartedAt == nil:
		return "➖ not reached"
	case c.Reason == v1alpha1.ReasonSkipped:
		return "➖ not finished"
	case c.Reason == v1alpha1.ReasonCanceled:
		return "⏹️ canceled"
	case c.Reason == v1alpha1.ReasonTimeout:
		return "⌛ timed out"
	}
	return "❌ failed"
}

// remark is the first line of a condition's message; that of a failure is already in the comment's explanation.
func remark(c *metav1.Condition) string {
	if c == nil || c.Status == metav1.ConditionFalse {
		return ""
	}
	line, _, _ := strings.Cut(c.Message, "\n")
	return line
}

func suiteState(run *v1alpha1.Run, s v1alpha1.SuiteStatus) string {
	switch s.Outcome {
	case v1alpha1.OutcomePassed:
		return "✅ passed"
	case v1alpha1.OutcomeFailed:
		return "❌ failed"
	case v1alpha1.OutcomeError:
		return "⚠️ no result"
	case v1alpha1.OutcomeCanceled:
		return "⏹️ canceled"
	}
	switch {
	case run.Status.Outcome != "":
		return "➖ not run"
	case s.StartedAt != nil:
		return "⏳ running"
	}
	return "waiting"
}

func exitCode(code *int32) string {
	if code == nil {
		return ""
	}
	return strconv.Itoa(int(*code))
}

// images adds the table of the built images, and the end of the log of failed builds.
func (d *document) images(run *v1alpha1.Run) {
	var rows [][]string
	for _, i := range run.Status.Images {
		rows = append(rows, []string{code(i.Name), imageState(run, i), took(i.StartedAt, i.FinishedAt)})
	}
	d.table([]string{"Image", "Digest", "Took"}, rows)
	for _, i := range run.Status.Images {
		d.log("End of the log of the build of", i.Name, i.Log)
	}
}

func imageState(run *v1alpha1.Run, i v1alpha1.ImageStatus) string {
	switch {
	case i.Digest != "":
		algorithm, hash, _ := strings.Cut(i.Digest, ":")
		return code(i.Repository + "@" + algorithm + ":" + hash[:min(len(hash), 12)])
	case i.Log != "" || i.FinishedAt != nil:
		return "❌ failed"
	case run.Status.Outcome != "":
		return "➖ not built"
	case i.StartedAt != nil:
		return "⏳ building"
	}
	return "waiting"
}

// services adds the table of the stack's services, with their addresses while the stack exists. The first line of a
// service's message is a sentence; the end of its log follows.
func (d *document) services(run *v1alpha1.Run) {
	gone := meta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionStackKept)
	var rows [][]string
	for _, s := range run.Status.Services {
		var reach string
		switch {
		case gone:
		case s.URLProblem != "":
			reach = "⚠️ " + code(s.URL)
		case s.URL != "":
			reach = link(code(s.URL), s.URL)
		case s.PortForward != "":
			reach = code(s.PortForward)
		}
		message, _, _ := strings.Cut(s.Message, "\n")
		rows = append(rows, []string{code(s.Name), serviceState(s.State), reach, inline(message, min(d.text, 300))})
	}
	d.table([]string{"Service", "State", "Access", ""}, rows)
	if !gone {
		d.addresses(run.Status.Services)
	}
	for _, s := range run.Status.Services {
		if _, log, ok := strings.Cut(s.Message, "\n"); ok {
			d.log("End of the log of", s.Name, log)
		}
	}
}

// addresses explains why public addresses do not work, ten at most: they usually share one cause.
func (d *document) addresses(services []v1alpha1.ServiceStatus) {
	shown := 0
	for _, s := range services {
		if s.URLProblem == "" || shown == min(d.rows, 10) {
			continue
		}
		shown++
		d.para("⚠️ " + code(s.Name) + ": " + inline(s.URLProblem, min(d.text, 600)))
	}
}

func serviceState(s v1alpha1.ServiceState) string {
	switch s {
	case v1alpha1.ServiceStarting:
		return "⏳ starting"
	case v1alpha1.ServiceReady:
		return "✅ ready"
	case v1alpha1.ServiceCompleted:
		return "✅ completed"
	case v1alpha1.ServiceFailed:
		return "❌ failed"
	}
	return "waiting"
}

// notes lists what the conversion changed, collapsed.
func (d *document) notes(run *v1alpha1.Run) {
	if len(run.Status.Notes) == 0 {
		return
	}
	var items strings.Builder
	for _, n := range run.Status.Notes[:min(len(run.Status.Notes), 20, d.rows)] {
		items.WriteString("- " + inline(n, min(d.text, 500)) + "\n")
	}
	d.para("<details><summary>" + text.Plural(len(run.Status.Notes), "note") + " on the conversion of the compose files</summary>")
	d.para(strings.TrimRight(items.String(), "\n"))
	d.para("</details>")
}

func began(t *metav1.MicroTime) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("15:04:05")
}

func took(from, to *metav1.MicroTime) string {
	if from == nil || to == nil {
		return ""
	}
	return inline(brief(max(0, to.Time.Sub(from.Time).Round(time.Millisecond))), 20)
}
