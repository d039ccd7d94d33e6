//go:build faults

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// The variable lists the points to exit at, separated by commas; "list" prints all of them. A process exits at a point only once: it
// records the point's name in the directory.
const (
	variable  = "CONDUCTOR_FAULT"
	directory = "CONDUCTOR_FAULT_DIR"
)

// point is a place between an effect and its status update: the reconcile of a Run in which count increases.
type point struct {
	name  string
	count func(*v1alpha1.RunStatus) int
}

// points are in the order in which a Run reaches them, except for the first ones, which are a delivery's.
var points = []point{
	{Started, never}, {Stored, never}, {Taken, never}, {Canceled, never}, {Replied, never}, {Reacted, never}, {Acted, never},
	{"checked-out", ended(v1alpha1.ConditionCheckedOut)},
	{"secrets-synced", ended(v1alpha1.ConditionSecretsSynced)},
	{"build-made", images(func(i v1alpha1.ImageStatus) bool { return i.Job != "" })},
	{"image-built", images(func(i v1alpha1.ImageStatus) bool { return i.Digest != "" })},
	{"images-built", ended(v1alpha1.ConditionImagesBuilt)},
	{"namespace-made", func(s *v1alpha1.RunStatus) int { return has(s.Namespace != "") }},
	{"service-made", services(v1alpha1.ServiceStarting, v1alpha1.ServiceReady, v1alpha1.ServiceCompleted)},
	{"service-up", services(v1alpha1.ServiceReady, v1alpha1.ServiceCompleted)},
	{"stack-up", ended(v1alpha1.ConditionStackReady)},
	{"attempt-made", attempts(func(v1alpha1.AttemptStatus) bool { return true })},
	{"attempt-let-go", attempts(func(a v1alpha1.AttemptStatus) bool { return a.StartedAt != nil })},
	{"attempt-ended", attempts(func(a v1alpha1.AttemptStatus) bool { return a.Outcome != "" })},
	{"attempt-repeated", attempts(func(a v1alpha1.AttemptStatus) bool { return a.Number > 1 })},
	{"tests-ended", ended(v1alpha1.ConditionTestsPassed)},
	{"outcome-known", func(s *v1alpha1.RunStatus) int { return has(s.Outcome != "") }},
	{"recorded", ended(v1alpha1.ConditionRecorded)},
	{"check-run-made", checkRunsMade},
	{"comment-made", func(s *v1alpha1.RunStatus) int { return has(report(s).CommentID > 0) }},
	{"outcome-told", func(s *v1alpha1.RunStatus) int { return has(report(s).Final) }},
	{"builds-deleted", closed(metav1.ConditionTrue)},
	{"taken-down", closed(metav1.ConditionFalse)},
}

// never is for points that are not in a Run's status.
func never(*v1alpha1.RunStatus) int { return 0 }

// checkRunsMade counts the check runs with an id: one without is about to be created.
func checkRunsMade(s *v1alpha1.RunStatus) (n int) {
	for _, id := range report(s).CheckRuns {
		n += has(id > 0)
	}
	return n
}

var wanted = strings.FieldsFunc(os.Getenv(variable), func(r rune) bool { return r == ',' })

func init() {
	if slices.Equal(wanted, []string{"list"}) {
		for _, p := range points {
			fmt.Println(p.name)
		}
		os.Exit(0)
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(points, func(p point) bool { return p.name == name }) {
			panic(variable + ": unknown point " + name)
		}
	}
}

// Between exits if one of the wanted points lies between before and now.
func Between(before, now *v1alpha1.RunStatus) {
	for _, p := range points {
		if p.count(now) > p.count(before) {
			die(p.name)
		}
	}
}

// At exits if the point is wanted.
func At(point string) { die(point) }

// die exits at a wanted point, once and without cleanup. It imitates SIGKILL, which a container's first process cannot send to itself.
// The next process finds the recorded name and continues.
func die(point string) {
	if !slices.Contains(wanted, point) {
		return
	}
	mark, err := os.OpenFile(filepath.Join(os.Getenv(directory), "fault-"+point), os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return
	}
	if err != nil {
		panic(fmt.Errorf("record the fault: %w", err))
	}
	_ = mark.Close()
	os.Exit(137)
}

func has(is bool) int {
	if is {
		return 1
	}
	return 0
}

// ended counts a condition that is True or False.
func ended(condition string) func(*v1alpha1.RunStatus) int {
	return func(s *v1alpha1.RunStatus) int {
		c := meta.FindStatusCondition(s.Conditions, condition)
		return has(c != nil && c.Status != metav1.ConditionUnknown)
	}
}

func closed(as metav1.ConditionStatus) func(*v1alpha1.RunStatus) int {
	return func(s *v1alpha1.RunStatus) int {
		return has(meta.IsStatusConditionPresentAndEqual(s.Conditions, v1alpha1.ConditionStackKept, as))
	}
}

func images(are func(v1alpha1.ImageStatus) bool) func(*v1alpha1.RunStatus) int {
	return func(s *v1alpha1.RunStatus) (n int) {
		for _, i := range s.Images {
			n += has(are(i))
		}
		return n
	}
}

func services(in ...v1alpha1.ServiceState) func(*v1alpha1.RunStatus) int {
	return func(s *v1alpha1.RunStatus) (n int) {
		for _, svc := range s.Services {
			n += has(slices.Contains(in, svc.State))
		}
		return n
	}
}

func attempts(are func(v1alpha1.AttemptStatus) bool) func(*v1alpha1.RunStatus) int {
	return func(s *v1alpha1.RunStatus) (n int) {
		for _, suite := range s.Suites {
			for _, a := range suite.Attempts {
				n += has(are(a))
			}
		}
		return n
	}
}

func report(s *v1alpha1.RunStatus) v1alpha1.ReportStatus {
	if s.Report == nil {
		return v1alpha1.ReportStatus{}
	}
	return *s.Report
}
