package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/w3evolutionsllc/conductor/"

// root is the repository's root, from this package's directory.
const root = "../.."

// source is one Go package, parsed without its tests.
type source struct {
	path  string
	files []*ast.File
	fset  *token.FileSet
}

// sources are the packages below directories of the repository, by path.
func sources(t *testing.T, dirs ...string) map[string]*source {
	t.Helper()
	all := map[string]*source{}
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/testdata/") {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			pkg := path.Dir(filepath.ToSlash(rel))
			if all[pkg] == nil {
				all[pkg] = &source{path: pkg, fset: token.NewFileSet()}
			}
			f, err := parser.ParseFile(all[pkg].fset, name, nil, parser.ParseComments)
			all[pkg].files = append(all[pkg].files, f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (s *source) imports() []string {
	set := map[string]bool{}
	for _, f := range s.files {
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err == nil {
				set[strings.TrimPrefix(p, module)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func TestImportsGoDownOnly(t *testing.T) {
	all := sources(t, "internal", "cmd")
	if len(all) < len(layers) {
		t.Errorf("%d packages were found, and the law names %d", len(all), len(layers))
	}
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		for _, b := range breaches(pkg, all[pkg].imports()) {
			t.Error(b)
		}
	}
}

// TestTheLawIsHeld checks that every kind of breach is found.
func TestTheLawIsHeld(t *testing.T) {
	for _, tt := range []struct {
		pkg, imports string
		lawful       bool
	}{
		{"internal/trigger", "internal/report", false},
		{"internal/githubapp", "internal/registry", false},
		{"internal/controller/run", "internal/controller/delivery", false},
		{"internal/webhook", "internal/controller/run", false},
		{"internal/controller/run", "internal/githubapp", false},
		{"internal/runs", "internal/githubapp", false},
		{"internal/runs", "internal/webhook", false},
		{"internal/jobs", "internal/runs", false},
		{"internal/githubapp", "internal/jobs", false},
		{"internal/settings", "internal/jobs", false},
		{"internal/settings", "internal/failure", false},
		{"internal/api/v1alpha1", "internal/failure", false},
		{"internal/trigger", "cmd/conductor", false},
		{"internal/trigger", "context", false},
		{"internal/report", "os", false},
		{"internal/report", "net/http", false},
		{"internal/jobs", "k8s.io/client-go/kubernetes", false},
		{"internal/jobs", "sigs.k8s.io/controller-runtime", false},
		{"internal/webhook", "test/github", false},
		{"internal/evidence", "internal/failure", false},
		{"internal/agent", "internal/testreport", false},
		{"internal/agent", "internal/registry", false},
		{"internal/testreport", "internal/result", false},
		{"internal/diagnose", "k8s.io/client-go/kubernetes", false},
		{"internal/controller/run", "internal/agent", false},
		{"internal/unheard", "fmt", false},
		{"internal/trigger", "internal/unheard", false},

		{"internal/controller/run", "internal/runs", true},
		{"internal/controller/run", "internal/jobs", true},
		{"internal/runs", "internal/report", true},
		{"internal/jobs", "internal/settings", true},
		{"internal/settings", "internal/api/v1alpha1", true},
		{"internal/repoconfig", "internal/repoconfig/nearest", true},
		{"internal/trigger", "internal/repoconfig/nearest", true},
		{"internal/githubapp", "net/http", true},
		{"internal/registry", "internal/evidence", true},
		{"internal/report", "internal/evidence", true},
		{"internal/agent/wrapper", "internal/agent", true},
		{"internal/controller/run", "internal/diagnose", true},
		{"internal/jobs", "sigs.k8s.io/controller-runtime/pkg/client", true},
		{"cmd/conductor", "internal/githubapp", true},
	} {
		if found := breaches(tt.pkg, []string{tt.imports}); (len(found) == 0) != tt.lawful {
			t.Errorf("%s imports %s: %v, want lawful %v", tt.pkg, tt.imports, found, tt.lawful)
		}
	}
}

// impureCalls are functions whose result depends on the machine and not only on their arguments.
var impureCalls = map[string]bool{
	"time.Now": true, "time.Since": true, "time.Until": true, "time.Sleep": true, "time.After": true,
	"os.Getenv": true, "os.LookupEnv": true, "os.Environ": true, "os.ExpandEnv": true, "os.Getwd": true,
}

// asks lists the impure calls of a file and its exported functions that take a context.
func asks(f *ast.File) []string {
	var found []string
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && impureCalls[x.Name+"."+n.Sel.Name] {
				found = append(found, x.Name+"."+n.Sel.Name)
			}
		case *ast.FuncDecl:
			if n.Name.IsExported() && !isHidden(n.Recv) && takesContext(n.Type) {
				found = append(found, "a context in "+n.Name.Name)
			}
		}
		return true
	})
	return found
}

// isHidden reports whether a receiver's type is not exported: such a method implements an interface of another package.
func isHidden(receiver *ast.FieldList) bool {
	if receiver == nil || len(receiver.List) == 0 {
		return false
	}
	of := receiver.List[0].Type
	if p, ok := of.(*ast.StarExpr); ok {
		of = p.X
	}
	name, ok := of.(*ast.Ident)
	return ok && !name.IsExported()
}

func takesContext(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Context" {
			return true
		}
	}
	return false
}

func TestPurePackagesAskNoMachine(t *testing.T) {
	seen := 0
	for pkg, s := range sources(t, "internal") {
		if layers[unitOf(pkg)] != pure {
			continue
		}
		seen++
		for _, f := range s.files {
			for _, what := range asks(f) {
				t.Errorf("%s: %s", s.fset.Position(f.Pos()).Filename, what)
			}
		}
	}
	if seen == 0 {
		t.Error("no pure package was looked at")
	}
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
func Do(ctx context.Context) { _, _ = time.Now(), os.Getenv("HOME") }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := asks(f); len(got) != 3 {
		t.Errorf("of three breaches these were seen: %v", got)
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for pkg, s := range sources(t, "internal", "cmd", "test/house", "test/lab", "test/github", "test/e2e", "test/apiserver", "test/bench") {
		want := "Package " + s.files[0].Name.Name + " "
		said := false
		for _, f := range s.files {
			if f.Name.Name == "main" {
				said = said || f.Doc != nil
				continue
			}
			said = said || f.Doc != nil && strings.HasPrefix(f.Doc.Text(), want)
		}
		if !said {
			t.Errorf("%s: no file of it opens with %q", pkg, "// "+want+"...")
		}
		if slices.Contains([]string{"util", "utils", "common", "shared", "types", "helpers"}, path.Base(pkg)) {
			t.Errorf("%s: its name says nothing", pkg)
		}
	}
}
