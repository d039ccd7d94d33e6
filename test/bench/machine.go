package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/test/lab"
)

// machine describes this machine.
func machine() string {
	memory := "?"
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		if f := strings.Fields(string(data)); len(f) > 1 {
			if kb, err := strconv.Atoi(f[1]); err == nil {
				memory = strconv.Itoa((kb + 1<<19) >> 20)
			}
		}
	}
	return fmt.Sprintf("%d cores (%s), %s GiB", runtime.NumCPU(), runtime.GOARCH, memory)
}

// calm is the load average below which the machine is nearly idle.
const calm = 3

// load is the load average of the last minute; 0 if unknown.
func load() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	l, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return l
}

// settle waits for a calm machine, at most as long as the flag allows, and returns its load.
func (b *bench) settle(ctx context.Context) float64 {
	deadline := time.Now().Add(b.wait)
	for {
		l := load()
		if l < calm || time.Now().After(deadline) {
			return l
		}
		logf("the load average is %.2f; waiting for less than %d", l, calm)
		select {
		case <-ctx.Done():
			return l
		case <-time.After(10 * time.Second):
		}
	}
}

// daemons are the process ids of the cluster's daemons; empty for other clusters than those of test/cluster.
func daemons(ctx context.Context) ([]int, error) {
	root := filepath.Dir(filepath.Dir(lab.Example("shop")))
	text, err := exec.CommandContext(ctx, "go", "-C", filepath.Join(root, "test", "cluster"), "run", ".", "env").Output()
	if err != nil {
		return nil, fmt.Errorf("ask where the daemons are: %w", err)
	}
	logs := ""
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "export CONDUCTOR_CLUSTER_LOGS="); ok {
			logs = strings.Trim(v, `"'`)
		}
	}
	if logs == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(logs), "pids", "*.stat"))
	if err != nil {
		return nil, fmt.Errorf("look for the daemons: %w", err)
	}
	var pids []int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("find a daemon: %w", err)
		}
		field, _, _ := strings.Cut(string(data), " ")
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// ticks is USER_HZ, in which /proc counts CPU time: 100 on every Linux that Go runs on (man 5 proc_pid_stat).
const ticks = 100

// cpu is the CPU time of processes so far, in seconds.
func cpu(pids []int) (float64, error) {
	sum := 0.0
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("read a daemon's CPU time: %w", err)
		}
		// The name, in parentheses, may hold spaces; utime and stime are the 12th and 13th field after it.
		f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		for _, s := range f[11:13] {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return 0, fmt.Errorf("read a daemon's CPU time: %w", err)
			}
			sum += n / ticks
		}
	}
	return sum, nil
}
