package run

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/redact"
)

// maxBuildLog bounds the log of one build in a record, in bytes of text; the beginning is kept.
const maxBuildLog = 64 << 20

// collector gathers the layers of one record. What may still grow while it is read is copied below dir first; nothing is held in
// memory but the result.
type collector struct {
	r     *Reconciler
	run   *v1alpha1.Run
	agent Agent
	dir   string
	files int
	usage map[string]evidence.Usage
}

// layers are the files of the record. What cannot be had is left out and noted in the result.
func (c *collector) layers(ctx context.Context, known evidence.AgentState) ([]evidence.Layer, error) {
	var logs []evidence.Layer
	var notes []string
	add := func(l evidence.Layer, err error) {
		switch {
		case err == nil:
			logs = append(logs, l)
		case !absent(err):
			notes = append(notes, err.Error())
		}
	}
	for _, a := range known.Attempts {
		name := fmt.Sprintf("%s-%d-%d.tar.gz", a.Key.Suite, a.Key.Shard, a.Key.Number)
		if a.JUnitSize > 0 {
			add(c.copied(ctx, "junit/"+name, evidence.ArchiveMediaType, evidence.JUnitPath(a.Key)))
		}
		if a.ArtifactsSize > 0 {
			add(c.streamed(ctx, "artifacts/"+name, evidence.ArchiveMediaType, evidence.ArtifactsPath(a.Key)))
		}
	}
	for _, l := range known.Logs {
		add(c.copied(ctx, c.logName(l), evidence.LogMediaType, evidence.LogPath(l.Pod, l.Container)))
	}
	for _, i := range c.run.Status.Images {
		if i.Job != "" || i.Digest != "" {
			add(c.buildLog(ctx, i))
		}
	}
	if c.agent != nil {
		c.usage, _ = c.agent.Usage(ctx)
	}
	head, err := c.head(ctx, notes)
	return append(head, logs...), err
}

// head are the result and the plan.
func (c *collector) head(ctx context.Context, notes []string) ([]evidence.Layer, error) {
	suites, err := c.r.Results(ctx, c.run)
	if err != nil {
		notes = append(notes, "test cases: "+err.Error())
	}
	out := resultOf(c.run, suites)
	for _, n := range notes {
		out.Notes = append(out.Notes, "Not in this record: "+redact.Token(n))
	}
	for i := range out.Services {
		if u, ok := c.usage[jobs.LabelValue(out.Services[i].Name)]; ok {
			out.Services[i].Usage = &u
		}
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the result: %w", err)
	}
	layers := []evidence.Layer{evidence.BytesLayer(evidence.ResultName, evidence.ResultMediaType, append(data, '\n'))}
	plan, err := c.plan()
	if err != nil {
		c.r.Log.Warn("a record is kept without the plan", "run", c.run.Name, "error", err)
	}
	if len(plan) > 0 {
		layers = append(layers, evidence.BytesLayer("plan.yaml", evidence.PlanMediaType, plan))
	}
	return layers, nil
}

// plan is what ran: the builds and suites with their defaults, and the objects of the stack with the images' digests.
func (c *collector) plan() ([]byte, error) {
	p, err := c.r.plans.load(c.run, c.r.Settings)
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

// logName is the path of a log in the record.
func (c *collector) logName(l evidence.LogFile) string {
	if l.Suite == "" {
		return "logs/service-" + l.Service + "-" + l.Pod + "-" + l.Container + ".log.gz"
	}
	suite := l.Suite
	for _, st := range c.run.Status.Suites {
		if labelled(st.Name, l.Suite) {
			suite = st.Name
		}
	}
	return "logs/test-" + suite + "-" + strconv.Itoa(l.Shard) + "-" + strconv.Itoa(l.Number) + ".log.gz"
}

// labelled says whether a label's value is that of a name.
func labelled(name, value string) bool { return jobs.LabelValue(name) == value }

// streamed is a blob of the agent's that does not change any more.
func (c *collector) streamed(ctx context.Context, name, mediaType, path string) (evidence.Layer, error) {
	content, size, digest, err := c.agent.Blob(ctx, path)
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	content.Close()
	return evidence.Layer{Name: name, MediaType: mediaType, Size: size, Digest: digest, Open: func() (io.ReadCloser, error) {
		content, _, _, err := c.agent.Blob(ctx, path)
		return content, err
	}}, nil
}

// copied is a blob of the agent's, copied to a file: a log that grows is another one each time it is asked for.
func (c *collector) copied(ctx context.Context, name, mediaType, path string) (evidence.Layer, error) {
	content, size, _, err := c.agent.Blob(ctx, path)
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	defer content.Close()
	l, err := c.file(name, mediaType, func(w io.Writer) error { _, err := io.Copy(w, content); return err })
	if err == nil && l.Size != size {
		err = fmt.Errorf("%s: %d of %d bytes came", name, l.Size, size)
	}
	return l, err
}

// buildLog is the log of a build, masked and compressed.
func (c *collector) buildLog(ctx context.Context, i v1alpha1.ImageStatus) (evidence.Layer, error) {
	ns := c.r.Settings.Builds.Namespace
	name := "logs/build-" + i.Name + ".log.gz"
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pods, err := c.r.Kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelRunUID + "=" + string(c.run.UID) + "," + v1alpha1.LabelImage + "=" + jobs.LabelValue(i.Name)})
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(pods.Items) == 0 {
		return evidence.Layer{}, fmt.Errorf("%s: the build's pod is gone", name)
	}
	log, err := c.r.Kube.CoreV1().Pods(ns).GetLogs(pods.Items[0].Name, &corev1.PodLogOptions{LimitBytes: new(int64(maxBuildLog))}).Stream(ctx)
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	defer log.Close()
	return c.file(name, evidence.LogMediaType, func(w io.Writer) error {
		z := gzip.NewWriter(w)
		return errors.Join(copyMasked(z, log), z.Close())
	})
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

// file writes a layer to a file of its own.
func (c *collector) file(name, mediaType string, write func(io.Writer) error) (evidence.Layer, error) {
	c.files++
	path := filepath.Join(c.dir, strconv.Itoa(c.files))
	f, err := os.Create(path)
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.New()
	err = errors.Join(write(io.MultiWriter(f, sum)), f.Close())
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return evidence.Layer{}, fmt.Errorf("%s: %w", name, err)
	}
	return evidence.Layer{
		Name: name, MediaType: mediaType, Size: st.Size(), Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)),
		Open: func() (io.ReadCloser, error) { return os.Open(path) },
	}, nil
}
