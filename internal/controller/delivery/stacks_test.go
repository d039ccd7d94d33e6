package delivery

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// withStack adds a finished Run of the issue whose stack is kept for a day, of three at most.
func (w *world) withStack(name string, change ...func(*v1alpha1.Run)) {
	w.t.Helper()
	w.run(name, func(r *v1alpha1.Run) {
		r.Spec.Ref, r.Spec.SHA, r.Spec.Suites, r.Spec.Trust = "refs/heads/main", strings.Repeat("a", 40), []string{"api", "e2e"}, v1alpha1.TrustUnprotected
		r.Spec.Ceilings.KeepMax = metav1.Duration{Duration: 72 * time.Hour}
		for _, c := range change {
			c(r)
		}
	})
	r := w.get(name)
	finished := metav1.NewMicroTime(w.clock.Add(-time.Hour))
	r.Status = v1alpha1.RunStatus{
		Outcome: v1alpha1.OutcomeFailed, Phase: v1alpha1.PhaseFinished, Namespace: "stack-" + name, Keep: "24h", FinishedAt: &finished,
		Suites: []v1alpha1.SuiteStatus{{Name: "api", Outcome: v1alpha1.OutcomePassed}, {Name: "e2e", Outcome: v1alpha1.OutcomeFailed}},
	}
	if err := w.Client.Status().Update(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

func elsewhere(r *v1alpha1.Run) { r.Spec.Issue = issue + 1 }

func ofFork(r *v1alpha1.Run) { r.Spec.Trust = v1alpha1.TrustFork }

func TestCommandsAboutRunsAndStacks(t *testing.T) {
	started := trigger.RunName(comments(5, "ada").Spec.Event)
	until := start.Add(23 * time.Hour).UTC().Format("2006-01-02 15:04 UTC")
	for _, tc := range []struct {
		name, line string
		prepare    func(w *world)
		want       v1alpha1.DeliveryOutcome
		reply      []string
		reaction   string
		check      func(w *world) bool
	}{
		{
			name: "status", line: "/conductor status", want: v1alpha1.DeliveryAnswered,
			prepare: func(w *world) { w.withStack("old"); w.run("new"); w.withStack("other", elsewhere) },
			reply:   []string{"| `new` |", "| pending |  |", "| `old` | `aaaaaaaaaaaa` | failed | " + until + " |"},
			check:   func(w *world) bool { return !strings.Contains(w.hub.reply(5), "other") },
		},
		{name: "status of nothing", line: "/conductor status", want: v1alpha1.DeliveryAnswered, reply: []string{"No run of this issue is in progress, and no stack of it is kept."}},
		{
			name: "extend", line: "/conductor extend 40h", want: v1alpha1.DeliveryAnswered, reaction: "rocket",
			prepare: func(w *world) { w.withStack("old"); w.withStack("other", elsewhere); w.run("new") },
			reply:   []string{"The stack of run `old` is kept until " + start.Add(40*time.Hour).UTC().Format("2006-01-02 15:04 UTC") + "."},
			check: func(w *world) bool {
				return w.get("old").Spec.Extension != nil && w.get("other").Spec.Extension == nil && !strings.Contains(w.hub.reply(5), "allow")
			},
		},
		{
			name: "extend beyond the ceiling", line: "/conductor extend forever", want: v1alpha1.DeliveryAnswered, reaction: "rocket",
			prepare: func(w *world) { w.withStack("old") },
			reply:   []string{"is kept until " + start.Add(71*time.Hour).UTC().Format("2006-01-02 15:04 UTC") + ". The operator does not allow more."},
		},
		{name: "extend nothing", line: "/conductor extend 1h", want: v1alpha1.DeliveryAnswered, prepare: func(w *world) { w.run("new") }, reply: []string{"No stack of this issue is kept."}},
		{
			name: "down", line: "/conductor down", want: v1alpha1.DeliveryCanceled, reaction: "rocket",
			prepare: func(w *world) { w.withStack("old"); w.withStack("other", elsewhere); w.run("new") },
			check: func(w *world) bool {
				c := w.get("old").Spec.Cancel
				return c != nil && c.By == "ada" && c.Reason == "/conductor down on #12" && w.get("other").Spec.Cancel == nil && w.get("new").Spec.Cancel == nil
			},
		},
		{name: "down with nothing", line: "/conductor down", want: v1alpha1.DeliveryAnswered, reply: []string{"No stack of this issue is kept."}},
		{
			name: "rerun", line: "/conductor rerun", want: v1alpha1.DeliveryStarted, reaction: "rocket",
			prepare: func(w *world) {
				w.withStack("old", func(r *v1alpha1.Run) { r.Spec.Keep = "2h" })
				w.run("new")
				w.withStack("later")
				r := w.get("later")
				r.CreationTimestamp, r.Status.FinishedAt = metav1.NewTime(w.clock.Add(time.Second)), new(metav1.NewMicroTime(w.clock.Add(time.Minute)))
				if err := w.Client.Status().Update(w.t.Context(), r); err != nil {
					w.t.Fatal(err)
				}
			},
			check: func(w *world) bool {
				s := w.get(started).Spec
				return s.RerunOf == "old" && s.SHA == strings.Repeat("a", 40) && s.Ref == "refs/heads/main" && slices.Equal(s.Suites, []string{"api", "e2e"}) && s.Keep == "2h"
			},
		},
		{
			name: "rerun what failed", line: "/conductor rerun old --failed", want: v1alpha1.DeliveryStarted, reaction: "rocket",
			prepare: func(w *world) { w.withStack("old"); w.withStack("older") },
			check: func(w *world) bool {
				s := w.get(started).Spec
				return s.RerunOf == "old" && s.OnlyFailed && slices.Equal(s.Suites, []string{"e2e"})
			},
		},
		{
			name: "rerun what did not fail", line: "/conductor rerun --failed", want: v1alpha1.DeliveryAnswered, reply: []string{"No suite of run `old` has failed."},
			prepare: func(w *world) {
				w.withStack("old")
				r := w.get("old")
				r.Status.Suites[1].Outcome = v1alpha1.OutcomePassed
				if err := w.Client.Status().Update(w.t.Context(), r); err != nil {
					w.t.Fatal(err)
				}
			},
		},
		{
			name: "rerun a fork", line: "/conductor rerun", want: v1alpha1.DeliveryRefused, reaction: "confused", reply: []string{"code from forks is not run yet"},
			prepare: func(w *world) { w.withStack("old", ofFork) },
		},
		{name: "rerun a run of another issue", line: "/conductor rerun other", want: v1alpha1.DeliveryAnswered, prepare: func(w *world) { w.withStack("other", elsewhere) }, reply: []string{"No run `other` of this issue has finished."}},
		{name: "rerun nothing", line: "/conductor rerun", want: v1alpha1.DeliveryAnswered, prepare: func(w *world) { w.run("new") }, reply: []string{"No run of this issue has finished."}},
		{name: "help for a command", line: "/conductor help down", want: v1alpha1.DeliveryAnswered, reply: []string{"`/conductor down`\n"}, check: func(w *world) bool { return !strings.Contains(w.hub.reply(5), "/conductor test") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, login := range []string{"rob", "ada"} {
				w := newWorld(t, interceptor.Funcs{})
				if tc.prepare != nil {
					tc.prepare(w)
				}
				d := w.process(w.deliver(comments(5, login, tc.line)))
				reply := w.hub.reply(5)
				if login == "rob" { // A reader.
					if d.Status.Outcome != v1alpha1.DeliveryRefused || !strings.Contains(reply, "Commands need write permission") || w.hub.reactions["5:confused"] != 1 {
						t.Errorf("for a reader: %+v, %q, %v", d.Status, reply, w.hub.reactions)
					}
					continue
				}
				if d.Status.Outcome != tc.want {
					t.Errorf("status %+v, want %s", d.Status, tc.want)
				}
				if len(tc.reply) == 0 != (reply == "") || slices.ContainsFunc(tc.reply, func(s string) bool { return !strings.Contains(reply, s) }) {
					t.Errorf("reply %q, want %q", reply, tc.reply)
				}
				if tc.reaction != "" && w.hub.reactions["5:"+tc.reaction] != 1 || tc.reaction == "" && len(w.hub.reactions) > 0 {
					t.Errorf("reactions %v, want %q", w.hub.reactions, tc.reaction)
				}
				if tc.check != nil && !tc.check(w) {
					t.Errorf("it left %d runs, reply %q", w.count(), reply)
				}
				if len(w.decisions) != 1 {
					t.Errorf("decisions %q", w.decisions)
				}
			}
		})
	}
}

func TestARetriedRerunIsTheSameRun(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.withStack("old")
	d := comments(5, "ada", "/conductor rerun --failed")
	first := w.process(w.deliver(d))
	w.withStack("newer", func(r *v1alpha1.Run) { r.Spec.Suites = []string{"api"} })
	again := w.get(first.Status.Run).Spec
	res, err := w.rerun(t.Context(), first, authority.Commenter(v1alpha1.Actor{Login: "ada"}, "write"), trigger.Rerun{Failed: true}, 0)
	if err != nil || len(res.runs) != 1 || res.runs[0] != first.Status.Run || w.count() != 3 || w.get(first.Status.Run).Spec.RerunOf != again.RerunOf {
		t.Errorf("%+v, %v: %d runs", res, err, w.count())
	}
}

func TestACommentIsAcknowledgedWhileThereIsRoom(t *testing.T) {
	for _, tc := range []struct {
		name, login string
		room        bool
		after       time.Duration
		want        int
	}{
		{"a writer", "ada", true, time.Second, 1},
		{"no room", "ada", false, time.Second, 0},
		{"a reader", "rob", true, time.Second, 0},
		{"an old comment", "ada", true, time.Minute, 0},
	} {
		w := newWorld(t, interceptor.Funcs{})
		w.hub.room = tc.room
		d := w.deliver(comments(5, tc.login, "/conductor test"))
		w.clock = w.clock.Add(tc.after)
		w.process(d)
		if got := w.hub.reactions["5:eyes"]; got != tc.want {
			t.Errorf("%s: %d acknowledgements, want %d", tc.name, got, tc.want)
		}
	}
}
