package wrapper

import (
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
)

// lastSignal is the highest number of a signal on Linux, a real-time one.
const lastSignal = 64

// catchSignals catches every signal that can be caught. Left out are SIGCHLD, which is the wrapper's own, and two that Go's
// runtime sends to itself (SIGURG to preempt, SIGPROF to profile). A SIGHUP or SIGINT that was ignored stays so, also for the test.
func catchSignals() <-chan os.Signal {
	// Roomy, since a signal that finds the channel full is lost.
	caught := make(chan os.Signal, 256)
	for n := syscall.Signal(1); n <= lastSignal; n++ {
		switch n {
		case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPROF, syscall.SIGKILL, syscall.SIGSTOP:
			continue
		}
		if !signal.Ignored(n) {
			signal.Notify(caught, n)
		}
	}
	return caught
}

// ends reports whether a signal tells the container to stop: what a kubelet sends, which is SIGTERM unless the image names another.
func ends(sig os.Signal) bool {
	return sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGQUIT
}

// spareThreads are more than the wrapper's goroutines ever block at once.
const spareThreads = 12

// reserveThreads makes the threads that the wrapper will need. A thread counts against the container's limit of processes: when
// the test has used that up, Go's runtime could make no other and would end the program.
func reserveThreads() {
	runtime.GOMAXPROCS(2)
	var there sync.WaitGroup
	release := make(chan struct{})
	for range spareThreads {
		there.Add(1)
		go func() {
			runtime.LockOSThread()
			there.Done()
			<-release
			runtime.UnlockOSThread()
		}()
	}
	there.Wait()
	close(release)
}
