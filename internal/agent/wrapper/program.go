package wrapper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// defaultPath is the search path of container runtimes for images without a PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// startError is an error of starting the test. code is the exit code that a shell would return.
type startError struct {
	code     int
	sentence string
}

func (e *startError) Error() string { return e.sentence }

// startCode returns the exit code for an error of start.
func startCode(err error) int {
	var e *startError
	if errors.As(err, &e) {
		return e.code
	}
	return exitWrapper
}

// startFailure explains an error of execve (execve(2), ERRORS).
func startFailure(name string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		if _, missing := os.Stat(name); strings.Contains(name, "/") && missing == nil {
			return &startError{127, name + ": its interpreter or loader is not in the image"}
		}
		return &startError{127, name + ": no such program in the image"}
	case errors.Is(err, syscall.ENOTDIR):
		return &startError{127, name + ": no such program in the image"}
	case errors.Is(err, syscall.ENOEXEC):
		return &startError{126, name + ": not a program of this machine's kind, and a script needs a first line such as #!/bin/sh"}
	case errors.Is(err, syscall.EACCES):
		return &startError{126, name + ": not executable for this user"}
	}
	return &startError{126, name + ": " + err.Error()}
}

// lookUp finds a program like execvp(3). It leaves names with a slash to the kernel.
func lookUp(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	list, set := os.LookupEnv("PATH")
	if !set {
		list = defaultPath
	}
	var failure error = syscall.ENOENT
	for _, dir := range strings.Split(list, ":") {
		if dir == "" {
			dir = "."
		}
		// Not filepath.Join, which would shorten ./name to name.
		path := dir + "/" + name
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue
		}
		if syscall.Access(path, 1) == nil { // 1 is X_OK
			return path, nil
		}
		failure = syscall.EACCES
	}
	return "", startFailure(name, failure)
}

// environment returns the wrapper's environment unchanged. os.Environ is only the fallback because it removes duplicates.
func environment() []string {
	data, err := os.ReadFile(filepath.Join("/proc", "self", "environ"))
	if err != nil {
		return os.Environ()
	}
	text := strings.TrimSuffix(string(data), "\x00")
	if text == "" {
		return []string{}
	}
	return strings.Split(text, "\x00")
}
