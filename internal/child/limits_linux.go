package child

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Confine applies the limits that the parent process set. A child calls it first. Without limits from a parent it does nothing.
func Confine() error {
	memory, err := strconv.ParseUint(os.Getenv(envMemory), 10, 63)
	if err != nil {
		return nil //nolint:nilerr // Started by hand.
	}
	cpu, err := strconv.ParseUint(os.Getenv(envCPU), 10, 31)
	if err != nil {
		return fmt.Errorf("read the limit of CPU time: %w", err)
	}
	// When the container runs out of memory, the kernel should kill this process first. Not every sandbox allows this.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o600)
	// Not RLIMIT_AS: at startup the runtime reserves more address space than any useful limit.
	for resource, limit := range map[int]uint64{syscall.RLIMIT_DATA: memory, syscall.RLIMIT_CPU: cpu} {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit resource %d to %d: %w", resource, limit, err)
		}
	}
	return nil
}

// memoryWatch kills a process that becomes too large.
type memoryWatch struct {
	quit     chan struct{}
	done     chan struct{}
	tooLarge bool
}

func watchMemory(process *os.Process, most int64) *memoryWatch {
	w := &memoryWatch{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(samplePause)
		defer tick.Stop()
		for {
			select {
			case <-w.quit:
				return
			case <-tick.C:
			}
			if resident(process.Pid) > most {
				w.tooLarge = true
				_ = process.Kill()
				return
			}
		}
	}()
	return w
}

// stop ends the watch and reports whether the process was too large.
func (w *memoryWatch) stop() bool {
	close(w.quit)
	<-w.done
	return w.tooLarge
}

// resident returns a process's resident size in bytes (proc_pid_statm(5)); 0 if the process has exited.
func resident(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	fields := bytes.Fields(data)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
