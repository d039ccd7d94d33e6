package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
)

// First is the name of the cluster that `up` makes when no name is given. It
// always has index 0, so its addresses can be relied on.
const First = "default"

// Find answers the plan of a cluster that has been planned before, and false
// when there is none of this name.
func Find(root, name string) (Plan, bool, error) {
	text, err := os.ReadFile(filepath.Join(root, name, "index"))
	if errors.Is(err, fs.ErrNotExist) {
		return Plan{}, false, nil
	}
	if err != nil {
		return Plan{}, false, err
	}
	index, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return Plan{}, false, fmt.Errorf("cluster %s: %w", name, err)
	}
	p, err := New(root, name, index)
	return p, err == nil, err
}

// Take answers the plan of the cluster of this name and gives it the lowest
// free index when it is new.
func Take(root, name string) (Plan, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Plan{}, err
	}
	unlock, err := cache.Lock(filepath.Join(root, ".lock"))
	if err != nil {
		return Plan{}, err
	}
	defer unlock()

	if p, ok, err := Find(root, name); ok || err != nil {
		return p, err
	}
	index, err := free(root, name)
	if err != nil {
		return Plan{}, err
	}
	p, err := New(root, name, index)
	if err != nil {
		return Plan{}, err
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return Plan{}, err
	}
	return p, cache.WriteFile(p.Path("index"), []byte(strconv.Itoa(index)+"\n"), 0o644)
}

// free is the lowest index that no cluster below root has. Index 0 is kept
// for the first cluster.
func free(root, name string) (int, error) {
	if name == First {
		return 0, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return 0, err
	}
	taken := map[int]bool{0: true}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		p, ok, err := Find(root, e.Name())
		if err != nil {
			return 0, err
		}
		if ok {
			taken[p.Index] = true
		}
	}
	for i := range Clusters {
		if !taken[i] {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no room for cluster %s: all %d address ranges are taken below %s", name, Clusters, root)
}
