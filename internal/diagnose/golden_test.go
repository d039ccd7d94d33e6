package diagnose

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// specimen is one file of testdata: status as a cluster writes it, and the function to call.
type specimen struct {
	// Ask is the function to call, Who the subject of its sentence.
	Ask, Who string
	Subject  struct{ Kind, Name string }
	// Now is the time of the call.
	Now        time.Time
	Pod        *corev1.Pod
	Deployment *appsv1.Deployment
	Job        *batchv1.Job
	Claim      *corev1.PersistentVolumeClaim
	Namespace  *corev1.Namespace
	Route      *unstructured.Unstructured
	Events     []corev1.Event
}

func (s *specimen) find(t *testing.T) *Finding {
	t.Helper()
	about := Subject{Kind: map[string]Kind{"service": Service, "build": Build, "test": Test}[s.Subject.Kind], Name: s.Subject.Name, Registry: "registry.example"}
	about.Ceilings.Memory = "2Gi"
	switch s.Ask {
	case "blocked":
		return Blocked(s.Pod, s.Events, about, s.Now)
	case "ended":
		return Ended(s.Pod, about)
	case "crashing":
		return Crashing(s.Pod, about)
	case "unready":
		return Unready(s.Pod, s.Events)
	case "deployment":
		return Deployment(s.Deployment, s.Now)
	case "creation":
		return Creation(s.Events, s.Now)
	case "job":
		return Job(s.Job)
	case "claim":
		return Claim(s.Claim, s.Events)
	case "route":
		return Route(s.Route, "gateways/public", s.Now)
	case "terminating":
		return Terminating(s.Namespace)
	}
	t.Fatalf("ask %q is unknown", s.Ask)
	return nil
}

// TestWhatEachFailureIsCalled compares the text of every specimen with its golden file.
func TestWhatEachFailureIsCalled(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no specimens: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s specimen
			if err := yaml.UnmarshalStrict(data, &s); err != nil {
				t.Fatal(err)
			}
			text := "nothing\n"
			if f := s.find(t); f != nil {
				text = f.Reason + "\n" + f.About(s.Who) + "\n"
				if f.After > 0 {
					text += "It may mend itself within " + f.After.String() + "\n"
				}
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("got\n%s\nwant\n%s", text, want)
			}
		})
	}
}
