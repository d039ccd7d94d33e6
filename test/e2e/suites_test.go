//go:build e2e

package e2e

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// suiteOf returns a suite of a run's status.
func suiteOf(t *testing.T, run *v1alpha1.Run, name string) v1alpha1.SuiteStatus {
	t.Helper()
	return one(t, "suite "+name, slices.DeleteFunc(slices.Clone(run.Status.Suites), func(s v1alpha1.SuiteStatus) bool { return s.Name != name }))
}

// TestSuitesThatPass runs suites with a special feature each, which pass.
func TestSuitesThatPass(t *testing.T) {
	t.Parallel()
	r := repository(t, "testdata/passing")
	r.start()
	run := r.until("finished", lab.Settled)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	kept := recorded(t, run)
	t.Run("flaky", func(t *testing.T) {
		s := suiteOf(t, run, "flaky")
		if want := (v1alpha1.TestTotals{Tests: 2, Passed: 2, Flaky: 1}); s.Totals == nil || *s.Totals != want || len(s.Attempts) != 2 {
			t.Errorf("totals %+v of %d attempts, want %+v of 2", s.Totals, len(s.Attempts), want)
		}
		check := r.check(run, "flaky")
		if check.Conclusion != "success" {
			t.Errorf("the check run is %s", check.Conclusion)
		}
		contains(t, "check run", check.Title+check.Text, "1 flaky", "cart › is there")
		contains(t, "comment", r.comment(run), "✅ ", "1 flaky", "cart › is there")
		if c := caseOf(t, kept.suite(t, "flaky"), "cart › is there"); !c.Flaky || c.Status != evidence.Passed {
			t.Errorf("the record has %+v", c)
		}
	})
	t.Run("sharded", func(t *testing.T) {
		s := suiteOf(t, run, "sharded")
		if want := (v1alpha1.TestTotals{Tests: 4, Passed: 4}); s.Totals == nil || *s.Totals != want || s.Shards != 2 {
			t.Errorf("totals %+v of %d shards, want %+v of 2", s.Totals, s.Shards, want)
		}
		for shard := range 2 {
			if c := caseOf(t, kept.suite(t, "sharded"), fmt.Sprint("part › of shard ", shard)); c.Shard != shard {
				t.Errorf("shard %d ran %+v", c.Shard, c)
			}
			contains(t, "log of a shard", kept.text(t, fmt.Sprintf("logs/test-sharded-%d-1.log.gz", shard)), fmt.Sprintf("this is %d of 2", shard))
			kept.layer(t, fmt.Sprintf("junit/sharded-%d-1.tar.gz", shard))
		}
	})
	t.Run("sut", func(t *testing.T) {
		if s := suiteOf(t, run, "sut"); s.Totals == nil || s.Totals.Passed != 1 {
			t.Errorf("totals %+v, want one that passed", s.Totals)
		}
		contains(t, "log", kept.text(t, "logs/test-sut-0-1.log.gz"), "the sut service is 1000:1000 in /work")
		if files := kept.files(t, "artifacts/sut-0-1.tar.gz"); !maps.Equal(files, map[string]int64{"shots/first.png": 8}) {
			t.Errorf("artifacts %v", files)
		}
	})
	t.Run("large", func(t *testing.T) { largeArtifacts(t, kept) })
}

// largeArtifacts compares 200 MiB of incompressible artifacts with those in the record.
func largeArtifacts(t *testing.T, kept *keptRecord) {
	l := kept.layer(t, "artifacts/large-0-1.tar.gz")
	if l.Size < 200<<20 {
		t.Errorf("the record's manifest says %d bytes, want 200 MiB", l.Size)
	}
	sum := sha256.New()
	kept.each(t, l.Name, func(h *tar.Header, content io.Reader) {
		if _, err := io.Copy(sum, content); err != nil {
			t.Error(err)
		}
	})
	contains(t, "log", kept.text(t, "logs/test-large-0-1.log.gz"), "the sum is "+hex.EncodeToString(sum.Sum(nil)))
	kept.forget(t, l.Digest)
}

// TestSuitesThatFail checks the reports of tests that fail, are killed, or hang.
func TestSuitesThatFail(t *testing.T) {
	t.Parallel()
	r := repository(t, "testdata/failing")
	r.start()
	run := r.until("finished", lab.Settled)
	if run.Status.Outcome != v1alpha1.OutcomeError {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	kept := recorded(t, run)
	t.Run("failing", func(t *testing.T) { madeUp(t, r, run, kept) })
	for _, c := range []struct {
		suite, conclusion string
		outcome           v1alpha1.Outcome
		want              []string
		// passed and artifact are what it wrote before it ended.
		passed, artifact string
	}{
		{"killed", "failure", v1alpha1.OutcomeFailed, []string{"The tests were ended by SIGKILL"}, "killed › begins", "out/core"},
		{"hung", "timed_out", v1alpha1.OutcomeError, []string{"The tests of hung did not end within 2s (tests.hung.timeout)", "still waiting"}, "hung › begins", "out/screen"},
		{"bomb", "timed_out", v1alpha1.OutcomeError, []string{"The tests of bomb did not end within 2s (tests.bomb.timeout)"}, "bomb › begins", ""},
	} {
		t.Run(c.suite, func(t *testing.T) {
			s := suiteOf(t, run, c.suite)
			if s.Outcome != c.outcome || s.Totals == nil || s.Totals.Passed != 1 {
				t.Errorf("outcome %s with totals %+v, want %s and its one test: %v", s.Outcome, s.Totals, c.outcome, s.Problems)
			}
			check := r.check(run, c.suite)
			if check.Conclusion != c.conclusion {
				t.Errorf("the check run is %s, want %s", check.Conclusion, c.conclusion)
			}
			contains(t, "check run", plain(check.Title+"\n"+check.Summary+"\n"+check.Text), c.want...)
			contains(t, "comment", plain(r.comment(run)), c.want...)
			caseOf(t, kept.suite(t, c.suite), c.passed)
			if c.artifact == "" {
				return
			}
			if _, ok := kept.files(t, "artifacts/"+c.suite+"-0-1.tar.gz")[c.artifact]; !ok {
				t.Errorf("the record has no artifact %s", c.artifact)
			}
		})
	}
}

// TestReportFormats reads reports of three formats, two of them from outside the working directory.
func TestReportFormats(t *testing.T) {
	t.Parallel()
	r := repository(t, "testdata/reports")
	r.start()
	run := r.until("finished", lab.Settled)
	s := suiteOf(t, run, "formats")
	if want := (v1alpha1.TestTotals{Tests: 5, Passed: 2, Failed: 3}); s.Totals == nil || *s.Totals != want || len(s.Problems) > 0 {
		t.Errorf("totals %+v, want %+v; problems %q", s.Totals, want, s.Problems)
	}
	kept := recorded(t, run)
	check, comment := r.check(run, "formats"), plain(r.comment(run))
	for id, want := range map[string]evidence.Case{
		"Shop.CartTests › Removes":       {File: "tests/CartTests.cs", Line: 14, Message: "Expected: 0, Actual: 1"},
		"example.com/shop/pay › TestPay": {File: "pay/pay_test.go", Line: 21, Message: "pay_test.go:21: got 1 euro, want 2"},
		"ships":                          {File: "test/ship.bats", Line: 7, Message: "no address"},
	} {
		c := caseOf(t, kept.suite(t, "formats"), id)
		if c.Status != evidence.Failed || c.File != want.File || c.Line != want.Line || c.Message != want.Message {
			t.Errorf("the record has %+v, want %+v", c, want)
		}
		contains(t, "check run", plain(check.Text), want.Message, fmt.Sprintf("%s:%d", want.File, want.Line))
		contains(t, "comment", comment, want.Message)
	}
	files := slices.Sorted(maps.Keys(kept.files(t, "junit/formats-0-1.tar.gz")))
	if want := []string{"go.out", "rootfs/out/x.trx", "rootfs/tmp/ship.tap"}; !slices.Equal(files, want) {
		t.Errorf("the record has the reports %q, want %q", files, want)
	}
	if files := kept.files(t, "artifacts/formats-0-1.tar.gz"); !maps.Equal(files, map[string]int64{"rootfs/out/trace.log": 6}) {
		t.Errorf("artifacts %v", files)
	}
}

var inventions = regexp.MustCompile(`made up: (\S+), (\d+), (want \w+)`)

// madeUp checks the report of a failing test that invents its name, message and line at run time.
func madeUp(t *testing.T, r *repo, run *v1alpha1.Run, kept *keptRecord) {
	logs, err := here.Kubectl(t.Context(), "-n", run.Status.Namespace, "logs", "-l", v1alpha1.LabelSuite+"=failing", "-c", "test", "--tail=-1")
	if err != nil {
		t.Fatal(err)
	}
	m := inventions.FindStringSubmatch(logs)
	if m == nil {
		t.Fatalf("the test does not say what it made up:\n%s", logs)
	}
	name, line, message := m[1], m[2], m[3]
	check := r.check(run, "failing")
	a := one(t, "annotation", check.Annotations)
	want := githubtest.Annotation{Path: "spec/cart.sh", Level: "failure", Message: message, Title: "cart › " + name, RawDetails: "at spec/cart.sh:" + line}
	a.StartColumn, a.EndColumn = nil, nil
	if _, err := fmt.Sscan(line, &want.StartLine); err != nil {
		t.Fatal(err)
	}
	want.EndLine = want.StartLine
	if a != want {
		t.Errorf("the annotation is\n%+v, want\n%+v", a, want)
	}
	place := "spec/cart.sh:" + line
	contains(t, "check run", plain(check.Title+check.Text), "1 of 2 tests failed", name, place, message)
	contains(t, "comment", plain(r.comment(run)), name, place, message, "/blob/"+run.Spec.SHA+"/spec/cart.sh#L"+line)
	c := caseOf(t, kept.suite(t, "failing"), "cart › "+name)
	if c.Status != evidence.Failed || c.Message != message || c.File != "spec/cart.sh" || fmt.Sprint(c.Line) != line {
		t.Errorf("the record has %+v", c)
	}
}

func plain(s string) string { return strings.ReplaceAll(s, `\`, "") }

// caseOf returns a test case of a suite by its ID.
func caseOf(t *testing.T, s evidence.Suite, id string) evidence.Case {
	t.Helper()
	return one(t, "case "+id, slices.DeleteFunc(slices.Clone(s.Cases), func(c evidence.Case) bool { return c.ID() != id }))
}

// TestImageWithoutShell runs the command of an image without a shell, as Conductor's test and as a bare pod, and compares what the two see
// of their environment.
func TestImageWithoutShell(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/noshell")); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-gcflags", "all=-dwarf=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, "app", "probe"), "./testdata/noshell/probe")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the probe: %v\n%s", err, out)
	}
	r := repository(t, dir)
	r.start()
	run := r.until("finished", lab.Settled)
	code := int32(7)
	s := suiteOf(t, run, "bare")
	if s.Outcome != v1alpha1.OutcomeFailed || s.ExitCode == nil || *s.ExitCode != code {
		t.Fatalf("outcome %s with exit code %v, want failed with 7: %s", s.Outcome, s.ExitCode, s.Message)
	}
	if s.Totals == nil || s.Totals.Failed != 1 {
		t.Errorf("totals %+v, want the one of the image's own directory", s.Totals)
	}
	wrapped := one(t, "test pod", slices.DeleteFunc(pods(t, run.Status.Namespace), func(p corev1.Pod) bool { return p.Labels[v1alpha1.LabelStage] != "test" }))
	bare := runBare(t, wrapped)
	if got := ended(&bare); got == nil || got.ExitCode != code {
		t.Fatalf("the bare pod ended as %+v", got)
	}
	got, want := seen(t, wrapped), seen(t, bare)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Conductor's test saw\n%v\nand a bare container\n%v", got, want)
	}
	if got["shell"] != false || fmt.Sprint(got["uid"]) != "1000" || got["cwd"] != "/app" {
		t.Errorf("the image is not what it should be: %v", got)
	}
}

// runBare runs a test pod's image in a pod without Conductor's additions, and returns the pod when it has ended.
func runBare(t *testing.T, like corev1.Pod) corev1.Pod {
	t.Helper()
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "bare", Namespace: like.Namespace},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			ImagePullSecrets: like.Spec.ImagePullSecrets, Containers: []corev1.Container{{Name: "test", Image: like.Spec.Containers[0].Image}},
		},
	}
	space := here.Kube.CoreV1().Pods(like.Namespace)
	if _, err := space.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		var err error
		if pod, err = space.Get(t.Context(), "bare", metav1.GetOptions{}); err == nil && ended(pod) == nil {
			err = fmt.Errorf("the bare pod is %s", pod.Status.Phase)
		}
		return err
	})
	return *pod
}

// ended is how a pod's only container ended; nil while it has not.
func ended(p *corev1.Pod) *corev1.ContainerStateTerminated {
	if len(p.Status.ContainerStatuses) == 0 {
		return nil
	}
	return p.Status.ContainerStatuses[0].State.Terminated
}

// seen is what the probe saw, without what differs between pods and what Conductor adds by design.
func seen(t *testing.T, p corev1.Pod) map[string]any {
	t.Helper()
	logs, err := here.Kube.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: "test"}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(logs, &all); err != nil {
		t.Fatalf("the probe of %s says %q: %v", p.Name, logs, err)
	}
	env, _ := all["env"].([]any)
	all["env"] = slices.DeleteFunc(env, func(v any) bool {
		s, _ := v.(string)
		return strings.HasPrefix(s, "HOSTNAME=") || strings.HasPrefix(s, "CONDUCTOR_") || s == "CI=true"
	})
	return all
}

// each calls do for every file of an archive of the record.
func (k *keptRecord) each(t *testing.T, name string, do func(*tar.Header, io.Reader)) {
	t.Helper()
	content := k.open(t, name)
	defer content.Close()
	z, err := gzip.NewReader(content)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(z); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		do(h, archive)
	}
}

// files are the sizes of the files in an archive of the record.
func (k *keptRecord) files(t *testing.T, name string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	k.each(t, name, func(h *tar.Header, _ io.Reader) {
		if h.Typeflag == tar.TypeReg {
			all[h.Name] = h.Size
		}
	})
	return all
}

// text is a log of the record.
func (k *keptRecord) text(t *testing.T, name string) string {
	t.Helper()
	content := k.open(t, name)
	defer content.Close()
	z, err := gzip.NewReader(content)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(data)
}

// forget deletes a large blob from the registry, which is not needed after the test.
func (k *keptRecord) forget(t *testing.T, digest string) {
	t.Cleanup(func() {
		if err := k.delete(context.Background(), digest); err != nil {
			t.Logf("%s stays in the registry: %v", digest, err)
		}
	})
}
