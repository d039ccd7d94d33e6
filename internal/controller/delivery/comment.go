package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// comment does what a slash-command asks for, when its author may.
func (r *Reconciler) comment(ctx context.Context, d *v1alpha1.Delivery, decision trigger.Decision) error {
	e := d.Spec.Event
	p, err := r.GitHub.Permission(ctx, e.InstallationID, e.Repository, e.Sender.Login)
	if err != nil {
		return fmt.Errorf("look up what %s may: %w", e.Sender.Login, err)
	}
	if !p.CanWrite() {
		d.Status.Outcome = v1alpha1.DeliveryRefused
		d.Status.Reason = fmt.Sprintf("%s has %s permission; commands need write", e.Sender.Login, p)
		return r.answer(ctx, d, "Commands are for people with write permission on this repository.")
	}
	switch decision.Action {
	case trigger.Start:
		return r.test(ctx, d, decision)
	case trigger.Cancel:
		return r.cancel(ctx, d)
	}
	d.Status.Outcome = v1alpha1.DeliveryAnswered
	text := trigger.HelpText()
	if decision.Unknown != "" {
		text = decision.Unknown + "\n\n" + text
	}
	return r.answer(ctx, d, text)
}

// test starts a Run of the pull request's head, or of the default branch for an issue.
func (r *Reconciler) test(ctx context.Context, d *v1alpha1.Delivery, decision trigger.Decision) error {
	e := d.Spec.Event
	head, err := r.GitHub.Head(ctx, e.InstallationID, e.Repository, e.Comment.Issue)
	if err != nil {
		return fmt.Errorf("find what #%d asks to run: %w", e.Comment.Issue, err)
	}
	if head.Fork {
		d.Status.Outcome, d.Status.Reason = v1alpha1.DeliveryRefused, "The pull request comes from a fork"
		return r.answer(ctx, d, "This pull request comes from a fork, whose code is not run yet. Push the commit to a branch of this repository to test it.")
	}
	err = r.start(ctx, d, runs.Request{
		Name: trigger.RunName(e), Repository: e.Repository, InstallationID: e.InstallationID, Ref: head.Ref, SHA: head.SHA,
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerComment, Delivery: d.Spec.GUID, Comment: e.Comment.ID, ReceivedAt: receivedAt(d)},
		Actor:   e.Sender, Issue: e.Comment.Issue, Suites: decision.Suites,
	})
	if err != nil {
		return err
	}
	r.react(ctx, d, "rocket")
	return nil
}

// cancel ends the Runs of this issue that are under way.
func (r *Reconciler) cancel(ctx context.Context, d *v1alpha1.Delivery) error {
	e := d.Spec.Event
	list, err := r.Runs.List(ctx, e.Repository.ID)
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	var names []string
	for _, run := range list {
		if run.Status.Outcome != "" || run.Status.Issue != e.Comment.Issue && run.Spec.Issue != e.Comment.Issue {
			continue
		}
		if err := r.Runs.Cancel(ctx, run.Name, e.Sender.Login, fmt.Sprintf("/conductor cancel on #%d", e.Comment.Issue)); err != nil {
			return fmt.Errorf("cancel run %s: %w", run.Name, err)
		}
		names = append(names, run.Name)
	}
	if len(names) == 0 {
		d.Status.Outcome, d.Status.Reason = v1alpha1.DeliveryAnswered, errNoRun.Error()
		return r.answer(ctx, d, "No run of this issue is under way.")
	}
	d.Status.Outcome, d.Status.Run, d.Status.Reason = v1alpha1.DeliveryCanceled, names[0], "Canceled "+strings.Join(names, ", ")
	r.react(ctx, d, "+1")
	return nil
}

// answer comments on the issue, once for each comment that asked.
func (r *Reconciler) answer(ctx context.Context, d *v1alpha1.Delivery, text string) error {
	e := d.Spec.Event
	mark := fmt.Sprintf("<!-- conductor:answer=%d -->", e.Comment.ID)
	if _, err := r.GitHub.UpsertComment(ctx, e.InstallationID, e.Repository, e.Comment.Issue, 0, mark, mark+"\n"+text); err != nil {
		return fmt.Errorf("answer on #%d: %w", e.Comment.Issue, err)
	}
	return nil
}

// react shows that a command was heard. It is a courtesy: nothing fails for want of it.
func (r *Reconciler) react(ctx context.Context, d *v1alpha1.Delivery, content string) {
	e := d.Spec.Event
	if err := r.GitHub.React(ctx, e.InstallationID, e.Repository, e.Comment.ID, content); err != nil && !errors.Is(err, context.Canceled) {
		r.Log.Warn("no reaction could be put on a comment", "delivery", d.Name, "error", err)
	}
}
