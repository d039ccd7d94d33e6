// The probe is what the wrapper's tests run: the wrapper, tests for it to run, and a box that is like a container.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/w3evolutionsllc/conductor/internal/agent/wrapper"
)

func main() {
	roles := map[string]func(args []string){
		"wrap":    func(args []string) { os.Exit(wrapper.Main(args)) },
		"box":     box,
		"show":    show,
		"signals": signals,
		"exit":    func(args []string) { os.Exit(number(args[0])) },
		"raise":   func(args []string) { check(syscall.Kill(os.Getpid(), syscall.Signal(number(args[0])))); hang() },
		"hang":    func([]string) { hang() },
		"test":    test,
		"leave":   func(args []string) { spawn(args...) },
		"orphans": orphans,
		"bomb":    bomb,
	}
	role := roles[os.Args[1]]
	if role == nil {
		panic("no such role: " + os.Args[1])
	}
	role(os.Args[2:])
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(99)
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	check(err)
	return n
}

// hang sleeps, since a program without anything to do is a deadlock for Go.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// show prints everything that a process gets from the one that started it.
func show([]string) {
	environ, err := os.ReadFile("/proc/self/environ")
	check(err)
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		stdin = []byte(err.Error())
	}
	dir, err := os.Getwd()
	check(err)
	groups, err := os.Getgroups()
	check(err)
	umask := syscall.Umask(0)
	var files syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	sid, err := unix.Getsid(0)
	check(err)
	foreground, err := unix.IoctlGetInt(2, unix.TIOCGPGRP)
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"argv": os.Args, "environ": string(environ), "dir": dir, "stdin": string(stdin), "umask": umask, "files": files.Max,
		"ids": []int{os.Getuid(), os.Getgid(), os.Geteuid(), os.Getegid()}, "groups": groups,
		"hupIgnored": signal.Ignored(syscall.SIGHUP), "blocked": line(status, "SigBlk:"), "nnp": line(status, "NoNewPrivs:"),
		"capabilities": line(status, "CapEff:") + line(status, "CapBnd:"), "leadsGroup": unix.Getpgrp() == os.Getpid(),
		"leadsSession": sid == os.Getpid(), "foreground": err == nil && foreground == unix.Getpgrp(), "descriptors": descriptors(),
	}))
}

// descriptors are the inherited ones from 3 on: those that do not close on exec.
func descriptors() (all []string) {
	for fd := 3; fd < 64; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			all = append(all, strconv.Itoa(fd))
		}
	}
	return all
}

func line(status []byte, key string) string {
	for l := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(l, key); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// signals says which signals it gets, and exits with 7 at the second SIGTERM.
func signals([]string) {
	got := make(chan os.Signal, 256)
	for n := syscall.Signal(1); n <= 64; n++ {
		if n != syscall.SIGURG && n != syscall.SIGCHLD {
			signal.Notify(got, n)
		}
	}
	fmt.Println("ready")
	for terms := 0; ; {
		sig := (<-got).(syscall.Signal)
		fmt.Println(int(sig))
		if sig == syscall.SIGTERM {
			if terms++; terms == 2 {
				os.Exit(7)
			}
		}
	}
}

// test writes files and then ends as it is told: args are FILE=SIZE pairs and then a role of its own.
func test(args []string) {
	for len(args) > 0 {
		name, size, found := strings.Cut(args[0], "=")
		if !found {
			break
		}
		check(os.MkdirAll(filepath.Dir(name), 0o755))
		f, err := os.Create(name)
		check(err)
		check(f.Truncate(int64(number(size))))
		check(f.Close())
		args = args[1:]
	}
	switch args[0] {
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		hang()
	case "polite":
		got := make(chan os.Signal, 1)
		signal.Notify(got, syscall.SIGTERM)
		fmt.Println("ready")
		<-got
		os.Exit(number(args[1]))
	case "hang":
		fmt.Println("ready")
		hang()
	}
	os.Args = append(os.Args[:1], args...)
	main()
}

// spawn starts a daemon: another role in a session of its own, which is not waited for.
func spawn(args ...string) int {
	self, err := os.Executable()
	check(err)
	pid, err := syscall.ForkExec(self, append([]string{self}, args...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}})
	check(err)
	return pid
}

// orphans makes processes whose parents are gone, waits until PID 1 has reaped those that ended, and leaves one running.
func orphans([]string) {
	for n := range 21 {
		role := []string{"leave", "exit", "0"}
		if n == 20 {
			role = []string{"leave", "hang"}
		}
		_, err := syscall.Wait4(spawn(role...), nil, 0, nil)
		check(err)
	}
	for end := time.Now().Add(20 * time.Second); zombies() > 0; {
		if time.Now().After(end) {
			fmt.Println("zombies:", zombies())
			os.Exit(98)
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("pid", os.Getpid(), "parent", os.Getppid())
	os.Exit(3)
}

// zombies counts the processes that have ended and were not reaped.
func zombies() (n int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	check(err)
	for _, s := range stats {
		data, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		if i := bytes.LastIndexByte(data, ')'); i > 0 && data[i+2] == 'Z' {
			n++
		}
	}
	return n
}

// bomb makes processes for as long as it lives. Each is a bare fork that only waits, so that none fails for want of a thread and
// makes room for another.
func bomb([]string) {
	signal.Ignore(syscall.SIGTERM)
	for {
		pid, _, err := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		for pid == 0 && err == 0 {
			syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}
}

// box is PID 1 of a namespace and becomes a program in a root of its own that is read-only, but for /work: args are the root, the
// user, a limit of processes or 0, and the program with its arguments.
func box(args []string) {
	root, user, limit, argv := args[0], number(args[1]), number(args[2]), args[3:]
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""))
	check(unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""))
	work := filepath.Join(root, "work")
	check(unix.Mount(work, work, "", unix.MS_BIND, ""))
	check(unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	check(unix.Chroot(root))
	check(os.Chdir("/work"))
	if limit > 0 {
		check(unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: uint64(limit), Max: uint64(limit)}))
	}
	check(syscall.Setgroups(nil))
	check(syscall.Setgid(user))
	check(syscall.Setuid(user))
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	check(syscall.Exec(argv[0], argv, []string{"PATH=/bin"}))
}
