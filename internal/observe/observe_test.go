package observe

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestDecisionsAndTransitionsAreLoggedWithTheirTrace(t *testing.T) {
	first, second := &bytes.Buffer{}, &bytes.Buffer{}
	all := All{Log{slog.New(slog.NewTextHandler(first, nil))}, Log{slog.New(slog.NewTextHandler(second, nil))}}
	all.Decided(Decision{
		Trace: "guid-1", Repository: v1alpha1.Repository{Owner: "acme", Name: "shop"}, Actor: v1alpha1.Actor{Login: "ada"},
		Action: "start by comment", Trust: v1alpha1.TrustFork, Reason: "It is a fork",
	})
	all.Changed("guid-2", &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1"}}, []Transition{
		{Condition: v1alpha1.ConditionImagesBuilt, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBuildFailed, Message: "password=hunter2"},
		{Reason: "error", Message: "password=hunter2"},
	})
	for _, want := range []string{
		`msg=decision trace=guid-1 repository=acme/shop actor=ada action="start by comment" trust=fork allowed=false reason="It is a fork"`,
		`msg="stage ended" trace=guid-2 run=shop-1 condition=ImagesBuilt status=False reason=BuildFailed`,
		`msg="run ended" trace=guid-2 run=shop-1 outcome=error`,
	} {
		if !strings.Contains(first.String(), want) || !strings.Contains(second.String(), want) {
			t.Errorf("%s is not in both logs:\n%s\n%s", want, first, second)
		}
	}
	if strings.Contains(first.String(), "hunter2") {
		t.Errorf("a message is in the log: %s", first)
	}
}
