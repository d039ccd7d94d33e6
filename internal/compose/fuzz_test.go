package compose

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func seeds(f *testing.F) {
	files, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range append(files, "../../examples/shop/docker-compose.qa.yml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a: &a [*a]\nservices: *a"))
	f.Add([]byte("services:\n  x: {image: a, extends: x}\n---\nservices:\n  x: {extends: {service: y}}\n  y: {extends: x}"))
	f.Add([]byte("? [a]\n: b\n<<: *x"))
}

// writeBeside writes a compose file of any bytes and others.
func writeBeside(t *testing.T, data []byte, files map[string]string) string {
	dir := write(t, files)
	if err := os.WriteFile(filepath.Join(dir, DefaultFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// loadBytes loads a compose file that stands beside a few others.
func loadBytes(t *testing.T, data []byte) (*Project, error) {
	dir := writeBeside(t, data, map[string]string{
		".env": "A=1\n", "app.env": "B=2\n", "default.conf": "x", "src/a": "a", "Dockerfile": "FROM scratch\nCOPY . .\n",
		"base.yaml": "services:\n  base:\n    image: x\n",
	})
	p, err := Load(dir, LoadOptions{Secrets: []string{"A", "DB_PASSWORD"}})
	if e := (*Errors)(nil); err != nil && !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	} else if err != nil && e.Error() == "" {
		t.Fatal("a refusal without a word")
	}
	return p, err
}

func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := loadBytes(t, data)
		if (p == nil) != (err != nil) {
			t.Fatalf("project %v with error %v", p != nil, err)
		}
		if err == nil {
			p.Builds()
		}
	})
}

func FuzzConvert(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := loadBytes(t, data)
		if err != nil {
			return
		}
		stack := newConverter(p, Options{}).convert()
		out, err := YAML(stack)
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range []string{secretMark("A"), secretMark("DB_PASSWORD")} {
			if bytes.Contains(out, []byte(mark)) && errorOf(stack.Findings) == nil && !bytes.Contains(data, []byte(secretBegin)) {
				t.Fatalf("a secret's mark is left:\n%s", out)
			}
		}
		for _, s := range stack.Services {
			checkPod(t, s.Name, podOf(t, s).Spec)
		}
	})
}

// FuzzPlain compares what is read without compose-go's loader with what that makes of it.
func FuzzPlain(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := writeBeside(t, data, map[string]string{
			".env": "A=1\nB=x y\n", "app.env": "B=2\n", "default.conf": "x", "src/a": "a", "Dockerfile": "FROM scratch\nCOPY . .\n",
		})
		plain, full, err := bothWays(dir, LoadOptions{Secrets: []string{"DB_PASSWORD"}, Profiles: []string{"qa"}})
		samePlain(t, plain, full, err)
	})
}
