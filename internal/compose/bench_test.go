package compose

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkLoadShop(b *testing.B) {
	for b.Loop() {
		if _, err := Load("../../examples/shop", LoadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConvertShop is what each look of the controller at a run costs.
func BenchmarkConvertShop(b *testing.B) {
	p, err := Load("../../examples/shop", LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Convert(p, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkServices shows that the time grows with the number of services and not faster.
func BenchmarkServices(b *testing.B) {
	for _, n := range []int{50, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var file strings.Builder
			file.WriteString("services:\n")
			for i := range n {
				fmt.Fprintf(&file, "  s%d:\n    image: nginx\n    environment: {PEER: \"http://s%d:80\", A: b}\n    ports: [\"80\"]\n    volumes: [\"v%d:/data\"]\n"+
					"    healthcheck: {test: \"true\"}\n    depends_on: {s%d: {condition: service_healthy}}\n", i, max(i-1, 0), i, max(i-1, 0))
			}
			text := strings.Replace(file.String(), "    depends_on: {s0: {condition: service_healthy}}\n", "", 1) + "volumes:\n"
			for i := range n {
				text += fmt.Sprintf("  v%d:\n", i)
			}
			dir := write(b, map[string]string{DefaultFile: text})
			for b.Loop() {
				p, err := Load(dir, LoadOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Convert(p, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMounts converts a project that mounts 60 directories of large files.
func BenchmarkMounts(b *testing.B) {
	dir := mounting(b, 60)
	for b.Loop() {
		p, err := Load(dir, LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		newConverter(p, Options{}).convert()
	}
}
