//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseLock is the lock of the leader election. A leader that stops clears its name in the lease. If the lease still names another leader
// when it is acquired, that leader ended without stopping.
type leaseLock struct {
	resourcelock.Interface
	// duration is how long the lease is valid after it was renewed.
	duration time.Duration

	mu      sync.Mutex
	holder  string
	unclean bool
	// led is set once this process was the leader; renewed is when it last renewed the lease, zero after it has released it.
	led     bool
	renewed time.Time
}

// newLeaseLock returns the lock of this process on the lease that the replicas share.
func newLeaseLock(config *rest.Config, namespace, name string, duration time.Duration) (*leaseLock, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find the name of this host: %w", err)
	}
	kube, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "leader-election"))
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, namespace, name, kube.CoreV1(), kube.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())})
	if err != nil {
		return nil, fmt.Errorf("create the lock of the leader election: %w", err)
	}
	return &leaseLock{Interface: lock, duration: duration}, nil
}

// Get implements resourcelock.Interface.
func (l *leaseLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil {
		l.mu.Lock()
		l.holder = record.HolderIdentity
		l.mu.Unlock()
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (l *leaseLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := time.Now()
	err := l.Interface.Create(ctx, record)
	if err == nil {
		l.wrote(record, began)
	}
	return err
}

// Update implements resourcelock.Interface.
func (l *leaseLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := time.Now()
	err := l.Interface.Update(ctx, record)
	if err == nil {
		l.wrote(record, began)
	}
	return err
}

// wrote notes a write of the lease that began at a time. Others count the lease's duration from later.
func (l *leaseLock) wrote(record resourcelock.LeaderElectionRecord, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if record.HolderIdentity != l.Identity() {
		l.renewed = time.Time{}
		return
	}
	if l.holder != "" && l.holder != l.Identity() {
		l.unclean = true
	}
	l.holder, l.led, l.renewed = l.Identity(), true, began
}

// isLost reports whether this process was the leader and another one may be it by now.
func (l *leaseLock) isLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.led && time.Since(l.renewed) >= l.duration
}

var errNotLeader = errors.New("this process is not the leader any more")

// fence returns a transport that refuses the writes of a leader whose lease has expired. A process that was paused continues in the middle
// of a step, before it notices that it lost the lease. A process that never was the leader may write: it stores deliveries.
func (l *leaseLock) fence(next http.RoundTripper) http.RoundTripper { return fenced{l, next} }

type fenced struct {
	lock *leaseLock
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f fenced) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead && f.lock.isLost() {
		if req.Body != nil {
			_ = req.Body.Close() // A transport closes the body in any case.
		}
		return nil, errNotLeader
	}
	return f.next.RoundTrip(req)
}

// tookOver reports whether the previous leader ended without stopping.
func (l *leaseLock) tookOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unclean
}
