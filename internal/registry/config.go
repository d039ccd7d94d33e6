package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// dockerConfig is the part of a Docker config.json that holds credentials. Each entry stays as it is written.
type dockerConfig struct {
	Auths map[string]json.RawMessage `json:"auths"`
}

// PushConfig is a Docker config.json that can push to the registry and holds no other host's credential. Where the
// operator gives none, it is empty and pushes are anonymous.
func (r *Registry) PushConfig(context.Context, string) ([]byte, error) {
	if r.o.PushConfigFile == "" {
		return json.Marshal(dockerConfig{Auths: map[string]json.RawMessage{}})
	}
	return r.limited(r.o.PushConfigFile)
}

// PullConfig is a Docker config.json that can pull from the registry and holds no other host's credential; nil where
// the operator gives none.
func (r *Registry) PullConfig(context.Context, v1alpha1.Repository) ([]byte, error) {
	if r.o.PullConfigFile == "" {
		return nil, nil
	}
	return r.limited(r.o.PullConfigFile)
}

// limited is a config.json with the entries for this registry's host alone.
func (r *Registry) limited(file string) ([]byte, error) {
	all, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	own := dockerConfig{Auths: map[string]json.RawMessage{}}
	for key, entry := range all.Auths {
		if hostOf(key) == r.host.RegistryStr() {
			own.Auths[key] = entry
		}
	}
	if len(own.Auths) == 0 {
		return nil, failure.Terminalf(v1alpha1.ReasonRefused, fmt.Errorf("%s has no entry for it", file),
			"Conductor has no credential for the registry %s; the operator has to give it one", r.o.Host)
	}
	return json.Marshal(own)
}

// credential is the first of the files' for a registry; anonymous when no file has one.
func (r *Registry) credential(target authn.Resource, files ...string) (authn.Authenticator, error) {
	for _, file := range files {
		if file == "" {
			continue
		}
		config, err := readConfig(file)
		if err != nil {
			return nil, err
		}
		for key, entry := range config.Auths {
			if hostOf(key) != target.RegistryStr() {
				continue
			}
			var c authn.AuthConfig
			if json.Unmarshal(entry, &c) != nil {
				return nil, malformed(file)
			}
			return authn.FromConfig(c), nil
		}
	}
	return authn.Anonymous, nil
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

// malformed leaves the parser's words out: they could quote a credential.
func malformed(file string) error {
	return failure.Transientf(v1alpha1.ReasonUnavailable, errors.New(file+" is not a Docker config.json"), "Conductor cannot read its registry credential")
}

// hostOf is the registry that a key of auths means: a host, or an address such as https://index.docker.io/v1/.
func hostOf(key string) string {
	_, rest, found := strings.Cut(key, "://")
	if !found {
		rest = key
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "docker.io" {
		return name.DefaultRegistry
	}
	return host
}
