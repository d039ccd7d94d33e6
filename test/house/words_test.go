package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	// maxDialect is the share of comment lines that may hold a word of the dialect; of messages none may.
	maxDialect = 0.003
	// sampleSeed draws the comments and messages that -v prints for a reader. Another seed draws others.
	sampleSeed, sampleSize = 9, 20
)

// dialect matches words that native readers parse twice and never grep for. Each has a plain equivalent in the field.
var dialect = regexp.MustCompile(`(?i)\b(told|tells?|telling|says?|said|saying|stands?|stood|nobody|somebody|whoever|looks? at|looked at|let go|lets go|may pass|shall|is no|are no|was no|were no)\b`)

// idiom is plain English that dialect would match, and the user nobody.
var idiom = regexp.MustCompile(`(?i)\bthere (is|are|was|were) no\b|\b(is|are|was|were) no (longer|more)\b|\bstand-ins?\b|root and nobody\b|"nobody"`)

// phrase is a line of a comment, or a string that people may read.
type phrase struct{ place, text string }

// TestPlainWords keeps the dialect out of comments and messages. Go files alone: documents are read as a whole.
func TestPlainWords(t *testing.T) {
	var comments, messages []phrase
	for _, path := range goFiles(t) {
		c, m := phrases(t, path)
		comments = append(comments, c...)
		if !strings.HasSuffix(path, "_test.go") && !strings.HasPrefix(path, "test/") {
			messages = append(messages, m...)
		}
	}
	if len(comments) < 5000 || len(messages) < 1000 {
		t.Fatalf("%d lines of comments and %d messages were read; there are more", len(comments), len(messages))
	}
	bad := matching(comments)
	t.Logf("%d of %d lines of comments hold a word of the dialect (%.2f %%)", len(bad), len(comments), 100*float64(len(bad))/float64(len(comments)))
	if float64(len(bad)) > maxDialect*float64(len(comments)) {
		t.Errorf("more than %.1f %% of the lines of comments hold one of %s:\n%s", 100*maxDialect, dialect, list(bad))
	}
	bad = matching(messages)
	t.Logf("%d of %d messages hold a word of the dialect", len(bad), len(messages))
	if len(bad) > 0 {
		t.Errorf("messages hold one of %s:\n%s", dialect, list(bad))
	}
	t.Logf("seed %d draws these comments:\n%s\nand these messages:\n%s", sampleSeed, list(sample(comments)), list(sample(messages)))
}

// goFiles are the project's Go files that are not generated.
func goFiles(t *testing.T) []string {
	var files []string
	for _, name := range committed(t) {
		if strings.HasSuffix(name, ".go") && !strings.Contains(name, "testdata/") && !strings.HasPrefix(filepath.Base(name), "zz_generated") {
			files = append(files, name)
		}
	}
	return files
}

// phrases are the lines of comments and the strings with a space in a file.
func phrases(t *testing.T, path string) (comments, messages []phrase) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, filepath.Join(root, path), nil, parser.ParseComments)
	if os.IsNotExist(err) { // Deleted, and not yet committed.
		return nil, nil
	} else if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			first := files.Position(c.Pos()).Line
			for i, line := range strings.Split(c.Text, "\n") {
				if line = strings.TrimSpace(strings.TrimLeft(line, "/*")); line != "" {
					comments = append(comments, phrase{fmt.Sprintf("%s:%d", path, first+i), line})
				}
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(strings.TrimSpace(text), " ") {
				messages = append(messages, phrase{fmt.Sprintf("%s:%d", path, files.Position(lit.Pos()).Line), text})
			}
		}
		return true
	})
	return comments, messages
}

func matching(all []phrase) []phrase {
	var bad []phrase
	for _, p := range all {
		if dialect.MatchString(idiom.ReplaceAllString(p.text, "")) {
			bad = append(bad, p)
		}
	}
	return bad
}

// sample draws phrases by the seed.
func sample(all []phrase) []phrase {
	order := rand.New(rand.NewPCG(sampleSeed, sampleSeed)).Perm(len(all))
	out := make([]phrase, 0, sampleSize)
	for _, i := range order[:sampleSize] {
		out = append(out, all[i])
	}
	return out
}

func list(all []phrase) string {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "  %s: %s\n", p.place, strings.ReplaceAll(p.text, "\n", " "))
	}
	return b.String()
}
