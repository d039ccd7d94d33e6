package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// Poller compares the matching tags of every repository with those it saw last, because GitHub does not send an event if more than
// three tags are pushed at once (docs.github.com, events that trigger workflows: push). It keeps what it saw in one ConfigMap per
// repository.
type Poller struct {
	Reconciler *Reconciler
	// Live reads ConfigMaps from the API server, not from a cache.
	Live      client.Reader
	Namespace string
	// Every is the interval of polls.
	Every time.Duration
	// Settle is how long to wait for a tag's own delivery before the poll starts its Run.
	Settle time.Duration
	Log    *slog.Logger
}

// Start polls until the context ends. It runs on the leader only.
func (p *Poller) Start(ctx context.Context) error {
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	for {
		if err := p.Poll(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("could not compare all tags", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Poll compares the tags of every repository once.
func (p *Poller) Poll(ctx context.Context) error {
	var errs []error
	err := p.Reconciler.GitHub.Repositories(ctx, func(installation int64, repo v1alpha1.Repository) error {
		if err := p.compare(ctx, installation, repo); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", repo.FullName(), err))
		}
		return ctx.Err()
	})
	return errors.Join(append(errs, err)...)
}

// prefixes returns what the names that match the patterns begin with; none of them is a prefix of another.
func prefixes(patterns []string) []string {
	var all []string
	for _, p := range patterns {
		if i := strings.IndexAny(p, `*?[\`); i >= 0 {
			p = p[:i]
		}
		all = append(all, p)
	}
	slices.Sort(all)
	return slices.CompactFunc(all, func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })
}

// seen is what the poll remembers of a tag.
type seen struct {
	// Object is what the tag pointed to.
	Object string `json:"object"`
	// Since is when the tag was first seen to point to it.
	Since time.Time `json:"since"`
	// Done is set when nothing is left to do for the tag.
	Done bool `json:"done"`
}

// compare compares one repository's tags with those remembered. Tags of a repository that was never compared count as run already.
func (p *Poller) compare(ctx context.Context, installation int64, repo v1alpha1.Repository) error {
	tags := map[string]string{}
	for _, prefix := range prefixes(p.Reconciler.Rules.Tags) {
		found, err := p.Reconciler.GitHub.Tags(ctx, installation, repo, prefix)
		if err != nil {
			return err
		}
		for ref, object := range found {
			if _, ok := p.Reconciler.Rules.Tag(ref); ok {
				tags[ref] = object
			}
		}
	}
	memory, known, err := p.recall(ctx, repo)
	if err != nil {
		return err
	}
	now := p.Reconciler.now()
	next := map[string]seen{}
	var errs []error
	for _, ref := range slices.Sorted(maps.Keys(tags)) {
		was, ok := memory[ref]
		if !ok || was.Object != tags[ref] {
			was = seen{Object: tags[ref], Since: now, Done: !known}
		}
		if !was.Done && now.Sub(was.Since) >= p.Settle {
			if was.Done, err = p.settle(ctx, installation, repo, ref, was); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", ref, err))
			}
		}
		next[ref] = was
	}
	return errors.Join(append(errs, p.remember(ctx, repo, memory, next, known))...)
}

// settle starts the Run of a tag and reports whether nothing is left to do for it. That includes a tag whose Run can never start, such as
// a tag on a file, or could not start for as long as a Delivery is retried: one tag must not keep the others from being compared.
func (p *Poller) settle(ctx context.Context, installation int64, repo v1alpha1.Repository, ref string, was seen) (bool, error) {
	err := p.start(ctx, installation, repo, ref, was)
	if err == nil {
		return true, nil
	}
	if late := p.Reconciler.now().Sub(was.Since) > p.Settle+deadline; failure.IsTerminal(err) || late {
		p.Log.Error("could not run a tag; skipping it", "trace", traceOf(repo, ref, was), "repository", repo.FullName(), "ref", ref, "object", was.Object,
			"error", err)
		return true, nil
	}
	return false, err
}

// start starts the Run of a tag unless the tag was delivered. A Run that was deleted since does not start again.
func (p *Poller) start(ctx context.Context, installation int64, repo v1alpha1.Repository, ref string, was seen) error {
	list, err := p.Reconciler.Runs.List(ctx, repo.ID)
	if err != nil {
		return err
	}
	for _, run := range list {
		if run.Spec.Ref == ref && run.Spec.Object == was.Object {
			return nil
		}
	}
	if delivered, err := p.isDelivered(ctx, repo, ref, was.Object); err != nil || delivered {
		return err
	}
	at := metav1.NewMicroTime(p.Reconciler.now())
	trace, by := traceOf(repo, ref, was), authority.TagPoll()
	run, err := p.Reconciler.Runs.Start(ctx, runs.Request{
		By: by, Name: pollRunName(repo, ref, was), Repository: repo, InstallationID: installation, Ref: ref, Object: was.Object,
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerPoll, Delivery: trace, ReceivedAt: &at},
	})
	decision := observe.Decision{Trace: trace, Repository: repo, Actor: by.Actor, Action: string(authority.StartByTag)}
	if refusal, ok := errors.AsType[*authority.Refusal](err); ok {
		decision.Trust, decision.Reason = refusal.Trust, refusal.Reason
		p.Reconciler.observe(decision)
	}
	if err != nil {
		return err
	}
	decision.Allowed, decision.Trust, decision.Reason = true, run.Spec.Trust, fmt.Sprintf("The poll found %s", ref)
	p.Reconciler.observe(decision)
	p.Log.Info("found a tag without a delivery", "trace", trace, "repository", repo.FullName(), "ref", ref, "sha", run.Spec.SHA, "run", run.Name)
	return nil
}

func pollRunName(repo v1alpha1.Repository, ref string, was seen) string {
	return trigger.PollName(repo.FullName(), ref, was.Object, was.Since.UTC().Format(time.RFC3339))
}

// traceOf returns the trace id of a tag that was found. It stays the same however often the tag is found.
func traceOf(repo v1alpha1.Repository, ref string, was seen) string {
	return "poll-" + pollRunName(repo, ref, was)
}

// isDelivered reports whether a tag's push has a delivery that did not fail.
func (p *Poller) isDelivered(ctx context.Context, repo v1alpha1.Repository, ref, object string) (bool, error) {
	var list v1alpha1.DeliveryList
	if err := p.Reconciler.Client.List(ctx, &list, client.InNamespace(p.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list deliveries: %w", err)
	}
	return slices.ContainsFunc(list.Items, func(d v1alpha1.Delivery) bool {
		push := d.Spec.Event.Push
		return push != nil && d.Spec.Event.Repository.ID == repo.ID && push.Ref == ref && push.After == object && d.Status.Outcome != v1alpha1.DeliveryFailed
	}), nil
}

func (p *Poller) key(repo v1alpha1.Repository) client.ObjectKey {
	return client.ObjectKey{Namespace: p.Namespace, Name: fmt.Sprintf("conductor-tags-%d", repo.ID)}
}

// recall reads what was seen last; known is false for a repository that was never compared.
func (p *Poller) recall(ctx context.Context, repo v1alpha1.Repository) (memory map[string]seen, known bool, err error) {
	var cm corev1.ConfigMap
	err = p.Live.Get(ctx, p.key(repo), &cm)
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("recall the tags: %w", err)
	}
	if err := json.Unmarshal([]byte(cm.Data["tags"]), &memory); err != nil {
		p.Log.Error("could not read the remembered tags of a repository; starting afresh", "repository", repo.FullName(), "error", err)
		return nil, false, nil
	}
	return memory, true, nil
}

// remember writes what was seen if it changed.
func (p *Poller) remember(ctx context.Context, repo v1alpha1.Repository, memory, next map[string]seen, known bool) error {
	was, err := json.Marshal(memory)
	if err != nil {
		return fmt.Errorf("remember the tags: %w", err)
	}
	now, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("remember the tags: %w", err)
	}
	if known && string(was) == string(now) {
		return nil
	}
	key := p.key(repo)
	cm := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace, Labels: map[string]string{
			v1alpha1.LabelManaged: v1alpha1.ManagedValue, v1alpha1.LabelRepository: fmt.Sprint(repo.ID),
		}},
		Data: map[string]string{"repository": repo.FullName(), "tags": string(now)},
	}
	//nolint:staticcheck // Patch with client.Apply takes typed objects; Client.Apply wants generated apply configurations.
	if err := p.Reconciler.Client.Patch(ctx, cm, client.Apply, client.FieldOwner("conductor"), client.ForceOwnership); err != nil {
		return fmt.Errorf("remember the tags: %w", err)
	}
	return nil
}
