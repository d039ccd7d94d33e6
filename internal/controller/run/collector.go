package run

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/docker/go-units"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/names"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/redact"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// maxBuildLog bounds the log of one build in a record, in bytes of text; the beginning is kept.
const maxBuildLog = 64 << 20

// What a record may have, in bytes: two gibibytes in all. A registry keeps records for years, and a worker is busy with one for as long
// as it is pushed. Artifacts have a room of their own, so that they take none from what explains a failure.
const (
	maxArtifacts = 3 << 29
	maxLogs      = 1 << 29
)

// quota is what is left of a limit. It is safe for concurrent use.
type quota struct{ left atomic.Int64 }

func newQuota(bytes int64) *quota {
	q := &quota{}
	q.left.Store(bytes)
	return q
}

// take reports whether there is room for so many bytes more, which are then gone. A negative number gives them back.
func (q *quota) take(bytes int64) error {
	if q.left.Add(-bytes) < 0 {
		q.left.Add(bytes)
		return fmt.Errorf("%s more do not fit: a record has at most %s of artifacts and %s of test reports and logs",
			units.BytesSize(float64(bytes)), units.BytesSize(maxArtifacts), units.BytesSize(maxLogs))
	}
	return nil
}

// collector gathers the layers of one record. Their content goes from where it is to the registry, and is held neither in memory nor on
// disk.
type collector struct {
	r     *Reconciler
	run   *v1alpha1.Run
	agent Agent
	// artifacts and logs are the room for the two.
	artifacts, logs *quota
	notes           []string
	usage           map[string]evidence.Usage
}

func newCollector(r *Reconciler, run *v1alpha1.Run, agent Agent) *collector {
	return &collector{r: r, run: run, agent: agent, artifacts: newQuota(maxArtifacts), logs: newQuota(maxLogs)}
}

// files are the record's files but the result and the plan. What cannot be had is left out and noted in the result.
func (c *collector) files(ctx context.Context, known evidence.AgentState) []evidence.Layer {
	var files []evidence.Layer
	for _, a := range known.Attempts {
		name := fmt.Sprintf("%s-%d-%d.tar.gz", a.Key.Suite, a.Key.Shard, a.Key.Number)
		if a.JUnitSize > 0 {
			files = append(files, c.written(ctx, "junit/"+name, evidence.ArchiveMediaType, evidence.JUnitPath(a.Key)))
		}
		if a.ArtifactsSize > 0 {
			l, err := c.known(ctx, "artifacts/"+name, evidence.ArchiveMediaType, evidence.ArtifactsPath(a.Key))
			if err == nil {
				files = append(files, l)
			} else {
				c.noteMissing(err)
			}
		}
	}
	taken := map[string]bool{}
	for _, l := range known.Logs {
		name := c.logName(l)
		if taken[name] { // Another pod of the same attempt.
			name = strings.TrimSuffix(name, logSuffix) + "-" + l.Pod + logSuffix
		}
		taken[name] = true
		files = append(files, c.written(ctx, name, evidence.LogMediaType, evidence.LogPath(l.Pod, l.Container)))
	}
	for _, i := range c.run.Status.Images {
		if i.Job != "" || i.Digest != "" {
			files = append(files, c.buildLog(ctx, i))
		}
	}
	return files
}

// noteMissing notes what is not in the record. What the agent does not have was never there.
func (c *collector) noteMissing(errs ...error) {
	for _, err := range errs {
		if !absent(err) {
			c.notes = append(c.notes, err.Error())
		}
	}
}

// head are the result and the plan, once it is known which files are missing.
func (c *collector) head(ctx context.Context, missing []error) ([]evidence.Layer, error) {
	c.noteMissing(missing...)
	suites, err := c.r.Results(ctx, c.run)
	if err != nil {
		c.notes = append(c.notes, "test cases: "+err.Error())
	}
	out := resultOf(c.run, suites)
	for _, n := range c.notes[:min(len(c.notes), maxNotes)] {
		out.Notes = append(out.Notes, "Not in this record: "+text.Truncate(redact.Token(n), 1024))
	}
	if more := len(c.notes) - maxNotes; more > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("Not in this record: %s", text.Plural(more, "more file")))
	}
	for i := range out.Services {
		if u, ok := c.usage[names.LabelValue(out.Services[i].Name)]; ok {
			out.Services[i].Usage = &u
		}
	}
	layers := []evidence.Layer{{
		Name: evidence.ResultName, MediaType: evidence.ResultMediaType,
		Write: func(w io.Writer) error { return evidence.WriteResult(w, out) },
	}}
	plan, err := c.plan(ctx)
	if err != nil {
		c.r.Log.Warn("a record is kept without the plan", "run", c.run.Name, "error", err)
	}
	if len(plan) > 0 {
		layers = append(layers, evidence.BytesLayer("plan.yaml", evidence.PlanMediaType, plan))
	}
	return layers, nil
}

// maxNotes is how many missing files a result names.
const maxNotes = 100

// plan is what ran: the builds and suites with their defaults, and the objects of the stack with the images' digests.
func (c *collector) plan(ctx context.Context) ([]byte, error) {
	p, err := c.r.plans.load(c.run, c.r.Settings)
	for errors.Is(err, errOtherRuns) && ctx.Err() == nil { // Others have theirs for one reconcile.
		select {
		case <-ctx.Done():
		case <-time.After(planPause):
			p, err = c.r.plans.load(c.run, c.r.Settings)
		}
	}
	if p == nil || err != nil {
		return nil, err
	}
	defer p.release()
	config, err := yaml.Marshal(map[string]any{"builds": p.Builds, "suites": p.Suites})
	if err != nil {
		return nil, fmt.Errorf("write the plan: %w", err)
	}
	f, err := os.Open(p.file)
	if err != nil {
		return nil, fmt.Errorf("open the plan: %w", err)
	}
	defer f.Close()
	stack := &compose.Stack{}
	err = plan.ReadContents(f, func(content *corev1.ConfigMap) error {
		stack.Shared = append(stack.Shared, content)
		return nil
	})
	if err != nil {
		return nil, err
	}
	stack.Shared = append(stack.Shared, p.StackObjects()...)
	objects, err := compose.YAML(stack)
	if err != nil {
		return nil, fmt.Errorf("write the plan: %w", err)
	}
	return append(config, objects...), nil
}

// logSuffix ends the names of logs in the record.
const logSuffix = ".log.gz"

// logName is the path of a log in the record. Init containers of a test, such as those that fill its volumes, have logs besides the test's.
func (c *collector) logName(l evidence.LogFile) string {
	if l.Suite == "" {
		return "logs/service-" + l.Service + "-" + l.Pod + "-" + l.Container + logSuffix
	}
	suite := l.Suite
	for _, st := range c.run.Status.Suites {
		if labelled(st.Name, l.Suite) {
			suite = st.Name
		}
	}
	name := "logs/test-" + suite + "-" + strconv.Itoa(l.Shard) + "-" + strconv.Itoa(l.Number)
	if l.Init {
		name += "-" + l.Container
	}
	return name + logSuffix
}

// labelled reports whether a label's value is that of a name.
func labelled(name, value string) bool { return names.LabelValue(name) == value }

// known is a blob of the agent's that does not change any more.
func (c *collector) known(ctx context.Context, name, mediaType, path string) (evidence.Layer, error) {
	content, size, digest, err := c.agent.Blob(ctx, path)
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	content.Close()
	if err := c.artifacts.take(size); err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	return evidence.Layer{Name: name, MediaType: mediaType, Size: size, Digest: digest, Open: func() (io.ReadCloser, error) {
		content, _, _, err := c.agent.Blob(ctx, path)
		return content, err
	}}, nil
}

// written is a blob of the agent's that may grow: a log is another one each time it is asked for.
func (c *collector) written(ctx context.Context, name, mediaType, path string) evidence.Layer {
	return evidence.Layer{Name: name, MediaType: mediaType, Write: func(w io.Writer) error {
		content, size, _, err := c.agent.Blob(ctx, path)
		if err != nil {
			return err
		}
		defer content.Close()
		if err := c.logs.take(size); err != nil {
			return err
		}
		if n, err := io.Copy(w, content); err != nil || n != size {
			return fmt.Errorf("%d of %d bytes came: %w", n, size, cmp.Or(err, io.ErrUnexpectedEOF))
		}
		return nil
	}}
}

// buildLog is the log of a build, masked and compressed.
func (c *collector) buildLog(ctx context.Context, i v1alpha1.ImageStatus) evidence.Layer {
	return evidence.Layer{Name: "logs/build-" + i.Name + logSuffix, MediaType: evidence.LogMediaType, Write: func(w io.Writer) error {
		log, err := c.openBuildLog(ctx, i.Name)
		if err != nil {
			return err
		}
		defer log.Close()
		// Its size is known in the end; text does not grow by more than a thousandth when it is compressed.
		const most = maxBuildLog + maxBuildLog>>10 + 1<<10
		if err := c.logs.take(most); err != nil {
			return err
		}
		sized := &counter{next: w}
		z := gzip.NewWriter(sized)
		err = errors.Join(copyMasked(z, log), z.Close())
		return errors.Join(err, c.logs.take(sized.bytes-most))
	}}
}

// counter counts what is written.
type counter struct {
	next  io.Writer
	bytes int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.next.Write(p)
	c.bytes += int64(n)
	return n, err
}

// openBuildLog opens the log of a build's pod.
func (c *collector) openBuildLog(ctx context.Context, image string) (io.ReadCloser, error) {
	pods := c.r.Kube.CoreV1().Pods(c.r.Settings.Builds.Namespace)
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelRunUID + "=" + string(c.run.UID) + "," + v1alpha1.LabelImage + "=" + names.LabelValue(image)})
	if err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, errors.New("the build's pod is gone")
	}
	return pods.GetLogs(list.Items[0].Name, &corev1.PodLogOptions{LimitBytes: new(int64(maxBuildLog))}).Stream(ctx)
}

// copyMasked copies text line by line, without tokens. A line of more than a mebibyte is copied in parts.
func copyMasked(w io.Writer, r io.Reader) error {
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			if _, werr := io.WriteString(w, redact.Token(string(line))); werr != nil {
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
