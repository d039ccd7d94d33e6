package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// The ConfigMap in which the state of CatchUp survives restarts and changes of the leader. keyPoint and keyReadAt are written by Conductor,
// keyReplay by the command line: each has a field manager of its own.
const (
	stateName = "conductor-deliveries"
	keyPoint  = "point"
	keyReadAt = "readAt"
	keyReplay = "replay"
)

// state is what is stored about GitHub's log.
type state struct {
	// point is the time of the newest attempt up to which all are processed, by GitHub's clock; zero if the log was never read. stored is
	// the point in the ConfigMap.
	point, stored time.Time
	// readAt is when the log was last read to its end, by Conductor's clock. It is stored at intervals.
	readAt time.Time
	// replay are the GUIDs and ids of deliveries that an operator wants to be taken from the log.
	replay []string
	// text is replay as it is stored.
	text string
}

func readState(ctx context.Context, c client.Reader, namespace string) (state, error) {
	cm := &corev1.ConfigMap{}
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: stateName}, cm)
	if apierrors.IsNotFound(err) {
		return state{}, nil
	} else if err != nil {
		return state{}, fmt.Errorf("read the point in GitHub's log: %w", err)
	}
	s := state{replay: strings.Fields(cm.Data[keyReplay]), text: cm.Data[keyReplay]}
	for key, at := range map[string]*time.Time{keyPoint: &s.point, keyReadAt: &s.readAt} {
		if text := cm.Data[key]; text != "" {
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return state{}, fmt.Errorf("the ConfigMap %s/%s has an invalid %s. Delete it: %w", namespace, stateName, key, err)
			}
		}
	}
	s.stored = s.point
	return s, nil
}

// applyState writes all keys of an owner to the ConfigMap.
func applyState(ctx context.Context, c client.Client, namespace, owner string, data map[string]string) error {
	cm := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: stateName, Namespace: namespace, Labels: map[string]string{
			v1alpha1.LabelManaged: v1alpha1.ManagedValue,
		}},
		Data: data,
	}
	//nolint:staticcheck // Patch with client.Apply takes typed objects; Client.Apply wants generated apply configurations.
	if err := c.Patch(ctx, cm, client.Apply, client.FieldOwner(owner), client.ForceOwnership); err != nil {
		return fmt.Errorf("write the ConfigMap %s: %w", stateName, err)
	}
	return nil
}

// dropReplay removes the requests of an operator, unless there are more by now: then all are processed again.
func dropReplay(ctx context.Context, c client.Client, namespace string, s state) error {
	patch, err := json.Marshal([]map[string]string{
		{"op": "test", "path": "/data/" + keyReplay, "value": s.text}, {"op": "remove", "path": "/data/" + keyReplay},
	})
	if err != nil {
		return fmt.Errorf("remove the requested deliveries: %w", err)
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: stateName, Namespace: namespace}}
	err = c.Patch(ctx, cm, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner("conductor"))
	if err != nil && !apierrors.IsInvalid(err) { // The API server answers so if the test fails.
		return fmt.Errorf("remove the requested deliveries: %w", err)
	}
	return nil
}

// RequestReplay asks the leader to take a delivery, by its GUID or id, from GitHub's log.
func RequestReplay(ctx context.Context, c client.Client, namespace, delivery string) error {
	s, err := readState(ctx, c, namespace)
	if err != nil {
		return err
	}
	if slices.Contains(s.replay, delivery) {
		return nil
	}
	return applyState(ctx, c, namespace, "conductor-cli", map[string]string{keyReplay: strings.Join(append(s.replay, delivery), "\n")})
}
