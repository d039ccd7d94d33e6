//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseLock is the lock of the leader election. A leader that stops clears its name in the lease. If the lease still names another leader
// when it is acquired, that leader ended without stopping.
type leaseLock struct {
	resourcelock.Interface

	mu      sync.Mutex
	holder  string
	unclean bool
}

// newLeaseLock returns the lock of this process on the lease that the replicas share.
func newLeaseLock(config *rest.Config, namespace, name string) (*leaseLock, error) {
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
	return &leaseLock{Interface: lock}, nil
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

// Update implements resourcelock.Interface.
func (l *leaseLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Update(ctx, record)
	if err == nil && record.HolderIdentity == l.Identity() {
		l.mu.Lock()
		if l.holder != "" && l.holder != l.Identity() {
			l.unclean = true
		}
		l.holder = l.Identity()
		l.mu.Unlock()
	}
	return err
}

// tookOver reports whether the previous leader ended without stopping.
func (l *leaseLock) tookOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unclean
}
