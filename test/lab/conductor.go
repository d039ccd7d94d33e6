package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Namespace is where the lab installs Conductor; builds have their own.
const (
	Namespace       = "conductor"
	BuildsNamespace = "conductor-builds"
	// nodePort is the webhook's port on the node.
	nodePort = 30808
)

// Build builds the binary from this source.
func Build(ctx context.Context, out io.Writer) (string, error) {
	bin := filepath.Join(root(), "bin", "conductor")
	return bin, BuildAt(ctx, bin, out)
}

// BuildAt builds the binary into a file, with further flags of the compiler.
func BuildAt(ctx context.Context, bin string, out io.Writer, flags ...string) error {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build"}, lean, flags, []string{"-ldflags", "-s -w -X main.version=lab", "-o", bin, "./cmd/conductor"})...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root(), out, out
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build conductor: %w", err)
	}
	return nil
}

// Push packs the binary into an image, pushes it and returns its reference by digest.
func (c *Cluster) Push(ctx context.Context, bin string) (string, error) {
	var out, errs bytes.Buffer
	name := c.Registry + "/conductor/conductor"
	cmd := clusterCommand(ctx, "image", "--binary", bin, "--name", name+":dev")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("push conductor's image: %w: %s", err, errs.String())
	}
	_, digest, ok := strings.Cut(strings.TrimSpace(out.String()), "@sha256:")
	if !ok {
		return "", fmt.Errorf("push conductor's image: no digest in %q", out.String())
	}
	return name + "@sha256:" + digest, nil
}

// Install holds the parameters of an installation in the lab.
type Install struct {
	// Image is Conductor's image by digest.
	Image string
	// APIURL is GitHub's REST API; AppID, Key and Secret are the App's.
	APIURL string
	AppID  int64
	Key    []byte
	Secret string
	// Values override the chart's values and the lab's.
	Values map[string]any
}

// Install installs or upgrades Conductor with its chart and waits until its replicas are ready.
func (c *Cluster) Install(ctx context.Context, in Install, out io.Writer) error {
	if err := c.prepare(ctx, in); err != nil {
		return err
	}
	// Helm installs CRDs once and never changes them.
	if _, err := c.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", filepath.Join(root(), "charts", "conductor", "crds")); err != nil {
		return err
	}
	values, err := yaml.Marshal(c.values(in))
	if err != nil {
		return fmt.Errorf("write the values: %w", err)
	}
	cmd := c.tool(ctx, "helm", "upgrade", "--install", "conductor", filepath.Join(root(), "charts", "conductor"), "--namespace", Namespace, "--values", "-")
	cmd.Stdin = bytes.NewReader(values)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("helm upgrade: %w: %s", err, text)
	}
	// Secrets and settings are mounted files, which the kubelet updates with a delay; new pods have them at once.
	if _, err := c.Kubectl(ctx, "-n", Namespace, "rollout", "restart", "deployment/conductor"); err != nil {
		return err
	}
	text, err := c.Kubectl(ctx, "-n", Namespace, "rollout", "status", "deployment/conductor", "--timeout=120s")
	fmt.Fprint(out, text)
	if err != nil {
		logs, _ := c.Kubectl(ctx, "-n", Namespace, "logs", "deployment/conductor", "--all-pods", "--tail=20")
		pods, _ := c.Kubectl(ctx, "-n", Namespace, "get", "pods,events")
		return fmt.Errorf("conductor does not come up: %w\n%s\n%s", err, pods, logs)
	}
	return c.settled(ctx)
}

// prepare creates the namespace and the Secrets that the chart's values reference.
func (c *Cluster) prepare(ctx context.Context, in Install) error {
	objects := []map[string]any{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": Namespace}},
		secret("conductor-github", "Opaque", map[string]string{"private-key.pem": string(in.Key), "webhook-secret": in.Secret}),
		secret("conductor-registry", "Opaque", map[string]string{
			"push.json": c.dockerConfig(c.PushUser, c.PushPassword), "pull.json": c.dockerConfig(c.PullUser, c.PullPassword),
		}),
		secret("conductor-image", "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": c.dockerConfig(c.PullUser, c.PullPassword)}),
	}
	var text bytes.Buffer
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("write %v: %w", o["kind"], err)
		}
		fmt.Fprintf(&text, "---\n%s", data)
	}
	cmd := c.tool(ctx, "kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-")
	cmd.Stdin = &text
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("prepare the namespace: %w: %s", err, out)
	}
	return nil
}

func secret(name, kind string, data map[string]string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": data,
		"metadata": map[string]any{"name": name, "namespace": Namespace},
	}
}

func (c *Cluster) dockerConfig(user, password string) string {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	data, _ := json.Marshal(map[string]any{"auths": map[string]any{c.Registry: map[string]any{"username": user, "password": password, "auth": auth}}})
	return string(data)
}

// values are the chart's values for the lab.
func (c *Cluster) values(in Install) map[string]any {
	host := hostOf(in.APIURL)
	repository, digest, _ := strings.Cut(in.Image, "@")
	v := map[string]any{
		"image":            map[string]any{"repository": repository, "digest": digest},
		"imagePullSecrets": []any{map[string]any{"name": "conductor-image"}},
		"service":          map[string]any{"type": "NodePort", "nodePort": nodePort},
		"github":           map[string]any{"apiURL": in.APIURL, "appID": in.AppID, "existingSecret": "conductor-github"},
		"registry": map[string]any{
			"type": "oci", "host": c.Registry, "prefix": "conductor", "insecure": true, "mirrors": []any{c.Registry}, "existingSecret": "conductor-registry",
		},
		"builds": map[string]any{"namespace": BuildsNamespace, "image": c.KanikoImage, "cpu": "100m", "memory": "128Mi"},
		"stacks": map[string]any{"egress": []any{c.Registry[:strings.LastIndexByte(c.Registry, ':')] + "/32", host}},
		"keep":   map[string]any{"forever": true},
	}
	merge(v, in.Values)
	return v
}

// hostOf is the address of a URL as CIDR:port.
func hostOf(url string) string {
	rest := url[strings.Index(url, "//")+2:]
	hostport, _, _ := strings.Cut(rest, "/")
	host, port, _ := strings.Cut(hostport, ":")
	return host + "/32:" + port
}

// merge overrides base's values with over's.
func merge(base, over map[string]any) {
	for k, v := range over {
		if m, ok := v.(map[string]any); ok {
			if b, ok := base[k].(map[string]any); ok {
				merge(b, m)
				continue
			}
		}
		base[k] = v
	}
}

// WebhookURL is where GitHub sends webhooks.
func (c *Cluster) WebhookURL() string { return fmt.Sprintf("http://%s:%d/webhook", c.NodeIP, nodePort) }

// Forget deletes what Conductor stored about an earlier lab's GitHub, which no longer exists: its Runs with their stacks, and the last
// seen tags. It does not wait until the stacks are deleted.
func (c *Cluster) Forget(ctx context.Context) error {
	if _, err := c.Kubectl(ctx, "get", "crd", "runs.conductor.digitalservic.es"); err != nil {
		return nil // Conductor was never installed here.
	}
	if _, err := c.Kubectl(ctx, "-n", Namespace, "delete", "runs,deliveries", "--all", "--wait=false"); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "-n", Namespace, "delete", "configmaps", "-l", "conductor.digitalservic.es/repository-id")
	return err
}

// newSecret is a random webhook secret.
func newSecret() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
