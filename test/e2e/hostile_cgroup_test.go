//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// onDisk is the disk space of the files below a directory, in bytes, without holes. Files deleted in the meantime are not counted.
func onDisk(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512 // man 3type stat: blocks have 512 bytes.
		}
		return nil
	})
	return n
}

// process is a process's memory in bytes, as /proc has it: VmRSS, and VmHWM since the last reset.
type process struct {
	parent         int
	resident, peak int64
}

func readProcess(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return process{}, err
	}
	var p process
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "PPid":
			p.parent = int(n)
		case "VmRSS":
			p.resident = n << 10
		case "VmHWM":
			p.peak = n << 10
		}
	}
	return p, nil
}

// hasArgument reports whether a process was started with an argument.
func hasArgument(pid int, argument string) bool {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return slices.Contains(strings.Split(string(data), "\x00"), argument)
}

// memoryGroup is the directory of a container's memory cgroup, of version 1 or 2.
type memoryGroup string

// groupOf is the memory cgroup of a process.
func groupOf(pid int) (memoryGroup, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	unified := ""
	for line := range strings.Lines(strings.TrimSpace(string(data)) + "\n") {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(f) == 3 && f[1] == "memory":
			return memoryGroup("/sys/fs/cgroup/memory" + f[2]), nil
		case len(f) == 3 && f[0] == "0":
			unified = f[2]
		}
	}
	return memoryGroup("/sys/fs/cgroup" + unified), nil
}

// number is the number in the first file that exists; 0 if none does.
func (g memoryGroup) number(files ...string) int64 {
	for _, f := range files {
		if data, err := os.ReadFile(filepath.Join(string(g), f)); err == nil {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
			return n
		}
	}
	return 0
}

// limit is the limit that the kernel enforces; 0 if there is none.
func (g memoryGroup) limit() int64 { return g.number("memory.limit_in_bytes", "memory.max") }

// peak is the maximum since the last reset; version 2 has no reset across readers, so there it is the current usage.
func (g memoryGroup) peak() int64 { return g.number("memory.max_usage_in_bytes", "memory.current") }

// kills is how many of the group's processes the kernel has killed.
func (g memoryGroup) kills() int64 {
	for _, f := range []string{"memory.oom_control", "memory.events"} {
		data, _ := os.ReadFile(filepath.Join(string(g), f))
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				return n
			}
		}
	}
	return 0
}

func (g memoryGroup) processes() (pids []int) {
	data, _ := os.ReadFile(filepath.Join(string(g), "cgroup.procs"))
	for _, f := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// reset sets the peaks of the group and of its processes to their current usage (man 5 proc_pid_clear_refs, value 5).
func (g memoryGroup) reset() error {
	if err := poke(filepath.Join(string(g), "memory.max_usage_in_bytes"), "0"); err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, pid := range g.processes() {
		if err := poke(fmt.Sprintf("/proc/%d/clear_refs", pid), "5"); err != nil {
			return err
		}
	}
	return nil
}

// poke writes to a file of the kernel.
func poke(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
