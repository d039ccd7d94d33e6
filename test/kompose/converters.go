package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/kubernetes/kompose/pkg/app"
	"github.com/kubernetes/kompose/pkg/kobject"
	"github.com/sirupsen/logrus"

	"github.com/w3evolutionsllc/conductor/internal/compose"
)

// convert does the same as `conductor convert`, without printing.
func convert(p project) error {
	loaded, err := compose.Load(p.dir, compose.LoadOptions{Files: p.Files, Profiles: p.Profiles})
	if err != nil {
		return err
	}
	stack, err := compose.Manifest(loaded, compose.Options{Namespace: "bench"}, compose.ManifestOptions{WaitImage: "conductor:bench"})
	if err != nil {
		return err
	}
	if _, err := compose.YAML(stack); err != nil {
		return fmt.Errorf("write the objects: %w", err)
	}
	return nil
}

// load only loads a project with compose-go, the first step of both programs.
func load(p project) error {
	details := types.ConfigDetails{WorkingDir: p.dir, Environment: types.Mapping{}}
	for _, f := range p.Files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: filepath.Join(p.dir, f)})
	}
	_, err := loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SkipResolveEnvironment = true
		o.Profiles = p.Profiles
		o.SetProjectName("bench", true)
	})
	return err
}

// kompose is Kompose's library. It prints to standard output, which is discarded while it converts, and it ends the process on an
// error, which is turned into a Go error here.
type kompose struct{ nowhere *os.File }

func newKompose() (*kompose, error) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the null device: %w", err)
	}
	return &kompose{nowhere: nowhere}, nil
}

func (k *kompose) close() { _ = k.nowhere.Close() }

// convert does the same as `kompose convert --stdout` with its defaults.
func (k *kompose) convert(p project) (err error) {
	log := logrus.StandardLogger()
	stdout, exit := os.Stdout, log.ExitFunc
	os.Stdout = k.nowhere
	log.SetOutput(io.Discard)
	log.ExitFunc = func(code int) { panic(fmt.Sprintf("it ends with status %d", code)) }
	defer func() {
		os.Stdout, log.ExitFunc = stdout, exit
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	opt := kobject.ConvertOptions{
		ToStdout: true, Provider: "kubernetes", Replicas: 1, YAMLIndent: 2, Volumes: "persistentVolumeClaim", PVCRequestSize: "",
		Build: "none", Profiles: p.Profiles, CreateD: true, IsDeploymentFlag: false,
	}
	for _, f := range p.Files {
		opt.InputFiles = append(opt.InputFiles, filepath.Join(p.dir, f))
	}
	_, err = app.Convert(opt)
	return err
}
