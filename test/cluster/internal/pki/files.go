package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
)

// Files are the names of the files that Write makes, without their endings.
const (
	CA              = "ca"    // signs everything below
	ServiceAccounts = "sa"    // .key and .pub: signs service-account tokens
	Tokens          = "token" // signs the registry's tokens
	Admin           = "admin" // the kubeconfig's user
	APIServer       = "apiserver"
	FrontProxy      = "front-proxy" // the API server before the servers that it aggregates
	KubeletClient   = "apiserver-kubelet-client"
	Controllers     = "controller-manager"
	Scheduler       = "scheduler"
	Kubelet         = "kubelet"
	Proxy           = "proxy"
	KubeRouter      = "kube-router"
	Provisioner     = "hostpath"
)

// Write makes all certificates as files <name>.crt and <name>.key below
// <parent>/pki, or leaves those that are there: the directory appears whole.
func Write(parent string, subjects map[string]Subject) error {
	_, err := cache.Once(parent, "", "pki", func(dir string) error {
		ca, err := NewAuthority("conductor-test")
		if err != nil {
			return err
		}
		if err := writePair(dir, CA, ca.Pair); err != nil {
			return err
		}
		for name, subject := range subjects {
			pair, err := ca.Issue(subject)
			if err != nil {
				return err
			}
			if err := writePair(dir, name, pair); err != nil {
				return err
			}
		}
		return writeServiceAccountKey(dir)
	})
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

func writePair(dir, name string, pair Pair) error {
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), pair.Certificate, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), pair.Key, 0o600)
}

func writeServiceAccountKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	private = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	if err := os.WriteFile(filepath.Join(dir, ServiceAccounts+".key"), private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ServiceAccounts+".pub"), public, 0o644)
}
