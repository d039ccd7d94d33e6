package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// rounds is how often the two ways alternate at each concurrency.
const rounds = 2

const (
	benchTag = "refs/tags/run-integration-tests"
	// benchObject is the object that every pushed tag points to.
	benchObject = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e"
)

// way is one way to create a Delivery: through the webhook, or directly at the API server.
type way struct {
	name string
	put  func(ctx context.Context, guid string) error
}

// burst holds the measurements of one way at one concurrency.
type burst struct {
	took  []time.Duration
	whole time.Duration
}

// webhook compares the time from a signed delivery to its 202 with the time in which the API server itself creates the same object, in
// turns. The deliveries are pushes of a matching tag, of the size that GitHub sends, for which tag polling has already created a Run: the
// leader notes that in the status of each and does nothing else.
func (b *bench) webhook(ctx context.Context) error {
	body, err := b.tagPush(ctx)
	if err != nil {
		return err
	}
	direct, err := b.direct(ctx)
	if err != nil {
		return err
	}
	hook := way{"webhook", b.post(body)}
	// Send one delivery to learn which object the webhook creates from this body; the API server gets the same.
	example, err := b.example(ctx, hook)
	if err != nil {
		return err
	}
	ways := []way{hook, {"API server", func(ctx context.Context, guid string) error {
		d := &v1alpha1.Delivery{ObjectMeta: metav1.ObjectMeta{Name: guid, Namespace: lab.Namespace}, Spec: *example.Spec.DeepCopy()}
		d.Spec.GUID = guid
		return direct.Create(ctx, d)
	}}}
	b.printf("\n## From webhook to 202\n\nFor each row %d signed deliveries of a matching tag (%d bytes each) to two replicas, in turns with the creation of\n"+
		"as many of the same objects by client-go. Times are in milliseconds, rates are deliveries per second held durably.\n\n", b.deliveries, len(body))
	b.printf("| at once | webhook p50 | p99 | per second | API server p50 | p99 | per second | ratio p50 | p99 | per second |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, at := range []int{1, 16} {
		var bursts [2]burst
		for round := range rounds {
			for i := range ways {
				k := (i + round) % 2
				if err := b.burst(ctx, ways[k], at, b.deliveries/rounds, &bursts[k]); err != nil {
					return fmt.Errorf("%s, %d at once: %w", ways[k].name, at, err)
				}
			}
		}
		w, a := bursts[0], bursts[1]
		b.printf("| %d | %.1f | %.1f | %.0f | %.1f | %.1f | %.0f | %.2f | %.2f | %.2f |\n", at, w.ms(50), w.ms(99), w.rate(), a.ms(50), a.ms(99), a.rate(),
			w.ms(50)/a.ms(50), w.ms(99)/a.ms(99), w.rate()/a.rate())
	}
	b.printf("\nEvery delivery that was answered 202 was there afterwards, and was processed.\n")
	return b.forget(ctx)
}

// ms is a percentile of the times, in milliseconds, by nearest rank.
func (u burst) ms(percent int) float64 {
	s := slices.Sorted(slices.Values(u.took))
	return float64(s[max(0, (len(s)*percent+99)/100-1)].Microseconds()) / 1000
}

func (u burst) rate() float64 { return float64(len(u.took)) / u.whole.Seconds() }

// tagPush is the body of a delivery for which a Run is planted. It is derived from a real one.
func (b *bench) tagPush(ctx context.Context) ([]byte, error) {
	if _, err := b.NewRepository(ctx, "webhook", lab.Example("shop")); err != nil {
		return nil, err
	}
	var push map[string]any
	for _, d := range b.GitHub.Deliveries(b.App.ID) {
		if d.Event == "push" {
			if err := json.Unmarshal(d.Payload, &push); err != nil {
				return nil, fmt.Errorf("read a delivery: %w", err)
			}
		}
	}
	repo, ok := push["repository"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("GitHub made no push")
	}
	push["ref"], push["before"], push["after"], push["created"] = benchTag, strings.Repeat("0", 40), benchObject, true
	push["head_commit"].(map[string]any)["id"] = benchObject
	repo["pushed_at"] = time.Now().Add(-time.Minute).Unix()
	body, err := json.Marshal(push)
	if err != nil {
		return nil, fmt.Errorf("write a delivery: %w", err)
	}
	id, _ := repo["id"].(float64)
	like := &v1alpha1.Run{Spec: v1alpha1.RunSpec{
		Repository: v1alpha1.Repository{ID: int64(id), Owner: "acme", Name: "webhook"}, InstallationID: 1, Ref: benchTag, SHA: benchObject,
		Object: benchObject, Trust: v1alpha1.TrustUnprotected, Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerPoll}, Actor: v1alpha1.Actor{Login: "bench"},
	}}
	if err := b.scale(ctx, 0); err != nil {
		return nil, err
	}
	if _, err := b.plant(ctx, like, 1); err != nil {
		return nil, err
	}
	return body, b.scale(ctx, 2)
}

// direct is a client without a client-side rate limit.
func (b *bench) direct(ctx context.Context) (client.Client, error) {
	config := rest.CopyConfig(b.Config)
	config.QPS, config.UserAgent = -1, "conductor-bench-create"
	c, err := client.New(config, client.Options{Scheme: b.Client.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	// The first request opens the connection and discovers the API server's resources.
	return c, c.List(ctx, &v1alpha1.DeliveryList{}, client.InNamespace(lab.Namespace), client.Limit(1))
}

// post signs and sends a delivery as GitHub does, and expects 202.
func (b *bench) post(body []byte) func(context.Context, string) error {
	mac := hmac.New(sha256.New, []byte(b.App.WebhookSecret))
	mac.Write(body)
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	return func(ctx context.Context, guid string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.WebhookURL(), bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("make a delivery: %w", err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-GitHub-Event", "push")
		req.Header.Set("X-GitHub-Delivery", guid)
		req.Header.Set("X-Hub-Signature-256", signature)
		resp, err := c.Do(req)
		if err != nil {
			return fmt.Errorf("deliver: %w", err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusAccepted {
			err = fmt.Errorf("%s: %s", resp.Status, text)
		}
		return err
	}
}

// example sends one delivery and returns the Delivery that was created.
func (b *bench) example(ctx context.Context, w way) (*v1alpha1.Delivery, error) {
	guid := newGUID()
	if err := w.put(ctx, guid); err != nil {
		return nil, err
	}
	d := &v1alpha1.Delivery{}
	if err := b.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: guid}, d); err != nil {
		return nil, fmt.Errorf("find the delivery: %w", err)
	}
	return d, b.drain(ctx, []string{guid})
}

// burst creates n Deliveries, at of them concurrently, and adds the times.
func (b *bench) burst(ctx context.Context, w way, at, n int, into *burst) error {
	guids := make([]string, n)
	for i := range guids {
		guids[i] = newGUID()
	}
	took, failed := make([]time.Duration, n), make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	began := time.Now()
	for range at {
		wg.Go(func() {
			for i := range next {
				start := time.Now()
				failed[i] = w.put(ctx, guids[i])
				took[i] = time.Since(start)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	into.whole += time.Since(began)
	into.took = append(into.took, took...)
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	logf("%d deliveries by %s, %d at once: %.1f s", n, w.name, at, time.Since(began).Seconds())
	return b.drain(ctx, guids)
}

// drain checks that all Deliveries exist, waits until the leader has processed them, and deletes them, so that the next burst meets an idle
// leader.
func (b *bench) drain(ctx context.Context, guids []string) error {
	var list v1alpha1.DeliveryList
	err := poll(ctx, 2*time.Minute, "the deliveries to be processed", func(ctx context.Context) (bool, error) {
		if err := b.Client.List(ctx, &list, client.InNamespace(lab.Namespace)); err != nil {
			return false, err
		}
		open := slices.ContainsFunc(list.Items, func(d v1alpha1.Delivery) bool { return d.Status.ProcessedAt == nil })
		return !open, nil
	})
	if err != nil {
		return err
	}
	kept := map[string]v1alpha1.DeliveryOutcome{}
	for _, d := range list.Items {
		kept[d.Name] = d.Status.Outcome
	}
	for _, g := range guids {
		if outcome, ok := kept[g]; !ok {
			return fmt.Errorf("the delivery %s was answered and is not there", g)
		} else if outcome != v1alpha1.DeliveryStarted {
			return fmt.Errorf("the delivery %s became %q", g, outcome)
		}
	}
	if err := b.Client.DeleteAllOf(ctx, &v1alpha1.Delivery{}, client.InNamespace(lab.Namespace)); err != nil {
		return fmt.Errorf("delete the deliveries: %w", err)
	}
	return nil
}

// newGUID is a random UUID, the form of GitHub's names for deliveries.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // It never fails.
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
