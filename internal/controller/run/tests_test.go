package run

import (
	"fmt"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// Two suites of five shards each, and room for four test pods: the suite that runs goes first, and the next one gets what it leaves.
func TestFewTestPodsOfARunAreThereAtATime(t *testing.T) {
	run := testRun("r", "u")
	c := newCluster(t, interceptor.Funcs{}, run)
	c.Settings.Stacks.TestsAtOnce = 4
	files := checkout(t, map[string]string{
		".conductor.yaml":       "version: 1\ntests:\n  a: {image: busybox, command: x, shards: 5}\n  b: {image: busybox, command: x, shards: 5}\n",
		"docker-compose.qa.yml": "services:\n  web: {image: nginx}\n",
	})
	set := settings.Default()
	set.Image = "conductor"
	made, err := plan.Make(plan.Input{Dir: files, Run: run, Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	s := &state{run: run, plan: &loaded{Plan: made}, now: noon, images: &stackImages{}}
	s.status().Namespace = jobs.StackName(run)
	first, second := suiteStatus(s.status(), "a"), suiteStatus(s.status(), "b")
	first = suiteStatus(s.status(), "a") // The list has grown.
	prepare := func() {
		t.Helper()
		if err := c.createFirstAttempts(t.Context(), s, s.plan.Suites[0], first); err != nil {
			t.Fatal(err)
		}
		if !isPrepared(first) {
			return
		}
		if err := c.createNextAttempts(t.Context(), s, 1); err != nil {
			t.Fatal(err)
		}
	}
	for ended, want := range []string{"4 and 0", "5 and 0", "5 and 1", "5 and 2"} {
		prepare()
		prepare() // Nothing more fits.
		if got := fmt.Sprintf("%d and %d", len(first.Attempts), len(second.Attempts)); got != want {
			t.Errorf("when %d have ended there are attempts %s, want %s", ended, got, want)
		}
		if open := openAttempts(s.status()); open > 4 {
			t.Errorf("%d test pods at a time", open)
		}
		first.Attempts[ended].Outcome = v1alpha1.OutcomePassed
	}
	var list batchv1.JobList
	if err := c.Client.List(t.Context(), &list, client.InNamespace(jobs.StackName(run))); err != nil || len(list.Items) != 7 {
		t.Errorf("%d Jobs, %v", len(list.Items), err)
	}
}
