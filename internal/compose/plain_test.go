package compose

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

// bothWays loads files by both ways: without compose-go's loader, nil when they are not plain, and with it.
func bothWays(dir string, o LoadOptions) (plain, full *types.Project, err error) {
	files := o.Files
	if len(files) == 0 {
		files = []string{DefaultFile}
	}
	r := &reader{dir: dir, sources: sources{dir: dir}, seen: map[string]bool{}}
	base := filepath.Dir(join(dir, files[0]))
	env := r.environment(base, o)
	var paths []string
	for _, f := range files {
		paths = append(paths, join(dir, f))
		r.file(join(dir, f), scope{base: base, env: env}, place{file: f, text: f}, "")
	}
	if err := errorOf(r.findings); err != nil {
		return nil, nil, err
	}
	plain = parsePlain(r.sources.files, len(paths), base, env, o.Profiles)
	full, err = parse(paths, base, env, o.Profiles)
	return plain, full, err
}

// samePlain fails unless what was read without the loader is what the loader makes of it.
func samePlain(t *testing.T, plain, full *types.Project, err error) {
	t.Helper()
	if plain == nil || err == nil && reflect.DeepEqual(plain, full) {
		return
	}
	if err != nil {
		t.Fatalf("compose-go refuses what was taken for plain: %v", err)
	}
	t.Fatalf("(-compose-go +plain)\n%s", cmp.Diff(full, plain, cmp.Exporter(func(reflect.Type) bool { return true })))
}

// TestPlain compares both ways over the golden cases; most of them are plain.
func TestPlain(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range cases {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			o := settings[filepath.Base(dir)].load
			if o.Files == nil {
				o.Files = []string{"compose.yaml"}
			}
			plain, full, err := bothWays(dir, o)
			samePlain(t, plain, full, err)
			if plain != nil {
				count++
			}
		})
	}
	if count < len(cases)/2 {
		t.Errorf("only %d of %d cases are plain", count, len(cases))
	}
}
