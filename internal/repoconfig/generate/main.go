// Command generate writes what is made of repoconfig's types: the JSON Schema and the reference. It is run by
// go generate ./internal/repoconfig, in that directory.
package main

import (
	"log"
	"os"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
)

func main() {
	for file, data := range map[string][]byte{
		"../../schemas/conductor.schema.json": repoconfig.Schema(),
		"../../docs/conductor-yaml.md":        repoconfig.Reference(),
	} {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
