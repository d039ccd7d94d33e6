package wrapper

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// cgroups is where a container sees its own control group.
const cgroups = "/sys/fs/cgroup"

// usage returns the container's usage according to its control group, or nil if it counts nothing. before is the value of cpuSeconds at
// the start of the test.
func usage(dir string, before float64) *evidence.Usage {
	u := evidence.Usage{
		CPUSeconds: max(0, cpuSeconds(dir)-before),
		MemoryPeak: readNumber(dir, "memory.peak"),
		Source:     "cgroup",
	}
	if u.MemoryPeak == 0 {
		u.MemoryPeak = readNumber(dir, "memory/memory.max_usage_in_bytes") // version 1
	}
	if u.CPUSeconds == 0 && u.MemoryPeak == 0 {
		return nil
	}
	return &u
}

// cpuSeconds reads usage_usec of cgroup version 2 (Documentation/admin-guide/cgroup-v2.rst), or the nanoseconds of version 1; 0 if it
// finds neither.
func cpuSeconds(dir string) float64 {
	stat, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return float64(readNumber(dir, "cpuacct/cpuacct.usage")) / 1e9
	}
	for line := range strings.Lines(string(stat)) {
		if rest, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return float64(n) / 1e6
		}
	}
	return 0
}

// readNumber reads a number from a file; 0 if the file does not exist.
func readNumber(dir, name string) int64 {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}
