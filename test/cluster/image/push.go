package image

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push sends the image to a registry that speaks plain HTTP, under a
// reference such as `10.245.0.254:5000/conductor/conductor:dev`, and answers
// its digest. Layers that the registry has are not sent again.
func Push(ctx context.Context, img v1.Image, reference, user, password string) (v1.Hash, error) {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return v1.Hash{}, err
	}
	err = remote.Write(ref, img, remote.WithContext(ctx), remote.WithAuth(&authn.Basic{Username: user, Password: password}))
	if err != nil {
		return v1.Hash{}, fmt.Errorf("push %s: %w", reference, err)
	}
	return img.Digest()
}
