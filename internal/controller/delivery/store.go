package delivery

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// ErrNotFound means that there is no such Delivery.
var ErrNotFound = errors.New("not found")

// Store reads and replays the Deliveries of one Conductor, for the command line. The API server authorizes its user.
type Store struct {
	Client    client.Client
	Namespace string
}

// List returns the Deliveries, newest first.
func (s Store) List(ctx context.Context) ([]v1alpha1.Delivery, error) {
	var list v1alpha1.DeliveryList
	if err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.Delivery) int {
		if isBefore(&a, &b) {
			return 1
		}
		return -1
	})
	return list.Items, nil
}

// Get returns a Delivery by its GUID, or ErrNotFound.
func (s Store) Get(ctx context.Context, guid string) (*v1alpha1.Delivery, error) {
	d := &v1alpha1.Delivery{}
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: strings.ToLower(guid)}, d)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("delivery %s: %w", guid, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("get delivery %s: %w", guid, err)
	}
	return d, nil
}

// Replayed is what Replay did.
type Replayed string

// The results of Replay.
const (
	// ReplayOpen: the Delivery waits to be processed anyway.
	ReplayOpen Replayed = "open"
	// ReplayAgain: the Delivery is processed again.
	ReplayAgain Replayed = "again"
	// ReplayFromLog: the leader takes it from GitHub's log.
	ReplayFromLog Replayed = "log"
)

// logName is a GUID or the id of an attempt.
var logName = regexp.MustCompile(`^(\d{1,19}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

// Replay processes a Delivery again. One that does not exist is taken from GitHub's log, by its GUID or the id of an attempt. Effects are
// not repeated: they are named by what the event means, and the time at which it was received stays the same.
func (s Store) Replay(ctx context.Context, name string) (Replayed, error) {
	d, err := s.Get(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound) && logName.MatchString(name):
		return ReplayFromLog, RequestReplay(ctx, s.Client, s.Namespace, name)
	case err != nil:
		return "", err
	case d.Status.ProcessedAt == nil:
		return ReplayOpen, nil
	}
	before := d.DeepCopy()
	d.Status = v1alpha1.DeliveryStatus{}
	if err := s.Client.Status().Patch(ctx, d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return "", fmt.Errorf("replay delivery %s: %w", name, err)
	}
	return ReplayAgain, nil
}
