//go:build apiserver

package apiserver

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/controller/delivery"
)

// hookLog is GitHub's log of one delivery, and takes it.
type hookLog struct {
	at   time.Time
	took []string
}

func (h *hookLog) HookDeliveries(_ context.Context, each func(v1alpha1.HookDelivery) bool) (int, error) {
	each(v1alpha1.HookDelivery{ID: 1, GUID: "guid-1", Event: "push", InstallationID: 1, DeliveredAt: h.at})
	return 1, nil
}

func (h *hookLog) HookPayload(context.Context, int64) ([]byte, error) { return []byte("{}"), nil }

func (h *hookLog) Redeliver(context.Context, int64) error { return nil }

func (h *hookLog) Take(_ context.Context, guid, _ string, _ time.Time, _ []byte) (string, error) {
	h.took = append(h.took, guid)
	return "accepted", nil
}

// The point and an operator's request are in one ConfigMap, written by two field managers. Neither removes what is the other's.
func TestThePointAndAReplayAreInOneConfigMap(t *testing.T) {
	w := newWorld(t)
	now := w.clock.now().UTC().Truncate(time.Second)
	gh := &hookLog{at: now.Add(-time.Minute)}
	newLeader := func() *delivery.CatchUp {
		return &delivery.CatchUp{
			GitHub: gh, Intake: gh, Client: admin, Live: admin, Namespace: w.set.Namespace, Every: time.Minute, Log: w.log.logger(0), Now: w.clock.now,
		}
	}
	data := func() map[string]string {
		cm := &corev1.ConfigMap{}
		w.must(admin.Get(t.Context(), client.ObjectKey{Namespace: w.set.Namespace, Name: "conductor-deliveries"}, cm))
		return cm.Data
	}
	first := newLeader()
	w.must(first.Pass(t.Context()))
	point := data()["point"]
	if point != gh.at.Format(time.RFC3339) || !slices.Equal(gh.took, []string{"guid-1"}) {
		t.Fatalf("point %q, took %q", point, gh.took)
	}
	w.must(delivery.RequestReplay(t.Context(), admin, w.set.Namespace, "1"))
	if got := data(); got["point"] != point || got["replay"] != "1" {
		t.Fatalf("after the request: %v", got)
	}
	w.must(first.Pass(t.Context()))
	if got := data(); got["point"] != point || got["replay"] != "" || len(gh.took) != 2 {
		t.Errorf("after the replay: %v, took %q", got, gh.took)
	}
	w.must(first.Pass(t.Context()))
	if len(gh.took) != 2 {
		t.Errorf("the request is still there: took %q", gh.took)
	}
}
