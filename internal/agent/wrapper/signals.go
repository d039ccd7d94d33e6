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

// catchSignals catches every signal except SIGCHLD, which the wrapper handles, and two that Go's runtime sends to itself (SIGURG to
// preempt, SIGPROF to profile). A SIGHUP or SIGINT that was ignored stays ignored, also for the test.
func catchSignals() <-chan os.Signal {
	// Large, because a signal is lost when the channel is full.
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

// ends reports whether a signal stops the container. The kubelet sends SIGTERM unless the image names another signal.
func ends(sig os.Signal) bool {
	return sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGQUIT
}

// spareThreads is more than the number of the wrapper's goroutines that ever block at once.
const spareThreads = 12

// reserveThreads creates the threads that the wrapper will need. Threads count against the container's process limit: if the test has
// exhausted it, Go's runtime cannot create another thread and crashes.
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
