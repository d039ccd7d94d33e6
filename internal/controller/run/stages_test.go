package run

import (
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/stage"
)

func TestEveryStageIsReconciled(t *testing.T) {
	if len(stages) != len(stage.Table) {
		t.Fatalf("%d of %d stages", len(stages), len(stage.Table))
	}
	for i, st := range stages {
		if st.run == nil || st.Name != stage.Table[i].Name {
			t.Errorf("stage %d, %s, has no function", i, stage.Table[i].Name)
		}
	}
}
