package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"go.yaml.in/yaml/v4"
)

func TestProblem(t *testing.T) {
	for text, want := range map[string]string{
		"a:\n  b:\n    c: 1\n   d: 2\n":   "4:4: the indentation of this line does not fit: the keys since line 2 are indented by 2",
		"a:\n\tb: 1\n":                    "2:1: a tab: YAML is indented with spaces",
		"a: 1\n\tb: 2\n":                  "2:1: a tab: YAML is indented with spaces",
		"a:\n  b: \"c\nd: e\n":            "2:6: the quote \" is not closed",
		"a: @b\n":                         "1:4: a value cannot begin with @: write it in quotes",
		"a:\n  b: `c`\n":                  "2:6: a value cannot begin with `: write it in quotes",
		"a: b: c\n":                       `1:5: a key is not expected here: check the indentation, and write a value that contains ": " in quotes`,
		"a:\n  - [1, 2\nb: c\n":           "3:2: a comma or ] is missing: the list begins with [ in line 2",
		"a: {b: c\nd: e\n":                "2:2: a comma or } is missing: the mapping begins with { in line 1",
		"a: *b\n":                         "1:4: the anchor &b is not defined above: write a value that begins with * in quotes",
		"a: 1\n---\nb: *c\n":              "3:4: the anchor &c is not defined above: write a value that begins with * in quotes",
		"a:\n  b:c\n  d: e\n":             "2:3: a space is missing after b:",
		"a:\n  - b:c\n\n    d: e\n":       "2:5: a space is missing after b:",
		"a:\n  b://c\n  d: e\n":           `3:4: a key is not expected here: check the indentation, and write a value that contains ": " in quotes`,
		"a:\n  - b\n  c: d\n":             `3:3: the list that begins in line 2 goes on here without "- ": check the indentation, and do not mix keys with items of a list`,
		"a:\n  b: c\n  d e\n  f: g\n":     `3:3: a colon and a space are missing in "d e": a mapping has lines such as key: value`,
		"a:\n  b: c\n  d:\u00a0e\nf: g\n": "3:3: a non-breaking space (U+00A0): write an ordinary space",
		"é: 'x'y\n":                       "1:7: the value before this has ended: check its quotes",
		"<<<<<<< HEAD\na: 1\n=======\n":   "1:1: a merge conflict is not resolved: this line begins with <<<<<<<",
		"é: 1\n<<<<<<< b\na: 1\n=====\n":  "2:1: a merge conflict is not resolved: this line begins with <<<<<<<",
	} {
		var err error
		for documents := yaml.NewDecoder(bytes.NewReader([]byte(text))); err == nil; {
			err = documents.Decode(&yaml.Node{})
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("%q is valid", text)
			continue
		}
		line, column, message := Problem([]byte(text), err)
		if got := fmt.Sprintf("%d:%d: %s", line, column, message); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestProblemOfOtherErrors(t *testing.T) {
	if line, column, message := Problem([]byte("a"), errors.New("yaml: whatever")); line != 1 || column != 1 || message != "whatever" {
		t.Errorf("got %d:%d: %s", line, column, message)
	}
}
