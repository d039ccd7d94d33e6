// Package process starts a cluster's daemons so that they outlive the command
// that started them, finds them again, and ends them.
//
// All of a cluster's processes are in one cgroup tree of its own: the daemons,
// and the pods below. Membership is written before a daemon becomes what it
// is, so ending the tree ends everything, even what a killed command had no
// time to note down, and never anything else.
package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const cgroupMount = "/sys/fs/cgroup"

// Group is the processes of one cluster.
type Group struct {
	Name string // of the cgroup, in each hierarchy
	Dir  string // pid files
	Logs string // one file per daemon
}

// hierarchies answers the mounted cgroup hierarchies: one with cgroup v2, one
// per controller with v1.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		dir := filepath.Join(cgroupMount, e.Name())
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && e.IsDir() {
			found = append(found, dir)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted below %s", cgroupMount)
	}
	return found, nil
}

// tracking is the hierarchy whose membership defines the group.
func tracking() (string, error) {
	all, err := hierarchies()
	if err != nil {
		return "", err
	}
	for _, h := range all {
		if filepath.Base(h) == "pids" {
			return h, nil
		}
	}
	return all[0], nil
}

// Make makes the group's cgroups: one for the daemons, and the parent of the
// pods' in every hierarchy, which the kubelet wants to find.
func (g Group) Make() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		for _, dir := range []string{filepath.Join(h, g.Name), filepath.Join(h, g.Name, "daemons")} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := inheritCPUs(dir); err != nil {
				return err
			}
		}
		if len(all) == 1 { // v2: controllers are handed down by name
			delegate(h, filepath.Join(h, g.Name))
		}
	}
	for _, dir := range []string{g.Dir, g.Logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// inheritCPUs gives a cpuset cgroup (v1) its parent's processors and memory
// nodes, without which it can hold no process.
func inheritCPUs(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if strings.HasPrefix(dir, filepath.Join(cgroupMount, "cpuset")+"/") {
			value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate enables in each directory's children the controllers that the
// directory itself has. If the kernel refuses one, the kubelet reports it.
func delegate(dirs ...string) {
	for _, dir := range dirs {
		names, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		for _, name := range strings.Fields(string(names)) {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644)
		}
	}
}

// daemonsProcs is the file that a process writes itself into.
func (g Group) daemonsProcs() (string, error) {
	h, err := tracking()
	return filepath.Join(h, g.Name, "daemons", "cgroup.procs"), err
}

// Members answers every process of the group, daemons and pods.
func (g Group) Members() ([]int, error) {
	h, err := tracking()
	if err != nil {
		return nil, err
	}
	var pids []int
	err = filepath.WalkDir(filepath.Join(h, g.Name), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.Name() != "cgroup.procs" {
			return nil // pods come and go meanwhile
		}
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoDevice) {
			return err
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 && alive(pid) {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// Remove removes the group's empty cgroups from every hierarchy.
func (g Group) Remove() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range all {
		failed = append(failed, removeTree(filepath.Join(h, g.Name)))
	}
	return errors.Join(failed...)
}

// removeTree removes a directory of cgroups, leaves first.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if e.IsDir() {
			failed = append(failed, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
