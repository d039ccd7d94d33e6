package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/faults"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/text"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// Relevant reports whether an event has to be kept as a Delivery, and why or why not. A comment whose author would get neither an action
// nor a reply is not kept.
func Relevant(e v1alpha1.Event, rules trigger.Rules) (bool, string) {
	decision := trigger.Decide(e, rules)
	if decision.IsIgnored() || e.Comment == nil {
		return !decision.IsIgnored(), decision.Reason
	}
	var err error
	for _, c := range decision.Commands {
		err = authority.Check(commenting(e.Sender, rules), actionOf(c), "")
		if refusal, ok := errors.AsType[*authority.Refusal](err); !ok || refusal.Answer != "" {
			return true, decision.Reason
		}
	}
	return false, err.Error()
}

// actionOf returns the action that a command needs the authority for. A command that is not valid asks for an answer.
func actionOf(c trigger.Command) authority.Action {
	switch c.Call.(type) {
	case trigger.Test:
		return authority.StartByComment
	case trigger.Rerun:
		return authority.Rerun
	case trigger.Cancel:
		return authority.Cancel
	case trigger.Status:
		return authority.Status
	case trigger.Extend:
		return authority.Extend
	case trigger.Down:
		return authority.Down
	}
	return authority.Help
}

// comment acts on the commands of a comment in order, then replies and reacts once for all of them.
func (r *Reconciler) comment(ctx context.Context, d *v1alpha1.Delivery, decision trigger.Decision) ([]result, error) {
	others, err := r.ofIssue(ctx, d)
	if err != nil {
		return nil, err
	}
	if same := sameComment(others, d); same != nil {
		return []result{{
			outcome: same.Status.Outcome, runs: []string{same.Status.Run}, answered: same.Status.Answered,
			reason: fmt.Sprintf("The same comment as delivery %s", same.Name),
		}}, nil
	}
	by, err := r.commenter(ctx, d)
	if err != nil {
		return nil, err
	}
	r.acknowledge(ctx, d, by, decision.Commands)
	var results []result
	for i := range decision.Commands {
		res, err := r.command(ctx, d, by, decision.Commands, i, results)
		if err != nil {
			if !r.isFinal(d, failure.Of(err)) {
				return nil, err
			}
			res = r.failed(d, err)
		}
		results = append(results, res)
	}
	return results, r.answer(ctx, d, by, results, decision.More, others)
}

// acknowledgeTime is how long after its delivery a comment is acknowledged: a retry soon has a result to show.
const acknowledgeTime = 10 * time.Second

// acknowledge shows at once that a comment was read, unless its author may not have any of its commands, or GitHub's limits leave too little
// room for results.
func (r *Reconciler) acknowledge(ctx context.Context, d *v1alpha1.Delivery, by authority.Subject, commands []trigger.Command) {
	isAllowed := slices.ContainsFunc(commands, func(c trigger.Command) bool { return authority.Check(by, actionOf(c), "") == nil })
	if isAllowed && r.now().Sub(receivedAt(d).Time) < acknowledgeTime && r.GitHub.HasRoom(d.Spec.Event.InstallationID) {
		r.react(ctx, d, "eyes")
	}
}

// answer replies and reacts to a comment. A comment whose commands were all refused gets a reaction, and words only if no refusal got them on
// this issue within a day: a stranger could otherwise make Conductor comment as often as they do.
func (r *Reconciler) answer(
	ctx context.Context, d *v1alpha1.Delivery, by authority.Subject, results []result, more int, others []*v1alpha1.Delivery,
) error {
	isRefused := !slices.ContainsFunc(results, func(res result) bool { return res.outcome != v1alpha1.DeliveryRefused })
	if body := replyTo(results, more); body != "" && !(isRefused && r.isAnswered(by, others)) {
		if err := r.reply(ctx, d, body); err != nil {
			return err
		}
		results[0].answered = true
	}
	switch {
	case hasOutcome(results, v1alpha1.DeliveryFailed):
		r.react(ctx, d, "confused")
	case slices.ContainsFunc(results, func(res result) bool { return len(res.runs) > 0 }):
		r.react(ctx, d, "rocket")
	case isRefused && r.countRefused(others) < maxReactions:
		r.react(ctx, d, "confused")
	}
	return nil
}

// commenting returns the author of a comment; what a person may do is not known yet.
func commenting(author v1alpha1.Actor, rules trigger.Rules) authority.Subject {
	by := authority.Commenter(author, "")
	if by.Kind == authority.Bot {
		return authority.ListedBot(author, rules.Bots[author.Login])
	}
	return by
}

// commenter returns the author of the comment with their permission. That of a bot on the repository does not matter.
func (r *Reconciler) commenter(ctx context.Context, d *v1alpha1.Delivery) (authority.Subject, error) {
	e := d.Spec.Event
	if by := commenting(e.Sender, r.Rules); by.Kind != authority.Person {
		return by, nil
	}
	p, err := r.GitHub.Permission(ctx, e.InstallationID, e.Repository, e.Sender.Login)
	if err != nil {
		return authority.Subject{}, fmt.Errorf("look up the permission of %s: %w", e.Sender.Login, err)
	}
	return authority.Commenter(e.Sender, p), nil
}

// command acts on one of the commands; earlier are the results of those before it.
func (r *Reconciler) command(
	ctx context.Context, d *v1alpha1.Delivery, by authority.Subject, all []trigger.Command, index int, earlier []result,
) (result, error) {
	c := all[index]
	var res result
	var err error
	switch call := c.Call.(type) {
	case trigger.Test:
		res, err = r.test(ctx, d, by, call, index)
	case trigger.Rerun:
		res, err = r.rerun(ctx, d, by, call, index)
	case trigger.Cancel:
		res, err = r.cancel(ctx, d, by, call, earlier)
	case trigger.Status:
		res, err = r.status(ctx, d, by)
	case trigger.Extend:
		res, err = r.extend(ctx, d, by, call)
	case trigger.Down:
		res, err = r.down(ctx, d, by)
	case trigger.Help:
		res = result{outcome: v1alpha1.DeliveryAnswered, reply: trigger.HelpFor(call.Verb)}
		err = authority.Check(by, authority.Help, "")
	default: // A command that is not valid.
		res = result{outcome: v1alpha1.DeliveryAnswered, reply: c.Problem, needsHelp: true}
		err = authority.Check(by, authority.Help, "")
	}
	return r.decided(d, by.Actor, actionOf(c), trigger.Asked(d.Spec.Event, c), res, err)
}

// test starts a Run of the pull request's head, or of the default branch for an issue.
func (r *Reconciler) test(ctx context.Context, d *v1alpha1.Delivery, by authority.Subject, call trigger.Test, index int) (result, error) {
	req := r.request(d, by, index)
	req.Suites, req.Keep = call.Suites, call.Keep
	return r.start(ctx, req)
}

// request returns the request of a command for a Run.
func (r *Reconciler) request(d *v1alpha1.Delivery, by authority.Subject, index int) runs.Request {
	e := d.Spec.Event
	return runs.Request{
		By: by, Name: trigger.CommandRunName(e, index), Repository: e.Repository, InstallationID: e.InstallationID, Issue: e.Comment.Issue,
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerComment, Delivery: d.Spec.GUID, Comment: e.Comment.ID, ReceivedAt: receivedAt(d)},
	}
}

// cancel ends the Runs of this issue that are under way. Of the same comment these are only the Runs of earlier commands: a retry must
// not end what a later command has started.
func (r *Reconciler) cancel(ctx context.Context, d *v1alpha1.Delivery, by authority.Subject, call trigger.Cancel, earlier []result) (result, error) {
	e := d.Spec.Event
	var started, known []string
	for _, res := range earlier {
		if res.outcome == v1alpha1.DeliveryStarted {
			started = append(started, res.runs...)
		}
	}
	names, err := r.Runs.CancelEach(ctx, e.Repository.ID, runs.Cancellation{
		By: by, Reason: cmp.Or(call.Reason, fmt.Sprintf("/conductor cancel on #%d", e.Comment.Issue)), AskedAt: receivedAt(d).Time, Trace: d.Spec.GUID,
	}, func(run *v1alpha1.Run) bool {
		known = append(known, run.Name)
		return isOfIssue(run, e.Comment.Issue) && (run.Spec.Trigger.Comment != e.Comment.ID || slices.Contains(started, run.Name))
	})
	if err != nil {
		return result{}, err
	}
	for _, run := range started {
		if !slices.Contains(known, run) { // The cache does not have it yet.
			return result{}, failure.Waitingf(v1alpha1.ReasonPending, time.Second, "Waiting for run %s to be listed", run)
		}
	}
	if len(names) == 0 {
		return result{outcome: v1alpha1.DeliveryAnswered, reason: "No run is under way", reply: "No run of this issue is under way."}, nil
	}
	faults.At(faults.Canceled)
	return result{outcome: v1alpha1.DeliveryCanceled, runs: names, reason: "Canceled " + strings.Join(names, ", ")}, nil
}

// replyTo returns the one reply to a comment, or "" if there is nothing to reply. What was wrong with several commands is listed once each.
func replyTo(results []result, more int) string {
	var parts []string
	needsHelp, isHeard := false, false
	for _, res := range results {
		if res.reply != "" && !slices.Contains(parts, res.reply) {
			parts = append(parts, res.reply)
		}
		needsHelp = needsHelp || res.needsHelp
		isHeard = isHeard || res.outcome != v1alpha1.DeliveryRefused && res.outcome != v1alpha1.DeliveryIgnored
	}
	if more > 0 && isHeard {
		parts = append(parts, fmt.Sprintf("Conductor acts on the first %d commands of a comment; it skipped %s after them. Put those into another comment.",
			trigger.MaxCommands, text.Plural(more, "command")))
	}
	if needsHelp {
		parts = append(parts, trigger.HelpText())
	}
	return strings.Join(parts, "\n\n")
}

// reply comments on the issue, once for each comment that has commands.
func (r *Reconciler) reply(ctx context.Context, d *v1alpha1.Delivery, body string) error {
	e := d.Spec.Event
	mark := fmt.Sprintf("<!-- conductor:answer=%d -->", e.Comment.ID)
	if _, err := r.GitHub.UpsertComment(ctx, e.InstallationID, e.Repository, e.Comment.Issue, 0, mark, mark+"\n"+body); err != nil {
		return fmt.Errorf("reply on #%d: %w", e.Comment.Issue, err)
	}
	faults.At(faults.Replied)
	return nil
}

// react shows that a command was acted on. It is a courtesy: its failure is only logged.
func (r *Reconciler) react(ctx context.Context, d *v1alpha1.Delivery, content string) {
	e := d.Spec.Event
	if err := r.GitHub.React(ctx, e.InstallationID, e.Repository, e.Comment.ID, content); err != nil && !errors.Is(err, context.Canceled) {
		r.log(d).Warn("could not react to a comment", "comment", e.Comment.ID, "error", err)
	}
	faults.At(faults.Reacted)
}
