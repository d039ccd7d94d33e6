package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/w3evolutionsllc/conductor/test/cluster/image"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/hub"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/mirror"
)

// image packs a static program and pushes it to the cluster's registry. It
// prints the reference with its digest.
func (p *program) image(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	binary := flags.String("binary", "", "the static program")
	name := flags.String("name", "", "repository and tag, without the registry: conductor/conductor:dev")
	user := flags.String("user", "65532:65532", "who the program runs as")
	entrypoint := flags.String("entrypoint", "", "where the program lies in the image, and its first arguments (default: / and the binary's name)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *binary == "" || *name == "" {
		return errors.New("image: want -binary and -name")
	}
	c, err := p.find()
	if err != nil {
		return err
	}
	users, err := hub.UsersFile(c.plan.Path("registry-users.json"), false)
	if err != nil {
		return err
	}
	program, err := os.ReadFile(*binary)
	if err != nil {
		return err
	}
	roots, err := mirror.RootCertificates(ctx, p.cacheDir, p.progress)
	if err != nil {
		return err
	}
	command := strings.Fields(*entrypoint)
	if len(command) == 0 {
		command = []string{"/" + (*binary)[strings.LastIndexByte(*binary, '/')+1:]}
	}
	img, err := image.Binary(program, roots, v1.Config{
		Entrypoint: command, User: *user, WorkingDir: "/", Env: []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
	})
	if err != nil {
		return err
	}
	reference := c.plan.Registry() + "/" + strings.TrimPrefix(*name, c.plan.Registry()+"/")
	digest, err := image.Push(ctx, img, reference, hub.Pusher, users[hub.Pusher])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "%s@%s\n", reference, digest)
	return err
}
