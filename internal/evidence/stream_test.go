package evidence

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// namesIn reads the names of the cases of a document.
func namesIn(s *Stream) (names []string, err error) {
	err = s.Object(func(field string) error {
		if field != "cases" {
			return s.Skip()
		}
		return s.Array(func() error {
			var c Case
			err := s.Value(&c)
			names = append(names, c.Name)
			return err
		})
	})
	return names, err
}

func TestStream(t *testing.T) {
	for text, want := range map[string][]string{
		`{"cases":[{"name":"a"},{"name":"b"}]}`:                             {"a", "b"},
		`{"more":{"cases":[1]},"cases":[{"name":"a"}],"problems":["x",[]]}`: {"a"},
		`{"cases":null}`: nil,
		`{}`:             nil,
		`null`:           nil,
	} {
		names, err := namesIn(NewStream(iotest.OneByteReader(strings.NewReader(text)), 1<<10, 1<<10))
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: %q, %v", text, names, err)
		}
	}
	for _, text := range []string{``, `[]`, `{"cases":{}}`, `{"cases":["a"]}`, `{"cases":[{"name":"a"}`, `{"cases":[{"name":"a"}]`, `{"cases":[{"name":`, `{"a"`, `{1:2}`} {
		if _, err := namesIn(NewStream(strings.NewReader(text), 1<<10, 1<<10)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// endless repeats a text, and counts what was read of it.
type endless struct {
	text string
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.read%len(e.text):])
	e.read += n
	return n, nil
}

func TestStreamIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		head, rest string
		most       int
	}{
		"a value":         {`{"cases":[{"name":"`, "aaaaaaaa", 20 << 10},
		"a name":          {`{"`, "aaaaaaaa", 20 << 10},
		"a skipped one":   {`{"other":["`, "aaaaaaaa", 20 << 10},
		"blanks":          {`{"cases":[`, "        ", 20 << 10},
		"the whole of it": {`{"cases":[{"name":"a"}`, `,{"name":"b"}`, 64 << 10},
	} {
		rest := &endless{text: c.rest}
		_, err := namesIn(NewStream(io.MultiReader(strings.NewReader(c.head), rest), 64<<10, 8<<10))
		if !errors.Is(err, ErrTooLarge) || rest.read > c.most {
			t.Errorf("%s: %d bytes were read: %v", name, rest.read, err)
		}
	}
}

func TestWriteResult(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]Result{
		"empty": {},
		"suites": {
			SchemaVersion: 1, Run: "shop-1", StartedAt: &at, Notes: []string{"<note>\n"}, Suites: []Suite{
				{Name: "none", Outcome: "error"},
				{Name: "e2e", Cases: []Case{{Name: "a", Status: Failed, Detail: "x\n\ty"}, {Name: "b", Status: Passed}}, Usage: &Usage{CPUSeconds: 1}},
				{Name: "unit", Cases: []Case{{Name: "}\n"}}, Attempts: []Attempt{{ExitCode: 1, Problems: []string{"]"}}}},
			},
		},
	} {
		var out strings.Builder
		if err := WriteResult(&out, want); err != nil {
			t.Fatal(err)
		}
		var got Result
		if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if !strings.HasSuffix(out.String(), "}\n") || strings.Contains(out.String(), ": [{") {
			t.Errorf("%s is not indented:\n%s", name, out.String())
		}
	}
	failed := errors.New("the registry is gone")
	if err := WriteResult(iotestWriter{failed}, Result{Run: "shop-1"}); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
}

type iotestWriter struct{ error }

func (w iotestWriter) Write([]byte) (int, error) { return 0, w.error }
