package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

var errDown = errors.New("connection reset")

// outcome is what one delivery is to become.
type outcome struct {
	name     string
	delivery *v1alpha1.Delivery
	prepare  func(*world)

	want v1alpha1.DeliveryOutcome
	// run is a name, or "" if the status has none; made is how many Runs exist afterwards.
	run    string
	made   int
	reason string
	// reply is a part of the reply, or "" if there is none.
	reply, reaction string
	decisions       []string
}

func withRun(w *world) { w.run("mine") }

func outcomes() []outcome {
	runName := trigger.RunName(comments(5, "ada").Spec.Event)
	const inShop = "guid-5: %s in acme/shop may "
	ada, rob := fmt.Sprintf(inShop, "ada"), fmt.Sprintf(inShop, "rob")
	const mine = "rob has read permission; commands need write"
	edited := comments(5, "ada", "/conductor test")
	edited.Spec.Event.Action = "edited"
	bot := comments(5, "ci[bot]", "/conductor test", "/conductor cancel", "/conductor dance")
	bot.Spec.Event.Sender.Type = "Bot"
	renovate := comments(5, "renovate[bot]", "/conductor test")
	renovate.Spec.Event.Sender.Type = "Bot"
	return []outcome{
		{name: "test by a listed bot", delivery: renovate, prepare: func(w *world) { w.Rules.Bots = map[string]v1alpha1.Permission{"renovate[bot]": "write"} },
			want: v1alpha1.DeliveryStarted, run: trigger.RunName(renovate.Spec.Event), made: 1,
			reason: "renovate[bot] commented on #12: test", reaction: "rocket",
			decisions: []string{fmt.Sprintf(inShop, "renovate[bot]") + `start by comment of "unprotected": true: renovate[bot] commented on #12: test`}},
		{name: "test", delivery: comments(5, "ada", "/conductor test"), want: v1alpha1.DeliveryStarted, run: runName, made: 1,
			reason: "ada commented on #12: test", reaction: "rocket",
			decisions: []string{ada + `start by comment of "unprotected": true: ada commented on #12: test`}},
		{name: "test by a reader", delivery: comments(5, "rob", "/conductor test"), want: v1alpha1.DeliveryRefused,
			reason: mine, reply: "Commands need write permission on this repository; yours is read.", reaction: "confused",
			decisions: []string{rob + `start by comment of "": false: ` + mine}},
		{name: "test of a fork", delivery: comments(5, "ada", "/conductor test"), prepare: func(w *world) { w.hub.head.Fork = true },
			want: v1alpha1.DeliveryRefused, reason: "The pull request comes from a fork", reply: "code from forks is not run yet", reaction: "confused",
			decisions: []string{ada + `start by comment of "fork": false: The pull request comes from a fork`}},
		{name: "cancel", delivery: comments(5, "ada", "/conductor cancel"), prepare: withRun, want: v1alpha1.DeliveryCanceled, run: "mine", made: 1,
			reason: "Canceled mine", reaction: "rocket", decisions: []string{ada + `cancel of "": true: ada commented on #12: cancel`}},
		{name: "cancel without a run", delivery: comments(5, "ada", "/conductor cancel"), want: v1alpha1.DeliveryAnswered,
			reason: "No run is under way", reply: "No run of this issue is under way.",
			decisions: []string{ada + `cancel of "": true: ada commented on #12: cancel`}},
		{name: "cancel by a reader", delivery: comments(5, "rob", "/conductor cancel"), prepare: withRun, want: v1alpha1.DeliveryRefused, made: 1,
			reason: mine, reply: "write permission", reaction: "confused", decisions: []string{rob + `cancel of "": false: ` + mine}},
		{name: "help", delivery: comments(5, "ada", "/conductor help"), want: v1alpha1.DeliveryAnswered,
			reason: "ada commented on #12: help", reply: "| `/conductor cancel [--reason TEXT]` |",
			decisions: []string{ada + `help of "": true: ada commented on #12: help`}},
		{name: "help for a reader", delivery: comments(5, "rob", "/conductor help"), want: v1alpha1.DeliveryRefused, reason: mine,
			reply: "write permission", reaction: "confused", decisions: []string{rob + `help of "": false: ` + mine}},
		{name: "an unknown command", delivery: comments(5, "ada", "/conductor tset"), want: v1alpha1.DeliveryAnswered,
			reason: "ada commented on #12: an invalid command", reply: "Unknown command `tset`. Did you mean `/conductor test`?\n\n| Command |",
			decisions: []string{ada + `help of "": true: ada commented on #12: an invalid command`}},
		{name: "a bot", delivery: bot, want: v1alpha1.DeliveryIgnored, reason: "ci[bot] is a bot; commands from bots are ignored unless the operator's list (bots) has them", decisions: []string{
			`guid-5: ci[bot] in acme/shop may start by comment of "": false: ci[bot] is a bot; commands from bots are ignored unless the operator's list (bots) has them`,
			`guid-5: ci[bot] in acme/shop may cancel of "": false: ci[bot] is a bot; commands from bots are ignored unless the operator's list (bots) has them`,
			`guid-5: ci[bot] in acme/shop may help of "": false: ci[bot] is a bot; commands from bots are ignored unless the operator's list (bots) has them`}},
		{name: "an edited comment", delivery: edited, want: v1alpha1.DeliveryIgnored, reason: "only new ones are read"},
		{name: "several", delivery: comments(5, "ada", "/conductor cancel --reason 'new commit'", "/conductor dance", "/conductor test e2e"), prepare: withRun,
			want: v1alpha1.DeliveryStarted, run: trigger.CommandRunName(comments(5, "ada").Spec.Event, 2), made: 2,
			reason: "Canceled mine; ada commented on #12: an invalid command; ada commented on #12: test", reaction: "rocket",
			reply: "Unknown command `dance`.\n\n| Command |", decisions: []string{
				ada + `cancel of "": true: ada commented on #12: cancel`, ada + `help of "": true: ada commented on #12: an invalid command`,
				ada + `start by comment of "unprotected": true: ada commented on #12: test`}},
		{name: "several by a reader", delivery: comments(5, "rob", "/conductor test", "/conductor help", "/conductor help", "/conductor help", "/conductor help", "/conductor help"),
			want: v1alpha1.DeliveryRefused, reason: mine, reply: "Commands need write permission on this repository; yours is read. Ask someone who has it to comment.", reaction: "confused",
			decisions: []string{rob + `start by comment of "": false: ` + mine, rob + `help of "": false: ` + mine, rob + `help of "": false: ` + mine,
				rob + `help of "": false: ` + mine, rob + `help of "": false: ` + mine}},
		{name: "two tests are two runs", delivery: comments(5, "ada", "/conductor test a", "/conductor test b"), want: v1alpha1.DeliveryStarted,
			run: runName, made: 2, reason: "ada commented on #12: test", reaction: "rocket", decisions: []string{
				ada + `start by comment of "unprotected": true: ada commented on #12: test`, ada + `start by comment of "unprotected": true: ada commented on #12: test`}},
		{name: "a test that is canceled at once", delivery: comments(5, "ada", "/conductor test", "/conductor cancel"), want: v1alpha1.DeliveryStarted,
			run: runName, made: 1, reason: "ada commented on #12: test; Canceled " + runName, reaction: "rocket", decisions: []string{
				ada + `start by comment of "unprotected": true: ada commented on #12: test`, ada + `cancel of "": true: ada commented on #12: cancel`}},
		{name: "too many", delivery: comments(5, "ada", slices.Repeat([]string{"/conductor cancel"}, 7)...), want: v1alpha1.DeliveryAnswered,
			reason: "No run is under way", reply: "No run of this issue is under way.\n\nConductor acts on the first 5 commands of a comment; it skipped 2 commands after them.",
			decisions: slices.Repeat([]string{ada + `cancel of "": true: ada commented on #12: cancel`}, 5)},
	}
}

func TestOutcomes(t *testing.T) {
	for _, tc := range outcomes() {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			if tc.prepare != nil {
				tc.prepare(w)
			}
			d := w.process(w.deliver(tc.delivery))
			if st := d.Status; st.Outcome != tc.want || st.Run != tc.run || !strings.Contains(st.Reason, tc.reason) || !st.ProcessedAt.Time.Equal(w.clock) {
				t.Errorf("status %+v, want %s, run %q, %q", st, tc.want, tc.run, tc.reason)
			}
			reply := w.hub.reply(5)
			if !strings.Contains(reply, tc.reply) || (reply == "") != (tc.reply == "") || len(w.hub.comments) > 1 || w.hub.calls["UpsertComment"] > 1 {
				t.Errorf("%d replies, the last is %q, want %q", w.hub.calls["UpsertComment"], reply, tc.reply)
			}
			if n := w.hub.reactions["5:"+tc.reaction]; tc.reaction != "" && n != 1 || tc.reaction == "" && len(w.hub.reactions) > 0 || len(w.hub.reactions) > 1 {
				t.Errorf("reactions %v, want %q", w.hub.reactions, tc.reaction)
			}
			if w.count() != tc.made || !slices.Equal(w.decisions, tc.decisions) {
				t.Errorf("%d runs, want %d; decisions\n%s\nwant\n%s", w.count(), tc.made, strings.Join(w.decisions, "\n"), strings.Join(tc.decisions, "\n"))
			}
			for line := range strings.Lines(w.log.String()) {
				if !strings.Contains(line, "trace=guid-5") {
					t.Errorf("a line without the trace: %s", line)
				}
			}
			w.process(d)
			if w.count() != tc.made || len(w.decisions) != len(tc.decisions) {
				t.Errorf("a processed delivery was acted on again: %d runs, decisions %q", w.count(), w.decisions)
			}
		})
	}
}

func TestARunHasWhatTheCommandAsksFor(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.run("mine")
	d := w.process(w.deliver(comments(5, "ada", "/conductor cancel --reason 'wrong branch'", "/conductor test api --suite e2e")))
	if c := w.get("mine").Spec.Cancel; c == nil || c.By != "ada" || c.Reason != "wrong branch" {
		t.Errorf("cancel %+v", c)
	}
	run := w.get(d.Status.Run)
	want := v1alpha1.Trigger{Kind: v1alpha1.TriggerComment, Delivery: "guid-5", Comment: 5, ReceivedAt: run.Spec.Trigger.ReceivedAt}
	if s := run.Spec; s.Trigger != want || !s.Trigger.ReceivedAt.Time.Equal(start) || !slices.Equal(s.Suites, []string{"api", "e2e"}) || s.Issue != issue || s.Ref != w.hub.head.Ref || s.SHA != w.hub.head.SHA {
		t.Errorf("spec %+v", s)
	}
	if got := v1alpha1.TraceOf(run); got != "guid-5" {
		t.Errorf("trace %q", got)
	}
	w.run("another")
	w.process(w.deliver(comments(6, "ada", "/conductor cancel")))
	if c := w.get("another").Spec.Cancel; c == nil || c.Reason != "/conductor cancel on #12" {
		t.Errorf("cancel %+v", c)
	}
}

// TestEveryVerbIsActedOn fails for a new verb that the reconciler does not know.
func TestEveryVerbIsActedOn(t *testing.T) {
	for _, v := range trigger.Grammar() {
		commands, _ := trigger.Parse(v.Example)
		if isHelp := v.Name == "help"; (actionOf(trigger.Resolve(commands[0])) == authority.Help) != isHelp {
			t.Errorf("%s needs %q", v.Name, actionOf(trigger.Resolve(commands[0])))
		}
	}
}

func TestACancelLeavesOtherRunsAlone(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.run("mine")
	w.run("by-commit", func(r *v1alpha1.Run) { r.Spec.Issue = 0 })
	found := w.get("by-commit")
	found.Status.Issue = issue
	if err := w.Client.Status().Update(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	w.run("other-issue", func(r *v1alpha1.Run) { r.Spec.Issue = 13 })
	w.run("other-repository", func(r *v1alpha1.Run) { r.Spec.Repository.ID = 8 })
	w.run("later", func(r *v1alpha1.Run) { r.Spec.Trigger.ReceivedAt = new(metav1.NewMicroTime(start.Add(time.Second))) })
	w.run("ended")
	w.end("ended")
	if d := w.process(w.deliver(comments(5, "ada", "/conductor cancel"))); d.Status.Outcome != v1alpha1.DeliveryCanceled {
		t.Errorf("%+v", d.Status)
	}
	for name, want := range map[string]bool{"mine": true, "by-commit": true, "other-issue": false, "other-repository": false, "later": false, "ended": false} {
		if got := w.get(name).Spec.Cancel != nil; got != want {
			t.Errorf("%s canceled: %t, want %t", name, got, want)
		}
	}
}

// Every call fails once; the retry completes the work and repeats nothing.
func TestARetryRepeatsNoEffect(t *testing.T) {
	var api string // The API server's verb that fails next.
	once := func(verb string) error {
		if api == verb {
			api = ""
			return errDown
		}
		return nil
	}
	funcs := interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return errors.Join(c.Create(ctx, o, opts...), once("create"))
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return errors.Join(c.List(ctx, l, opts...), once("list"))
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return errors.Join(c.Patch(ctx, o, p, opts...), once("patch"))
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if err := once("status"); err != nil {
				return err
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}
	for _, fault := range []string{"Permission", "Head", "Protected", "UpsertComment", "create", "list", "patch", "status"} {
		t.Run(fault, func(t *testing.T) {
			w := newWorld(t, funcs)
			w.run("mine")
			d := w.deliver(comments(5, "ada", "/conductor cancel", "/conductor dance", "/conductor test"))
			if fault[0] < 'a' {
				w.hub.fails[fault] = errDown
			} else {
				api = fault
			}
			d, res, err := w.reconcile(d)
			if !errors.Is(err, errDown) || res.RequeueAfter != 0 || d.Status.ProcessedAt != nil || len(w.decisions) != 0 {
				t.Fatalf("%v, %v, %+v, decisions %q", err, res, d.Status, w.decisions)
			}
			clear(w.hub.fails)
			// Until the retry the canceled run ends, and another one is asked for.
			w.clock = w.clock.Add(time.Minute)
			if w.get("mine").Spec.Cancel != nil {
				w.end("mine")
			}
			w.run("later", func(r *v1alpha1.Run) { r.Spec.Trigger.ReceivedAt = new(metav1.NewMicroTime(w.clock)) })
			d = w.process(d)
			if d.Status.Outcome != v1alpha1.DeliveryStarted || d.Status.Reason != "Canceled mine; ada commented on #12: an invalid command; ada commented on #12: test" {
				t.Errorf("%+v", d.Status)
			}
			if w.count() != 3 || w.get(d.Status.Run).Spec.Cancel != nil || w.get("later").Spec.Cancel != nil || w.get("mine").Spec.Cancel == nil {
				t.Errorf("%d runs, of which one was canceled that a retry must leave alone", w.count())
			}
			if len(w.decisions) != 3 || len(w.hub.comments) != 1 || w.hub.reactions["5:rocket"] == 0 || strings.Contains(w.hub.reply(5), "under way") && !strings.Contains(w.hub.reply(5), "dance") {
				t.Errorf("decisions %q, comments %q, reactions %v", w.decisions, w.hub.comments, w.hub.reactions)
			}
		})
	}
}

// The cache may not list the run of the command before yet.
func TestACancelWaitsForTheRunOfTheCommandBefore(t *testing.T) {
	stale := true
	w := newWorld(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
		if stale {
			return nil
		}
		return c.List(ctx, l, opts...)
	}})
	d := w.deliver(comments(5, "ada", "/conductor test", "/conductor cancel"))
	d, res, err := w.reconcile(d)
	if err != nil || res.RequeueAfter != time.Second || d.Status.ProcessedAt != nil {
		t.Fatalf("%v, %v, %+v", err, res, d.Status)
	}
	stale = false
	d = w.process(d)
	if w.count() != 1 || w.get(d.Status.Run).Spec.Cancel == nil {
		t.Errorf("%d runs, %+v", w.count(), d.Status)
	}
}

func TestADeliveryEndsWithAFailureThatIsFinal(t *testing.T) {
	terminal := failure.Terminalf(v1alpha1.ReasonRefused, nil, "The GitHub App lacks a permission")
	for _, tc := range []struct {
		name, call string
		err        error
		after      time.Duration
		final      bool
		reason     string
	}{
		{"transient", "Permission", errDown, deadline, false, ""},
		{"transient for too long", "Permission", errDown, deadline + time.Second, true, "A service that Conductor depends on did not answer"},
		{"terminal", "Permission", terminal, 0, true, "The GitHub App lacks a permission"},
		{"waiting for too long", "Permission", failure.Waitingf("", time.Minute, "Rate limited"), deadline + time.Second, true, "Rate limited"},
		{"a command's, transient", "Head", errDown, deadline, false, ""},
		{"a command's, transient for too long", "Head", errDown, deadline + time.Second, true, "A service that Conductor depends on did not answer"},
		{"a command's, terminal", "Head", terminal, 0, true, "The GitHub App lacks a permission"},
		{"the reply's, terminal", "UpsertComment", terminal, 0, true, "The GitHub App lacks a permission"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.hub.fails[tc.call] = tc.err
			d := w.deliver(comments(5, "ada", "/conductor test", "/conductor help"))
			w.clock = w.clock.Add(tc.after)
			d, _, err := w.reconcile(d)
			if (d.Status.ProcessedAt != nil) != tc.final || tc.final != (err == nil) {
				t.Fatalf("%v, %+v", err, d.Status)
			}
			if !tc.final {
				return
			}
			if d.Status.Outcome != v1alpha1.DeliveryFailed || !strings.Contains(d.Status.Reason, tc.reason) || strings.Contains(d.Status.Reason, errDown.Error()) {
				t.Errorf("%+v", d.Status)
			}
			if !strings.Contains(w.log.String(), "level=ERROR") {
				t.Errorf("the failure was not logged:\n%s", w.log)
			}
		})
	}
}

func TestOneCommandThatFailsDoesNotKeepTheOthersFromWorking(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.run("mine")
	w.hub.fails["Head"] = failure.Terminalf(v1alpha1.ReasonNotFound, nil, "The branch is gone")
	d := w.process(w.deliver(comments(5, "ada", "/conductor test", "/conductor cancel", "/conductor help")))
	if d.Status.Outcome != v1alpha1.DeliveryFailed || d.Status.Reason != "The branch is gone; Canceled mine; ada commented on #12: help" || d.Status.Run != "mine" {
		t.Errorf("%+v", d.Status)
	}
	if w.get("mine").Spec.Cancel == nil || w.hub.reply(5) == "" || w.hub.reactions["5:confused"] != 1 || len(w.decisions) != 2 {
		t.Errorf("reply %q, reactions %v, decisions %q", w.hub.reply(5), w.hub.reactions, w.decisions)
	}
}

func TestADeliveryWaitsAsLongAsGitHubAsks(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.hub.fails["Permission"] = failure.Waitingf(v1alpha1.ReasonPending, 40*time.Second, "GitHub's rate limit is reached")
	d, res, err := w.reconcile(w.deliver(comments(5, "ada", "/conductor test")))
	if err != nil || res.RequeueAfter != 40*time.Second || d.Status.ProcessedAt != nil {
		t.Errorf("%v, %v, %+v", err, res, d.Status)
	}
}

func TestAReactionIsACourtesy(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.hub.fails["React"] = errDown
	if d := w.process(w.deliver(comments(5, "ada", "/conductor test"))); d.Status.Outcome != v1alpha1.DeliveryStarted {
		t.Errorf("%+v", d.Status)
	}
	if !strings.Contains(w.log.String(), `level=WARN msg="could not react to a comment" trace=guid-5`) {
		t.Errorf("log:\n%s", w.log)
	}
}

func TestADeliveryThatIsGoneIsNotAnError(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
		if err := c.Delete(ctx, o); err != nil {
			return err
		}
		return c.SubResource(sub).Patch(ctx, o, p, opts...)
	}})
	d := w.deliver(comments(5, "ada", "/conductor test"))
	for range 2 { // It is deleted while it is acted on, and then does not exist.
		if _, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(d)}); err != nil {
			t.Error(err)
		}
	}
	if w.count() != 1 || len(w.decisions) != 1 {
		t.Errorf("%d runs, decisions %q", w.count(), w.decisions)
	}
}

func TestAPushStartsOneRun(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	push := func(guid string) *v1alpha1.Delivery {
		d := comes(w.clock)
		d.Name, d.Spec.GUID = guid, guid
		return w.process(w.deliver(d))
	}
	first, second := push("guid-1"), push("guid-2")
	if first.Status.Outcome != v1alpha1.DeliveryStarted || first.Status.Reason != "The tag qa/a was pushed" || second.Status.Run != first.Status.Run || w.count() != 1 {
		t.Errorf("%+v and %+v, %d runs", first.Status, second.Status, w.count())
	}
	if s := w.get(first.Status.Run).Spec; s.Trigger.Kind != v1alpha1.TriggerTag || s.Trigger.Delivery != "guid-1" || s.Actor.Login != "ada" || s.Object != "a1" || s.SHA != "a1" {
		t.Errorf("%+v", s)
	}
	want := []string{
		`guid-1: ada in acme/shop may start by tag of "unprotected": true: The tag qa/a was pushed`,
		`guid-2: ada in acme/shop may start by tag of "unprotected": true: The tag qa/a was pushed`,
	}
	if !slices.Equal(w.decisions, want) || w.hub.calls["Permission"] != 0 {
		t.Errorf("decisions %q, calls %v", w.decisions, w.hub.calls)
	}
}

func TestAPushThatCameLateIsTheRunOfThePoll(t *testing.T) {
	var away error
	w := newWorld(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
		return errors.Join(c.List(ctx, l, opts...), away)
	}})
	polled := func(name, object string, age time.Duration) {
		w.run(name, func(r *v1alpha1.Run) {
			r.Spec.Trigger.Kind, r.Spec.Ref, r.Spec.Object = v1alpha1.TriggerPoll, "refs/tags/qa/a", object
			r.CreationTimestamp = metav1.NewTime(start.Add(age))
		})
	}
	polled("before", "a1", -time.Hour)
	polled("another", "b2", time.Minute)
	polled("this", "a1", time.Minute)
	d := w.deliver(comes(w.clock))
	away = errDown
	if _, _, err := w.reconcile(d); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	away = nil
	if d = w.process(d); d.Status.Outcome != v1alpha1.DeliveryStarted || d.Status.Run != "this" || w.count() != 3 || len(w.decisions) != 0 {
		t.Errorf("%+v, %d runs, decisions %q", d.Status, w.count(), w.decisions)
	}
}

func TestRelevant(t *testing.T) {
	rules := trigger.Rules{Tags: []string{"qa/*"}, Bots: map[string]v1alpha1.Permission{"renovate[bot]": "write"}}
	event := func(d *v1alpha1.Delivery, change ...func(*v1alpha1.Event)) v1alpha1.Event {
		for _, c := range change {
			c(&d.Spec.Event)
		}
		return d.Spec.Event
	}
	bot := func(e *v1alpha1.Event) { e.Sender.Type = "Bot" }
	for _, tc := range []struct {
		name   string
		event  v1alpha1.Event
		want   bool
		reason string
	}{
		{"a tag", event(comes(start)), true, "The tag qa/a was pushed"},
		{"a bot's tag", event(comes(start), bot), true, "The tag qa/a was pushed"},
		{"another tag", event(comes(start), func(e *v1alpha1.Event) { e.Push.Ref = "refs/tags/v1" }), false, "The tag v1 does not start runs"},
		{"a command", event(comments(5, "rob", "/conductor test")), true, "rob commented on #12: test"},
		{"an unknown command", event(comments(5, "rob", "/conductor dance")), true, "rob commented on #12: an invalid command"},
		{"talk", event(comments(5, "rob", "nice")), false, "The comment does not have a command"},
		{"a bot's commands", event(comments(5, "ci[bot]", "/conductor test", "/conductor help"), bot), false, "ci[bot] is a bot; commands from bots are ignored unless the operator's list (bots) has them"},
		{"a listed bot's command", event(comments(5, "renovate[bot]", "/conductor test"), bot), true, "renovate[bot] commented on #12: test"},
		{"a bot's talk", event(comments(5, "ci[bot]", "done"), bot), false, "The comment does not have a command"},
	} {
		if got, reason := Relevant(tc.event, rules); got != tc.want || reason != tc.reason {
			t.Errorf("%s: %t, %q, want %t, %q", tc.name, got, reason, tc.want, tc.reason)
		}
	}
}
