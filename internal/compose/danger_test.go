package compose

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bounds of what any file may cost, far above what one that people write does.
const (
	mostTime   = 20 * time.Second
	mostMemory = 1 << 30
)

// cost is what something took of the processor and of memory, in bytes: all that was allocated, and how much the heap grew.
type cost struct {
	time            time.Duration
	allocated, heap uint64
}

func measured(t testing.TB, do func()) cost {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := processor(t)
	do()
	took := processor(t) - start
	runtime.ReadMemStats(&after)
	return cost{took, after.TotalAlloc - before.TotalAlloc, after.HeapSys - min(before.HeapSys, after.HeapSys)}
}

// bounded fails when something takes too long or allocates too much.
func bounded(t *testing.T, do func()) {
	t.Helper()
	if c := measured(t, do); c.time > mostTime || c.allocated > mostMemory {
		t.Errorf("it took %s and %d MiB; at most %s and %d MiB are in order", c.time, c.allocated>>20, mostTime, mostMemory>>20)
	}
}

// processor is the time that this process has had: what else the machine does has no part in it.
func processor(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// chain is a compose file for each number up to n, which includes the next one the given number of times.
func chain(n, times int) map[string]string {
	files := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("f%d.yaml", i)
		if i == 0 {
			name = DefaultFile
		}
		text := fmt.Sprintf("services:\n  s%d: {image: nginx}\n", i)
		if i < n-1 {
			text += "include:\n" + strings.Repeat(fmt.Sprintf("  - f%d.yaml\n", i+1), times)
		}
		files[name] = text
	}
	return files
}

// layers are services in pairs that each depend on both of the pair before: few services with very many ways between them.
func layers(n int) string {
	var b strings.Builder
	b.WriteString("services:\n  a0: {image: x}\n  b0: {image: x}\n")
	for i := 1; i < n; i++ {
		for _, s := range []string{"a", "b"} {
			fmt.Fprintf(&b, "  %s%d: {image: x, depends_on: [a%d, b%d]}\n", s, i, i-1, i-1)
		}
	}
	return b.String()
}

// TestDangers are files that cost more than they seem to. Each is refused, or loaded and converted, within bounds.
func TestDangers(t *testing.T) {
	many := "services:\n"
	for i := range 4000 {
		many += fmt.Sprintf("  s%d: {image: x}\n", i)
	}
	extending := "services:\n"
	for i := range 4000 {
		extending += fmt.Sprintf("  s%d: {extends: {file: many.yaml, service: s%d}}\n", i, i)
	}
	cases := map[string]struct {
		files map[string]string
		want  string // a part of the refusal; empty for none
	}{
		"nested lists":              {map[string]string{DefaultFile: "x-a: " + strings.Repeat("[", 100_000)}, "invalid YAML"},
		"nested mappings":           {map[string]string{DefaultFile: "x-a: " + strings.Repeat("{a: ", 100_000)}, "invalid YAML"},
		"an anchor in itself":       {map[string]string{DefaultFile: "x-a: &a {b: *a}\n" + service}, DefaultFile},
		"a chain of includes":       {chain(150, 1), ""},
		"includes side by side":     {chain(60, 2), ""},
		"too many includes":         {chain(maxFiles+1, 1), "more than 200 compose files"},
		"ways along depends_on":     {map[string]string{DefaultFile: layers(40)}, DefaultFile + ":34: refused: a16.depends_on: there are more than 100000 ways"},
		"one file extended by many": {map[string]string{DefaultFile: extending, "many.yaml": many}, "too many services extend"},
		"a long list of variables":  {map[string]string{DefaultFile: service + "    environment:\n" + strings.Repeat("      - A=${B:-${C:-${D:-x}}}\n", 10_000)}, ""},
		"defaults in defaults":      {map[string]string{DefaultFile: service + "    command: " + strings.Repeat("${A:-", 5000) + "x" + strings.Repeat("}", 5000) + "\n"}, "more than 200 variables"},
		"many variables":            {map[string]string{DefaultFile: service + "    command: " + strings.Repeat("${A:-x} ", 5000) + "\n"}, "more than 200 variables"},
		"many lines of variables":   {map[string]string{DefaultFile: service + "    command: |\n" + strings.Repeat("      ${A:-x} $${B}\n", 5000)}, ""},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			dir := write(t, tt.files)
			bounded(t, func() {
				got := refusals(t, dir, LoadOptions{})
				if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
					t.Errorf("got %.300q, want %q", got, tt.want)
				}
			})
		})
	}
}
