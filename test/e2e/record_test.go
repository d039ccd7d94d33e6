//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// keptRecord is a record in the registry.
type keptRecord struct {
	*registry.Record
	result     evidence.Result
	repository string
}

// recorded waits until a run's record is stored, and pulls it with a credential that can only pull.
func recorded(t *testing.T, run *v1alpha1.Run) *keptRecord {
	t.Helper()
	eventually(t, patience, func() error {
		if err := here.Client.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
			return err
		}
		c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionRecorded)
		if c == nil || c.Reason != v1alpha1.ReasonDone || run.Status.Record == nil {
			return fmt.Errorf("run %s has no record: %+v", run.Name, c)
		}
		return nil
	})
	puller := auth.StaticCredential(here.Registry, auth.Credential{Username: here.PullUser, Password: here.PullPassword})
	r, err := registry.New(registry.Options{Host: here.Registry, Insecure: true, Credential: puller})
	if err != nil {
		t.Fatal(err)
	}
	reference := run.Status.Record.Reference
	rec, err := r.Pull(t.Context(), reference+"@"+run.Status.Record.Digest)
	if err != nil {
		t.Fatal(err)
	}
	k := &keptRecord{Record: rec, repository: reference[:strings.LastIndexByte(reference, ':')]}
	content := k.open(t, "result.json")
	defer content.Close()
	if err := json.NewDecoder(content).Decode(&k.result); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keptRecord) suite(t *testing.T, name string) evidence.Suite {
	t.Helper()
	return one(t, "suite "+name, slices.DeleteFunc(slices.Clone(k.result.Suites), func(s evidence.Suite) bool { return s.Name != name }))
}

func (k *keptRecord) layer(t *testing.T, name string) evidence.Layer {
	t.Helper()
	l, err := k.Layer(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (k *keptRecord) open(t *testing.T, name string) io.ReadCloser {
	t.Helper()
	content, err := k.layer(t, name).Open()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// delete deletes a blob of the record's repository.
func (k *keptRecord) delete(ctx context.Context, digest string) error {
	repo, err := stranger(k.repository, here.PushUser, here.PushPassword)
	if err != nil {
		return err
	}
	d, err := repo.Blobs().Resolve(ctx, digest)
	if err != nil {
		return err
	}
	return repo.Blobs().Delete(ctx, d)
}

// stranger is a repository of the registry for a client that is independent of Conductor.
func stranger(repository, user, password string) (*remote.Repository, error) {
	repo, err := remote.NewRepository(repository)
	if err != nil {
		return nil, err
	}
	repo.PlainHTTP = true
	repo.Client = &auth.Client{Credential: auth.StaticCredential(here.Registry, auth.Credential{Username: user, Password: password})}
	return repo, nil
}

// verdicts is the small repository with tests that pass and tests that fail.
func verdicts(passes, fails string) map[string]string {
	return map[string]string{"test.sh": fmt.Sprintf(`cat >junit.xml <<XML
<testsuite><testcase classname="shop" name="%s"/><testcase classname="shop" name="%s"><failure message="it does not"/></testcase></testsuite>
XML
exit 1
`, passes, fails)}
}

// TestRecordOutlivesItsRun reads a record in every possible way, while its Run exists and after it is deleted. The history with which the
// branch's next run is compared survives, too.
func TestRecordOutlivesItsRun(t *testing.T) {
	t.Parallel()
	r := small(t, verdicts("opens", "closes"))
	r.start()
	run := r.until("finished", lab.Settled)
	kept := recorded(t, run)
	want := []string{run.Name, r.Name, "FAILED  smoke › shop › closes", "it does not", "logs/test-smoke-0-1.log.gz", "plan.yaml", run.Status.Record.Digest}
	t.Run("by its Run", func(t *testing.T) { r.reads(t, want, "runs", "record", run.Name, "--insecure") })
	t.Run("by a stranger", func(t *testing.T) { pulledByStranger(t, run, kept) })
	t.Run("from its image", func(t *testing.T) { referred(t, run) })

	r.deleted(run)
	t.Run("by its place", func(t *testing.T) {
		r.reads(t, want, "runs", "record", run.Name, "--insecure", "--repository", r.Name, "--registry", here.Registry+"/conductor")
	})
	t.Run("by its reference", func(t *testing.T) { r.reads(t, want, "runs", "record", run.Status.Record.Reference, "--insecure") })
	t.Run("and is compared with", func(t *testing.T) { compared(t, r, run) })
}

// login writes a Docker config with a credential that can only pull.
func login(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, here.Registry, here.PullUser, here.PullPassword)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reads prints and extracts a record with the binary.
func (r *repo) reads(t *testing.T, want []string, args ...string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "record")
	cmd := here.Command(t.Context(), "../../bin/conductor", append(args, "--extract", dir)...)
	cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+login(t))
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("conductor %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	contains(t, "conductor "+strings.Join(args, " "), string(text), want...)
	for _, name := range []string{"result.json", "plan.yaml", "junit/smoke-0-1.tar.gz", "logs/test-smoke-0-1.log.gz", "logs/build-tests.log.gz"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s was not extracted: %v", name, err)
		}
	}
}

// pulledByStranger copies the record with oras's own code.
func pulledByStranger(t *testing.T, run *v1alpha1.Run, kept *keptRecord) {
	repo, err := stranger(kept.repository, here.PullUser, here.PullPassword)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store, err := file.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := oras.Copy(t.Context(), repo, run.Name, store, run.Name, oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got evidence.Result
	if err := json.Unmarshal(data, &got); err != nil || got.Run != run.Name || got.Outcome != "failed" {
		t.Errorf("the stranger reads %+v, %v", got, err)
	}
}

// referred checks the referrers of the image that the run built.
func referred(t *testing.T, run *v1alpha1.Run) {
	image := one(t, "image", run.Status.Images)
	repo, err := stranger(image.Repository, here.PullUser, here.PullPassword)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := repo.Resolve(t.Context(), image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var links []ocispec.Descriptor
	if err := repo.Referrers(t.Context(), subject, evidence.LinkArtifact, func(page []ocispec.Descriptor) error {
		links = append(links, page...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	link := one(t, "referrer of "+image.Digest, links)
	if want := run.Status.Record.Reference + "@" + run.Status.Record.Digest; link.Annotations[evidence.AnnotationRecord] != want {
		t.Errorf("the image refers to %q, want %q", link.Annotations[evidence.AnnotationRecord], want)
	}
}

// deleted deletes a run and waits until all of its objects are gone.
func (r *repo) deleted(run *v1alpha1.Run) {
	r.t.Helper()
	noteCleaned(run)
	if err := here.Client.Delete(r.t.Context(), run); err != nil {
		r.t.Fatal(err)
	}
	r.gone(run)
	eventually(r.t, patience, func() error {
		err := here.Client.Get(r.t.Context(), client.ObjectKey{Namespace: lab.Namespace, Name: run.Name}, &v1alpha1.Run{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the deleted run is still there: %v", err)
		}
		return nil
	})
}

// compared runs the branch again after all its Runs are deleted.
func compared(t *testing.T, r *repo, before *v1alpha1.Run) {
	r.write(verdicts("closes", "opens"))
	r.start()
	run := r.until("finished", lab.Settled)
	s := suiteOf(t, run, "smoke")
	if s.NewlyFailing == nil || *s.NewlyFailing != 1 || s.NewlyFixed == nil || *s.NewlyFixed != 1 {
		t.Errorf("%v newly failing and %v newly fixed, want one each", s.NewlyFailing, s.NewlyFixed)
	}
	contains(t, "comment", plain(r.comment(run)), "1 of 2 tests failed (1 new)", "1 newly fixed", "compared with run `"+before.Name+"`", "newly failing", "**Newly fixed in `smoke`:** `shop › closes`")
	c := recorded(t, run).suite(t, "smoke").Compared
	if c == nil || c.Run != before.Name || !slices.Equal(c.NewlyFailing, []string{"shop › opens"}) || !slices.Equal(c.NewlyFixed, []string{"shop › closes"}) {
		t.Errorf("the record compares %+v", c)
	}
}
