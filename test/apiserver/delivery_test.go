//go:build apiserver

package apiserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/controller/delivery"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

var (
	acme   = v1alpha1.Repository{ID: 1, Owner: "acme", Name: "shop", DefaultBranch: "main", CloneURL: "http://git.example/acme/shop.git"}
	pushed = v1alpha1.Event{
		Name: "push", InstallationID: installation, Repository: acme, Sender: v1alpha1.Actor{Login: "ada", ID: 3, Type: "User"},
		Push: &v1alpha1.PushEvent{
			Ref: "refs/tags/run-integration-tests", Before: strings.Repeat("0", 40), After: strings.Repeat("c", 40), Created: true,
			PushedAt: 1_790_000_000, HeadSHA: strings.Repeat("c", 40),
		},
	}
)

// commented is the event of a comment on the issue.
func commented(id int64, login, body string) v1alpha1.Event {
	commands, more := trigger.Parse(body)
	return v1alpha1.Event{
		Name: "issue_comment", Action: "created", InstallationID: installation, Repository: acme,
		Sender:  v1alpha1.Actor{Login: login, ID: id, Type: "User"},
		Comment: &v1alpha1.CommentEvent{ID: id, Issue: issueNumber, Commands: commands, More: more},
	}
}

// deliver stores a delivery as the webhook does.
func (w *world) deliver(guid string, e v1alpha1.Event) *v1alpha1.Delivery {
	w.t.Helper()
	d := &v1alpha1.Delivery{ObjectMeta: metav1.ObjectMeta{Name: guid}, Spec: v1alpha1.DeliverySpec{GUID: guid, Event: e}}
	w.must(delivery.Inbox{Client: admin, Live: admin, Namespace: w.set.Namespace, Log: w.log.logger(0)}.Put(w.t.Context(), d))
	return d
}

// processed waits until a delivery was processed.
func (w *world) processed(d *v1alpha1.Delivery, want v1alpha1.DeliveryOutcome) *v1alpha1.Delivery {
	w.t.Helper()
	now := &v1alpha1.Delivery{}
	w.eventually("the delivery "+d.Name+" is acted on", func() bool {
		w.must(admin.Get(w.t.Context(), client.ObjectKeyFromObject(d), now))
		return now.Status.ProcessedAt != nil
	})
	if now.Status.Outcome != want {
		w.t.Errorf("delivery %s: %s (%s), want %s", d.Name, now.Status.Outcome, now.Status.Reason, want)
	}
	return now
}

// runs are the Runs of this world, oldest first.
func (w *world) runs() []v1alpha1.Run {
	w.t.Helper()
	list, err := w.service().List(w.t.Context(), 0)
	w.must(err)
	slices.Reverse(list)
	return list
}

// cancel cancels a Run as the command line does.
func (w *world) cancel(run *v1alpha1.Run, reason string) {
	w.t.Helper()
	w.must(w.service().Cancel(w.t.Context(), run.Name, runs.Cancellation{By: authority.OperatorNamed("ada"), Reason: reason}))
}

// noRuns makes Runs end at once: these tests are only about their start.
func (w *world) noRuns() {
	w.github.failAlways("Archive", failure.Terminalf(v1alpha1.ReasonNotFound, nil, "There is nothing here"))
}

func TestAPushBecomesOneRunHoweverOftenItIsDelivered(t *testing.T) {
	w := newWorld(t)
	w.noRuns()
	w.process()
	first := w.processed(w.deliver("guid-1", pushed), v1alpha1.DeliveryStarted)
	if want := trigger.RunName(pushed); first.Status.Run != want {
		t.Errorf("run %s, want %s", first.Status.Run, want)
	}
	w.deliver("guid-1", pushed)                                                 // GitHub delivers it again under the same GUID,
	again := w.processed(w.deliver("guid-2", pushed), v1alpha1.DeliveryStarted) // and a second hook under another.
	if again.Status.Run != first.Status.Run {
		t.Errorf("another run: %s", again.Status.Run)
	}
	if n := record.times("Run", w.set.Namespace, first.Status.Run); n != 1 || len(w.runs()) != 1 {
		t.Errorf("made %d times; runs: %d", n, len(w.runs()))
	}
	spec := w.runs()[0].Spec
	if spec.SHA != pushed.Push.HeadSHA || spec.Ref != pushed.Push.Ref || spec.Actor.Login != "ada" || spec.Trigger.Kind != v1alpha1.TriggerTag ||
		spec.Trigger.Delivery != "guid-1" || spec.Trust != v1alpha1.TrustUnprotected || spec.Ceilings.RunTimeout.Duration != 2*time.Hour {
		t.Errorf("spec = %+v", spec)
	}
	later := pushed
	later.Push = pushed.Push.DeepCopy()
	later.Push.PushedAt++
	third := w.processed(w.deliver("guid-3", later), v1alpha1.DeliveryStarted)
	if third.Status.Run == first.Status.Run || len(w.runs()) != 2 {
		t.Errorf("the tag pushed again at the same commit is %s, of %d runs", third.Status.Run, len(w.runs()))
	}
}

func TestAPushWithoutItsCommitAsksGitHub(t *testing.T) {
	w := newWorld(t)
	w.noRuns()
	e := pushed
	e.Push = pushed.Push.DeepCopy()
	e.Push.HeadSHA = ""
	w.github.commits[e.Push.After] = strings.Repeat("d", 40)
	w.process()
	w.processed(w.deliver("guid-1", e), v1alpha1.DeliveryStarted)
	if spec := w.runs()[0].Spec; spec.SHA != strings.Repeat("d", 40) || spec.Object != e.Push.After {
		t.Errorf("sha %s, object %s", spec.SHA, spec.Object)
	}
}

func TestADeletedTagAndOtherTagsStartNothing(t *testing.T) {
	w := newWorld(t)
	w.process()
	deleted, other := pushed, pushed
	deleted.Push, other.Push = pushed.Push.DeepCopy(), pushed.Push.DeepCopy()
	deleted.Push.Deleted, deleted.Push.After, deleted.Push.HeadSHA = true, strings.Repeat("0", 40), ""
	other.Push.Ref = "refs/tags/v1"
	for guid, e := range map[string]v1alpha1.Event{"deleted": deleted, "other": other} {
		if d := w.processed(w.deliver(guid, e), v1alpha1.DeliveryIgnored); d.Status.Reason == "" {
			t.Errorf("%s: no reason is given", guid)
		}
	}
	if n := len(w.runs()); n != 0 {
		t.Errorf("%d runs", n)
	}
}

func TestCommandsAreForThoseWhoMayWrite(t *testing.T) {
	w := newWorld(t)
	w.noRuns()
	w.github.permissions["ada"], w.github.permissions["rob"] = "write", "read"
	w.github.head = v1alpha1.Head{Ref: "refs/heads/main", SHA: strings.Repeat("e", 40)}
	w.process()
	w.processed(w.deliver("refused", commented(1, "rob", "/conductor test")), v1alpha1.DeliveryRefused)
	if n := len(w.runs()); n != 0 {
		t.Fatalf("%d runs", n)
	}
	if got := w.github.commentsOn(issueNumber); len(got) != 1 || !strings.Contains(got[0], "write permission") {
		t.Errorf("the answer: %q", got)
	}
	d := w.processed(w.deliver("started", commented(2, "ada", "/conductor test")), v1alpha1.DeliveryStarted)
	w.processed(w.deliver("again", commented(2, "ada", "/conductor test")), v1alpha1.DeliveryStarted)
	if all := w.runs(); len(all) != 1 || all[0].Name != d.Status.Run || all[0].Spec.SHA != w.github.head.SHA || all[0].Spec.Issue != issueNumber ||
		all[0].Spec.Actor.Login != "ada" || all[0].Spec.Trigger.Comment != 2 {
		t.Errorf("runs = %+v", all)
	}
	if w.github.reactions["2:rocket"] != 1 {
		t.Errorf("reactions = %v", w.github.reactions)
	}
}

func TestAForksPullRequestIsNotRunYet(t *testing.T) {
	w := newWorld(t)
	w.github.permissions["ada"] = "admin"
	w.github.head = v1alpha1.Head{Ref: "refs/pull/12/head", SHA: strings.Repeat("e", 40), Fork: true}
	w.process()
	w.processed(w.deliver("fork", commented(1, "ada", "/conductor test")), v1alpha1.DeliveryRefused)
	if got := w.github.commentsOn(issueNumber); len(w.runs()) != 0 || len(got) != 1 || !strings.Contains(got[0], "fork") {
		t.Errorf("%d runs, answer %q", len(w.runs()), got)
	}
}

func TestHelpAndWhatIsNotUnderstoodAreAnsweredOnce(t *testing.T) {
	w := newWorld(t)
	w.github.permissions["ada"] = "write"
	w.github.fail("UpsertComment", fault{errDown, true})
	w.process()
	w.processed(w.deliver("help", commented(1, "ada", "/conductor help")), v1alpha1.DeliveryAnswered)
	w.processed(w.deliver("help-again", commented(1, "ada", "/conductor help")), v1alpha1.DeliveryAnswered)
	w.processed(w.deliver("unknown", commented(2, "ada", "/conductor dance")), v1alpha1.DeliveryAnswered)
	got := w.github.commentsOn(issueNumber)
	if len(got) != 2 || !strings.Contains(got[0], "/conductor cancel") || !strings.Contains(got[1], "dance") {
		t.Errorf("answers: %q", got)
	}
}

func TestACancelCommandEndsTheRunsOfItsIssue(t *testing.T) {
	w := newWorld(t)
	w.github.permissions["ada"] = "write"
	halts[3].hold(w)
	w.process()
	w.processed(w.deliver("nothing", commented(1, "ada", "/conductor cancel")), v1alpha1.DeliveryAnswered)
	if got := w.github.commentsOn(issueNumber); len(got) != 1 || !strings.Contains(got[0], "No run") {
		t.Errorf("the answer: %q", got)
	}
	mine := w.until(w.start(), "a run of the issue, which the commit names, tests", func(r *v1alpha1.Run) bool {
		return r.Status.Issue == issueNumber && halts[3].reached(r)
	})
	other := w.until(w.start(func(s *v1alpha1.RunSpec) { s.Issue = 99 }), "a run of another issue tests", halts[3].reached)
	d := w.processed(w.deliver("cancel", commented(2, "ada", "/conductor cancel")), v1alpha1.DeliveryCanceled)
	if d.Status.Run != mine.Name || w.github.reactions["2:rocket"] != 1 {
		t.Errorf("run %s, reactions %v", d.Status.Run, w.github.reactions)
	}
	mine = w.until(mine, "the run is canceled", over)
	if mine.Status.Outcome != v1alpha1.OutcomeCanceled || mine.Spec.Cancel.By != "ada" {
		t.Errorf("outcome %s, canceled by %s", mine.Status.Outcome, mine.Spec.Cancel.By)
	}
	if other = w.get(other); other.Spec.Cancel != nil {
		t.Error("another issue's run was canceled")
	}
}

// Commands of one comment are acted on in order, in one reply and one reaction, also after a process that ended between them.
func TestTheCommandsOfAComment(t *testing.T) {
	w := newWorld(t)
	w.github.permissions["ada"] = "write"
	w.github.head = v1alpha1.Head{Ref: "refs/heads/main", SHA: strings.Repeat("e", 40)}
	halts[3].hold(w)
	first := w.process()
	older := w.until(w.start(), "a run of the issue tests", func(r *v1alpha1.Run) bool { return r.Status.Issue == issueNumber && halts[3].reached(r) })
	first.kill(t)
	killed := w.process(effects(2))
	d := w.deliver("several", commented(2, "ada", "/conductor cancel --reason 'start afresh'\n/conductor dance\n/conductor test smoke\n"))
	w.eventually("the process ends between two effects", func() bool { return !killed.power.lives() })
	killed.kill(t)
	w.process()
	d = w.processed(d, v1alpha1.DeliveryStarted)
	older = w.until(older, "the older run is canceled", over)
	if older.Status.Outcome != v1alpha1.OutcomeCanceled || older.Spec.Cancel.Reason != "start afresh" {
		t.Errorf("the older run: %s, %+v", older.Status.Outcome, older.Spec.Cancel)
	}
	all := w.runs()
	if len(all) != 2 || all[1].Name != d.Status.Run || all[1].Spec.Cancel != nil || !slices.Equal(all[1].Spec.Suites, []string{"smoke"}) {
		t.Errorf("runs %+v", all)
	}
	if v1alpha1.TraceOf(&all[len(all)-1]) != "several" {
		t.Errorf("trace %q", v1alpha1.TraceOf(&all[len(all)-1]))
	}
	var replies []string
	for _, c := range w.github.commentsOn(issueNumber) {
		if strings.Contains(c, "dance") {
			replies = append(replies, c)
		}
	}
	if len(replies) != 1 || w.github.reactions["2:rocket"] != 1 || len(w.github.reactions) != 1 {
		t.Errorf("replies %q, reactions %v", replies, w.github.reactions)
	}
}

// A process may die between the creation of the Run and the update of the Delivery's status.
func TestADeliveryWhoseProcessDiesIsActedOnOnce(t *testing.T) {
	w := newWorld(t)
	w.noRuns()
	first := w.process(effects(1))
	d := w.deliver("guid-1", pushed)
	w.eventually("the process dies", func() bool { return !first.power.lives() })
	first.kill(t)
	if n := len(w.runs()); n != 1 {
		t.Fatalf("%d runs when the process died after %q", n, first.power.last())
	}
	w.process()
	d = w.processed(d, v1alpha1.DeliveryStarted)
	if n := record.times("Run", w.set.Namespace, d.Status.Run); n != 1 || len(w.runs()) != 1 {
		t.Errorf("made %d times; runs: %d", n, len(w.runs()))
	}
}

func TestADeliveryIsTriedForSixHours(t *testing.T) {
	w := newWorld(t)
	w.github.failAlways("Permission", errDown)
	w.process()
	d := w.deliver("guid-1", commented(1, "ada", "/conductor test"))
	look := func(after time.Duration) {
		before := w.github.count("Permission")
		w.clock.advance(after)
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"poke":"%d"}}}`, time.Now().UnixNano())
		w.must(admin.Patch(t.Context(), d.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch))))
		w.eventually("it is tried", func() bool { return w.github.count("Permission") > before })
	}
	look(0)
	look(5 * time.Hour)
	now := &v1alpha1.Delivery{}
	w.must(admin.Get(t.Context(), client.ObjectKeyFromObject(d), now))
	if now.Status.ProcessedAt != nil {
		t.Errorf("given up after five hours: %s", now.Status.Reason)
	}
	look(2 * time.Hour)
	now = w.processed(d, v1alpha1.DeliveryFailed)
	if now.Status.Reason == "" || strings.Contains(now.Status.Reason, errDown.Error()) {
		t.Errorf("reason: %q", now.Status.Reason)
	}
}

// An owner grants the missing permission and redelivers; an unnecessary redelivery changes nothing.
func TestADeliveryThatFailedIsActedOnWhenItIsRedelivered(t *testing.T) {
	w := newWorld(t)
	w.noRuns()
	w.github.failAlways("Permission", failure.Terminalf(v1alpha1.ReasonRefused, nil, "The GitHub App lacks a permission"))
	w.github.head = v1alpha1.Head{Ref: "refs/heads/main", SHA: strings.Repeat("e", 40)}
	w.process()
	w.processed(w.deliver("guid-1", commented(1, "ada", "/conductor test")), v1alpha1.DeliveryFailed)
	w.processed(w.deliver("guid-1", commented(1, "ada", "/conductor test")), v1alpha1.DeliveryFailed)
	w.github.mend("Permission")
	w.github.permissions["ada"] = "write"
	for range 3 {
		d := w.processed(w.deliver("guid-1", commented(1, "ada", "/conductor test")), v1alpha1.DeliveryStarted)
		if all := w.runs(); len(all) != 1 || all[0].Name != d.Status.Run || d.Status.Reason == "The GitHub App lacks a permission" {
			t.Errorf("%d runs; run %s, reason %q", len(all), d.Status.Run, d.Status.Reason)
		}
	}
}

func TestDeliveriesArePrunedWhenGitHubCannotSendThemAgain(t *testing.T) {
	w := newWorld(t)
	w.noRuns()
	p := w.process()
	d := w.processed(w.deliver("processed", pushed), v1alpha1.DeliveryStarted)
	w.github.failAlways("Permission", errDown)
	open := w.deliver("open", commented(1, "ada", "/conductor help"))
	there := func(d *v1alpha1.Delivery) bool {
		w.must(p.pruner.Prune(t.Context()))
		return !w.gone(&v1alpha1.Delivery{}, d.Namespace, d.Name)
	}
	w.eventually("the cache knows both", func() bool {
		var list v1alpha1.DeliveryList
		w.must(p.pruner.Client.List(t.Context(), &list, client.InNamespace(w.set.Namespace)))
		return len(list.Items) == 2 && slices.ContainsFunc(list.Items, func(d v1alpha1.Delivery) bool { return d.Status.ProcessedAt != nil })
	})
	w.clock.advance(3*24*time.Hour + time.Hour)
	if !there(d) {
		t.Error("pruned while GitHub may still send it again")
	}
	p.stop(t) // Stop before the clock moves, or the open delivery would be given up.
	w.clock.advance(2 * 24 * time.Hour)
	p.pruner.Client = admin
	if there(d) {
		t.Error("a delivery of five days ago is still there")
	}
	if !there(open) {
		t.Error("a delivery was pruned that was never acted on")
	}
}
