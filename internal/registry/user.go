package registry

import (
	"fmt"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// UserCredential returns the logins of the user who runs the program: those of the Docker config in DOCKER_CONFIG or the home
// directory, including its credential helpers.
func UserCredential() (auth.CredentialFunc, error) {
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read your Docker config: %w", err)
	}
	return credentials.Credential(store), nil
}
