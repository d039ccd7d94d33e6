package failure

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestOfKeepsTheUsersSentenceAndTheOperatorsCauseApart(t *testing.T) {
	cause := errors.New("dial tcp 10.0.0.1:443: connection refused")
	err := fmt.Errorf("stage checkout: %w", Terminalf("NotFound", cause, "There is no %s", ".conductor.yaml"))
	f := Of(err)
	if f.Sentence != "There is no .conductor.yaml" || f.Reason != "NotFound" || f.Kind != Terminal {
		t.Errorf("Of(%v) = %+v", err, f)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if !IsTerminal(err) {
		t.Error("a wrapped terminal failure is not terminal")
	}
}

func TestOfAnUnknownErrorIsTransientAndTellsUsersNothingOfIt(t *testing.T) {
	f := Of(errors.New("password=hunter2"))
	if f.Kind != Transient || f.Sentence == "" {
		t.Fatalf("Of = %+v", f)
	}
	if f.Sentence == f.Error() {
		t.Error("operators do not see the cause")
	}
	if Of(nil) != nil || IsTerminal(nil) {
		t.Error("nil is not a failure")
	}
}

func TestWaitingHasATime(t *testing.T) {
	if f := Waitingf("Pending", time.Second, "waits for %s", "redis"); f.Kind != Waiting || f.After != time.Second || f.Error() != "waits for redis" {
		t.Errorf("Waitingf = %+v", f)
	}
}
