package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// stageNames are the stages in order. trigger is everything before the first: inbox, Delivery, Run.
var stageNames = []string{"trigger", "checkout", "builds", "stack", "tests", "report"}

// spent is how long each stage delayed the run: the time from the end of all earlier stages to its own end. Work in parallel with an
// earlier stage is not counted, so the numbers add up to the total.
func (s sample) spent() map[string]float64 {
	spent, now := map[string]float64{}, 0.0
	for _, name := range stageNames {
		end, ok := s.ends[name]
		if !ok {
			continue
		}
		spent[name] = max(0, end-now)
		now = max(now, end)
	}
	return spent
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func each(samples []sample, of func(sample) float64) []float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	return values
}

// idle is the usage per second, measured over ten seconds without requests.
func (b *bench) idle(ctx context.Context, pids []int) (meter, error) {
	before, err := b.read(ctx, pids)
	if err != nil {
		return meter{}, err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return meter{}, ctx.Err()
	case <-time.After(10 * time.Second):
	}
	after, err := b.read(ctx, pids)
	d, t := after.minus(before), time.Since(began).Seconds()
	return meter{d.own / t, d.apiserver / t, d.ownCPU / t, d.daemonsCPU / t}, err
}

// printOverhead prints the tables of overhead. The first contender is the baseline, the second is Conductor.
func (b *bench) printOverhead(contenders []contender, samples [][]sample, idle meter) {
	whole := func(s sample) float64 { return s.ends["report"] }
	b.printf("\n## From the webhook's first byte to the completed check run\n\nexamples/shop, %d runs of each, in turns; medians, in seconds. "+
		"A stage's time is what it adds to the run.\n\n", b.pairs)
	b.row("", contenders, func(k int) string { return contenders[k].name })
	b.printf("|---%s|\n", strings.Repeat("|---", len(contenders)))
	for _, name := range stageNames {
		b.row(name, contenders, func(k int) string {
			if _, ok := samples[k][0].ends[name]; !ok {
				return "-"
			}
			return fmt.Sprintf("%.2f", median(each(samples[k], func(s sample) float64 { return s.spent()[name] })))
		})
	}
	b.row("**whole**", contenders, func(k int) string { return fmt.Sprintf("**%.2f**", median(each(samples[k], whole))) })
	b.row("from, to", contenders, func(k int) string {
		all := each(samples[k], whole)
		return fmt.Sprintf("%.2f, %.2f", slices.Min(all), slices.Max(all))
	})
	b.row("of the bare program's", contenders, func(k int) string {
		return fmt.Sprintf("%.2f", median(each(samples[k], whole))/median(each(samples[0], whole)))
	})
	for _, m := range []struct {
		name string
		of   func(meter) float64
	}{
		{"API requests of its own", func(m meter) float64 { return m.own }},
		{"API requests, everybody's", func(m meter) float64 { return m.apiserver }},
		{"CPU seconds of its own", func(m meter) float64 { return m.ownCPU }},
		{"CPU seconds of the daemons", func(m meter) float64 { return m.daemonsCPU }},
	} {
		b.row(m.name, contenders, func(k int) string {
			return fmt.Sprintf("%.4g", median(each(samples[k], func(s sample) float64 { return m.of(s.used) })))
		})
	}
	for k := range contenders {
		if k == 1 {
			continue
		}
		b.printf("\n**Conductor adds %+.2f s to the program %q** (median of the pairs' differences).\n", median(differences(samples[1], samples[k])), contenders[k].name)
	}
	b.printf("\nIdle, each second: Conductor %.1f requests and %.3f CPU seconds; everybody %.1f requests, the daemons %.3f CPU seconds. "+
		"The figures above hold that, too.\n\n", idle.own, idle.ownCPU, idle.apiserver, idle.daemonsCPU)
	b.row("pair", contenders, func(k int) string { return contenders[k].name })
	b.printf("|---%s|\n", strings.Repeat("|---", len(contenders)))
	for i := range b.pairs {
		b.row(fmt.Sprint(i+1), contenders, func(k int) string { return fmt.Sprintf("%.2f", whole(samples[k][i])) })
	}
}

// differences are how much longer each sample of a took than the sample of b in the same round.
func differences(a, b []sample) []float64 {
	var d []float64
	for i := range a {
		d = append(d, a[i].ends["report"]-b[i].ends["report"])
	}
	return d
}

// row prints one row with a cell for each contender.
func (b *bench) row(head string, contenders []contender, cell func(int) string) {
	b.printf("| %s |", head)
	for k := range contenders {
		b.printf(" %s |", cell(k))
	}
	b.printf("\n")
}
