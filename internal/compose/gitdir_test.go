package compose

import (
	"slices"
	"testing"
)

// Conductor's checkout does not have the directory .git; Docker mounts it.
func TestGitsOwnFilesAreNotMounted(t *testing.T) {
	for _, files := range []map[string]string{{}, {".git/HEAD": "ref: refs/heads/main\n"}} {
		files[DefaultFile] = "services:\n  web:\n    image: x\n    volumes:\n      - .git:/app/.git\n      - .:/src\n      - ./.github:/g\n"
		files[".github/a.yml"] = "1"
		p, err := Load(write(t, files), LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stack, err := Convert(p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range stack.Findings {
			if f.Level == LevelNote {
				got = append(got, f.String())
			}
		}
		want := []string{
			DefaultFile + ":5: note: web.volumes: .git is not mounted: the files of a run do not include git's own. /app/.git is an empty directory, on a volume of its own",
			DefaultFile + ":6: note: web.volumes: /src is a copy that cannot be written to, without the directory .git",
			DefaultFile + ":7: note: web.volumes: /g is a copy that cannot be written to",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}
