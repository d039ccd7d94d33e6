package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/hub"
)

// serveHub is the command that the hub runs as; it is not for people.
const serveHub = "serve-hub"

func serveHubCommand(ctx context.Context, args []string) error {
	if len(args) != 5 {
		return errors.New(serveHub + ": want ADDRESS STORE CERTIFICATE KEY USERS")
	}
	signer, err := hub.NewSigner(args[2], args[3])
	if err != nil {
		return err
	}
	users, err := hub.UsersFile(args[4], false)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: args[0], Handler: hub.New(args[1], &hub.Tokens{Signer: signer, Users: users}), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	return server.ListenAndServe()
}
