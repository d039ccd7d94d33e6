package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

const (
	// manyCases is the number of a run's test cases, every hundredth of them failing.
	manyCases = 5000
	failEach  = 100
)

// logSizes are the sizes of the test's log, in MiB.
var logSizes = []int{2, 20, 200}

// evidenceRun holds the measurements of one run.
type evidenceRun struct {
	mib int
	// reported and recorded are from the test's end until the outcome is on GitHub, and until the record is stored and the stack settled.
	reported, recorded time.Duration
	// begun is the leader's resident memory before the run, peak its peak, agent that of the stack's agent, in MiB; 0 is unknown, since only
	// processes on this machine can be inspected.
	begun, peak, agent float64
	// record is the size of the record, text that of the log in it, in MiB.
	record, text float64
}

// evidence measures how many test cases and long logs affect report and record. Each run has a freshly started leader.
func (b *bench) evidence(ctx context.Context) error {
	r, err := b.emptyRepository(ctx, "talkative")
	if err != nil {
		return err
	}
	var all []evidenceRun
	for _, mib := range logSizes {
		if err := b.forget(ctx); err != nil {
			return err
		}
		if err := b.scale(ctx, 0); err != nil {
			return err
		}
		if err := b.scale(ctx, 2); err != nil {
			return err
		}
		one, err := b.evidenceRun(ctx, r, mib)
		if err != nil {
			return fmt.Errorf("%d MiB: %w", mib, err)
		}
		logf("%d MiB of log: reported after %s, recorded after %s, leader %.0f MiB, agent %.0f MiB", mib, one.reported, one.recorded, one.peak, one.agent)
		all = append(all, one)
	}
	b.printEvidence(all)
	return nil
}

func (b *bench) evidenceRun(ctx context.Context, r *lab.Repository, mib int) (evidenceRun, error) {
	one := evidenceRun{mib: mib}
	var err error
	if one.begun, err = b.resident(ctx); err != nil {
		return one, err
	}
	leader, err := b.leaderUID(ctx)
	if err != nil {
		return one, err
	}
	if err := r.Write(ctx, talkativeRepository(mib)); err != nil {
		return one, err
	}
	run, err := b.oneRun(ctx, r)
	if err != nil {
		return one, err
	}
	if run.Status.Suites[0].Totals == nil || run.Status.Suites[0].Totals.Tests != manyCases || run.Status.Suites[0].Totals.Failed != manyCases/failEach {
		return one, fmt.Errorf("the run does not have the test cases: %+v, problems %q", run.Status.Suites[0].Totals, run.Status.Suites[0].Problems)
	}
	end := run.Status.Suites[0].FinishedAt.Time
	for _, s := range run.Status.Stages {
		switch {
		case s.FinishedAt == nil:
		case s.Name == "report":
			one.reported = s.FinishedAt.Sub(end)
		case s.Name == "keep":
			one.recorded = s.FinishedAt.Sub(end)
		}
	}
	one.peak = peak(leader)
	if one.agent, err = b.agentPeak(ctx, run); err != nil {
		return one, err
	}
	one.record = float64(run.Status.Record.Size) / (1 << 20)
	if one.text, err = b.keptLog(ctx, run); err != nil {
		return one, err
	}
	return one, b.removeRun(ctx, run)
}

// talkativeRepository is a suite that prints mib MiB, at some 20 MiB a second, and writes a JUnit file with many cases.
func talkativeRepository(mib int) map[string]string {
	const script = `
mkdir reports && awk -v n=$CASES -v each=$EACH 'BEGIN {
  print "<testsuite name=\"many\">"
  for (i = 1; i <= n; i++) {
    printf "<testcase classname=\"shop.cart\" name=\"case %d\" file=\"src/cart%d.js\" line=\"%d\" time=\"0.01\">", i, i % 50, i
    if (i % each == 0) {
      printf "<failure message=\"expected %d\">", i
      for (j = 0; j < 30; j++) printf "    at step%d (src/cart%d.js:%d:7)\n", j, i % 50, i
      printf "</failure>"
    }
    printf "<system-out>case %d ran, and says so in a line of the length that lines have</system-out></testcase>\n", i
  }
  print "</testsuite>"
}' > reports/junit.xml
i=0; while [ $i -lt $MIB ]; do
  awk -v i=$i 'BEGIN { for (j = 0; j < 8192; j++) printf "%4d %5d %-116s\n", i, j, "a test prints lines of the usual length, and nobody will ever read them" }'
  i=$((i+1)); sleep 0.05
done
exit 1
`
	return map[string]string{
		"run.sh":                script,
		"Dockerfile.test":       "FROM " + wrapperImage + "\nWORKDIR /work-dir\nCOPY run.sh /run.sh\n",
		".conductor.yaml":       fmt.Sprintf("version: 1\nkeep: 1h\ntests:\n  many:\n    command: [sh, /run.sh]\n    env: {MIB: %d, CASES: %d, EACH: %d}\n    reports: {junit: reports/junit.xml}\n", mib, manyCases, failEach),
		"docker-compose.qa.yml": "services:\n  quiet:\n    image: " + wrapperImage + "\n    command: sleep 86400\n",
	}
}

// leaderUID is the UID of the leader's pod.
func (b *bench) leaderUID(ctx context.Context) (types.UID, error) {
	name, err := b.leader(ctx)
	if err != nil {
		return "", err
	}
	p, err := b.Kube.CoreV1().Pods(lab.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("find the leader: %w", err)
	}
	return p.UID, nil
}

// agentPeak is the peak of the resident memory of a stack's agent, in MiB.
func (b *bench) agentPeak(ctx context.Context, run *v1alpha1.Run) (float64, error) {
	pods, err := b.Kube.CoreV1().Pods(run.Status.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelStage + "=" + jobs.StageAgent})
	if err != nil {
		return 0, fmt.Errorf("find the agent: %w", err)
	}
	most := 0.0
	for _, p := range pods.Items {
		most = max(most, peak(p.UID))
	}
	return most, nil
}

// peak is the largest peak of resident memory of a pod's processes on this machine, in MiB; 0 without any.
func peak(pod types.UID) float64 {
	groups, _ := filepath.Glob("/proc/[0-9]*/cgroup") // The pattern is valid.
	most := 0.0
	for _, name := range groups {
		group, _ := os.ReadFile(name) // A process may end in the meantime.
		if !bytes.Contains(group, []byte("/pod"+string(pod)+"/")) {
			continue
		}
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "status"))
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		if f := strings.Fields(rest); len(f) > 0 {
			kib, _ := strconv.ParseFloat(f[0], 64)
			most = max(most, kib/1024)
		}
	}
	return most
}

// keptLog is the size of the test's log in the record, in MiB.
func (b *bench) keptLog(ctx context.Context, run *v1alpha1.Run) (float64, error) {
	pull := auth.StaticCredential(b.Registry, auth.Credential{Username: b.PullUser, Password: b.PullPassword})
	r, err := registry.New(registry.Options{Host: b.Registry, Insecure: true, Credential: pull})
	if err != nil {
		return 0, err
	}
	rec, err := r.Pull(ctx, run.Status.Record.Reference+"@"+run.Status.Record.Digest)
	if err != nil {
		return 0, err
	}
	l, err := rec.Layer("logs/test-many-0-1.log.gz")
	if err != nil {
		return 0, err
	}
	body, err := l.Open()
	if err != nil {
		return 0, err
	}
	defer body.Close()
	text, err := gzip.NewReader(body)
	if err != nil {
		return 0, fmt.Errorf("read the log in the record: %w", err)
	}
	n, err := io.Copy(io.Discard, text)
	if err != nil {
		return 0, fmt.Errorf("read the log in the record: %w", err)
	}
	return float64(n) / (1 << 20), nil
}

func (b *bench) printEvidence(all []evidenceRun) {
	b.printf("\n## Many test cases and long logs\n\n%d test cases, %d of them failing, and a log of so many MiB, each in a Conductor that has just begun. Memory is resident, in MiB; "+
		"the peak is the kernel's (VmHWM), 0 where the processes are not on this machine.\n\n", manyCases, manyCases/failEach)
	b.printf("| log | in the record | record | reported after | recorded after | leader before | its peak | **more** | agent's peak |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, e := range all {
		b.printf("| %d | %.1f | %.1f | %.2f s | %.2f s | %.1f | %.1f | **%.1f** | %.1f |\n", e.mib, e.text, e.record, e.reported.Seconds(), e.recorded.Seconds(), e.begun, e.peak, e.peak-e.begun, e.agent)
	}
	b.printf("\nReported: the outcome is on GitHub, counted from the test's end. Recorded: the record is in the registry and the run is settled. The goal is less than 100 MiB more, whatever the log.\n")
}

// recorded reports whether a Run is over: reported, its record stored or given up, its stack settled.
func recorded(run *v1alpha1.Run) bool {
	for _, kind := range []string{v1alpha1.ConditionRecorded, v1alpha1.ConditionStackKept} {
		c := meta.FindStatusCondition(run.Status.Conditions, kind)
		if c == nil || c.Reason == v1alpha1.ReasonInProgress || c.Status == metav1.ConditionUnknown {
			return false
		}
	}
	return lab.Finished(run) && run.Status.Report != nil && run.Status.Report.Final
}

// oneRun pushes a tag to the repository's HEAD and waits until its Run is over and recorded.
func (b *bench) oneRun(ctx context.Context, r *lab.Repository) (*v1alpha1.Run, error) {
	before, err := r.Runs(ctx)
	if err != nil {
		return nil, err
	}
	known := map[types.UID]bool{}
	for _, old := range before {
		known[old.UID] = true
	}
	if _, err := r.Git(ctx, "commit", "-q", "--allow-empty", "-m", "Again"); err != nil {
		return nil, err
	}
	if err := r.PushTag(ctx, "run-integration-tests", ""); err != nil {
		return nil, err
	}
	run, err := r.Await(ctx, 10*time.Minute, "reported and recorded", func(run *v1alpha1.Run) bool { return !known[run.UID] && recorded(run) })
	if err != nil {
		return nil, err
	}
	if run.Status.Record == nil || len(run.Status.Suites) == 0 || run.Status.Outcome == v1alpha1.OutcomeError {
		return nil, fmt.Errorf("the run %s %s without a record: %s", run.Name, run.Status.Outcome, run.Status.Message)
	}
	return run, nil
}

// removeRun deletes a Run and waits until its stack is gone.
func (b *bench) removeRun(ctx context.Context, run *v1alpha1.Run) error {
	return (&overhead{bench: b}).deleteRun(ctx, run)
}
