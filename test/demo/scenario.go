package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// scenario is a run that does not pass, of a repository below examples/scenarios.
type scenario struct {
	// values override the chart's.
	values map[string]any
	// files are written into the repository before the push; %s is replaced with a random word.
	files map[string]string
	// expected describes a right report; check returns what is wrong with this one.
	expected string
	check    func(context.Context, *report) ([]string, error)
}

var scenarios = map[string]scenario{
	"failing-test": {
		expected: "name, message and line of the failing test, which the run made up, are in the annotation, the comment and the record",
		check:    failingTest,
	},
	"crash-loop": {
		files:    map[string]string{".env": "WORD=%s\n"},
		expected: "it names the service that crashed and its last lines, and did not wait for the timeout of the stack",
		check:    crashLoop,
	},
	"build-oom": {
		values:   map[string]any{"builds": map[string]any{"memoryLimit": "160Mi"}},
		expected: "it reports that the build ran out of memory, and which setting to raise",
		check:    buildOutOfMemory,
	},
	"hang": {
		expected: "it reports that the tests exceeded their timeout",
		check:    hang,
	},
}

func scenarioNames() []string { return slices.Sorted(maps.Keys(scenarios)) }

// changes are the scenario's files with the word filled in.
func (s scenario) changes(word string) map[string]string {
	files := map[string]string{}
	for name, text := range s.files {
		files[name] = fmt.Sprintf(text, word)
	}
	return files
}

// word is random.
func word() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// wrongs collects deviations.
type wrongs []string

func (w *wrongs) want(ok bool, format string, args ...any) {
	if !ok {
		*w = append(*w, fmt.Sprintf(format, args...))
	}
}

// holds requires a text in every place.
func (w *wrongs) holds(text string, places map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(places)) {
		w.want(strings.Contains(places[name], text), "%s does not hold %q", name, text)
	}
}

// check returns the run's only check run, which must have this conclusion.
func (t *report) check(w *wrongs, conclusion string) (title, text string) {
	if len(t.checks) != 1 || t.checks[0].Conclusion != conclusion {
		w.want(false, "the check runs are not one that concluded %q: %+v", conclusion, t.checks)
		return "", ""
	}
	return t.checks[0].Title, t.checks[0].Summary + t.checks[0].Text
}

// failingTest compares the report with what the test invented, which is in its log in the cluster.
func failingTest(ctx context.Context, t *report) ([]string, error) {
	text, err := t.lab.Kubectl(ctx, "-n", t.run.Status.Namespace, "logs", "-l", v1alpha1.LabelStage+"=test", "-c", "test", "--tail=-1")
	if err != nil {
		return nil, err
	}
	_, line, ok := strings.Cut(text, "made up: ")
	if !ok {
		return nil, errors.New("the test did not say what it made up: " + text)
	}
	line, _, _ = strings.Cut(line, "\n")
	var made struct {
		Name, Message string
		Line          int
	}
	if err := json.Unmarshal([]byte(line), &made); err != nil {
		return nil, fmt.Errorf("read what the test made up: %w", err)
	}
	const file = "test/shelf.test.mjs"
	fmt.Printf("The test made up: %q, %q, %s:%d.\n", made.Name, made.Message, file, made.Line)
	var w wrongs
	w.want(t.run.Status.Outcome == v1alpha1.OutcomeFailed, "the outcome is %q", t.run.Status.Outcome)
	_, check := t.check(&w, "failure")
	place := fmt.Sprintf("%s:%d", file, made.Line)
	for _, text := range []string{made.Name, made.Message, place} {
		w.holds(text, map[string]string{"the comment": t.comment, "the check run": check, "what `conductor runs record` prints": t.printed})
	}
	for _, c := range t.checks {
		good := len(c.Annotations) == 1
		if good {
			a := c.Annotations[0]
			good = a.Path == file && a.StartLine == made.Line && strings.Contains(a.Title, made.Name) && strings.Contains(a.Message, made.Message)
		}
		w.want(good, "the annotations are not the one of the failing test: %+v", c.Annotations)
	}
	for _, s := range t.result.Suites {
		w.want(slices.ContainsFunc(s.Cases, func(c evidence.Case) bool {
			return c.Name == made.Name && c.Message == made.Message && c.File == file && c.Line == made.Line && c.Status == evidence.Failed
		}), "the record's result.json does not hold the case: %+v", s.Cases)
	}
	w.want(len(t.result.Suites) == 1, "the record has %d suites", len(t.result.Suites))
	return w, nil
}

func crashLoop(_ context.Context, t *report) ([]string, error) {
	var w wrongs
	w.want(t.run.Status.Outcome == v1alpha1.OutcomeError, "the outcome is %q", t.run.Status.Outcome)
	_, check := t.check(&w, "failure")
	places := map[string]string{"the comment": t.comment, "the check run": check, "what `conductor runs record` prints": t.printed}
	w.holds("ledger", places)
	delete(places, "what `conductor runs record` prints")
	w.holds("the ledger is locked by "+t.word, places)
	c := meta.FindStatusCondition(t.run.Status.Conditions, v1alpha1.ConditionStackReady)
	w.want(c != nil && c.Reason == v1alpha1.ReasonCrashed, "the stack's condition does not say that a service crashed: %+v", c)
	took := t.run.Status.FinishedAt.Sub(t.run.Status.StartedAt.Time)
	w.want(took < 5*time.Minute, "it took %s, where the stack had ten minutes", took)
	return w, nil
}

func buildOutOfMemory(_ context.Context, t *report) ([]string, error) {
	var w wrongs
	w.want(t.run.Status.Outcome == v1alpha1.OutcomeError, "the outcome is %q", t.run.Status.Outcome)
	_, check := t.check(&w, "failure")
	for _, text := range []string{"builds.memoryLimit", "160Mi"} {
		w.holds(text, map[string]string{"the comment": t.comment, "the check run": check, "what `conductor runs record` prints": t.printed})
	}
	c := meta.FindStatusCondition(t.run.Status.Conditions, v1alpha1.ConditionImagesBuilt)
	w.want(c != nil && c.Reason == v1alpha1.ReasonOutOfMemory, "the condition of the images does not say so: %+v", c)
	return w, nil
}

func hang(_ context.Context, t *report) ([]string, error) {
	var w wrongs
	title, check := t.check(&w, "timed_out")
	w.holds("did not end within 5s", map[string]string{
		"the comment": t.comment, "the check run's title": title, "the check run": check, "what `conductor runs record` prints": t.printed,
	})
	w.holds("waiting for an answer that nobody gives", map[string]string{"the comment": t.comment})
	for _, s := range t.result.Suites {
		w.want(len(s.Attempts) == 1 && s.Attempts[0].TimedOut, "the attempt in the record did not time out: %+v", s.Attempts)
	}
	w.want(len(t.result.Suites) == 1, "the record has %d suites", len(t.result.Suites))
	return w, nil
}
