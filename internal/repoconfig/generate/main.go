// Command generate writes the JSON Schema and the reference, which derive from repoconfig's types. go generate ./internal/repoconfig
// runs it, in that directory.
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
