package compose

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// imageFile is the part of an image's configuration file that a conversion needs. Docker's and OCI's are the same, but OCI's has neither
// health check nor SHELL, and builders that follow it drop both.
// https://github.com/opencontainers/image-spec/blob/main/config.md
// https://github.com/moby/docker-image-spec/blob/main/spec.md
type imageFile struct {
	Config struct {
		User                   string
		Entrypoint, Cmd, Shell []string
		ExposedPorts           map[string]struct{}
		Volumes                map[string]struct{}
		Healthcheck            *struct {
			Test                                          []string
			Interval, Timeout, StartPeriod, StartInterval time.Duration
			Retries                                       int
		}
	} `json:"config"`
}

// ParseImageConfig reads an image's configuration file.
func ParseImageConfig(data []byte) (ImageConfig, error) {
	var f imageFile
	if err := json.Unmarshal(data, &f); err != nil {
		return ImageConfig{}, fmt.Errorf("an image's configuration: %w", err)
	}
	c := ImageConfig{
		Entrypoint: f.Config.Entrypoint, Cmd: f.Config.Cmd, Shell: f.Config.Shell, User: f.Config.User,
		Volumes: slices.Sorted(maps.Keys(f.Config.Volumes)), ExposedPorts: slices.Sorted(maps.Keys(f.Config.ExposedPorts)),
	}
	if h := f.Config.Healthcheck; h != nil && isTest(h.Test) {
		c.Healthcheck = &Healthcheck{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		}
	}
	return c, nil
}

// isTest reports whether test is valid for a Dockerfile's HEALTHCHECK. Others are ignored: the compose file's author cannot fix them.
func isTest(test []string) bool {
	switch {
	case len(test) == 0:
		return false
	case test[0] == "CMD":
		return len(test) > 1
	case test[0] == "CMD-SHELL":
		return len(test) == 2
	}
	return test[0] == "NONE"
}
