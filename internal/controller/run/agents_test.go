package run

import (
	"fmt"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// TestAWatchKeepsHowAttemptsEnded: their files are many and asked for later; the first problem is in an attempt's message.
func TestAWatchKeepsHowAttemptsEnded(t *testing.T) {
	for problems := range 3 {
		key := evidence.AttemptKey{Suite: "e2e", Number: 1}
		a := &evidence.Attempt{AttemptKey: key, ExitCode: 1, Artifacts: []evidence.File{{Path: "shot.png"}}}
		for i := range problems {
			a.Problems = append(a.Problems, fmt.Sprint("problem ", i))
		}
		w := &agentWatch{sessions: &sessions{}}
		w.store(evidence.AgentState{Attempts: []evidence.AttemptState{{Key: key, Ended: true, Attempt: a}}, Logs: []evidence.LogFile{{Pod: "p"}}})
		got, err := w.attempt(t.Context(), key, false)
		if err != nil || got.Attempt == nil || got.Attempt.ExitCode != 1 || len(got.Attempt.Problems) != min(problems, 1) || got.Attempt.Artifacts != nil || w.state.Logs != nil {
			t.Errorf("of %d problems: %+v, %v", problems, got.Attempt, err)
		}
	}
}
