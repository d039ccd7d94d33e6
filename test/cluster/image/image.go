package image

import (
	"bytes"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Architecture is what images are made for.
const Architecture = "amd64"

// New puts layers and a configuration together as an OCI image.
func New(config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	var additions []mutate.Addendum
	for _, l := range layers {
		additions = append(additions, mutate.Addendum{Layer: l, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "conductor test/cluster"}})
	}
	img, err := mutate.Append(img, additions...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Created, file.Config = Architecture, "linux", v1.Time{Time: epoch}, config
	return mutate.ConfigFile(img, file)
}

// Binary packs a static program with a CA bundle. The layers stay
// uncompressed: on one machine, compressing takes longer than it saves.
func Binary(binary, roots []byte, config v1.Config) (v1.Image, error) {
	if len(config.Entrypoint) == 0 {
		return nil, fmt.Errorf("an image of a program needs an entrypoint")
	}
	base, err := memoryLayer(
		File{Path: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")},
		File{Path: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\nnonroot:x:65532:\n")},
		File{Path: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Content: roots},
		File{Path: "tmp/.keep", Mode: 0o644},
	)
	if err != nil {
		return nil, err
	}
	program, err := memoryLayer(File{Path: config.Entrypoint[0][1:], Mode: 0o755, Content: binary})
	if err != nil {
		return nil, err
	}
	return New(config, base, program)
}

func memoryLayer(files ...File) (v1.Layer, error) {
	var b bytes.Buffer
	if err := WriteFiles(&b, files...); err != nil {
		return nil, err
	}
	return static.NewLayer(b.Bytes(), types.OCIUncompressedLayer), nil
}
