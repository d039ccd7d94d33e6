package delivery

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
)

func TestDecisionsAreLogged(t *testing.T) {
	log := &bytes.Buffer{}
	DecisionLog{Log: slog.New(slog.NewTextHandler(log, nil))}.Decided(Decision{
		Trace: "guid-1", Repository: shop, Actor: v1alpha1.Actor{Login: "ada"}, Action: authority.StartByComment, Trust: v1alpha1.TrustFork, Reason: "It is a fork",
	})
	want := `msg=decision trace=guid-1 repository=acme/shop actor=ada action="start by comment" trust=fork allowed=false reason="It is a fork"`
	if !strings.Contains(log.String(), want) {
		t.Errorf("log %s, want %s", log, want)
	}
	(&Reconciler{}).observe(Decision{}) // Without an observer, nothing happens.
}
