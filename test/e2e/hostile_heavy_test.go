//go:build e2e && hostile

package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// slack is added to twice the quiet time as the limit of a normal run: the kubelet reports the end of a container up to a second late, and
// a run waits for three of them.
const slack = 3 * time.Second

// heavyTime is how long a run that is not refused may take.
const heavyTime = 10 * time.Minute

// heavy are repositories that are not refused: hostile ones just below a bound, and large honest ones.
var heavy = []greedy{
	{name: "A1 mounts of 208 MiB", fill: servedMounts(60), outcome: v1alpha1.OutcomePassed, within: heavyTime},
	{name: "A3 24 attempts of 1,000 failing tests", fill: traces, outcome: v1alpha1.OutcomeFailed, want: []string{`8,?000`, `\b100\b`}, within: heavyTime},
	{name: "A3 8 attempts of the largest size", fill: manyCases(8), outcome: v1alpha1.OutcomeFailed, want: []string{`memory\.results|\b\d+ ?Mi`}, within: heavyTime},
	{name: "A4 five small archives of 200 MiB", fill: zeros(200), copies: 5, outcome: v1alpha1.OutcomePassed, within: heavyTime},
	{name: "A4 22 noisy services", fill: noisy(22, 24), outcome: v1alpha1.OutcomePassed, within: heavyTime},
	{name: "B6 the largest plan that is accepted", fill: largestPlan, outcome: v1alpha1.OutcomeFailed, within: heavyTime},
	{name: "200 MB in 20,000 files", fill: manyFiles(20_000, 10_000), outcome: v1alpha1.OutcomePassed, within: heavyTime},
	{name: "20 MB of mounted content", fill: mountedContent(20), outcome: v1alpha1.OutcomePassed, within: heavyTime},
}

// TestHostile runs each hostile or heavy repository together with a normal one and prints the table. The poison Run comes last.
func TestHostile(t *testing.T) {
	limit := enforcedLimit(t)
	n := &normal{repo: small(t, keeping("1s"))} // Kept stacks would slow down later runs.
	n.run(t)                                    // The first run pulls images.
	quiet := []time.Duration{n.run(t), n.run(t), n.run(t)}
	h := &table{normal: n, limit: limit, quiet: median(quiet)}
	t.Logf("quiet: %v", quiet)
	defer h.print()
	for _, one := range append(append([]greedy{}, refusals...), heavy...) {
		t.Run(one.name, func(t *testing.T) { h.beside(t, one) })
	}
	t.Run("poison", h.poison)
}

// table holds the measurements.
type table struct {
	normal *normal
	limit  int64
	quiet  time.Duration
	rows   []row
}

func (h *table) print() {
	fmt.Printf("\nThe limit of each replica is %d MiB; the normal run takes %.1f s by itself.\n\n%s\n", h.limit>>20, h.quiet.Seconds(), tableHead)
	for _, r := range h.rows {
		fmt.Println(r)
	}
	fmt.Println()
}

// tidy waits after a test until everything of its runs is deleted, so that it does not disturb the next test.
func tidy(t *testing.T) {
	t.Cleanup(func() { eventually(t, heavyTime, func() error { return remains(context.Background()) }) })
}

// beside pushes a hostile repository and runs the normal one repeatedly until the hostile runs are over.
func (h *table) beside(t *testing.T, one greedy) {
	tidy(t)
	all := one.ask(t)
	w := watchConductor(t)
	for _, a := range all {
		a.start()
	}
	r := row{name: one.name, quiet: h.quiet, outcome: "it did not end"}
	defer func() { h.rows = append(h.rows, r) }()
	began := time.Now()
	for over := false; !over; {
		r.normal = append(r.normal, h.normal.run(t))
		over = time.Since(began) > heavyTime || allOver(all)
	}
	var runs []*v1alpha1.Run
	for _, a := range all {
		runs = append(runs, a.ended(t))
	}
	r.used = w.stop(t)
	r.outcome, r.sentence = string(runs[0].Status.Outcome), runs[0].Status.Message
	t.Log(r)
	for i, a := range all {
		a.judge(t, runs[i])
	}
	r.used.accept(t, len(all)+1, h.limit)
	// Medians are compared, since the slowest run mostly measures how busy the node's kubelet is.
	if usual, most := median(r.normal), 2*h.quiet+slack; usual > most {
		t.Errorf("a normal run took %s beside it, and at most %s is allowed: twice its quiet time and %s; all: %v", usual, most, slack, r.normal)
	}
}

func allOver(all []asked) bool {
	for _, a := range all {
		if !a.isOver() {
			return false
		}
	}
	return true
}

// suiteIn is a .conductor.yaml with one suite in busybox, with further keys and a script.
func suiteIn(keys, script string) string {
	return "version: 1\ntests:\n  results:\n    image: busybox:1.36\n" + keys + "    command: |\n      " + strings.ReplaceAll(strings.TrimSpace(script), "\n", "\n      ") + "\n"
}

// servedStack is a stack of one service that serves its directory /m.
const servedStack = `services:
  web:
    image: busybox:1.36
    command: httpd -f -p 8080 -h /m
    expose:
      - "8080"
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1:8080/%[1]s
      interval: 1s
      timeout: 5s
      retries: 60
    stop_grace_period: 1s
    volumes:
%[2]s`

// fetches is a script that passes if a file that web serves has the hash of the content.
func fetches(path string, content []byte) string {
	return fmt.Sprintf("wget -q -O got http://web:8080/%s\necho '%x  got' | sha256sum -c", path, sha256.Sum256(content))
}

// servedMounts is attack A1 below the bound: the content of the last directory must arrive unchanged.
func servedMounts(directories int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		list := mountsOf(tree, directories)
		last := fmt.Sprintf("d%d/f%d", directories-1, mountedFiles-1)
		repositoryOf(tree, suiteIn("", fetches(last, noise(1, mountedSize))), fmt.Sprintf(servedStack, last, list))
	}
}

// mountedContent is an honest repository: mib MiB of test data, mounted by a service and by a suite.
func mountedContent(mib int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		var last []byte
		for i := range mib {
			last = noise(uint64(i), 1<<20)
			tree.File(fmt.Sprintf("data/%d.bin", i), tree.Blob(last))
		}
		name := fmt.Sprintf("%d.bin", mib-1)
		config := suiteIn("", fetches(name, last)) + "  mounted:\n    service: mounted\n"
		check := fmt.Sprintf("  mounted:\n    image: busybox:1.36\n    command: sh -c \"echo '%x  /m/%s' | sha256sum -c\"\n    volumes:\n      - ./data:/m:ro\n", sha256.Sum256(last), name)
		repositoryOf(tree, config, fmt.Sprintf(servedStack, name, "      - ./data:/m:ro\n")+check)
	}
}

// traces is attack A3 from honest use: the database did not start, and each of 1,000 tests has a trace of 15 KiB, in 8 shards with three
// attempts each.
func traces(tree *lab.Tree) {
	repositoryOf(tree, suiteIn("    shards: 8\n    retry: 2\n", `
awk -v shard=$CONDUCTOR_SHARD 'BEGIN {
  while (length(trace) < 15360) trace = trace "    at checkout.place (src/checkout.js:42:7)\n"
  print "<testsuite>"
  for (i = 0; i < 1000; i++) printf "<testcase classname=\"shard %d\" name=\"case %d\"><failure message=\"no database\">%s</failure></testcase>\n", shard, i, trace
  print "</testsuite>"
}' >junit.xml
exit 1`), idleWeb)
}

// manyCases is attack A3: shards with the maximum number of cases (internal/testreport, MaxCases), each with names of the maximum size that
// differ between shards.
func manyCases(shards int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		repositoryOf(tree, suiteIn(fmt.Sprintf("    shards: %d\n", shards), `
awk -v mine="$CONDUCTOR_SHARD" 'BEGIN {
  while (length(long) < 1000) long = long "long-"
  print "<testsuite>"
  for (i = 0; i < 20000; i++) printf "<testcase classname=\"%s%s\" name=\"%s%d\"><failure message=\"%s\"/></testcase>\n", long, mine, long, i, long
  print "</testsuite>"
}' >junit.xml
exit 1`), idleWeb)
	}
}

// noisy is attack A4 with logs: services that each print mib MiB of barely compressible text, 384 KiB a second. A run may print ten times
// as much; this exceeds Conductor's memory and is what a node can handle besides a normal run.
func noisy(services, mib int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		const line = 384 << 10
		seconds := mib << 20 / line
		script := fmt.Sprintf("for i in $$(seq %d); do head -c %d /dev/urandom | base64 -w 0; echo; sleep 1; done; exec sleep 3600", seconds, line/4*3)
		compose := &strings.Builder{}
		fmt.Fprintf(compose, "x-noise: &noise\n  image: busybox:1.36\n  command: [\"sh\", \"-c\", %q]\n  stop_grace_period: 1s\nservices:\n", script)
		for i := range services {
			fmt.Fprintf(compose, "  s%d: *noise\n", i)
		}
		repositoryOf(tree, suiteIn("", fmt.Sprintf("sleep %d", seconds+10)), compose.String())
	}
}

// largestPlan has the largest accepted product of suites, shards and attempts, 256; one of each suite's eight shards always fails.
func largestPlan(tree *lab.Tree) {
	config := "version: 1\ntests:\n"
	for i := range 8 {
		config += fmt.Sprintf("  suite-%d: {image: \"busybox:1.36\", shards: 8, retry: 3, command: '[ \"$CONDUCTOR_SHARD\" != 7 ]'}\n", i)
	}
	repositoryOf(tree, config, idleWeb)
}

// manyFiles is an honest large repository: a number of text files of a size in bytes.
func manyFiles(files, size int) func(*lab.Tree) {
	return func(tree *lab.Tree) {
		repositoryOf(tree, smokeOnly, idleWeb)
		text := prose(4 << 20)
		random := rand.New(rand.NewPCG(2, 0))
		for i := range files {
			from := random.IntN(len(text) - size)
			head := fmt.Sprintf("// File %d.\n", i)
			tree.Text(fmt.Sprintf("src/%d/%d.txt", i/100, i), head+text[from:from+size-len(head)])
		}
	}
}

// prose is text that is as compressible as natural language.
func prose(size int) string {
	random := rand.New(rand.NewPCG(3, 0))
	words := make([]string, 4000)
	for i := range words {
		word := make([]byte, 2+random.IntN(10))
		for k := range word {
			word[k] = byte('a' + random.IntN(26))
		}
		words[i] = string(word)
	}
	text := &strings.Builder{}
	for text.Len() < size {
		// Some words are much more frequent than others.
		text.WriteString(words[random.IntN(1+random.IntN(len(words)))])
		text.WriteByte(' ')
	}
	return text.String()
}
