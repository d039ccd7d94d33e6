package result

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

const (
	// maxRead limits a result.json, maxValue a single value in it, in bytes.
	maxRead  = 256 << 20
	maxValue = 4 << 20
	// suiteSize is the memory of a suite without its texts, attempts and cases.
	suiteSize = 1 << 10
	// maxAttempts is more than a suite can have.
	maxAttempts = 1000
)

// Kept is a suite's result and the memory that was granted for it.
type Kept struct {
	Suite evidence.Suite
	Size  int64
}

// Recorded is the part of a result.json that a report needs.
type Recorded struct {
	Suites   []Kept
	Images   []evidence.Image
	Services []evidence.Service
}

// Result returns the parts of the record that were read.
func (r Recorded) Result() evidence.Result {
	out := evidence.Result{Images: r.Images, Services: r.Services}
	for _, kept := range r.Suites {
		out.Suites = append(out.Suites, kept.Suite)
	}
	return out
}

// Read reads a result.json, one test case at a time, within the memory that grow grants. On error it returns nothing and releases all
// memory.
func Read(in io.Reader, grow Grow) (Recorded, error) {
	var out Recorded
	s := evidence.NewStream(in, maxRead, maxValue)
	err := s.Object(func(field string) error {
		switch field {
		case "schemaVersion":
			version := 0
			if err := s.Value(&version); err != nil || version <= evidence.SchemaVersion {
				return err
			}
			return fmt.Errorf("version %d is not supported by this version of Conductor", version)
		case "suites":
			return s.Array(func() error {
				k := &keeper{budget: budget{grow: grow}}
				suite, err := readSuite(s, k)
				out.Suites = append(out.Suites, Kept{suite, k.held})
				return err
			})
		case "images":
			return s.Value(&out.Images)
		case "services":
			return s.Value(&out.Services)
		}
		return s.Skip()
	})
	if err != nil {
		for _, one := range out.Suites {
			grow(-one.Size)
		}
		return Recorded{}, fmt.Errorf("read %s: %w", evidence.ResultName, err)
	}
	return out, nil
}

// readSuite reads one suite, its attempts and cases one by one.
func readSuite(s *evidence.Stream, k *keeper) (evidence.Suite, error) {
	var out evidence.Suite
	if !k.take(suiteSize) {
		return out, evidence.ErrTooLarge
	}
	rest := map[string]json.RawMessage{}
	var attempts []evidence.Attempt
	err := s.Object(func(field string) error {
		switch field {
		case "attempts":
			return s.Array(func() error {
				var a evidence.Attempt
				if err := s.Value(&a); err != nil {
					return err
				}
				if len(attempts) == maxAttempts || !k.hold(&a) {
					return evidence.ErrTooLarge
				}
				attempts = append(attempts, a)
				return nil
			})
		case "cases":
			return s.Array(func() error {
				var c evidence.Case
				err := s.Value(&c)
				k.add(c)
				return err
			})
		case "name", "outcome", "exitCode", "message", "startedAt", "finishedAt", "shards", "totals", "compared", "usage", "log":
			var raw json.RawMessage
			if err := s.Value(&raw); err != nil {
				return err
			}
			if !k.take(2 * int64(len(raw))) {
				return evidence.ErrTooLarge
			}
			rest[field] = raw
			return nil
		}
		return s.Skip()
	})
	if err == nil {
		err = assemble(rest, &out)
	}
	out.Attempts, out.Cases = attempts, k.cases()
	if len(out.Attempts) > 0 {
		first := &out.Attempts[0]
		for _, note := range slices.Backward(k.notes()) {
			if !slices.Contains(first.Problems, note) {
				first.Problems = slices.Insert(first.Problems, 0, note)
			}
		}
	}
	k.settle()
	return out, err
}

// assemble decodes a suite from its fields.
func assemble(fields map[string]json.RawMessage, out *evidence.Suite) error {
	data, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}
