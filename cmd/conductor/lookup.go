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

// lookUpTime is how long the registries have to say what images are.
const lookUpTime = 20 * time.Second

// imageConfig answers as registry.Registry does.
type imageConfig func(ctx context.Context, image string) (digest string, config []byte, err error)

// userRegistries are all registries, with the logins of whoever runs the program.
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

// lookUp asks registries what a project's images say about themselves. What cannot be read is noted, and the conversion goes on without
// it. Images of services that are built are asked about only where they are given.
func lookUp(ctx context.Context, ask imageConfig, p *compose.Project, given map[string]string, notes io.Writer) map[string]compose.ImageConfig {
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	images := map[string]bool{}
	for _, service := range p.Services() {
		names := p.HookImages(service)
		if image, ok := p.Image(service); ok && given[service] == "" {
			names = append(names, image)
		}
		for _, name := range names {
			if _, built := p.Builder(name); !built {
				images[name] = true
			}
		}
		if given[service] != "" {
			images[given[service]] = true
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	configs, problems := map[string]compose.ImageConfig{}, map[string]string{}
	for image := range images {
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
		fmt.Fprintf(notes, "note: the image %s was not looked up, and a HEALTHCHECK of its own is not known: %s\n", image, problems[image])
	}
	return configs
}
