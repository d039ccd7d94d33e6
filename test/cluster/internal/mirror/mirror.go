package mirror

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"

	"github.com/w3evolutionsllc/conductor/test/cluster/image"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/parts"
)

// Mirror is all images, made.
type Mirror struct {
	images   []packed
	archives []string
}

// packed is an image with the layers it is made of.
type packed struct {
	Names  []string
	Image  v1.Image
	Layers []made
}

// Build makes what is not in the cache.
func Build(ctx context.Context, cacheDir string, b parts.Binaries, out io.Writer) (*Mirror, error) {
	layers, images := recipes(b)
	return build(ctx, cacheDir, layers, images, out)
}

// BuildDatabases makes the images that no test of this repository needs, but compose projects that are kept elsewhere.
func BuildDatabases(ctx context.Context, cacheDir string, out io.Writer) (*Mirror, error) {
	layers, images := databaseRecipes()
	return build(ctx, cacheDir, layers, images, out)
}

func build(ctx context.Context, cacheDir string, layers []layer, images []recipe, out io.Writer) (*Mirror, error) {
	done, err := makeLayers(ctx, cacheDir, layers, out)
	if err != nil {
		return nil, err
	}
	m := &Mirror{}
	for _, recipe := range images {
		img, err := recipe.make(done)
		if err != nil {
			return nil, err
		}
		if recipe.Imported {
			archive, err := img.archive(cacheDir)
			if err != nil {
				return nil, err
			}
			m.archives = append(m.archives, archive)
			continue
		}
		m.images = append(m.images, img)
	}
	return m, nil
}

// Fetch makes those of the layers that no built program goes into. It can go on while the programs are built.
func Fetch(ctx context.Context, cacheDir string, out io.Writer) error {
	layers, _ := recipes(nil)
	layers = slices.DeleteFunc(layers, func(l layer) bool { return len(l.Copies) > 0 })
	_, err := makeLayers(ctx, cacheDir, layers, out)
	return err
}

func makeLayers(ctx context.Context, cacheDir string, layers []layer, out io.Writer) (map[string]made, error) {
	results := make([]made, len(layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(3)
	for i, l := range layers {
		group.Go(func() (err error) {
			results[i], err = l.make(ctx, cacheDir, out)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	done := map[string]made{}
	for i, l := range layers {
		done[l.Name] = results[i]
	}
	return done, nil
}

// recipe is an image: its names, its layers from the bottom up, how it runs.
type recipe struct {
	Names    []string // repository:tag, as the registry has them
	Imported bool     // straight into containerd, not into the registry
	Layers   []string
	Config   v1.Config
}

func (r recipe) make(layers map[string]made) (packed, error) {
	m := packed{Names: r.Names}
	var all []v1.Layer
	for _, name := range r.Layers {
		l, ok := layers[name]
		if !ok {
			return packed{}, fmt.Errorf("image %s: there is no layer %q", r.Names[0], name)
		}
		m.Layers = append(m.Layers, l)
		all = append(all, l)
	}
	if absent := missing(m.Layers); len(absent) > 0 {
		return packed{}, fmt.Errorf("image %s: no layer brings %s", r.Names[0], strings.Join(absent, ", "))
	}
	var err error
	m.Image, err = image.New(r.Config, all...)
	return m, err
}

// archive is the image as a file that containerd imports.
func (m packed) archive(cacheDir string) (string, error) {
	digest, err := m.Image.Digest()
	if err != nil {
		return "", err
	}
	tag, err := name.NewTag(m.Names[0])
	if err != nil {
		return "", err
	}
	dir, err := cache.Once(cacheDir, "archives", digest.Hex[:16], func(tmp string) error {
		return tarball.WriteToFile(filepath.Join(tmp, "image.tar"), tag, m.Image)
	})
	return filepath.Join(dir, "image.tar"), err
}

// Names are the references that the registry serves.
func (m *Mirror) Names() []string {
	var names []string
	for _, img := range m.images {
		names = append(names, img.Names...)
	}
	sort.Strings(names)
	return names
}

// Archives are the files of the images that containerd must have.
func (m *Mirror) Archives() []string { return m.archives }

// RootCertificates answers the CA bundle that images get.
func RootCertificates(ctx context.Context, cacheDir string, out io.Writer) ([]byte, error) {
	l := roots
	key, err := l.key()
	if err != nil {
		return nil, err
	}
	dir, err := cache.Once(cacheDir, "roots", key, func(tmp string) error {
		fmt.Fprintln(out, "getting the CA bundle")
		return l.assemble(ctx, tmp)
	})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, bundlePath))
}
