package main

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// measurement is the cost of one conversion of a project.
type measurement struct {
	// per is the median CPU time of a conversion, bytes its allocations.
	per   time.Duration
	bytes uint64
	err   error
}

// measure runs converters in turn until the budget is spent, after one warm-up of each. It measures CPU time, including that of the
// garbage collector, so that other load on the machine matters little and affects all alike.
func measure(budget time.Duration, converters ...func() error) []measurement {
	out := make([]measurement, len(converters))
	times := make([][]time.Duration, len(converters))
	for i, convert := range converters {
		out[i].err = convert()
	}
	runtime.GC()
	for end := time.Now().Add(budget); len(times[0]) < 3 || time.Now().Before(end); {
		for i, convert := range converters {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := processor()
			if out[i].err == nil {
				out[i].err = convert()
			}
			times[i] = append(times[i], processor()-start)
			runtime.ReadMemStats(&after)
			out[i].bytes = after.TotalAlloc - before.TotalAlloc
		}
	}
	for i := range out {
		slices.Sort(times[i])
		out[i].per = max(times[i][len(times[i])/2], time.Microsecond)
	}
	return out
}

// processor is the CPU time of all threads of this process.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // It cannot fail for this process.
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (m measurement) time() string {
	if m.err != nil {
		return "-"
	}
	return m.per.Round(time.Microsecond).String()
}

func (m measurement) memory() string {
	if m.err != nil {
		return "-"
	}
	return fmt.Sprintf("%.1f MB", float64(m.bytes)/1e6)
}
