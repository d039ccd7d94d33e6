//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// TestUninstalledApp uninstalls the App during a run: nothing more can be reported on GitHub, so the Delivery and the Run have to show it,
// and nothing is left behind.
func TestUninstalledApp(t *testing.T) {
	t.Parallel()
	r, installation := leavers(t)
	if err := here.GitHub.PushTag(r.Name, r.User.Login, tag, "", ""); err != nil {
		t.Fatal(err)
	}
	run := r.await(1, "building", func(run *v1alpha1.Run) bool { return len(run.Status.Images) == 1 && run.Status.Images[0].Job != "" })
	payload := one(t, "delivery of the tag", r.answered("push", 1)).Payload
	if err := here.GitHub.Uninstall(installation); err != nil {
		t.Fatal(err)
	}

	late := newGUID(t)
	if res := post(t, signed("push", late, payload)); res.status != 202 {
		t.Fatalf("a late delivery was answered %d %s", res.status, res.body)
	}
	eventually(t, patience, func() error {
		for _, d := range r.deliveries() {
			if d.Spec.GUID == late && d.Status.Outcome == v1alpha1.DeliveryFailed {
				contains(t, "delivery", d.Status.Reason, "install")
				return nil
			}
		}
		return fmt.Errorf("the late delivery is not Failed: %+v", r.deliveries())
	})

	conductor(t, 0, "runs", "cancel", run.Name, "--by", "operator", "--reason", "the App is gone")
	r.gone(run)
	eventually(t, patience, func() error {
		if run = r.get(run); !lab.Finished(run) {
			return fmt.Errorf("the run is still %s: %+v", run.Status.Phase, run.Status.Report)
		}
		return nil
	})
	if run.Status.Outcome != v1alpha1.OutcomeCanceled || run.Status.Message != "Canceled by operator: the App is gone" {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	contains(t, "the run's report", run.Status.Report.Message, "install")
}

// leavers makes an organization with the App installed and a repository with a long build.
func leavers(t *testing.T) (*repo, int64) {
	t.Helper()
	const org, name = "leavers", "leavers/app"
	user, err := here.GitHub.CreateUser("lea")
	if err != nil {
		t.Fatal(err)
	}
	if err := here.GitHub.CreateOrg(org, user.Login); err != nil {
		t.Fatal(err)
	}
	installation, err := here.GitHub.InstallApp(here.App.ID, org, githubtest.InstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"Dockerfile.test": "FROM busybox:1.36\nRUN sleep 300\n"}
	for _, f := range []string{".conductor.yaml", "docker-compose.qa.yml"} {
		data, err := os.ReadFile("testdata/small/" + f)
		if err != nil {
			t.Fatal(err)
		}
		files[f] = string(data)
	}
	made, err := here.GitHub.CreateRepository(name, githubtest.RepositoryOptions{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	r := &repo{Repository: &lab.Repository{Name: name, ID: made.ID, User: user}, t: t}
	t.Cleanup(r.clean)
	return r, installation
}
