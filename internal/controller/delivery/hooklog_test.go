package delivery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// hooks is a log of GitHub's, newest first, and an Intake that notes what it was given.
type hooks struct {
	log     []v1alpha1.HookDelivery
	listErr error
	// payloads are the errors of payloads by id.
	payloads map[int64]error
	read     []int64
	again    []int64
	againErr error
	took     []string
	takeErr  error
}

func (h *hooks) HookDeliveries(_ context.Context, each func(v1alpha1.HookDelivery) bool) (int, error) {
	for _, d := range h.log {
		if !each(d) {
			break
		}
	}
	return 1, h.listErr
}

func (h *hooks) HookPayload(_ context.Context, id int64) ([]byte, error) {
	h.read = append(h.read, id)
	return []byte("{}"), h.payloads[id]
}

func (h *hooks) Redeliver(_ context.Context, id int64) error {
	h.again = append(h.again, id)
	return h.againErr
}

func (h *hooks) Take(_ context.Context, guid, _ string, _ time.Time, _ []byte) (string, error) {
	if h.takeErr != nil {
		return "not_kept", h.takeErr
	}
	h.took = append(h.took, guid)
	return "accepted", nil
}

// attempt is a comment's attempt that failed so many seconds ago.
func attempt(id int64, guid string, ago int, change ...func(*v1alpha1.HookDelivery)) v1alpha1.HookDelivery {
	d := v1alpha1.HookDelivery{
		ID: id, GUID: guid, Event: "issue_comment", Action: "created", InstallationID: 1, RepositoryID: 7, DeliveredAt: start.Add(-time.Duration(ago) * time.Second),
	}
	for _, c := range change {
		c(&d)
	}
	return d
}

func answered(code int) func(*v1alpha1.HookDelivery) {
	return func(d *v1alpha1.HookDelivery) { d.StatusCode = code }
}

func redelivered(d *v1alpha1.HookDelivery) { d.Redelivery = true }

type reader struct {
	*CatchUp
	*hooks
	t   *testing.T
	now time.Time
	out bytes.Buffer
}

func newReader(t *testing.T, log ...v1alpha1.HookDelivery) *reader {
	t.Helper()
	r := &reader{hooks: &hooks{log: log, payloads: map[int64]error{}}, t: t, now: start}
	kube := newKube(t)
	r.CatchUp = &CatchUp{
		GitHub: r.hooks, Intake: r.hooks, Client: kube, Live: kube, Namespace: "conductor", Every: CatchUpEvery,
		Log: slog.New(slog.NewTextHandler(&r.out, nil)), Now: func() time.Time { return r.now },
	}
	return r
}

// point returns the stored point, or "".
func (r *reader) point() string {
	r.t.Helper()
	cm := &corev1.ConfigMap{}
	if err := r.Live.Get(r.t.Context(), client.ObjectKey{Namespace: "conductor", Name: stateName}, cm); client.IgnoreNotFound(err) != nil {
		r.t.Fatal(err)
	}
	return cm.Data[keyPoint]
}

func at(ago int) string {
	return start.Add(-time.Duration(ago) * time.Second).Format(time.RFC3339)
}

func TestWhatOfTheLogIsTaken(t *testing.T) {
	r := newReader(
		t, // Newest first.
		attempt(99, "no-installation", 1, func(d *v1alpha1.HookDelivery) { d.InstallationID = 0 }),
		attempt(98, "edited", 2, func(d *v1alpha1.HookDelivery) { d.Action = "edited" }),
		attempt(97, "check", 3, func(d *v1alpha1.HookDelivery) { d.Event = "check_run" }),
		attempt(13, "lost-then-received", 4, answered(202), redelivered),
		attempt(12, "second-of-a-second", 5), attempt(11, "FIRST-of-a-second", 5),
		attempt(10, "lost-twice", 6, redelivered, answered(503)),
		attempt(9, "received", 7, answered(202)),
		attempt(8, "lost-then-received", 8), attempt(7, "lost-twice", 9),
		attempt(6, "proxy", 10, answered(200)),
		attempt(5, "push", 11, func(d *v1alpha1.HookDelivery) { d.Event, d.Action = "push", "" }),
		attempt(4, "too-old", int((firstWindow+overlap)/time.Second)+1), attempt(3, "older", 100000),
	)
	if err := r.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"push", "proxy", "lost-twice", "first-of-a-second", "second-of-a-second"}
	if !slices.Equal(r.took, want) || !slices.Equal(r.read, []int64{5, 6, 10, 11, 12}) {
		t.Errorf("took %q of %v, want %q", r.took, r.read, want)
	}
	if r.point() != at(1) {
		t.Errorf("point %s, want %s", r.point(), at(1))
	}
	r.took = nil
	r.log = append([]v1alpha1.HookDelivery{attempt(100, "late", 3)}, r.log...) // Its attempt took two seconds more.
	if err := r.Pass(t.Context()); err != nil || !slices.Equal(r.took, []string{"late"}) {
		t.Errorf("the next pass took %q, %v", r.took, err)
	}
}

// The point never moves past what is not stored, and the next pass continues there.
func TestErrorsKeepThePoint(t *testing.T) {
	log := []v1alpha1.HookDelivery{attempt(3, "c", 100), attempt(2, "b", 200), attempt(1, "a", 300)}
	limited := failure.Waitingf(v1alpha1.ReasonUnavailable, time.Minute, "Rate limited")
	for name, tc := range map[string]struct {
		fail  func(*hooks, error)
		took  []string
		point string
	}{
		"the list":    {func(h *hooks, err error) { h.listErr = err }, nil, at(3600)},
		"a payload":   {func(h *hooks, err error) { h.payloads[2] = err }, []string{"a"}, at(300)},
		"payloads":    {func(h *hooks, err error) { h.payloads[2], h.payloads[3] = err, err }, []string{"a"}, at(300)},
		"the storage": {func(h *hooks, err error) { h.takeErr = err }, nil, at(3600)},
	} {
		for kind, cause := range map[string]error{"transient": errDown, "rate limit": limited} {
			t.Run(name+", "+kind, func(t *testing.T) {
				r := newReader(t, log...)
				tc.fail(r.hooks, cause)
				err := r.Pass(t.Context())
				// One payload that cannot be read does not keep the others from being taken.
				took := slices.DeleteFunc(slices.Clone(r.took), func(guid string) bool { return name == "a payload" && cause == errDown && guid == "c" })
				if !errors.Is(err, cause) || !slices.Equal(took, tc.took) || r.point() != tc.point {
					t.Errorf("%v, took %q, point %q", err, r.took, r.point())
				}
				tc.fail(r.hooks, nil)
				err = r.Pass(t.Context())
				if slices.Sort(r.took); err != nil || !slices.Equal(r.took, []string{"a", "b", "c"}) || r.point() != at(100) {
					t.Errorf("%v, took %q, point %q", err, r.took, r.point())
				}
			})
		}
	}
}

func TestBackoff(t *testing.T) {
	limited := failure.Waitingf(v1alpha1.ReasonUnavailable, 40*time.Minute, "Rate limited")
	for _, tc := range []struct {
		every  time.Duration
		failed int
		err    error
		want   time.Duration
	}{
		{5 * time.Second, 1, errDown, 10 * time.Second}, {5 * time.Second, 50, errDown, maxBackoff}, {time.Minute, 1, errDown, 2 * time.Minute},
		{10 * time.Minute, 1, errDown, 10 * time.Minute}, {time.Minute, 3, limited, 40 * time.Minute},
	} {
		if got := backoff(tc.every, tc.failed, tc.err); got != tc.want {
			t.Errorf("every %s, failed %d times: %s, want %s", tc.every, tc.failed, got, tc.want)
		}
	}
}

// One payload that GitHub does not return must not keep the others from being read for ever.
func TestAPayloadThatCannotBeRead(t *testing.T) {
	gone := failure.Terminalf(v1alpha1.ReasonNotFound, nil, "GitHub did not find it")
	large := failure.Terminalf(v1alpha1.ReasonSkipped, nil, "It is too large")
	for _, tc := range []struct {
		name   string
		err    error
		pull   bool
		change []func(*v1alpha1.HookDelivery)
		again  []int64
		logged string
	}{
		{"gone", gone, false, nil, nil, "skipping it"},
		{"too large", large, false, nil, []int64{1}, "result=redelivered"},
		{"too large, without a webhook", large, true, nil, nil, "skipping it"},
		{"too large, redelivered before", large, false, []func(*v1alpha1.HookDelivery){redelivered}, nil, "skipping it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReader(t, attempt(2, "b", 100), attempt(1, "a", 200, tc.change...))
			r.Pull, r.payloads[1] = tc.pull, tc.err
			for range 2 {
				if err := r.Pass(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(r.again, tc.again) || !slices.Equal(r.took, []string{"b"}) || !strings.Contains(r.out.String(), tc.logged) || len(r.read) != 2 {
				t.Errorf("redelivered %v, took %q, read %v\n%s", r.again, r.took, r.read, &r.out)
			}
		})
	}
	r := newReader(t, attempt(2, "b", 100), attempt(1, "a", 200))
	r.payloads[1] = errDown
	for range 4 {
		if err := r.Pass(t.Context()); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		r.now = r.now.Add(giveUp / 4)
	}
	r.now = r.now.Add(time.Second)
	if err := r.Pass(t.Context()); err != nil || !slices.Equal(r.took, []string{"b"}) || !strings.Contains(r.out.String(), "level=ERROR") {
		t.Errorf("%v, took %q\n%s", err, r.took, &r.out)
	}
	// While GitHub does not return any payload, none is given up.
	r = newReader(t, attempt(2, "b", 100), attempt(1, "a", 200))
	r.payloads[1], r.payloads[2] = errDown, errDown
	for range 5 {
		if err := r.Pass(t.Context()); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		r.now = r.now.Add(giveUp)
	}
	clear(r.payloads)
	if err := r.Pass(t.Context()); err != nil || !slices.Equal(r.took, []string{"a", "b"}) {
		t.Errorf("%v, took %q\n%s", err, r.took, &r.out)
	}
}

// Someone redelivers an event that failed, and the webhook is away again.
func TestARedeliveryThatIsLostReopensADeliveryThatFailed(t *testing.T) {
	for name, tc := range map[string]struct {
		outcome   v1alpha1.DeliveryOutcome
		processed int
		isTaken   bool
	}{
		"it failed":            {v1alpha1.DeliveryFailed, 150, true},
		"it failed after that": {v1alpha1.DeliveryFailed, 50, false},
		"it was acted on":      {v1alpha1.DeliveryStarted, 150, false},
		"it is under way":      {"", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t, attempt(2, "guid-5", 100, redelivered), attempt(1, "guid-5", 200))
			d := comments(5, "ada", "/conductor help")
			d.Namespace, d.Status.Outcome = "conductor", tc.outcome
			if tc.processed > 0 {
				d.Status.ProcessedAt = new(metav1.NewTime(start.Add(-time.Duration(tc.processed) * time.Second)))
			}
			if err := r.Client.Create(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if err := r.Pass(t.Context()); err != nil || len(r.took) > 0 != tc.isTaken {
				t.Errorf("took %q, %v", r.took, err)
			}
		})
	}
}

func TestTheGapIsMeasured(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics, err := NewCatchUpMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	values := func() map[string]float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, f := range families {
			for _, m := range f.Metric {
				name := f.GetName()
				for _, l := range m.Label {
					name += " " + l.GetValue()
				}
				out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		return out
	}
	r := newReader(t, attempt(1, "a", 1))
	r.Metrics = metrics
	if err := r.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := values()
	if got["conductor_delivery_log_gap_seconds"] != 0 || got["conductor_missed_deliveries_total issue_comment accepted"] != 1 || got["conductor_delivery_log_calls_total"] != 2 {
		t.Errorf("%v", got)
	}
	r.listErr = errDown
	r.now = start.Add(2 * time.Hour)
	if err := r.Pass(t.Context()); err == nil || values()["conductor_delivery_log_gap_seconds"] != 7200 {
		t.Errorf("%v, %v", err, values())
	}
	// Hours without deliveries do not count as a gap.
	r.listErr = nil
	for range 100 {
		if err := r.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(time.Hour)
	}
	if strings.Contains(r.out.String(), "is lost") {
		t.Errorf("log:\n%s", &r.out)
	}
	r.now = r.now.Add(4 * 24 * time.Hour)
	if err := r.Pass(t.Context()); err != nil || !strings.Contains(r.out.String(), "is lost") {
		t.Errorf("%v, log:\n%s", err, &r.out)
	}
}

// Latency and calls per hour are logged when reading begins and every hour.
func TestUsageIsLogged(t *testing.T) {
	r := newReader(t, attempt(1, "a", 4))
	r.Pull, r.Every = true, 5*time.Second
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r.Ready() {
		t.Error("ready before the log was read")
	}
	if err := r.Start(ctx); err != nil || !r.Ready() {
		t.Errorf("%v, ready %t", err, r.Ready())
	}
	r.now = start.Add(time.Hour)
	r.usage.report(r.Log, r.now)
	for _, want := range []string{"every=5s callsPerHour=720 pull=true", `latency=4s`, "callsPerHour=2 deliveries=1 meanLatency=4s maxLatency=4s"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &r.out)
		}
	}
}
