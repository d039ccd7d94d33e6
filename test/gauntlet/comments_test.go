//go:build apiserver

package gauntlet

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// inert hide a command: none of them may start a Run, whoever writes it.
var inert = []string{
	"```\n%s\n```", "~~~sh\n%s\n~~~", "````\n```\n%s\n```\n````", "```\n%s", "> %s", "> > %s", "<!-- %s -->", "<!--\n%s\n-->", "`%s`", "    %s",
	"see docs%s", "please %s", "/%s", "\\%s", "- [ ] x %s", "| %s |", "<pre>%s</pre>", "http://x%s", "\x00%s", "\uff0f%s", "\u0301%s",
}

// pieces make up random comments.
var pieces = []string{
	"/conductor", "/conductor test", "/conductor cancel", "/conductor help", "/CONDUCTOR TEST", "/conductor\ttest", "test", "cancel", "--suite", "--suite=",
	"--reason", "--reason='", `"`, "'", "\\", "\n", "\r\n", "\r", "\n\n", "```\n", "~~~\n", "> ", "<!--", "-->", "    ", "\t", "\u200b", "\u202e", "\ufeff", "\x00",
	"$(reboot)", "`id`", "../../etc/passwd", "; rm -rf /", "@acme/all", "<script>", "<!-- conductor:run=x -->", "<!-- conductor:answer=1 -->", "é", "日本", "💥",
	"--", "-x", "=", "%s%n", "{{.}}", "\u0301\u0301\u0301", "test test test", "/conductor test --suite a --suite b -- c", "/conductor cancel --reason ",
}

// gibberish returns a random comment of at most GitHub's length.
func gibberish(random *rand.Rand) string {
	var b strings.Builder
	for range 1 + random.IntN(40) {
		piece := pieces[random.IntN(len(pieces))]
		n := 1
		if random.IntN(60) == 0 {
			n = 1 + random.IntN(60_000/(len(piece)+1))
		}
		b.WriteString(strings.Repeat(piece, n))
		if random.IntN(3) == 0 {
			b.WriteByte(" \n"[random.IntN(2)])
		}
	}
	text := []rune(strings.ToValidUTF8(b.String(), "?"))
	return string(text[:min(len(text), 65_536)])
}

// TestHostileComments writes comments that try to be more than they are. Where no command is visible, or the author may not, nothing
// starts; nothing makes a process panic; a comment gets at most one reply.
func TestHostileComments(t *testing.T) {
	aside(t)
	w := newWorld(t, 2)
	random := w.random(5)
	other, err := w.github.CreateApp(githubtest.AppOptions{Slug: "other", Permissions: githubtest.Permissions{"issues": "write"}})
	w.must(err)
	w.start()
	harmless, wild := w.orgs[0], w.orgs[1]
	count := 0
	write := func(repo, login string, issue int, body string) {
		id, err := w.github.Comment(repo, login, issue, body)
		w.must(err)
		if random.IntN(4) == 0 { // Edited comments are not read.
			w.must(w.github.EditComment(repo, login, issue, id, "/conductor test"))
		}
		count++
	}
	issues := map[string][]int{}
	open := func(o *org) int {
		n, err := w.github.CreateIssue(o.broken, o.writer.Login, "Hostile", "It does not work.")
		w.must(err)
		issues[o.broken] = append(issues[o.broken], n)
		return n
	}
	issue := open(harmless)
	for _, format := range inert {
		for _, login := range []string{harmless.writer.Login, harmless.stranger.Login} {
			write(harmless.broken, login, issue, fmt.Sprintf(format, "/conductor test"))
		}
	}
	for _, login := range []string{bot, other.Bot} {
		write(harmless.broken, login, open(harmless), "/conductor test")
	}
	for n := range size(600, 100) {
		if n%20 == 0 {
			issue = open(harmless)
			open(wild)
		}
		write(harmless.broken, harmless.stranger.Login, issue, gibberish(random))
		write(wild.broken, wild.writer.Login, issues[wild.broken][len(issues[wild.broken])-1], gibberish(random))
	}
	last := w.send(kinds[kindNamed("help")], wild, 1) // When it is answered, so is everything before it of other issues, or soon.
	w.settle([]sent{last}, 2*time.Minute)
	w.within("all deliveries are processed", 2*time.Minute, func() bool { return w.openDeliveries() == 0 })
	if n := len(w.github.CheckRuns(harmless.broken)); n > 0 {
		t.Errorf("%d check runs where no one could start a run", n)
	}
	replies := w.onceEach(issues)
	t.Logf("%d comments, %d replies, %d check runs for those who may", count, replies, len(w.github.CheckRuns(wild.broken)))
}

// openDeliveries counts the Deliveries that were not processed yet.
func (w *world) openDeliveries() (n int) {
	w.t.Helper()
	for _, d := range w.deliveries() {
		if d.Status.ProcessedAt == nil {
			n++
		}
	}
	return n
}

func (w *world) deliveries() []v1alpha1.Delivery {
	w.t.Helper()
	var list v1alpha1.DeliveryList
	w.must(admin.List(w.t.Context(), &list, client.InNamespace(w.space)))
	return list.Items
}

// onceEach fails the test if a comment has more than one reply. It returns the number of replies.
func (w *world) onceEach(issues map[string][]int) (replies int) {
	w.t.Helper()
	for repo, numbers := range issues {
		for _, number := range numbers {
			seen := map[string]int{}
			for _, body := range w.commentsOf(repo, number) {
				first, _, _ := strings.Cut(body, "\n")
				if m := replyMark.FindStringSubmatch(first); m != nil {
					replies++
					if seen[m[1]]++; seen[m[1]] == 2 {
						w.t.Errorf("comment %s on %s#%d has two replies", m[1], repo, number)
					}
				}
			}
		}
	}
	return replies
}

// maxStored is how many Deliveries a stranger may make Conductor keep: 200 at once on each of two replicas, and a few over time.
const maxStored = 440

// TestStranger writes thousands of comments with a command that their author may not use.
func TestStranger(t *testing.T) {
	aside(t)
	w := newWorld(t, 1)
	w.start()
	o := w.orgs[0]
	var issues []int
	for range 8 {
		n, err := w.github.CreateIssue(o.broken, o.writer.Login, "Spam", "It does not work.")
		w.must(err)
		issues = append(issues, n)
	}
	total := size(8000, 800)
	spam := func(from, to int) {
		for n := from; n < to; n++ {
			_, err := w.github.Comment(o.broken, o.stranger.Login, issues[n%len(issues)], fmt.Sprintf("/conductor test --suite s%d", n))
			w.must(err)
		}
		w.within("GitHub has delivered everything", 3*time.Minute, func() bool {
			log := w.github.Deliveries(w.app.ID)
			return log[len(log)-1].Done
		})
		w.within("all deliveries are processed", 2*time.Minute, func() bool { return w.openDeliveries() == 0 })
	}
	spam(0, total/4)
	before := w.memory()
	spam(total/4, total)
	after := w.memory()
	words := 0
	for _, n := range issues {
		answers := len(w.commentsOf(o.broken, n))
		words += answers
		if answers > 1 {
			t.Errorf("%d answers in words on #%d", answers, n)
		}
	}
	stored := len(w.deliveries())
	t.Logf("%d comments: %d Deliveries stored, %d answers on %d issues; resident memory %v MiB after a quarter, %v at the end", total, stored, words,
		len(issues), before, after)
	if stored > maxStored {
		t.Errorf("%d Deliveries are stored, want at most %d", stored, maxStored)
	}
	if runs := len(w.github.CheckRuns(o.broken)); runs > 0 || words == 0 {
		t.Errorf("%d check runs, %d answers", runs, words)
	}
	w.isFlat(before, after)
}

// memory returns the resident memory of each replica in MiB.
func (w *world) memory() (all []int) {
	for _, r := range w.replicas {
		now, _ := r.resident()
		all = append(all, now)
	}
	return all
}

// isFlat fails the test if memory grew by more than a quarter and 16 MiB.
func (w *world) isFlat(before, after []int) {
	w.t.Helper()
	for i := range before {
		if after[i] > before[i]*5/4+16 {
			w.t.Errorf("%s: %d MiB, then %d MiB", w.replicas[i].name, before[i], after[i])
		}
	}
}
