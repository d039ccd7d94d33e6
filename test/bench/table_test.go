package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSpentAddsUpToTheWhole(t *testing.T) {
	s := sample{ends: map[string]float64{"trigger": 0.1, "checkout": 0.4, "builds": 3, "stack": 2.5, "tests": 5, "report": 5.2}}
	want := map[string]float64{"trigger": 0.1, "checkout": 0.3, "builds": 2.6, "stack": 0, "tests": 2, "report": 0.2}
	if d := cmp.Diff(want, s.spent(), cmpopts.EquateApprox(0, 1e-9)); d != "" {
		t.Errorf("a stack that was up before the builds ended must add nothing (-want +got):\n%s", d)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.in, got, c.want)
		}
	}
}

func TestPercentilesAreByNearestRank(t *testing.T) {
	var u burst
	for i := 100; i > 0; i-- {
		u.took = append(u.took, time.Duration(i)*time.Millisecond)
	}
	for percent, want := range map[int]float64{50: 50, 99: 99, 100: 100} {
		if got := u.ms(percent); got != want {
			t.Errorf("p%d of 1 to 100 ms is %v, want %v", percent, got, want)
		}
	}
}

func TestTotalSumsOneMetric(t *testing.T) {
	text := []byte("# HELP a_total something\n# TYPE a_total counter\na_total{k=\"x\",l=\"1\"} 2\na_total{k=\"y\"} 3e+01\na_total_more 100\nb 0.5\n")
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{{"a_total", nil, 32}, {"a_total", []string{`k="x"`}, 2}, {"b", nil, 0.5}, {"c", nil, 0}} {
		if got := total(text, c.name, c.labels...); got != c.want {
			t.Errorf("total of %s %v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}
