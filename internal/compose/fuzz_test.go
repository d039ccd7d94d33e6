package compose

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
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

// attacks are seeds of what costs more than it seems to.
func attacks(f *testing.F) {
	f.Add([]byte(exposing(3, 65)))
	f.Add([]byte(service + "    volumes: [./src:/s, ./big:/b, ./src:/c]\n    pre_start: [{command: x}, {command: y, tmpfs: /x}]\n    configs: [c]\nconfigs: {c: {file: big/f}}\n"))
	f.Add([]byte(service + "    command: $A3\n\x00A0=xx\nA1=$A0${A0}\nA2=$A1$A1\nA3=$A2$A2\n"))
	for _, tt := range beyond {
		if data := tt.files[DefaultFile] + "\x00" + tt.files[".env"]; len(data) < 16<<10 {
			f.Add([]byte(data))
		}
	}
}

// writeBeside writes a compose file of any bytes and others. What comes after a zero byte is the .env file.
func writeBeside(t *testing.T, data []byte, files map[string]string) string {
	data, env, has := bytes.Cut(data, []byte{0})
	if has {
		files[".env"] = string(env)
	}
	dir := write(t, files)
	if err := os.WriteFile(filepath.Join(dir, DefaultFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// loadBytes loads a compose file that is beside a few others, one of them larger than any ConfigMap.
func loadBytes(t *testing.T, data []byte) (*Project, error) {
	dir := writeBeside(t, data, map[string]string{
		".env": "A=1\n", "app.env": "B=2\n", "default.conf": "x", "src/a": "a", "Dockerfile": "FROM scratch\nCOPY . .\n",
		"base.yaml": "services:\n  base:\n    image: x\n",
	})
	sparse(t, dir, "big/f", 3<<20)
	p, err := Load(dir, LoadOptions{Secrets: []string{"A", "DB_PASSWORD"}})
	if e := (*Errors)(nil); err != nil && !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	} else if err != nil && e.Error() == "" {
		t.Fatal("a refusal without a word")
	}
	return p, err
}

// Bounds of what any input may cost: those of the child process that plans. Allocated is all that was, and not what was in use at once.
const (
	mostFuzzTime      = 10 * time.Second
	mostFuzzHeap      = 256 << 20
	mostFuzzAllocated = 2 << 30
)

// within fails when something takes more than any input may.
func within(t *testing.T, do func()) {
	t.Helper()
	if c := measured(t, do); c.time > mostFuzzTime || c.heap > mostFuzzHeap || c.allocated > mostFuzzAllocated {
		t.Fatalf("it took %s, the heap grew by %d MiB, and %d MiB were allocated; at most %s, %d and %d are in order",
			c.time, c.heap>>20, c.allocated>>20, mostFuzzTime, mostFuzzHeap>>20, mostFuzzAllocated>>20)
	}
}

// checkBounds fails when a stack that is not refused is larger than stacks are.
func checkBounds(t *testing.T, stack *Stack) {
	t.Helper()
	if n := len(stack.Findings); n > 3*(maxFindings+1) {
		t.Fatalf("%d findings", n)
	}
	if errorOf(stack.Findings) != nil {
		return
	}
	copied := 0
	for _, o := range stack.Objects() {
		switch o := o.(type) {
		case *corev1.ConfigMap:
			for _, v := range o.Data {
				copied += len(v)
			}
			for _, v := range o.BinaryData {
				copied += len(v)
			}
		case *corev1.Service:
			if n := len(o.Spec.Ports); n > maxPorts {
				t.Fatalf("the Service %s has %d ports", o.Name, n)
			}
		}
		if n := sizeOf(o); n > maxObject {
			t.Fatalf("%s has %d bytes", o.GetName(), n)
		}
	}
	if n := len(stack.Objects()); n > maxObjects || copied > maxCopied {
		t.Fatalf("%d objects, %d bytes in ConfigMaps", n, copied)
	}
}

func FuzzLoad(f *testing.F) {
	seeds(f)
	attacks(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		within(t, func() {
			p, err := loadBytes(t, data)
			if (p == nil) != (err != nil) {
				t.Fatalf("project %v with error %v", p != nil, err)
			}
			if err == nil {
				p.Builds()
				checkFaultless(t, p)
			}
		})
	})
}

func FuzzConvert(f *testing.F) {
	seeds(f)
	attacks(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := loadBytes(t, data)
		if err != nil {
			return
		}
		for _, o := range []Options{{}, {Source: sourceMounts()}} {
			within(t, func() { convertAny(t, p, o, data) })
		}
	})
}

// convertAny converts what was loaded from data.
func convertAny(t *testing.T, p *Project, o Options, data []byte) {
	t.Helper()
	stack := newConverter(p, o).convert()
	checkBounds(t, stack)
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
}

// FuzzDockerfile reads any Dockerfile and .dockerignore, which come from the repository that is tested.
func FuzzDockerfile(f *testing.F) {
	f.Add("FROM x AS a\nARG D=/app\nENV E=$D F=${E:-x}\nWORKDIR $E\nCOPY --from=b . .\nVOLUME /x\nFROM a\nCOPY [\"src\", \"/app/\"]\nONBUILD ADD . .\n", "*\n!src\n")
	f.Add("# escape=`\nFROM scratch\nCOPY <<EOF <<\"B\" /app/\n$A\nEOF\nB\nRUN <<EOF\nEOF\n", "[\n#\n**/a?\\b")
	f.Fuzz(func(t *testing.T, dockerfile, ignored string) {
		dir := writeBeside(t, []byte(DefaultFile), map[string]string{"Dockerfile": dockerfile, ".dockerignore": ignored, "src/a/b": "1"})
		var s types.ServiceConfig
		s.Build = &types.BuildConfig{Context: dir, Dockerfile: "Dockerfile"}
		text := strings.ToLower(dockerfile)
		c := newConverter(&Project{dir: dir}, Options{})
		for _, target := range []string{"/app", "/app/src", "/"} {
			m := mount{ServiceVolumeConfig: types.ServiceVolumeConfig{Source: filepath.Join(dir, "src"), Target: target}}
			if c.imageHolds(s, m).all && !strings.Contains(text, "copy") && !strings.Contains(text, "add") {
				t.Errorf("the image has files at %s without an instruction that copies them", target)
			}
		}
	})
}
