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
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/text"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// maxListed is the most Runs that a reply lists.
const maxListed = 10

// noStack is the reply to a command about stacks on an issue that does not have one.
const noStack = "No stack of this issue is kept. `/conductor test` starts one."

// isOfIssue reports whether a Run was requested on an issue, or reports there.
func isOfIssue(run *v1alpha1.Run, issue int) bool {
	return run.Status.Issue == issue || run.Spec.Issue == issue
}

// listOfIssue returns the Runs of the comment's issue that match, the newest first.
func (r *Reconciler) listOfIssue(ctx context.Context, d *v1alpha1.Delivery, matches func(*v1alpha1.Run) bool) ([]v1alpha1.Run, error) {
	e := d.Spec.Event
	list, err := r.Runs.List(ctx, e.Repository.ID)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return slices.DeleteFunc(list, func(run v1alpha1.Run) bool { return !isOfIssue(&run, e.Comment.Issue) || !matches(&run) }), nil
}

// rerun starts a Run of the same commit with the same suites as an earlier one. Code of a fork is not run again: its approval was for once.
func (r *Reconciler) rerun(ctx context.Context, d *v1alpha1.Delivery, by authority.Subject, call trigger.Rerun, index int) (result, error) {
	if err := authority.Check(by, authority.Rerun, ""); err != nil {
		return result{}, err
	}
	req := r.request(d, by, index)
	isStarted := false
	list, err := r.listOfIssue(ctx, d, func(run *v1alpha1.Run) bool {
		isStarted = isStarted || run.Name == req.Name
		// What has finished since the comment is not what its author meant, and a retry must find the same Run.
		finished := run.Status.FinishedAt
		return finished != nil && !finished.After(receivedAt(d).Time) && cmp.Or(call.Run, run.Name) == run.Name
	})
	switch {
	case err != nil:
		return result{}, err
	case isStarted: // By an earlier attempt.
		return r.start(ctx, req)
	case len(list) == 0 && call.Run != "":
		return wordsOnly("There is no such run", fmt.Sprintf("No run `%s` of this issue has finished. `/conductor status` lists its runs.", call.Run)), nil
	case len(list) == 0:
		return wordsOnly("No run has finished", "No run of this issue has finished. `/conductor test` starts one."), nil
	}
	last := &list[0]
	if err := authority.Check(by, authority.Rerun, last.Spec.Trust); err != nil {
		return result{}, err
	}
	req.Ref, req.SHA, req.Object = last.Spec.Ref, last.Spec.SHA, last.Spec.Object
	req.Suites, req.Profiles, req.Keep, req.RerunOf, req.OnlyFailed = last.Spec.Suites, last.Spec.Profiles, last.Spec.Keep, last.Name, call.Failed
	if call.Failed {
		if req.Suites = notPassed(last); len(req.Suites) == 0 {
			return wordsOnly("No suite has failed", fmt.Sprintf("No suite of run `%s` has failed. `/conductor rerun` repeats all of it.", last.Name)), nil
		}
	}
	return r.start(ctx, req)
}

// notPassed returns the suites of a Run that did not pass.
func notPassed(run *v1alpha1.Run) []string {
	var names []string
	for _, s := range run.Status.Suites {
		if s.Outcome != v1alpha1.OutcomePassed {
			names = append(names, s.Name)
		}
	}
	return names
}

// wordsOnly is the result of a command that gets a reply in words and changes nothing.
func wordsOnly(reason, reply string) result {
	return result{outcome: v1alpha1.DeliveryAnswered, reason: reason, reply: reply}
}

// status replies with the Runs in progress and the kept stacks.
func (r *Reconciler) status(ctx context.Context, d *v1alpha1.Delivery, by authority.Subject) (result, error) {
	if err := authority.Check(by, authority.Status, ""); err != nil {
		return result{}, err
	}
	list, err := r.listOfIssue(ctx, d, func(run *v1alpha1.Run) bool { return run.Status.Outcome == "" || run.IsKept(r.now()) })
	if err != nil {
		return result{}, err
	}
	if len(list) == 0 {
		return wordsOnly("No run is in progress", "No run of this issue is in progress, and no stack of it is kept."), nil
	}
	var b strings.Builder
	b.WriteString("| Run | Commit | State | Stack kept until |\n|---|---|---|---|\n")
	for i := range list[:min(len(list), maxListed)] {
		run := &list[i]
		if run.Status.Outcome != "" {
			if err := r.Runs.Touch(ctx, run.Name, by, authority.Status); err != nil && !errors.Is(err, runs.ErrNoStack) && !errors.Is(err, runs.ErrNotFound) {
				return result{}, err
			}
		}
		fmt.Fprintf(&b, "| `%s` | `%.12s` | %s | %s |\n", run.Name, run.Spec.SHA, stateOf(run), expiryOf(run))
	}
	if more := len(list) - maxListed; more > 0 {
		fmt.Fprintf(&b, "\nand %s\n", text.Plural(more, "more run"))
	}
	return wordsOnly("", b.String()), nil
}

// stateOf is the state of a Run in a word.
func stateOf(run *v1alpha1.Run) string {
	if run.Status.Outcome != "" {
		return strings.ToLower(string(run.Status.Outcome))
	}
	return strings.ToLower(cmp.Or(string(run.Status.Phase), string(v1alpha1.PhasePending)))
}

// expiryOf is when the stack of a Run expires, in words.
func expiryOf(run *v1alpha1.Run) string {
	switch expiry := run.Expiry(); {
	case run.Status.Outcome == "":
		return ""
	case expiry == nil:
		return "it is deleted by hand"
	default:
		return clock(expiry.Time)
	}
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// extend keeps the stacks of the issue longer.
func (r *Reconciler) extend(ctx context.Context, d *v1alpha1.Delivery, by authority.Subject, call trigger.Extend) (result, error) {
	if err := authority.Check(by, authority.Extend, ""); err != nil {
		return result{}, err
	}
	list, err := r.listOfIssue(ctx, d, func(run *v1alpha1.Run) bool { return run.IsKept(r.now()) })
	if err != nil {
		return result{}, err
	}
	asked := receivedAt(d).Time
	res := result{outcome: v1alpha1.DeliveryAnswered}
	var lines []string
	for i := range list[:min(len(list), maxListed)] {
		run := &list[i]
		until, err := r.Runs.Extend(ctx, run.Name, runs.Extension{By: by, For: call.For, Forever: call.Forever, AskedAt: asked, Trace: d.Spec.GUID})
		switch {
		case errors.Is(err, runs.ErrNoStack), errors.Is(err, runs.ErrNotFound): // It has gone meanwhile.
			continue
		case err != nil:
			return result{}, err
		}
		res.runs = append(res.runs, run.Name)
		lines = append(lines, extended(run.Name, until, call, asked))
	}
	if len(lines) == 0 {
		return wordsOnly("No stack is kept", noStack), nil
	}
	res.reply, res.reason = strings.Join(lines, "\n\n"), "Extended the stacks of "+strings.Join(res.runs, ", ")
	return res, nil
}

// extended is the sentence for a stack that is kept until a time, or without an end if that is zero.
func extended(run string, until time.Time, call trigger.Extend, asked time.Time) string {
	if until.IsZero() {
		return fmt.Sprintf("The stack of run `%s` is kept until it is deleted by hand.", run)
	}
	sentence := fmt.Sprintf("The stack of run `%s` is kept until %s.", run, clock(until))
	if call.Forever || until.Before(asked.Add(call.For).Truncate(time.Second)) {
		sentence += " The operator does not allow more."
	}
	return sentence
}

// down deletes the kept stacks of the issue.
func (r *Reconciler) down(ctx context.Context, d *v1alpha1.Delivery, by authority.Subject) (result, error) {
	e := d.Spec.Event
	names, err := r.Runs.DownEach(ctx, e.Repository.ID, runs.Cancellation{
		By: by, Reason: fmt.Sprintf("/conductor down on #%d", e.Comment.Issue), AskedAt: receivedAt(d).Time, Trace: d.Spec.GUID,
	}, func(run *v1alpha1.Run) bool { return isOfIssue(run, e.Comment.Issue) })
	switch {
	case err != nil:
		return result{}, err
	case len(names) == 0:
		return wordsOnly("No stack is kept", noStack), nil
	}
	return result{outcome: v1alpha1.DeliveryCanceled, runs: names, reason: "Deleted the stacks of " + strings.Join(names, ", ")}, nil
}
