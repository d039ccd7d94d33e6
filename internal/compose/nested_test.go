package compose

import (
	"strings"
	"testing"
)

// TestNestedInFetchedFiles mounts volumes inside a directory that an init container fetches, since it does not fit into ConfigMaps.
func TestNestedInFetchedFiles(t *testing.T) {
	for target, want := range map[string]string{
		"/app/data": "", "/app/files": "", "/app/data/deeper": "which is a read-only copy of src without the directory data/deeper",
		"/app/node_modules": "Commit a file in it, such as src/node_modules/.gitkeep", "/app/link": "without the directory link", "/app2": "",
		"/app/big": "without the directory big",
	} {
		t.Run(target, func(t *testing.T) {
			dir := write(t, map[string]string{
				"src/big": strings.Repeat("x", maxContent+1), "src/data/a": "1", "src/files/a": "1", "src/link": "->data",
				DefaultFile: service + "    volumes: [\"./src:/app\", \"data:" + target + "\"]\nvolumes: {data: }\n",
			})
			_, lines := convertDir(t, dir, LoadOptions{Files: []string{DefaultFile}}, Options{Source: sourceMounts()})
			if !strings.Contains(lines, "an init container fetches it") {
				t.Fatalf("it is not fetched: %s", lines)
			}
			isRefused := strings.Contains(lines, "4: refused: web.volumes: "+target+" lies inside /app, ")
			if isRefused != (want != "") || !strings.Contains(lines, want) {
				t.Errorf("want %q:\n%s", want, lines)
			}
		})
	}
}

// TestMountedInAFile refuses what Docker cannot do either.
func TestMountedInAFile(t *testing.T) {
	dir := write(t, map[string]string{"app": "1", DefaultFile: service + "    volumes: [\"./app:/app:ro\", \"/app/data\"]\n"})
	if got := refusals(t, dir, LoadOptions{}); !strings.Contains(got, "4: refused: web.volumes: /app/data lies inside /app, which is a file") {
		t.Errorf("got %s", got)
	}
}
