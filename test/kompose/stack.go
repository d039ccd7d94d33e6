package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// service is a typical service of a generated stack.
const service = `  s%[1]d:
    image: registry.example.com/team/s%[1]d:1.%[1]d
    command: ["serve", "--port", "8080"]
    environment:
      PEER: http://s%[2]d:8080
      LOG_LEVEL: info
      NUMBER: "%[1]d"
    ports: ["%[3]d:8080"]
    volumes: ["v%[1]d:/data"]
    healthcheck: {test: ["CMD", "/check"], interval: 5s, retries: 3}
    restart: unless-stopped
    deploy: {resources: {limits: {memory: 256M}}}
`

// generate writes a stack of n services; each depends on the one before.
func generate(dir string, n int) (project, error) {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, service, i, max(i-1, 0), 20000+i)
		if i > 0 {
			fmt.Fprintf(&b, "    depends_on: {s%d: {condition: service_healthy}}\n", i-1)
		}
	}
	b.WriteString("volumes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  v%d:\n", i)
	}
	p := project{Name: fmt.Sprint("stack-", n), Files: []string{"compose.yaml"}}
	p.dir = filepath.Join(dir, p.Name)
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return p, fmt.Errorf("make a directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "compose.yaml"), []byte(b.String()), 0o644); err != nil {
		return p, fmt.Errorf("write a stack: %w", err)
	}
	return p, nil
}
