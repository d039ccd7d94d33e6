package run

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestTheCacheIsBelievedOnceItHasCaughtUp(t *testing.T) {
	at := func(uid, version string) *v1alpha1.Run {
		return &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), ResourceVersion: version}}
	}
	w := &sessions{}
	w.keepWritten(at("a", "99"))
	w.keepWritten(at("a", "101"))
	w.keepWritten(at("a", "100")) // The answer to an earlier write may come later.
	for _, step := range []struct{ uid, cached, want string }{
		{"b", "7", "7"}, {"a", "99", "101"}, {"a", "not a number", "not a number"},
	} {
		if got := w.newest(at(step.uid, step.cached)).ResourceVersion; got != step.want {
			t.Errorf("newest(%s at %s) = %s, want %s", step.uid, step.cached, got, step.want)
		}
	}
	w.keepWritten(at("a", "101"))
	if got := w.newest(at("a", "102")).ResourceVersion; got != "102" || len(w.runs) != 0 {
		t.Errorf("got %s and %d are still remembered", got, len(w.runs))
	}
	w.keepWritten(at("a", "101"))
	w.newest(at("a", "100")).Name = "changed"
	if got := w.newest(at("a", "100")); got.Name != "" {
		t.Error("what is remembered was changed from outside")
	}
}

// opened is a Reconciler as Setup makes it.
func opened(r *Reconciler) *Reconciler {
	r.open()
	return r
}
