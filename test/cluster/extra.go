package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/w3evolutionsllc/conductor/test/cluster/image"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/mirror"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/node"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/parts"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

//go:embed extra
var extraObjects embed.FS

// extra is what a cluster can do without: a program in a pod, with its objects. It is built when it is asked for.
type extra struct {
	name string // of the part and of the program
	// definitions are what its objects need, or nil.
	definitions func(ctx context.Context, sources string) ([]byte, error)
	// ready are the arguments of the kubectl that ends when it works.
	ready [][]string
}

func extras() []extra {
	const limit = "--timeout=90s"
	return []extra{
		{name: "traefik", definitions: parts.GatewayAPI, ready: [][]string{
			{"--namespace=traefik", "rollout", "status", "deployment/traefik", limit},
			{"--namespace=traefik", "wait", "--for=condition=Programmed", "gateway/public", limit},
		}},
		{name: "metrics-server", ready: [][]string{
			{"--namespace=kube-system", "rollout", "status", "deployment/metrics-server", limit},
			{"wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io", limit},
		}},
	}
}

// add builds extras and runs them in the cluster.
func (p *program) add(ctx context.Context, args []string) error {
	return p.eachExtra(args, func(c *cluster, e extra) error {
		began := time.Now()
		binary, err := parts.BuildOptional(ctx, p.sources, p.cacheDir, e.name, p.progress)
		if err != nil {
			return err
		}
		archive, err := p.archive(ctx, e.name, binary)
		if err != nil {
			return err
		}
		err = c.once([]string{archive}, "imported-"+e.name, func() error { return node.Import(ctx, c.plan, archive) })
		if err != nil {
			return err
		}
		if e.definitions != nil {
			text, err := e.definitions(ctx, p.sources)
			if err != nil {
				return err
			}
			if err := c.kubectl(ctx, text, "apply", "--server-side", "--force-conflicts", "--filename=-"); err != nil {
				return err
			}
			if err := c.kubectl(ctx, text, "wait", "--for=condition=Established", "--timeout=30s", "--filename=-"); err != nil {
				return err
			}
		}
		objects, err := e.objects(c.plan)
		if err != nil {
			return err
		}
		if err := c.kubectl(ctx, objects, "apply", "--server-side", "--force-conflicts", "--filename=-"); err != nil {
			return err
		}
		for _, wait := range e.ready {
			if err := c.kubectl(ctx, nil, wait...); err != nil {
				return err
			}
		}
		p.say("%s runs after %s", e.name, since(began))
		return nil
	})
}

// drop takes extras out of the cluster. What was built stays in the cache.
func (p *program) drop(ctx context.Context, args []string) error {
	return p.eachExtra(args, func(c *cluster, e extra) error {
		objects, err := e.objects(c.plan)
		if err != nil {
			return err
		}
		if e.definitions != nil {
			text, err := e.definitions(ctx, p.sources)
			if err != nil {
				return err
			}
			objects = append(append(objects, "\n---\n"...), text...)
		}
		return c.kubectl(ctx, objects, "delete", "--ignore-not-found", "--wait", "--timeout=90s", "--filename=-")
	})
}

// program prints the path of an optional part's program, for tests that run it themselves.
func (p *program) program(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("program: want one name")
	}
	path, err := parts.BuildOptional(ctx, p.sources, p.cacheDir, args[0], p.progress)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, path)
	return err
}

func (p *program) eachExtra(names []string, do func(*cluster, extra) error) error {
	c, err := p.find()
	if err != nil {
		return err
	}
	known := map[string]extra{}
	var all []string
	for _, e := range extras() {
		known[e.name] = e
		all = append(all, e.name)
	}
	if len(names) == 0 {
		return fmt.Errorf("say which: %s", strings.Join(all, ", "))
	}
	for _, name := range names {
		e, ok := known[name]
		if !ok {
			return fmt.Errorf("there is no %q; there is %s", name, strings.Join(all, ", "))
		}
		if err := do(c, e); err != nil {
			return err
		}
	}
	return nil
}

// tag is the name of an extra's image, which is imported and in no registry.
func (e extra) tag() string { return "localhost/" + e.name + ":1" }

// objects are what runs it.
func (e extra) objects(p plan.Plan) ([]byte, error) {
	t, err := template.ParseFS(extraObjects, "extra/"+e.name+".yaml")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		plan.Plan
		Image string
	}{p, e.tag()})
	return b.Bytes(), err
}

// archive packs a static program into an image that containerd imports.
func (p *program) archive(ctx context.Context, program, binary string) (string, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	roots, err := mirror.RootCertificates(ctx, p.cacheDir, p.progress)
	if err != nil {
		return "", err
	}
	img, err := image.Binary(content, roots, v1.Config{Entrypoint: []string{"/" + program}, User: "65532:65532", WorkingDir: "/", Env: []string{"PATH=/"}})
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	tag, err := name.NewTag(extra{name: program}.tag())
	if err != nil {
		return "", err
	}
	dir, err := cache.Once(p.cacheDir, "archives", digest.Hex[:16], func(tmp string) error {
		return tarball.WriteToFile(filepath.Join(tmp, "image.tar"), tag, img)
	})
	return filepath.Join(dir, "image.tar"), err
}

// endsWithParent has a program end with the one that started it: a kubectl whose API server is taken down would wait for it for minutes.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// kubectl runs the cluster's kubectl as its administrator.
func (c *cluster) kubectl(ctx context.Context, input []byte, args ...string) error {
	cmd := exec.CommandContext(ctx, c.plan.Path("bin", "kubectl"), append([]string{"--kubeconfig=" + c.plan.Kubeconfig()}, args...)...)
	cmd.Stdin, cmd.SysProcAttr = bytes.NewReader(input), endsWithParent()
	if output, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err), errors.New(strings.TrimSpace(string(output))))
	}
	return nil
}
