package compose

import (
	"cmp"
	"strings"
	"testing"
)

func TestABuildCannotStartFromTheImageOfAnotherService(t *testing.T) {
	for name, tt := range map[string]struct {
		base, app string
		// field are the fields of the build of app, if they are not the usual one.
		field string
		want  string
	}{
		"FROM":                     {"FROM alpine\n", "FROM x\nFROM shop/base\n", "", "app.Dockerfile:2 needs the image shop/base of the service base"},
		"FROM with the tag":        {"FROM alpine\n", "FROM shop/base:latest\n", "", "app.Dockerfile:1 needs"},
		"FROM with another tag":    {"FROM alpine\n", "FROM shop/base:2\n", "", ""},
		"an ARG":                   {"FROM alpine\n", "ARG BASE=x\nFROM $BASE\n", "dockerfile: app.Dockerfile, args: {BASE: shop/base}", "app.Dockerfile:2 needs"},
		"an ARG that is not known": {"FROM alpine\n", "ARG BASE\nFROM $BASE\n", "", ""},
		"COPY --from":              {"FROM alpine\n", "FROM x\nCOPY --from=shop/base /a /a\n", "", "app.Dockerfile:2 needs"},
		"COPY from a stage":        {"FROM alpine\n", "FROM x AS shop/base\nFROM x\nCOPY --from=0 /a /a\n", "", ""},
		"a stage of that name":     {"FROM alpine\n", "FROM x AS base\nFROM base\nCOPY --from=base /a /a\n", "", ""},
		"a stage after the target": {"FROM alpine\n", "FROM x AS one\nFROM shop/base\n", "dockerfile: app.Dockerfile, target: one", ""},
		"an image of a registry":   {"FROM shop/base\n", "FROM shop/base\n", "", ""},
		"in the compose file":      {"FROM alpine\n", "", `dockerfile_inline: "FROM shop/base"`, "dockerfile_inline:1 needs"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{
				"app.Dockerfile": tt.app, "base.Dockerfile": tt.base,
				"compose.yaml": "services:\n  base: {image: shop/base, build: {context: ., dockerfile: base.Dockerfile}}\n  app:\n    build: {context: ., " +
					cmp.Or(tt.field, "dockerfile: app.Dockerfile") + "}\n",
			})
			p, err := Load(dir, LoadOptions{Files: []string{"compose.yaml"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Convert(p, Options{InlineDockerfiles: true, SeparateBuilds: true})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "compose.yaml:4: refused: app.build: "+tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, err = Convert(p, Options{InlineDockerfiles: true}); err != nil {
				t.Errorf("builds that share their images: %v", err)
			}
		})
	}
}
