// Command generate writes the JSON Schema of a record's result.json. It derives the schema from the types of package evidence and their
// comments. go generate ./internal/evidence runs it, in that directory.
package main

import (
	"log"
	"os"
)

func main() {
	data, err := schema(".")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../schemas/result.schema.json", data, 0o644); err != nil {
		log.Fatal(err)
	}
}
