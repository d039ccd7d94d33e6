package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/registry"
)

// lookUpTime bounds the lookup of all images.
const lookUpTime = 20 * time.Second

// imageConfig returns the digest and the configuration of an image, as registry.Registry does.
type imageConfig func(ctx context.Context, image string) (digest string, config []byte, err error)

// userRegistries looks up images in any registry, with the logins of the user's Docker config.
func userRegistries() (imageConfig, error) {
	login, err := registry.UserCredential()
	if err != nil {
		return nil, err
	}
	r, err := registry.New(registry.Options{Host: "docker.io", Credential: login})
	if err != nil {
		return nil, err
	}
	return r.ImageConfig, nil
}

// projectImages are the images that a project runs and does not build, and those given for services.
func projectImages(p *compose.Project, given map[string]string) []string {
	var out []string
	for _, service := range p.Services() {
		names := p.HookImages(service)
		if image, ok := p.Image(service); ok && given[service] == "" {
			names = append(names, image)
		}
		for _, name := range names {
			if _, built := p.Builder(name); !built {
				out = append(out, name)
			}
		}
		if given[service] != "" {
			out = append(out, given[service])
		}
	}
	return out
}

// lookUp reads the configurations of images from their registries. It prints a note for each that cannot be read.
func lookUp(ctx context.Context, ask imageConfig, images []string, notes io.Writer) map[string]compose.ImageConfig {
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	slices.Sort(images)
	var mu sync.Mutex
	var wg sync.WaitGroup
	configs, problems := map[string]compose.ImageConfig{}, map[string]string{}
	for _, image := range slices.Compact(images) {
		wg.Go(func() {
			_, file, err := ask(ctx, image)
			var config compose.ImageConfig
			if err == nil {
				config, err = compose.ParseImageConfig(file)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems[image] = failure.Of(err).Sentence
			} else {
				configs[image] = config
			}
		})
	}
	wg.Wait()
	for _, image := range slices.Sorted(maps.Keys(problems)) {
		fmt.Fprintf(notes, "note: the image %s could not be looked up, so a HEALTHCHECK in it is unknown: %s\n", image, problems[image])
	}
	return configs
}
