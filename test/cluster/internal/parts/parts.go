// Package parts builds the programs that a cluster is made of from their Go
// modules, at the versions that parts/*/go.mod pin. Each is built once and
// kept in the cache.
package parts

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
)

// KubernetesVersion is what the programs call themselves. It is the version
// that parts/kubernetes/go.mod requires; the link flags need it, since a
// module's own version is not compiled in.
const KubernetesVersion = "v1.36.3"

const componentVersion = "k8s.io/component-base/version"

// Part is one module of programs that are built together, because they agree
// on the versions of what they import.
type Part struct {
	Name     string   // directory below parts
	Packages []string // what to build
	LDFlags  string
	Takes    string // how long it takes when nothing is cached, on two cores
}

// All are the parts, the slowest first.
func All() []Part {
	return []Part{
		{
			// What runs beside Kubernetes shares most of what that compiles.
			Name: "kubernetes", Packages: []string{"./hyperkube", "./coredns", "./hostpath", "helm.sh/helm/v3/cmd/helm",
				"github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"}, Takes: "7 minutes",
			LDFlags: fmt.Sprintf("-X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=36",
				componentVersion, KubernetesVersion),
		},
		{Name: "kaniko", Packages: []string{"github.com/GoogleContainerTools/kaniko/cmd/executor"}, Takes: "80 seconds"},
	}
}

// Binaries are the paths of the built programs, by name.
type Binaries map[string]string

// links are the names that hyperkube goes by.
var links = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"}

// Build builds what is not in the cache. Sources is the directory of this
// module; progress goes to out.
func Build(ctx context.Context, sources, cacheDir string, out io.Writer) (Binaries, error) {
	all := All()
	dirs := make([]string, len(all)+1)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2) // the link of one beside the compilation of the next
	for i, p := range all {
		group.Go(func() (err error) {
			dirs[i], err = p.build(ctx, sources, cacheDir, out)
			return err
		})
	}
	group.Go(func() (err error) {
		pause := Part{Name: "pause", Packages: []string{"."}, Takes: "3 seconds"}
		dirs[len(all)], err = pause.buildIn(ctx, filepath.Join(sources, "pause"), cacheDir, out)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return collect(dirs)
}

// collect names every file in the directories.
func collect(dirs []string) (Binaries, error) {
	found := Binaries{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			found[e.Name()] = filepath.Join(dir, e.Name())
		}
	}
	return found, nil
}

func (p Part) build(ctx context.Context, sources, cacheDir string, out io.Writer) (string, error) {
	return p.buildIn(ctx, filepath.Join(sources, "parts", p.Name), cacheDir, out)
}

func (p Part) buildIn(ctx context.Context, dir, cacheDir string, out io.Writer) (string, error) {
	key, err := p.key(dir)
	if err != nil {
		return "", err
	}
	return cache.Once(cacheDir, "bin", p.Name+"-"+key, func(tmp string) error {
		fmt.Fprintf(out, "building %s (about %s the first time)\n", p.Name, p.Takes)
		began := time.Now()
		if err := p.compile(ctx, dir, tmp); err != nil {
			return err
		}
		fmt.Fprintf(out, "built %s in %s\n", p.Name, time.Since(began).Round(time.Second))
		return p.link(tmp)
	})
}

func (p Part) compile(ctx context.Context, dir, into string) error {
	// No one debugs these, and not to describe them for a debugger saves a sixth of the time.
	args := []string{"build", "-trimpath", "-gcflags", "all=-dwarf=false", "-ldflags", strings.TrimSpace("-s -w " + p.LDFlags), "-o", into + "/"}
	cmd := exec.CommandContext(ctx, "go", append(args, p.Packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", p.Name, err, output)
	}
	return nil
}

// link gives hyperkube its names.
func (p Part) link(dir string) error {
	if p.Name != "kubernetes" {
		return nil
	}
	for _, name := range links {
		if err := os.Symlink("hyperkube", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// key changes with everything that goes into the part's programs.
func (p Part) key(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil {
		return "", err
	}
	below, err := filepath.Glob(filepath.Join(dir, "*", "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, below...)
	sort.Strings(files)
	inputs := [][]byte{[]byte(runtime.Version()), []byte(runtime.GOARCH), []byte(p.LDFlags), []byte(strings.Join(p.Packages, " "))}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		inputs = append(inputs, []byte(filepath.Base(f)), content)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("part %s: nothing to build in %s", p.Name, dir)
	}
	return cache.Key(inputs...), nil
}
