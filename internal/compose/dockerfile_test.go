package compose

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// contextFiles is a build context that all cases of TestImageHolds share.
var contextFiles = map[string]string{
	"main.go": "1", "package.json": "1", "src/a.go": "1", "src/lib/b.go": "1", "conf/app.conf": "1", "other/a.go": "2", "other/lib/b.go": "2", "src.tar": "1",
}

func TestImageHolds(t *testing.T) {
	for name, tt := range map[string]struct {
		dockerfile string
		// mounts are those to test, the first in this form: SOURCE:TARGET.
		mount string
		// build are further fields of build, files further ones of the context.
		build string
		files map[string]string
		want  bool
	}{
		"nothing is copied":                {"FROM x\nWORKDIR /app\nRUN make\n", ".:/app", "", nil, false},
		"all":                              {"FROM x\nCOPY . /app\n", ".:/app", "", nil, true},
		"a part of all":                    {"FROM x\nCOPY . /app\n", "./src:/app/src", "", nil, true},
		"a part at another place":          {"FROM x\nCOPY . /app\n", "./src:/src", "", nil, false},
		"another part":                     {"FROM x\nCOPY . /app\n", "./other:/app/src", "", nil, false},
		"all to the root":                  {"FROM x\nCOPY . /\n", "./src:/src", "", nil, true},
		"the content of a directory":       {"FROM x\nCOPY src /app\n", "./src:/app", "", nil, true},
		"not the directory itself":         {"FROM x\nCOPY src /app\n", "./src:/app/src", "", nil, false},
		"more than is copied":              {"FROM x\nCOPY src /app/src\n", ".:/app", "", nil, false},
		"all, piece by piece":              {"FROM x\nCOPY conf /app/conf\nCOPY other /app/other/\nCOPY src /app/src/\nCOPY [\"main.go\", \"package.json\", \"src.tar\", \"/app/\"]\nCOPY Dockerfile compose.yaml /app/\n", ".:/app", "", nil, true},
		"a link among the files":           {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{"src/link": "->lib"}, true},
		"a mount through a link":           {"FROM x\nCOPY . /app\n", "./link:/app/link", "", map[string]string{"link": "->src"}, false},
		"WORKDIR":                          {"FROM x\nWORKDIR /app\nCOPY . .\n", ".:/app", "", nil, true},
		"WORKDIR that is relative":         {"FROM x\nWORKDIR /app\nWORKDIR src\nCOPY src ./\n", "./src:/app/src", "", nil, true},
		"WORKDIR of the base image":        {"FROM x\nCOPY . .\n", ".:/app", "", nil, false},
		"WORKDIR relative to the image's":  {"FROM x\nWORKDIR app\nCOPY . .\n", ".:/app", "", nil, false},
		"scratch":                          {"FROM scratch\nCOPY src app\n", "./src:/app", "", nil, true},
		"WORKDIR changed back":             {"FROM x\nWORKDIR /app\nWORKDIR /\nCOPY . .\n", ".:/app", "", nil, false},
		"JSON":                             {"FROM x\nCOPY [\"src/\", \"/app/\"]\n", "./src:/app", "", nil, true},
		"lower case, continued, commented": {"from x\ncopy --chown=1:1 \\\n# comment\n  src \\\n  /app\n", "./src:/app", "", nil, true},
		"another escape":                   {"# escape=`\nFROM x\nCOPY src `\n  /app\n", "./src:/app", "", nil, true},
		"ADD of a directory":               {"FROM x\nADD src /app\n", "./src:/app", "", nil, true},
		"ADD of an archive":                {"FROM x\nADD src.tar /app/\n", "./src.tar:/app/src.tar", "", nil, false},
		"a file to a file":                 {"FROM x\nCOPY conf/app.conf /etc/app.conf\n", "./conf/app.conf:/etc/app.conf", "", nil, true},
		"a file to a directory":            {"FROM x\nCOPY conf/app.conf /etc/app/\n", "./conf/app.conf:/etc/app/app.conf", "", nil, true},
		"a file to the working directory":  {"FROM x\nWORKDIR /app\nCOPY main.go .\n", "./main.go:/app/main.go", "", nil, true},
		"a file to what may be either":     {"FROM x\nCOPY main.go /app\n", "./main.go:/app/main.go", "", nil, false},
		"another file of the same name":    {"FROM x\nCOPY src/a.go /app/\n", "./other/a.go:/app/a.go", "", nil, false},
		"a pattern":                        {"FROM x\nCOPY src/* /app/\n", "./src:/app", "", nil, false},
		"a pattern before all":             {"FROM x\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build\n", ".:/app", "", nil, true},
		"a source that does not exist":     {"FROM x\nCOPY nothing /app\n", "./src:/app", "", nil, false},

		"overwritten by another source":   {"FROM x\nCOPY src /app\nCOPY other /app\n", "./src:/app", "", nil, false},
		"overwritten below":               {"FROM x\nCOPY src /app\nCOPY other/lib /app/lib\n", "./src:/app", "", nil, false},
		"a file is overwritten":           {"FROM x\nCOPY src /app\nCOPY main.go /app/a.go\n", "./src:/app", "", nil, false},
		"added beside":                    {"FROM x\nCOPY src /app\nCOPY conf /app\n", "./src:/app", "", nil, true},
		"overwritten, and again":          {"FROM x\nCOPY other /app\nCOPY src /app\n", "./src:/app", "", nil, true},
		"a stage's files over them":       {"FROM x AS b\nFROM x\nCOPY src /app\nCOPY --from=b /app /app\n", "./src:/app", "", nil, false},
		"a stage's files beside them":     {"FROM x AS b\nFROM x\nCOPY src /app\nCOPY --from=b /node_modules /app/node_modules\n", "./src:/app", "", nil, true},
		"a stage's files that are copies": {"FROM x AS b\nCOPY src /app\nFROM x\nCOPY --from=b /app /app\n", "./src:/app", "", nil, false},
		"a heredoc over them":             {"FROM x\nCOPY src /app\nCOPY <<EOF /app/a.go\nEOF\n", "./src:/app", "", nil, false},
		"a heredoc that looks like one":   {"FROM x\nRUN <<EOF\nCOPY src /app\nEOF\n", "./src:/app", "", nil, false},
		"a download over them":            {"FROM x\nCOPY src /app\nADD https://example.com/a.go /app/\n", "./src:/app", "", nil, false},
		"what is written is not known":    {"FROM x\nCOPY src /app\nCOPY other $DIR\n", "./src:/app", "", nil, false},
		"removed":                         {"FROM x\nCOPY src /app\nRUN make && rm -rf /app/lib\n", "./src:/app", "", nil, false},
		"removed, relative":               {"FROM x\nWORKDIR /app\nCOPY src .\nRUN make; \\\n  rm -f a.go\n", "./src:/app", "", nil, false},
		"removed elsewhere":               {"FROM x\nWORKDIR /app\nCOPY src .\nRUN cd /tmp && rm -rf a.go /var/lib/apt/lists/* && cd /x\n", "./src:/app", "", nil, true},
		"removed in another directory":    {"FROM x\nCOPY src /app\nRUN cd /app/lib && rm *.go\n", "./src:/app", "", nil, false},
		"removed beside":                  {"FROM x\nCOPY src /app\nRUN rm -rf /app/node_modules\n", "./src:/app", "", nil, true},
		"removed, and copied again":       {"FROM x\nRUN rm -rf /app/*\nCOPY src /app\n", "./src:/app", "", nil, true},
		"removed by a heredoc":            {"FROM x\nCOPY src /app\nRUN <<EOF\nset -e\nif true; then rm /app/a.go; fi\nEOF\n", "./src:/app", "", nil, false},
		"removed without a shell":         {"FROM x\nCOPY src /app\nRUN [\"rm\", \"-r\", \"/app/lib\"]\n", "./src:/app", "", nil, false},
		"removed by a variable":           {"FROM x\nENV D=/app\nCOPY src /app\nRUN rm -r \"$D/lib\" $UNKNOWN\n", "./src:/app", "", nil, false},
		"moved":                           {"FROM x\nCOPY src /app\nRUN mv /app/lib /app/libs\n", "./src:/app", "", nil, false},
		"edited":                          {"FROM x\nCOPY src /app\nRUN sed -i 's/1/2/' /app/a.go\n", "./src:/app", "", nil, false},
		"read":                            {"FROM x\nCOPY src /app\nRUN sed -n p /app/a.go && ls -l /app\n", "./src:/app", "", nil, true},
		"a volume":                        {"FROM x\nVOLUME /app\nCOPY src /app\n", "./src:/app", "", nil, false},
		"a volume in it":                  {"FROM x\nCOPY src /app\nVOLUME [\"/app/lib\"]\n", "./src:/app", "", nil, false},
		"a volume beside them":            {"FROM x\nCOPY src /app\nVOLUME /app/data\n", "./src:/app", "", nil, true},
		"--exclude":                       {"FROM x\nCOPY --exclude=lib src /app\n", "./src:/app", "", nil, false},
		"--parents":                       {"FROM x\nCOPY --parents src /app\n", "./src:/app", "", nil, false},

		"ARG":                      {"FROM x\nARG DIR=/app\nCOPY src $DIR\n", "./src:/app", "", nil, true},
		"ARG before FROM":          {"ARG DIR=/app\nFROM x\nARG DIR\nCOPY src ${DIR}/\n", "./src:/app", "", nil, true},
		"ARG before FROM alone":    {"ARG DIR=/app\nFROM x\nCOPY src $DIR\n", "./src:/app", "", nil, false},
		"ARG that the build gives": {"FROM x\nARG DIR=/app\nCOPY src $DIR\n", "./src:/app", "args: {DIR: /else}", nil, false},
		"ARG without default":      {"FROM x\nARG DIR\nCOPY src $DIR\n", "./src:/app", "args: {DIR: /app}", nil, true},
		"ARG that is not given":    {"FROM x\nARG DIR\nCOPY src /app$DIR\n", "./src:/app", "", nil, false},
		"ENV":                      {"FROM x\nENV ROOT=/app LIB=lib\nENV LIBS=$ROOT/$LIB\nCOPY src/lib $LIBS\n", "./src/lib:/app/lib", "", nil, true},
		"ENV over ARG":             {"FROM x\nARG DIR=/app\nENV DIR=/else\nCOPY src $DIR\n", "./src:/app", "", nil, false},
		"ENV of the base image":    {"FROM x\nCOPY src $HOME\n", "./src:/app", "", nil, false},
		"a default for an unknown": {"FROM x\nCOPY src ${DIR:-/app}\n", "./src:/app", "", nil, false},
		"a doubled variable":       {"FROM x\nENV A=xxxxxxxxxxxxxxxx\n" + strings.Repeat("ENV A=$A$A\n", 40) + "COPY src $A\nCOPY src /app\n", "./src:/app", "", nil, true},
		"a source with a variable": {"FROM x\nARG SRC=src\nCOPY $SRC /app\n", "./src:/app", "", nil, true},
		"a source with an unknown": {"FROM x\nCOPY $SRC /app\n", "./src:/app", "", nil, false},

		"the last stage":                 {"FROM x AS a\nCOPY src /app\nFROM x\n", "./src:/app", "", nil, false},
		"the target":                     {"FROM x AS a\nCOPY src /app\nFROM x\n", "./src:/app", "target: a", nil, true},
		"the target, in capitals":        {"FROM x AS Dev\nCOPY src /app\nFROM x\n", "./src:/app", "target: dev", nil, true},
		"the target's number":            {"FROM x\nCOPY src /app\nFROM x\n", "./src:/app", "target: '0'", nil, true},
		"a stage that the target is not": {"FROM x AS a\nFROM a\nCOPY src /app\n", "./src:/app", "target: a", nil, false},
		"no such target":                 {"FROM x\nCOPY src /app\n", "./src:/app", "target: b", nil, false},
		"inherited":                      {"FROM x AS a\nCOPY src /app\nFROM a AS b\nRUN make\nFROM b\n", "./src:/app", "", nil, true},
		"an inherited WORKDIR":           {"FROM x AS a\nWORKDIR /app\nFROM a\nCOPY src .\n", "./src:/app", "", nil, true},
		"an inherited ENV":               {"FROM x AS a\nENV D=/app\nFROM a\nCOPY src $D\n", "./src:/app", "", nil, true},
		"an ARG is not inherited":        {"FROM x AS a\nARG D=/app\nFROM a\nCOPY src $D\n", "./src:/app", "", nil, false},
		"inherited and overwritten":      {"FROM x AS a\nCOPY src /app\nFROM a\nCOPY other /app\n", "./src:/app", "", nil, false},
		"inherited through an ARG":       {"ARG BASE=a\nFROM x AS a\nCOPY src /app\nFROM ${BASE}\n", "./src:/app", "", nil, true},
		"a base that is not known":       {"FROM x AS a\nCOPY src /app\nFROM $BASE\n", "./src:/app", "", nil, false},
		"ONBUILD":                        {"FROM x\nONBUILD COPY src /app\n", "./src:/app", "", nil, false},
		"ONBUILD of a stage below":       {"FROM x AS a\nCOPY src /app\nONBUILD COPY other /app\nFROM a\n", "./src:/app", "", nil, false},
		"ONBUILD, and over it":           {"FROM x AS a\nONBUILD COPY other /app\nFROM a\nCOPY src /app\n", "./src:/app", "", nil, true},

		"ignored":                        {"FROM x\nCOPY . /app\n", ".:/app", "", map[string]string{".dockerignore": "src/lib\n"}, false},
		"ignored elsewhere":              {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{".dockerignore": "other\n*.md\n"}, true},
		"ignored by a pattern":           {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{".dockerignore": "**/b.go\n"}, false},
		"ignored, and not":               {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{".dockerignore": "*\n!src\n"}, true},
		"ignored what is not there":      {"FROM x\nCOPY . /app\n", ".:/app", "", map[string]string{".dockerignore": "node_modules\n.git\n# src\n"}, true},
		"ignored though copied again":    {"FROM x\nCOPY src /app\nCOPY other /app\n", "./src:/app", "", map[string]string{".dockerignore": "other/*\n"}, true},
		"ignored for this Dockerfile":    {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{"Dockerfile.dockerignore": "src\n"}, false},
		"not ignored for this one":       {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{".dockerignore": "src\n", "Dockerfile.dockerignore": "x\n"}, true},
		"the patterns are not valid":     {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{".dockerignore": "[\n"}, false},
		"the patterns are too many":      {"FROM x\nCOPY . /app\n", "./src:/app/src", "", map[string]string{".dockerignore": strings.Repeat("x\n", maxFile/2+1)}, false},
		"a Dockerfile of its own":        {"FROM x\nCOPY . /app\n", "./src:/app/src", "dockerfile: conf/Dockerfile", map[string]string{"conf/Dockerfile": "FROM x\n"}, false},
		"a Dockerfile in the file":       {"FROM x\n", "./src:/app/src", "dockerfile_inline: \"FROM x\\nCOPY . /app\\n\"", nil, true},
		"ignored, in the file":           {"FROM x\n", "./src:/app/src", "dockerfile_inline: \"FROM x\\nCOPY . /app\\n\"", map[string]string{".dockerignore": "src\n"}, false},
		"not a Dockerfile":               {"COPY . /app\n", "./src:/app/src", "", nil, false},
		"an instruction that is unknown": {"FROM x\nCOPY . /app\nCOPPY a b\n", "./src:/app/src", "", nil, false},
		"too many steps":                 {"FROM x\n" + strings.Repeat("COPY src /app\n", maxDockerfileSteps+1), "./src:/app", "", nil, false},
		"too many stages":                {"FROM x\n" + strings.Repeat("FROM x\n", maxStages) + "COPY src /app\n", "./src:/app", "", nil, false},

		"read-only":                 {"FROM x\nCOPY src /app\n", "./src:/app:ro", "", nil, false},
		"all, read-only":            {"FROM x\nCOPY . /app\n", ".:/app:ro", "", nil, true},
		"below a mount of others":   {"FROM x\nCOPY . /app\n", "./src:/app/src, ./other:/app", "", nil, false},
		"below a mount of the same": {"FROM x\nCOPY . /app\n", "./src:/app/src, .:/app", "", nil, true},
		"below a volume":            {"FROM x\nCOPY . /app\n", "./src:/app/src, data:/app", "", nil, false},
		"below an anonymous volume": {"FROM x\nCOPY . /app\n", "./src:/app/src, /app", "", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"Dockerfile": tt.dockerfile}
			for _, more := range []map[string]string{contextFiles, tt.files} {
				for f, content := range more {
					files[f] = content
				}
			}
			mounts := strings.Split(tt.mount, ", ")
			files["compose.yaml"] = "services:\n  web:\n    build:\n      context: .\n      " + tt.build + "\n    volumes: [\"" + strings.Join(mounts, "\", \"") + "\"]\nvolumes: {data: }\n"
			p, err := Load(write(t, files), LoadOptions{Files: []string{"compose.yaml"}})
			if err != nil {
				t.Fatal(err)
			}
			got := newConverter(p, Options{}).mountsOf(p.compose.Services["web"])[0]
			if is := got.kind == mountImage; is != tt.want || !is && got.kind != mountContent {
				t.Errorf("it became %d: %s", got.kind, got.reason)
			}
		})
	}
}

// TestIgnoredFileIsNamed has the file of a mount that the image lacks only because of .dockerignore.
func TestIgnoredFileIsNamed(t *testing.T) {
	for name, tt := range map[string]struct{ dockerfile, ignored, mount, want string }{
		"ignored":                {"FROM x\nCOPY . /app\n", "src/lib\n", ".:/app", "src/lib/b.go"},
		"not copied either":      {"FROM x\nCOPY conf /app\n", "src/lib\n", ".:/app", ""},
		"copied elsewhere":       {"FROM x\nCOPY . /else\n", "src/lib\n", "./src:/app", ""},
		"something else ignored": {"FROM x\nCOPY src /app\n", "conf\n", "./src:/app", ""},
		"read-only":              {"FROM x\nCOPY . /app\n", "src/lib\n", "./src:/app/src:ro", ""},
	} {
		files := map[string]string{
			"Dockerfile": tt.dockerfile, ".dockerignore": tt.ignored,
			"compose.yaml": "services: {web: {build: ., volumes: [\"" + tt.mount + "\"]}}\n",
		}
		for f, content := range contextFiles {
			files[f] = content
		}
		p, err := Load(write(t, files), LoadOptions{Files: []string{"compose.yaml"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := newConverter(p, Options{}).mountsOf(p.compose.Services["web"])[0]; got.ignored != tt.want {
			t.Errorf("%s: %q, want %q", name, got.ignored, tt.want)
		}
	}
}

// TestContextElsewhere mounts what is not, or not only, the build context.
func TestContextElsewhere(t *testing.T) {
	dir := write(t, map[string]string{"api/Dockerfile": "FROM x\nCOPY . /app\n", "api/a.go": "1", "b.go": "1", DefaultFile: "services:\n  web:\n    build: api\n" +
		"    volumes: [\".:/app\", \"./b.go:/app/b.go\", \"./api:/app/api\", \"./api/a.go:/app/a.go\"]\n"})
	p, err := Load(dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range newConverter(p, Options{}).mountsOf(p.compose.Services["web"]) {
		if m.kind != mountContent {
			t.Errorf("%s became %d", m.Target, m.kind)
		}
	}
}

// TestAbsentDockerfile needs the content of a Dockerfile and of what it ignores, and not of the files that are mounted.
func TestAbsentDockerfile(t *testing.T) {
	dir := write(t, map[string]string{
		"Dockerfile": "FROM x\nCOPY . /app\n", "Dockerfile.dockerignore": "x\n", ".dockerignore": "src\n", "src/a.go": "1",
		DefaultFile: "services:\n  web:\n    build: .\n    volumes: [\"./src:/app/src\"]\n",
	})
	o := LoadOptions{Absent: map[string]bool{"Dockerfile": true, "Dockerfile.dockerignore": true, ".dockerignore": true, "src/a.go": true}}
	var asked []string
	for range 5 {
		p, err := Load(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Convert(p, Options{})
		if err == nil {
			break
		}
		absent := (*AbsentError)(nil)
		if !errors.As(err, &absent) {
			t.Fatal(err)
		}
		for _, f := range absent.Paths {
			asked = append(asked, f)
			delete(o.Absent, f)
		}
	}
	if !slices.Equal(asked, []string{"Dockerfile", "Dockerfile.dockerignore"}) {
		t.Errorf("it asked for %v", asked)
	}
}

// TestComparedWithinBounds treats mounts as not held when the comparison with the Dockerfile would take too long.
func TestComparedWithinBounds(t *testing.T) {
	dir := write(t, map[string]string{"Dockerfile": "FROM x\nCOPY . /app\n", "src/a.go": "1", DefaultFile: "services:\n  web:\n    build: .\n    volumes: [\"./src:/app/src\"]\n"})
	p, err := Load(dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for spent, want := range map[int]mountKind{0: mountImage, maxCompared: mountContent} {
		c := newConverter(p, Options{})
		c.compared = spent
		if got := c.mountsOf(p.compose.Services["web"])[0]; got.kind != want {
			t.Errorf("after %d steps it became %d in %s", spent, got.kind, filepath.Base(dir))
		}
	}
}
