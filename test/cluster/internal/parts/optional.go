package parts

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Optional are the parts that a cluster can do without. They are built when they are asked for, and each is one program.
func Optional() []Part {
	return []Part{
		{Name: "traefik", Packages: []string{"github.com/traefik/traefik/v3/cmd/traefik"}, Takes: "4 minutes"},
		{Name: "metrics-server", Packages: []string{"sigs.k8s.io/metrics-server/cmd/metrics-server"}, Takes: "90 seconds"},
		{Name: "oras", Packages: []string{"oras.land/oras/cmd/oras"}, Takes: "20 seconds"},
	}
}

// BuildOptional builds an optional part and answers the path of its program.
func BuildOptional(ctx context.Context, sources, cacheDir, name string, out io.Writer) (string, error) {
	all := Optional()
	i := slices.IndexFunc(all, func(p Part) bool { return p.Name == name })
	if i < 0 {
		return "", fmt.Errorf("there is no optional part %q", name)
	}
	dir, err := all[i].build(ctx, sources, cacheDir, out)
	return filepath.Join(dir, name), err
}

// GatewayAPI are the definitions of the Gateway API's objects, as the version that Traefik is built with has them.
func GatewayAPI(ctx context.Context, sources string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	cmd.Dir = filepath.Join(sources, "parts", "traefik")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	dir, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find the Gateway API's module: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "standard", "gateway.networking.k8s.io_*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("the Gateway API's module has no definitions: %v", err)
	}
	var all []byte
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		all = append(append(all, "---\n"...), text...)
	}
	return all, nil
}
