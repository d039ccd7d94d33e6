package node

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"text/template"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/pki"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

//go:embed config
var configs embed.FS

// Render answers the node's settings files, by path below the cluster's
// `config` directory. The files of the embedded directory are templates over
// the plan.
func Render(p plan.Plan) (map[string][]byte, error) {
	rendered := map[string][]byte{}
	err := fs.WalkDir(configs, "config", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := render(p, name)
		rendered[strings.TrimPrefix(name, "config/")] = text
		return err
	})
	if err != nil {
		return nil, err
	}
	// A directory named as each registry is how containerd finds its settings
	// (hosts.toml, containerd docs/hosts.md).
	for _, registry := range Mirrored {
		rendered[path.Join("certs.d", registry, "hosts.toml")] = rendered["mirror.toml"]
	}
	rendered[path.Join("certs.d", p.Registry(), "hosts.toml")] = rendered["own.toml"]
	delete(rendered, "mirror.toml")
	delete(rendered, "own.toml")
	return rendered, nil
}

// Mirrored are the registries whose images the cluster's own registry serves.
var Mirrored = []string{"docker.io", "gcr.io", "ghcr.io", "quay.io", "registry.k8s.io"}

// Manifests are the objects that every cluster begins with, as YAML documents.
func Manifests(p plan.Plan) ([]byte, error) { return render(p, "config/manifests.yaml") }

func render(p plan.Plan, name string) ([]byte, error) {
	text, err := configs.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("settings %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// WriteFiles writes certificates, kubeconfigs and settings.
func WriteFiles(p plan.Plan) error {
	if err := pki.Write(p.Dir, subjects(p)); err != nil {
		return err
	}
	files, err := Render(p)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := cache.WriteFile(p.Path("config", name), content, 0o644); err != nil {
			return err
		}
	}
	for _, user := range []string{pki.Controllers, pki.Scheduler, pki.Kubelet, pki.Proxy, pki.KubeRouter, pki.Provisioner} {
		if err := writeKubeconfig(p, user, kubeconfigOf(p, user)); err != nil {
			return err
		}
	}
	return writeKubeconfig(p, pki.Admin, p.Kubeconfig())
}

func kubeconfigOf(p plan.Plan, user string) string {
	return p.Path("config", user+".kubeconfig")
}

// subjects are who the certificates are for. The names and groups are those
// that Kubernetes' own roles are bound to.
func subjects(p plan.Plan) map[string]pki.Subject {
	return map[string]pki.Subject{
		pki.APIServer: {CommonName: "kube-apiserver", Hosts: []string{
			"localhost", "127.0.0.1", p.NodeIP, p.APIServerIP, "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		pki.Admin:         {CommonName: "admin", Groups: []string{"system:masters"}},
		pki.KubeletClient: {CommonName: "apiserver-kubelet-client", Groups: []string{"system:masters"}},
		pki.FrontProxy:    {CommonName: "front-proxy-client"},
		pki.Controllers:   {CommonName: "system:kube-controller-manager"},
		pki.Scheduler:     {CommonName: "system:kube-scheduler"},
		pki.Kubelet:       {CommonName: "system:node:" + plan.Node, Groups: []string{"system:nodes"}, Hosts: []string{plan.Node, p.NodeIP}},
		pki.Proxy:         {CommonName: "system:kube-proxy"},
		pki.KubeRouter:    {CommonName: "kube-router"},
		pki.Provisioner:   {CommonName: "hostpath-provisioner"},
		pki.Tokens:        {CommonName: "conductor-test-tokens"},
	}
}

// writeKubeconfig writes a kubeconfig that holds its certificates, so that it
// can be copied anywhere.
func writeKubeconfig(p plan.Plan, user, path string) error {
	var encoded []any
	for _, file := range []string{pki.CA + ".crt", user + ".crt", user + ".key"} {
		content, err := os.ReadFile(p.Path("pki", file))
		if err != nil {
			return err
		}
		encoded = append(encoded, base64.StdEncoding.EncodeToString(content))
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: %[1]s, cluster: {server: %[2]q, certificate-authority-data: %[4]s}}]
users: [{name: %[3]s, user: {client-certificate-data: %[5]s, client-key-data: %[6]s}}]
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[3]s}}]
current-context: %[1]s
`, append([]any{p.NetNS, p.Server(), user}, encoded...)...)
	return cache.WriteFile(path, []byte(text), 0o600)
}
