//go:build linux

package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// memoryLock is a lease in memory, as one of its users sees it.
type memoryLock struct {
	resourcelock.Interface
	record *resourcelock.LeaderElectionRecord
	name   string
}

func (m memoryLock) Identity() string { return m.name }

func (m memoryLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	got := *m.record
	return &got, nil, nil
}

func (m memoryLock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	*m.record = r
	return nil
}

// TestALeaderThatDidNotStopIsKnown: a name in the lease is that of a leader that never cleared it.
func TestALeaderThatDidNotStopIsKnown(t *testing.T) {
	for name, tc := range map[string]struct {
		holder string
		want   bool
	}{"stopped": {"", false}, "ended": {"pod-1_x", true}, "this process itself": {"pod-2_y", false}} {
		lease := &resourcelock.LeaderElectionRecord{HolderIdentity: tc.holder}
		lock := &leaseLock{Interface: memoryLock{record: lease, name: "pod-2_y"}}
		if _, _, err := lock.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // It is acquired, then renewed without reading it again.
			if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "pod-2_y"}); err != nil {
				t.Fatal(err)
			}
		}
		if lock.tookOver() != tc.want {
			t.Errorf("%s: %t", name, lock.tookOver())
		}
	}
}

// TestALeaderWithoutALeaseDoesNotWrite: reads are always sent, writes only while no other process can be the leader.
func TestALeaderWithoutALeaseDoesNotWrite(t *testing.T) {
	mine := resourcelock.LeaderElectionRecord{HolderIdentity: "pod-2_y"}
	for name, tc := range map[string]struct {
		duration time.Duration
		writes   []resourcelock.LeaderElectionRecord
		refused  bool
	}{
		"never the leader":    {time.Hour, nil, false},
		"leader":              {time.Hour, []resourcelock.LeaderElectionRecord{mine}, false},
		"expired":             {0, []resourcelock.LeaderElectionRecord{mine}, true},
		"released":            {time.Hour, []resourcelock.LeaderElectionRecord{mine, {}}, true},
		"leader once more":    {time.Hour, []resourcelock.LeaderElectionRecord{mine, {}, mine}, false},
		"never, and released": {0, []resourcelock.LeaderElectionRecord{{}}, false},
	} {
		lock := &leaseLock{Interface: memoryLock{record: &resourcelock.LeaderElectionRecord{}, name: "pod-2_y"}, duration: tc.duration}
		for _, record := range tc.writes {
			if err := lock.Update(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
		sent := map[string]bool{}
		next := lock.fence(roundTrip(func(req *http.Request) (*http.Response, error) {
			sent[req.Method] = true
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}))
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://github.example", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := next.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if wantSent := method == http.MethodGet || !tc.refused; sent[method] != wantSent || (err == nil) != wantSent {
				t.Errorf("%s: %s was sent: %t, error %v", name, method, sent[method], err)
			}
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
