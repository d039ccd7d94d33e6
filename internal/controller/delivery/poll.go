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
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// Poller compares the matching tags of every repository with those it saw last, because GitHub makes no event for more than
// three tags pushed at once (docs.github.com, events that trigger workflows: push). What it saw is in one ConfigMap a repository.
type Poller struct {
	Reconciler *Reconciler
	// Live reads ConfigMaps from the API server itself.
	Live      client.Reader
	Namespace string
	Every     time.Duration
	// Settle is how long a tag's own delivery is waited for before the comparison starts its Run.
	Settle time.Duration
	Log    *slog.Logger
}

// Start polls until the context ends. It runs on the leader only.
func (p *Poller) Start(ctx context.Context) error {
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	for {
		if err := p.Poll(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("the tags could not all be compared", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Poll looks at every repository once.
func (p *Poller) Poll(ctx context.Context) error {
	var errs []error
	err := p.Reconciler.GitHub.Repositories(ctx, func(installation int64, repo v1alpha1.Repository) error {
		if err := p.repository(ctx, installation, repo); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", repo.FullName(), err))
		}
		return ctx.Err()
	})
	return errors.Join(append(errs, err)...)
}

// prefixes are what the names that the patterns match begin with, each once and none within another.
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

// seen is what is remembered of a tag.
type seen struct {
	// Object is what the tag pointed to.
	Object string `json:"object"`
	// Since is when that was first seen.
	Since time.Time `json:"since"`
	// Done says that nothing is left to do for it.
	Done bool `json:"done"`
}

// repository compares one repository's tags. Those that are there when it is first looked at are taken as run already.
func (p *Poller) repository(ctx context.Context, installation int64, repo v1alpha1.Repository) error {
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

// settle starts the Run of a tag and reports whether nothing is left to do for it. That is also so when its Run can never be started, such
// as that of a tag on a file, or could not be for as long as a Delivery is tried: one tag does not keep the others from being compared.
func (p *Poller) settle(ctx context.Context, installation int64, repo v1alpha1.Repository, ref string, was seen) (bool, error) {
	err := p.start(ctx, installation, repo, ref, was.Object, was)
	if err == nil {
		return true, nil
	}
	if late := p.Reconciler.now().Sub(was.Since) > p.Settle+deadline; failure.IsTerminal(err) || late {
		p.Log.Error("a tag cannot be run and is passed over", "repository", repo.FullName(), "ref", ref, "object", was.Object, "error", err)
		return true, nil
	}
	return false, err
}

// start starts the Run of a tag whose delivery did not come, unless it did: its Run may be deleted by now, which starts no other.
func (p *Poller) start(ctx context.Context, installation int64, repo v1alpha1.Repository, ref, object string, was seen) error {
	list, err := p.Reconciler.Runs.List(ctx, repo.ID)
	if err != nil {
		return err
	}
	for _, run := range list {
		if run.Spec.Ref == ref && run.Spec.Object == object {
			return nil
		}
	}
	if delivered, err := p.isDelivered(ctx, repo, ref, object); err != nil || delivered {
		return err
	}
	at := metav1.NewMicroTime(p.Reconciler.now())
	run, err := p.Reconciler.Runs.Start(ctx, runs.Request{
		Name:       trigger.PollName(repo.FullName(), ref, object, was.Since.UTC().Format(time.RFC3339)),
		Repository: repo, InstallationID: installation, Ref: ref, Object: object,
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerPoll, ReceivedAt: &at}, Actor: v1alpha1.Actor{Login: "unknown"},
	})
	if err == nil {
		p.Log.Info("a tag was found whose push made no event", "repository", repo.FullName(), "ref", ref, "sha", run.Spec.SHA, "run", run.Name)
	}
	return err
}

// isDelivered reports whether there is a delivery of a tag's push that did not fail.
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

// recall reads what was seen last; known is false for a repository that was never looked at.
func (p *Poller) recall(ctx context.Context, repo v1alpha1.Repository) (memory map[string]seen, known bool, err error) {
	var cm corev1.ConfigMap
	err = p.Live.Get(ctx, p.key(repo), &cm)
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("recall the tags: %w", err)
	}
	if err := json.Unmarshal([]byte(cm.Data["tags"]), &memory); err != nil {
		p.Log.Error("the remembered tags of a repository are not readable and are taken anew", "repository", repo.FullName(), "error", err)
		return nil, false, nil
	}
	return memory, true, nil
}

// remember writes what was seen, when it changed.
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
