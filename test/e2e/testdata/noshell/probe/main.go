// Command probe prints its arguments and environment as JSON on one line, and exits with code 7.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"syscall"
)

func main() {
	cwd, _ := os.Getwd()
	groups, _ := os.Getgroups()
	stdin, _ := os.Readlink("/proc/self/fd/0")
	var files syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	_, shell := os.Stat("/bin/sh")
	env := os.Environ()
	slices.Sort(env)
	slices.Sort(groups)
	_ = os.WriteFile("junit.xml", []byte(`<testsuite><testcase classname="probe" name="says what it is"><failure message="as told"/></testcase></testsuite>`), 0o644)
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"argv": os.Args, "env": env, "uid": os.Getuid(), "gid": os.Getgid(), "groups": groups, "cwd": cwd,
		"umask": fmt.Sprintf("%03o", syscall.Umask(0)), "stdin": stdin, "files": files.Max, "shell": shell == nil,
	})
	os.Exit(7)
}
