package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// dockerConfig is the part of a Docker config.json that holds credentials. Entries are kept verbatim.
type dockerConfig struct {
	Auths map[string]json.RawMessage `json:"auths"`
}

// PushConfig returns a Docker config.json that can push to the registry and holds no credential for other hosts. It is empty, and
// pushes are anonymous, if the operator configured none.
func (r *Registry) PushConfig(context.Context, string) ([]byte, error) {
	if r.o.PushConfigFile == "" {
		return json.Marshal(dockerConfig{Auths: map[string]json.RawMessage{}})
	}
	return r.configForHost(r.o.PushConfigFile)
}

// PullConfig returns a Docker config.json that can pull from the registry and holds no credential for other hosts, or nil if the
// operator configured none.
func (r *Registry) PullConfig(context.Context, v1alpha1.Repository) ([]byte, error) {
	if r.o.PullConfigFile == "" {
		return nil, nil
	}
	return r.configForHost(r.o.PullConfigFile)
}

// configForHost returns a config.json with only the entries for this registry's host.
func (r *Registry) configForHost(file string) ([]byte, error) {
	all, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	own := dockerConfig{Auths: map[string]json.RawMessage{}}
	for key, entry := range all.Auths {
		if hostOf(key) == canonical(r.o.Host) {
			own.Auths[key] = entry
		}
	}
	if len(own.Auths) == 0 {
		return nil, failure.Terminalf(v1alpha1.ReasonRefused, fmt.Errorf("%s does not have an entry for it", file),
			"Conductor does not have a credential for the registry %s. The operator must configure one", r.o.Host)
	}
	return json.Marshal(own)
}

// credentials returns a function that finds the first entry for a host. Without an entry, requests are anonymous.
func (r *Registry) credentials(files []string) auth.CredentialFunc {
	if r.o.Credential != nil {
		return r.o.Credential
	}
	return func(_ context.Context, host string) (auth.Credential, error) {
		file, entry, err := find(host, files)
		if err != nil || file == "" {
			return auth.EmptyCredential, err
		}
		var login dockerLogin
		if json.Unmarshal(entry, &login) != nil {
			return auth.EmptyCredential, malformed(file)
		}
		return login.credential(), nil
	}
}

// find returns the first entry for a host and the file that contains it. The file is empty if there is none.
func find(host string, files []string) (string, json.RawMessage, error) {
	for _, file := range files {
		if file == "" {
			continue
		}
		config, err := readConfig(file)
		if err != nil {
			return "", nil, err
		}
		for key, entry := range config.Auths {
			if hostOf(key) == canonical(host) {
				return file, entry, nil
			}
		}
	}
	return "", nil, nil
}

// describeCredential describes the credential that is used for a host.
func (r *Registry) describeCredential(host string, files []string) string {
	if r.o.Credential != nil {
		return "with the login of your Docker config, if it has one"
	}
	if file, _, err := find(host, files); err == nil && file != "" {
		return "with the credential in " + file
	}
	return "without a credential"
}

// dockerLogin is one entry of auths (https://docs.docker.com/reference/cli/docker/login/); auth is user:password in base64.
type dockerLogin struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

func (l dockerLogin) credential() auth.Credential {
	c := auth.Credential{Username: l.Username, Password: l.Password, RefreshToken: l.IdentityToken, AccessToken: l.RegistryToken}
	if plain, err := base64.StdEncoding.DecodeString(l.Auth); err == nil && l.Auth != "" {
		c.Username, c.Password, _ = strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
	}
	return c
}

func readConfig(file string) (dockerConfig, error) {
	var c dockerConfig
	data, err := os.ReadFile(file)
	if err != nil {
		return c, failure.Transientf(v1alpha1.ReasonUnavailable, err, "Conductor cannot read its registry credential")
	}
	if json.Unmarshal(data, &c) != nil {
		return c, malformed(file)
	}
	return c, nil
}

// malformed omits the parser's message, which could quote a credential.
func malformed(file string) error {
	return failure.Transientf(v1alpha1.ReasonUnavailable, errors.New(file+" is not a Docker config.json"), "Conductor cannot read its registry credential")
}

// hostOf returns the registry of a key of auths: a host, or a URL such as https://index.docker.io/v1/.
func hostOf(key string) string {
	_, rest, found := strings.Cut(key, "://")
	if !found {
		rest = key
	}
	host, _, _ := strings.Cut(rest, "/")
	return canonical(host)
}

// canonical maps the names of Docker Hub's registry to one.
func canonical(host string) string {
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}
