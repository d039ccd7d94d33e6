package compact

import (
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// foldFollowed removes the attempts of a shard that were followed by another. The number of the last one is the number of attempts.
func foldFollowed(st *v1alpha1.RunStatus) {
	for i := range st.Suites {
		last := Tries(&st.Suites[i])
		fold(&st.Suites[i], func(a v1alpha1.AttemptStatus) bool { return a.Number < last[a.Shard] })
	}
}

// foldEnded removes the attempts of completed suites.
func foldEnded(st *v1alpha1.RunStatus) {
	for i := range st.Suites {
		s := &st.Suites[i]
		if s.Outcome == "" || len(s.Attempts) == 0 {
			continue
		}
		if s.Tries = Tries(s); !slices.ContainsFunc(s.Tries, func(n int32) bool { return n != 1 }) {
			s.Tries = []int32{1} // Applies to all shards: most suites are tried once.
		}
		fold(s, func(v1alpha1.AttemptStatus) bool { return true })
	}
}

// fold removes completed attempts. If the Job of one of them still has to be terminated, fold records that in the suite's reason.
func fold(st *v1alpha1.SuiteStatus, which func(v1alpha1.AttemptStatus) bool) {
	st.Attempts = slices.DeleteFunc(st.Attempts, func(a v1alpha1.AttemptStatus) bool {
		if a.Outcome == "" || !which(a) {
			return false
		}
		if a.Reason == v1alpha1.ReasonStuck {
			st.Reason = a.Reason
		}
		return true
	})
}

// IsOver reports whether the Job of an attempt does not have to be terminated any more. For a folded attempt it relies on the suite's
// reason.
func IsOver(st *v1alpha1.SuiteStatus, a v1alpha1.AttemptStatus) bool {
	isFolded := !slices.ContainsFunc(st.Attempts, func(have v1alpha1.AttemptStatus) bool { return have.Shard == a.Shard && have.Number == a.Number })
	if isFolded {
		return st.Reason != v1alpha1.ReasonStuck
	}
	return a.Outcome != "" && a.Reason != v1alpha1.ReasonStuck
}

// Tries returns the number of attempts of each shard of a suite.
func Tries(st *v1alpha1.SuiteStatus) []int32 {
	shards := max(int(st.Shards), len(st.Tries), 1)
	for _, a := range st.Attempts {
		shards = max(shards, int(a.Shard)+1)
	}
	tries := make([]int32, shards)
	for shard := range tries {
		if len(st.Tries) > 0 {
			tries[shard] = st.Tries[min(shard, len(st.Tries)-1)]
		}
	}
	for _, a := range st.Attempts {
		tries[a.Shard] = max(tries[a.Shard], a.Number)
	}
	return tries
}

// HasAttempts reports whether a suite was ever attempted.
func HasAttempts(st *v1alpha1.SuiteStatus) bool { return len(st.Attempts) > 0 || len(st.Tries) > 0 }

// Attempts are all attempts of a suite by shard and number. Of those that were folded, shard and number are all that is known.
func Attempts(st *v1alpha1.SuiteStatus) []v1alpha1.AttemptStatus {
	var all []v1alpha1.AttemptStatus
	for shard, tries := range Tries(st) {
		for number := range tries {
			a := v1alpha1.AttemptStatus{Shard: int32(shard), Number: number + 1}
			i := slices.IndexFunc(st.Attempts, func(have v1alpha1.AttemptStatus) bool { return have.Shard == a.Shard && have.Number == a.Number })
			if i >= 0 {
				a = st.Attempts[i]
			}
			all = append(all, a)
		}
	}
	return all
}
