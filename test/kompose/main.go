// Command kompose compares Conductor's conversion with that of Kompose's library in one process: time and memory for each project of
// a corpus, and for generated stacks of growing size.
//
//	go -C test/kompose run . -corpus DIR
//
// DIR has corpus.json, a list of projects with the fields name, files and profiles, and a directory for each of them.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// noise is by how much the ratio of two runs differs on a busy machine.
const noise = 0.1

// project is one compose project to convert.
type project struct {
	Name     string   `json:"name"`
	Files    []string `json:"files"`
	Profiles []string `json:"profiles"`
	dir      string
}

// result holds the measurements of both programs on one project, and of the library with which both load it.
type result struct {
	project
	conductor, kompose, loader measurement
}

// both reports whether both programs converted it.
func (r result) both() bool { return r.conductor.err == nil && r.kompose.err == nil }

// ratio is how many times as long Kompose takes.
func (r result) ratio() float64 { return float64(r.kompose.per) / float64(r.conductor.per) }

const (
	heading = "%-32s %12s %10s %12s %10s %12s %8s\n"
	row     = "%-32s %12s %10s %12s %10s %12s"
)

func (r result) String() string {
	line := fmt.Sprintf(row, r.Name, r.conductor.time(), r.conductor.memory(), r.kompose.time(), r.kompose.memory(), r.loader.time())
	if r.both() {
		line += fmt.Sprintf(" %7.1fx", r.ratio())
	}
	return line
}

func main() {
	corpus := flag.String("corpus", "", "a directory of compose projects")
	budget := flag.Duration("time", 300*time.Millisecond, "how long each program converts each project")
	sizes := []int{50, 100, 200}
	flag.Parse()
	if err := run(os.Stdout, *corpus, sizes, *budget); err != nil {
		fmt.Fprintln(os.Stderr, "kompose:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, corpus string, sizes []int, budget time.Duration) error {
	k, err := newKompose()
	if err != nil {
		return err
	}
	defer k.close()
	tmp, err := os.MkdirTemp("", "stacks-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	var missed []error
	if corpus != "" {
		projects, err := read(corpus)
		if err != nil {
			return err
		}
		missed = append(missed, reportCorpus(out, measureAll(projects, k, budget)))
	}
	var stacks []result
	for _, n := range sizes {
		p, err := generate(tmp, n)
		if err != nil {
			return err
		}
		stacks = append(stacks, measureAll([]project{p}, k, budget)...)
	}
	missed = append(missed, reportStacks(out, stacks, sizes))
	return errors.Join(missed...)
}

// read lists the projects of a corpus.
func read(dir string) ([]project, error) {
	data, err := os.ReadFile(filepath.Join(dir, "corpus.json"))
	if err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	var all []project
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	for i := range all {
		all[i].dir = filepath.Join(dir, all[i].Name)
	}
	return all, nil
}

func measureAll(projects []project, k *kompose, budget time.Duration) []result {
	var out []result
	for _, p := range projects {
		m := measure(budget, func() error { return convert(p) }, func() error { return k.convert(p) }, func() error { return load(p) })
		out = append(out, result{project: p, conductor: m[0], kompose: m[1], loader: m[2]})
	}
	return out
}

// reportCorpus prints one line for each project, and compares those that both convert.
func reportCorpus(out io.Writer, results []result) error {
	fmt.Fprintf(out, heading, "project", "conductor", "memory", "kompose", "memory", "compose-go", "ratio")
	var times, ratios []float64
	for _, r := range results {
		fmt.Fprintln(out, r)
		for i, m := range []measurement{r.conductor, r.kompose} {
			if m.err != nil {
				fmt.Fprintf(out, "    %s: %s\n", []string{"conductor", "kompose"}[i], firstLine(m.err))
			}
		}
		if r.both() {
			ratios, times = append(ratios, r.ratio()), append(times, float64(r.conductor.per))
		}
	}
	if len(ratios) == 0 {
		return errors.New("no project of the corpus is converted by both")
	}
	slices.Sort(ratios)
	slices.Sort(times)
	fmt.Fprintf(out, "\nBoth convert %d of %d projects. Conductor takes %s per project in the median, %s at most.\n", len(ratios), len(results),
		time.Duration(at(times, 0.5)).Round(time.Microsecond), time.Duration(times[len(times)-1]).Round(time.Microsecond))
	fmt.Fprintf(out, "Kompose takes %.1f times as long in the median (%.1f to %.1f). ", at(ratios, 0.5), ratios[0], ratios[len(ratios)-1])
	return compare(out, results)
}

// reportStacks prints one line for each size, and how both grow from the smallest to the largest.
func reportStacks(out io.Writer, results []result, sizes []int) error {
	fmt.Fprintf(out, "\n"+heading, "generated", "conductor", "memory", "kompose", "memory", "compose-go", "ratio")
	for _, r := range results {
		if err := cmp.Or(r.conductor.err, r.kompose.err); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		fmt.Fprintln(out, r)
	}
	first, last := results[0], results[len(results)-1]
	more := float64(sizes[len(sizes)-1]) / float64(sizes[0])
	grown := float64(last.conductor.per) / float64(first.conductor.per)
	fmt.Fprintf(out, "\n%.0f times as many services take Conductor %.1f times as long and %.1f times the memory, Kompose %.1f times as long.\n",
		more, grown, float64(last.conductor.bytes)/float64(first.conductor.bytes), float64(last.kompose.per)/float64(first.kompose.per))
	err := compare(out, results[len(results)-1:])
	if grown > 1.5*more {
		err = errors.Join(err, fmt.Errorf("time grows by %.1f where the stack grows by %.0f", grown, more))
	}
	return err
}

// compare prints how many projects take Conductor longer than Kompose, and the totals of both and of compose-go, which both load with. It
// returns an error if Conductor takes longer in all, by more than what two runs differ in.
func compare(out io.Writer, results []result) error {
	var ours, theirs, loading time.Duration
	slower, compared := 0, 0
	for _, r := range results {
		if !r.both() || r.loader.err != nil {
			continue
		}
		ours, theirs, loading = ours+r.conductor.per, theirs+r.kompose.per, loading+r.loader.per
		if compared++; r.ratio() < 1 {
			slower++
		}
	}
	ratio := float64(theirs) / float64(ours)
	fmt.Fprintf(out, "In all Conductor takes %s, Kompose %s: %.2f times as long; the goal is 1 or more. Conductor takes longer with %d of %d. "+
		"compose-go, which both load with, takes %s of each.\n", ours.Round(time.Millisecond), theirs.Round(time.Millisecond), ratio, slower, compared,
		loading.Round(time.Millisecond))
	if ratio < 1-noise {
		return fmt.Errorf("conversion is slower than Kompose's, which takes %.2f times as long in all", ratio)
	}
	return nil
}

// at is a quantile of sorted values.
func at(sorted []float64, q float64) float64 { return sorted[int(q*float64(len(sorted)-1))] }

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
