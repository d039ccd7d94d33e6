//go:build apiserver

package gauntlet

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// effect is what an event has to lead to, as GitHub sees it. It does not depend on the words of an answer.
type effect struct {
	// runs is how many Runs start.
	runs int
	// isEndless is set if the Run ends only when it is canceled. If the request is lost on the way and the cancel is not, the cancel comes
	// first, as far as Conductor knows: then it is repeated, as a person would.
	isEndless bool
	// leastReplies and mostReplies are how many replies the comment gets, besides the report of a Run.
	leastReplies, mostReplies int
}

// kind is a kind of event that the tests send.
type kind struct {
	name string
	// weight is how often it is sent, compared with the others.
	weight int
	want   effect
	send   func(w *world, o *org, n int) (sent, error)
}

// kinds is the table of events. A new trigger or command needs a row.
var kinds = []kind{
	{"tag", 20, effect{runs: 1}, sendTag},
	{"another tag", 5, effect{}, sendOtherTag},
	{"test", 20, effect{runs: 1, mostReplies: 1}, comments("/conductor test", byWriter)},
	{"test and cancel", 10, effect{runs: 1, isEndless: true, mostReplies: 2}, sendCanceled},
	{"cancel without a run", 10, effect{leastReplies: 1, mostReplies: 1}, comments("/conductor cancel", byWriter)},
	{"help", 10, effect{leastReplies: 1, mostReplies: 1}, comments("Please explain.\n\n/conductor help", byWriter)},
	{"unknown command", 5, effect{leastReplies: 1, mostReplies: 1}, comments("/conductor dance", byWriter)},
	{"talk", 20, effect{}, comments("Looks good to me", byWriter)},
	{"quoted command", 5, effect{}, comments("> /conductor test\n\nWhy?", byWriter)},
	{"a stranger's test", 5, effect{mostReplies: 1}, comments("/conductor test", byStranger)},
}

// sent is an event that was sent. Comments have an issue of their own, and tags a commit.
type sent struct {
	kind kind
	repo string
	// issue and comment are of a comment, sha is the commit of a tag.
	issue   int
	comment int64
	sha     string
	at      time.Time
}

func (s sent) String() string {
	if s.sha != "" {
		return fmt.Sprintf("%s %s of %s", s.kind.name, s.sha[:7], s.repo)
	}
	return fmt.Sprintf("%s on %s#%d", s.kind.name, s.repo, s.issue)
}

func sendTag(w *world, o *org, n int) (sent, error) {
	return w.tag(o, "run-integration-tests/"+letters(n))
}

func sendOtherTag(w *world, o *org, n int) (sent, error) { return w.tag(o, "release-"+letters(n)) }

// letters writes a number without digits: the number of an issue in a branch's name would be where the Run reports.
func letters(n int) string {
	text := []byte(fmt.Sprint(n))
	for i := range text {
		text[i] += 'a' - '0'
	}
	return string(text)
}

// tag pushes a commit of its own and a tag.
func (w *world) tag(o *org, name string) (sent, error) {
	branch := strings.ReplaceAll(name, "/", "-")
	sha, err := w.github.PushCommit(o.broken, o.writer.Login, githubtest.Commit{Branch: branch, Files: map[string]string{"branch": branch + "\n"}})
	if err != nil {
		return sent{}, err
	}
	return sent{repo: o.broken, sha: sha}, w.github.PushTag(o.broken, o.writer.Login, name, sha, "")
}

func byWriter(o *org) string   { return o.writer.Login }
func byStranger(o *org) string { return o.stranger.Login }

// comments returns a function that comments on an issue of its own.
func comments(body string, by func(*org) string) func(*world, *org, int) (sent, error) {
	return func(w *world, o *org, n int) (sent, error) {
		issue, err := w.github.CreateIssue(o.broken, by(o), fmt.Sprintf("Issue %d", n), "It does not work.")
		if err != nil {
			return sent{}, err
		}
		id, err := w.github.Comment(o.broken, by(o), issue, body)
		return sent{repo: o.broken, issue: issue, comment: id}, err
	}
}

// sendCanceled starts a Run that would not end by itself, and cancels it.
func sendCanceled(w *world, o *org, n int) (sent, error) {
	issue, err := w.github.CreateIssue(o.slow, o.writer.Login, fmt.Sprintf("Issue %d", n), "It does not work.")
	if err != nil {
		return sent{}, err
	}
	id, err := w.github.Comment(o.slow, o.writer.Login, issue, "/conductor test")
	if err != nil {
		return sent{}, err
	}
	_, err = w.github.Comment(o.slow, o.writer.Login, issue, "/conductor cancel")
	return sent{repo: o.slow, issue: issue, comment: id}, err
}

// deck returns n kinds in a random order, each as often as its weight demands.
func deck(n int, random *rand.Rand) []kind {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	var all []kind
	for i := range n {
		at := i * total / n
		for _, k := range kinds {
			if at -= k.weight; at < 0 {
				all = append(all, k)
				break
			}
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// send sends one event of a kind.
func (w *world) send(k kind, o *org, n int) sent {
	w.t.Helper()
	s, err := k.send(w, o, n)
	w.must(err)
	s.kind, s.at = k, time.Now()
	return s
}

var (
	runMark   = regexp.MustCompile(`<!-- conductor:run=([a-z0-9-]+) -->`)
	replyMark = regexp.MustCompile(`<!-- conductor:answer=([0-9]+) -->`)
)

// ledger is what GitHub has and was asked for.
type ledger struct {
	// checks are the check runs of a Run, by repository and name; runs the names of a commit's Runs, by repository and SHA; comments the App's
	// comments on an issue, by repository and number.
	checks   map[string][]githubtest.CheckRun
	runs     map[string][]string
	comments map[string][]string
	// posted are the comments that were created, by repository and number; checksPosted the check runs, by repository.
	posted       map[string]int
	checksPosted map[string]int
	checksMade   map[string]int
}

var commentPath = regexp.MustCompile(`^/repos/([^/]+/[^/]+)/issues/(\d+)/comments$`)

func at(repo string, what any) string { return fmt.Sprintf("%s#%v", repo, what) }

// read reads GitHub's state and its log of requests.
func (w *world) read(all []sent) ledger {
	w.t.Helper()
	l := ledger{map[string][]githubtest.CheckRun{}, map[string][]string{}, map[string][]string{}, map[string]int{}, map[string]int{}, map[string]int{}}
	for _, s := range all {
		if _, isKnown := l.checksMade[s.repo]; !isKnown {
			l.checksMade[s.repo] = 0
			for _, c := range w.github.CheckRuns(s.repo) {
				name, _, _ := strings.Cut(c.ExternalID, "/")
				l.checks[at(s.repo, name)] = append(l.checks[at(s.repo, name)], c)
				l.runs[at(s.repo, c.SHA)] = append(l.runs[at(s.repo, c.SHA)], name)
				l.checksMade[s.repo]++
			}
		}
		if _, isKnown := l.comments[at(s.repo, s.issue)]; s.issue != 0 && !isKnown {
			l.comments[at(s.repo, s.issue)] = w.commentsOf(s.repo, s.issue)
		}
	}
	for _, r := range w.github.Requests() {
		if r.Method != "POST" || r.Status != 201 {
			continue
		}
		if m := commentPath.FindStringSubmatch(r.Path); m != nil {
			l.posted[at(m[1], m[2])]++
		}
		if repo, ok := strings.CutSuffix(strings.TrimPrefix(r.Path, "/repos/"), "/check-runs"); ok {
			l.checksPosted[repo]++
		}
	}
	return l
}

// commentsOf returns the App's comments on an issue.
func (w *world) commentsOf(repo string, issue int) (bodies []string) {
	i, err := w.github.Issue(repo, issue)
	w.must(err)
	for _, c := range i.Comments {
		if c.Author == bot {
			bodies = append(bodies, c.Body)
		}
	}
	return bodies
}

// count returns how often an event had each effect, and whether all its Runs are reported.
func (l ledger) count(s sent) (runs, replies int, isReported bool) {
	names := map[string]bool{}
	for _, body := range l.comments[at(s.repo, s.issue)] {
		if m := runMark.FindStringSubmatch(body); m != nil {
			names[m[1]] = true
		}
		if replyMark.MatchString(body) {
			replies++
		}
	}
	for _, name := range l.runs[at(s.repo, s.sha)] {
		names[name] = s.sha != ""
	}
	isReported = true
	for name := range names {
		checks := l.checks[at(s.repo, name)]
		isReported = isReported && len(checks) > 0 &&
			!slices.ContainsFunc(checks, func(c githubtest.CheckRun) bool { return c.Status != "completed" })
	}
	return len(names), replies, isReported
}

// missing lists what was lost so far, and doubled what happened more often than it should.
func (l ledger) missing(all []sent) (missing []string) {
	for _, s := range all {
		runs, replies, isReported := l.count(s)
		switch {
		case runs < s.kind.want.runs:
			missing = append(missing, fmt.Sprintf("%s: %d of %d runs", s, runs, s.kind.want.runs))
		case replies < s.kind.want.leastReplies:
			missing = append(missing, fmt.Sprintf("%s: %d of %d replies", s, replies, s.kind.want.leastReplies))
		case !isReported:
			missing = append(missing, fmt.Sprintf("%s: a check run is not completed", s))
		}
	}
	return missing
}

func (l ledger) doubled(all []sent) (doubled []string) {
	add := func(format string, args ...any) { doubled = append(doubled, fmt.Sprintf(format, args...)) }
	for _, s := range all {
		runs, replies, _ := l.count(s)
		if runs > s.kind.want.runs {
			add("%s: %d runs, want %d", s, runs, s.kind.want.runs)
		}
		if replies > s.kind.want.mostReplies {
			add("%s: %d replies, want at most %d", s, replies, s.kind.want.mostReplies)
		}
		if n := len(l.comments[at(s.repo, s.issue)]); s.issue != 0 && (n != runs+replies || l.posted[at(s.repo, s.issue)] != n) {
			add("%s: %d comments, %d posted, for %d runs and %d replies", s, n, l.posted[at(s.repo, s.issue)], runs, replies)
		}
	}
	for where, checks := range l.checks {
		ids := map[string]int{}
		for _, c := range checks {
			if ids[c.ExternalID]++; ids[c.ExternalID] == 2 {
				add("%s: check run %s exists twice", where, c.ExternalID)
			}
		}
	}
	for repo, made := range l.checksMade {
		if posted := l.checksPosted[repo]; posted != made {
			add("%s: %d check runs were posted, %d exist", repo, posted, made)
		}
	}
	slices.Sort(doubled)
	return doubled
}

// settle waits until nothing is missing, then fails the test for what happened twice.
func (w *world) settle(all []sent, limit time.Duration) ledger {
	w.t.Helper()
	var l ledger
	var missing []string
	isRepeated := false
	for deadline := time.Now().Add(limit); ; time.Sleep(500 * time.Millisecond) {
		l = w.read(all)
		if running := l.endless(all); !isRepeated && len(running) > 0 && len(running) == len(l.missing(all)) {
			isRepeated = true
			w.cancelAgain(running)
		}
		if missing = l.missing(all); len(missing) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(missing) == 0 { // Give what is still on its way time to do harm.
		time.Sleep(quiet())
		l = w.read(all)
	}
	doubled := l.doubled(all)
	if len(missing)+len(doubled) > 0 {
		w.t.Errorf("lost: %d, doubled: %d\n%s", len(missing), len(doubled), strings.Join(append(first(missing), first(doubled)...), "\n"))
	}
	return l
}

// endless are the Runs that only a cancel ends, and that were started and did not end.
func (l ledger) endless(all []sent) (running []sent) {
	for _, s := range all {
		if runs, _, isReported := l.count(s); s.kind.want.isEndless && runs == s.kind.want.runs && !isReported {
			running = append(running, s)
		}
	}
	return running
}

// cancelAgain repeats the cancel of Runs that did not end within a moment.
func (w *world) cancelAgain(running []sent) {
	w.t.Helper()
	time.Sleep(quiet())
	again := w.read(running).endless(running)
	for _, s := range again {
		w.must(w.onBehalf(s, "/conductor cancel"))
	}
	w.t.Logf("%d Runs were canceled again: their first cancel came before the lost request", len(again))
}

// onBehalf comments as the writer of the organization that a repository belongs to.
func (w *world) onBehalf(s sent, body string) error {
	for _, o := range w.orgs {
		if strings.HasPrefix(s.repo, o.name+"/") {
			_, err := w.github.Comment(s.repo, o.writer.Login, s.issue, body)
			return err
		}
	}
	return fmt.Errorf("%s belongs to no organization", s.repo)
}

// quiet is how long a test watches for late effects.
func quiet() time.Duration { return time.Duration(size(2, 1)) * lease }

func first(lines []string) []string { return lines[:min(len(lines), 15)] }

// latencies collects durations.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

// at returns a quantile.
func (l *latencies) at(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	return l.all[int(q*float64(len(l.all)-1))].Round(time.Millisecond)
}
