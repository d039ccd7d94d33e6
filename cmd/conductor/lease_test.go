//go:build linux

package main

import (
	"context"
	"testing"

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
